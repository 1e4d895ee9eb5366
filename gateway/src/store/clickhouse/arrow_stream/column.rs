//! Columns of a stream: the arrays of one column by batch in, one array behind the other out, as fields of a schema and
//! buffers of a message.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, MapArray, StringArray};
use arrow::buffer::Buffer;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, Fields, UInt8Type};
use arrow::error::ArrowError;

use super::index;
use super::message::{Body, too_large};
use super::words::Words;
use crate::registry::ValueType;

/// Rows that share one copy of a number that all rows have.
const CONSTANT_ROWS: usize = 8192;

/// The columns of one batch so far.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) rows: usize,
    pub(super) fields: Vec<Field>,
    pub(super) body: Body,
    /// Each with the number of its values, in the order of the fields that refer to them.
    pub(super) dictionaries: Vec<(usize, Body)>,
}

impl Columns {
    pub(super) fn new(rows: usize) -> Self {
        Self { rows, fields: Vec::new(), body: Body::default(), dictionaries: Vec::new() }
    }

    /// A column that goes as it is.
    pub(super) fn plain(&mut self, field: Field, arrays: &[&ArrayRef]) -> Result<(), ArrowError> {
        self.fields.push(field);
        put(&mut self.body, arrays)
    }

    /// A column of texts of which there are few.
    pub(super) fn words(&mut self, field: &Field, arrays: &[&ArrayRef]) -> Result<(), ArrowError> {
        let (mut words, mut numbers) = (Words::new(), Vec::with_capacity(self.rows));
        for array in arrays {
            words.extend(array.as_string(), &mut numbers);
        }
        let kind = self.dictionary(&words)?;
        put_validity(&mut self.body, arrays)?;
        put_numbers(&mut self.body, numbers, &kind)?;
        self.fields.push(Field::new(field.name(), dictionary_type(kind), field.is_nullable()));
        Ok(())
    }

    /// Attributes, as a map to texts and one to the names of the types of values that are not strings.
    pub(super) fn attributes(&mut self, name: &str, arrays: &[&ArrayRef]) -> Result<(), ArrowError> {
        let maps: Vec<Entries<'_>> = arrays.iter().map(|array| Entries::of(array.as_map())).collect();
        let (mut words, mut numbers) = (Words::new(), Vec::new());
        for map in &maps {
            words.extend(&map.keys, &mut numbers);
        }
        let types = Types::of(&maps, &numbers);

        let key_type = self.dictionary(&words)?;
        let ends = joined(maps.iter().map(|map| map.offsets))?;
        self.entries(ends, numbers, &key_type)?;
        put(&mut self.body, &maps.iter().map(|map| &map.texts).collect::<Vec<_>>())?;
        self.fields.push(map_field(name, dictionary_type(key_type.clone()), DataType::Utf8));

        // The same words again, under a number of their own.
        self.dictionary(&words)?;
        let name_type = self.dictionary(&types.words)?;
        self.entries(Buffer::from_vec(types.ends), types.keys, &key_type)?;
        put_whole(&mut self.body, types.names.len())?;
        put_numbers(&mut self.body, types.names, &name_type)?;
        let name = format!("{name}_types");
        self.fields.push(map_field(&name, dictionary_type(key_type), dictionary_type(name_type)));
        Ok(())
    }

    /// A column with the same number in every row.
    pub(super) fn constant(&mut self, name: &str, value: u64) -> Result<(), ArrowError> {
        self.fields.push(Field::new(name, DataType::UInt64, false));
        let some = Buffer::from_vec(vec![value; self.rows.min(CONSTANT_ROWS)]);
        let width = size_of::<u64>();
        let pieces = (0..self.rows)
            .step_by(CONSTANT_ROWS)
            .map(|at| some.slice_with_length(0, (self.rows - at).min(CONSTANT_ROWS) * width));
        put_whole(&mut self.body, self.rows)?;
        self.body.buffer(pieces)
    }

    /// A column of maps up to their values: where each row's entries end, and the numbers of their keys.
    fn entries(&mut self, ends: Buffer, keys: Vec<u32>, key_type: &DataType) -> Result<(), ArrowError> {
        put_whole(&mut self.body, self.rows)?;
        self.body.buffer([ends])?;
        // The pairs, then the keys.
        put_whole(&mut self.body, keys.len())?;
        put_whole(&mut self.body, keys.len())?;
        put_numbers(&mut self.body, keys, key_type)
    }

    /// Adds the values of the next dictionary; returns the type of the numbers that refer to them.
    fn dictionary(&mut self, words: &Words<'_>) -> Result<DataType, ArrowError> {
        let mut body = Body::default();
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for text in words.texts() {
            bytes.extend_from_slice(text);
            offsets.push(offset(bytes.len())?);
        }
        put_whole(&mut body, words.len())?;
        body.buffer([Buffer::from_vec(offsets)])?;
        body.buffer([Buffer::from_vec(bytes)])?;
        self.dictionaries.push((words.len(), body));
        Ok(match words.len() {
            0..=0x100 => DataType::UInt8,
            0x101..=0x1_0000 => DataType::UInt16,
            _ => DataType::UInt32,
        })
    }
}

/// The entries of one batch's maps.
struct Entries<'a> {
    offsets: &'a [i32],
    keys: StringArray,
    texts: ArrayRef,
    codes: &'a [u8],
}

impl<'a> Entries<'a> {
    fn of(map: &'a MapArray) -> Self {
        let (start, end) = ends(map.value_offsets());
        let values = map.values().as_struct();
        let codes = values.column(1).as_primitive::<UInt8Type>().values();
        Self {
            offsets: map.value_offsets(),
            keys: map.keys().as_string().slice(start, end - start),
            texts: values.column(0).slice(start, end - start),
            codes: codes.get(start..end).unwrap_or_default(),
        }
    }
}

/// The sparse map of types.
struct Types {
    ends: Vec<i32>,
    keys: Vec<u32>,
    names: Vec<u32>,
    words: Words<'static>,
}

impl Types {
    /// The types of the entries of `maps`, whose keys have these `numbers`.
    fn of(maps: &[Entries<'_>], numbers: &[u32]) -> Self {
        let mut types = Self { ends: vec![0], keys: Vec::new(), names: Vec::new(), words: Words::new() };
        let mut numbers = numbers.iter();
        for map in maps {
            let mut codes = map.codes.iter();
            for pair in map.offsets.windows(2) {
                let entries = pair.last().zip(pair.first()).map_or(0, |(end, start)| index(end - start));
                for (&code, &key) in codes.by_ref().zip(numbers.by_ref()).take(entries) {
                    if code != ValueType::String.code() {
                        let name = ValueType::from_code(code).unwrap_or(ValueType::String).name();
                        types.keys.push(key);
                        types.names.push(types.words.number(name.as_bytes()));
                    }
                }
                types.ends.push(i32::try_from(types.keys.len()).unwrap_or(i32::MAX));
            }
        }
        types
    }
}

/// Appends one array behind the other.
fn put(body: &mut Body, arrays: &[&ArrayRef]) -> Result<(), ArrowError> {
    let Some(first) = arrays.first() else { return Ok(()) };
    match first.data_type() {
        DataType::Utf8 | DataType::Binary => {
            put_validity(body, arrays)?;
            let data: Vec<_> = arrays.iter().map(|array| array.to_data()).collect();
            let texts: Vec<(&[i32], &Buffer)> = data
                .iter()
                .filter_map(|data| {
                    let [offsets, bytes] = data.buffers() else { return None };
                    let offsets = offsets.typed_data::<i32>();
                    Some((offsets.get(data.offset()..=data.offset() + data.len())?, bytes))
                })
                .collect();
            body.buffer([joined(texts.iter().map(|(offsets, _)| *offsets))?])?;
            body.buffer(texts.iter().map(|(offsets, bytes)| {
                let (start, end) = ends(offsets);
                bytes.slice_with_length(start, end - start)
            }))
        }
        DataType::List(_) => {
            put_validity(body, arrays)?;
            body.buffer([joined(arrays.iter().map(|array| array.as_list::<i32>().value_offsets()))?])?;
            let items: Vec<ArrayRef> = arrays
                .iter()
                .map(|array| {
                    let list = array.as_list::<i32>();
                    let (start, end) = ends(list.value_offsets());
                    list.values().slice(start, end - start)
                })
                .collect();
            put(body, &items.iter().collect::<Vec<_>>())
        }
        kind => match kind.primitive_width() {
            Some(width) => {
                put_validity(body, arrays)?;
                body.buffer(arrays.iter().filter_map(|array| {
                    let data = array.to_data();
                    let values = data.buffers().first()?;
                    Some(values.slice_with_length(data.offset() * width, data.len() * width))
                }))
            }
            None => put_bits(body, arrays),
        },
    }
}

/// Appends booleans, which do not end at whole bytes.
fn put_bits(body: &mut Body, arrays: &[&ArrayRef]) -> Result<(), ArrowError> {
    let arrays: Vec<&dyn Array> = arrays.iter().map(|array| array.as_ref()).collect();
    let all: ArrayRef = concat(&arrays)?;
    let Some(values) = all.as_boolean_opt() else {
        return Err(ArrowError::NotYetImplemented(format!(
            "{} in a stream of several batches",
            all.data_type()
        )));
    };
    put_validity(body, &[&all])?;
    body.buffer([values.values().sliced()])
}

/// Appends the beginning of an array and which of its values are NULL.
fn put_validity(body: &mut Body, arrays: &[&ArrayRef]) -> Result<(), ArrowError> {
    let values: usize = arrays.iter().map(|array| array.len()).sum();
    let nulls: usize = arrays.iter().map(|array| array.null_count()).sum();
    body.node(values, nulls)?;
    if nulls == 0 {
        return body.buffer([]);
    }
    let mut valid = BooleanBufferBuilder::new(values);
    for array in arrays {
        match array.nulls() {
            Some(nulls) => valid.append_buffer(nulls.inner()),
            None => valid.append_n(array.len(), true),
        }
    }
    body.buffer([valid.finish().into_inner()])
}

/// Appends the beginning of an array none of whose values is NULL.
fn put_whole(body: &mut Body, values: usize) -> Result<(), ArrowError> {
    body.node(values, 0)?;
    body.buffer([])
}

/// Appends numbers of words as `kind`, which has room for all of them.
fn put_numbers(body: &mut Body, numbers: Vec<u32>, kind: &DataType) -> Result<(), ArrowError> {
    let numbers = match kind {
        DataType::UInt8 => Buffer::from_vec(narrow::<u8>(&numbers)),
        DataType::UInt16 => Buffer::from_vec(narrow::<u16>(&numbers)),
        _ => Buffer::from_vec(numbers),
    };
    body.buffer([numbers])
}

fn narrow<T: TryFrom<u32> + Default>(numbers: &[u32]) -> Vec<T> {
    numbers.iter().map(|&number| T::try_from(number).unwrap_or_default()).collect()
}

/// The offsets of arrays as those of one array behind the other.
fn joined<'a>(arrays: impl Iterator<Item = &'a [i32]> + Clone) -> Result<Buffer, ArrowError> {
    let count: usize = arrays.clone().map(<[i32]>::len).sum();
    let mut all = Vec::with_capacity(count + 1);
    all.push(0);
    let mut total = 0;
    for offsets in arrays {
        let (start, end) = ends(offsets);
        let shift = offset(total)? - offset(start)?;
        total += end - start;
        offset(total)?;
        all.extend(offsets.iter().skip(1).map(|offset| offset + shift));
    }
    Ok(Buffer::from_vec(all))
}

/// The first and the last of offsets.
fn ends(offsets: &[i32]) -> (usize, usize) {
    let at = |offset: Option<&i32>| offset.map_or(0, |&offset| index(offset));
    (at(offsets.first()), at(offsets.last()))
}

fn offset(length: usize) -> Result<i32, ArrowError> {
    i32::try_from(length).map_err(|_| too_large("a column"))
}

fn dictionary_type(numbers: DataType) -> DataType {
    DataType::Dictionary(Box::new(numbers), Box::new(DataType::Utf8))
}

fn map_field(name: &str, keys: DataType, values: DataType) -> Field {
    let pair = Fields::from(vec![Field::new("key", keys, false), Field::new("value", values, false)]);
    Field::new(
        name,
        DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false),
        false,
    )
}
