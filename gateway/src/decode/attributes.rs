//! The builder of attributes columns: keys with typed values in, an Arrow map column out.
//!
//! A key that comes twice in one record keeps its last value, as `jsonb` would do in silence (OTLP leaves the case
//! undefined). The order of keys is otherwise the sender's.

use std::sync::Arc;

use arrow::array::{ArrayRef, MapArray, StructArray, UInt8Array};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{Field, Fields};
use arrow::error::ArrowError;
use base64::Engine as _;

use super::FieldError;
use super::columns::{Strings, offset, offsets};
use super::label_limits;
use super::rules::{MAX_ATTRIBUTES, MAX_EXCESS_LABELS, MAX_KEY_BYTES, MAX_VALUE_BYTES, NUL_REASON};
use crate::registry::attributes::{ValueType, write_double};
use crate::registry::column::{attribute_entries, attribute_value_fields};
use crate::registry::{LabelChanges, LabelLimits, OnExcess};

/// From this number of keys on a record's keys are checked for repetition through a sorted index.
const SORT_FROM_KEYS: usize = 24;

/// Memory of one entry besides its texts: two offsets, two validities and the type.
const ENTRY_BYTES: usize = 11;

/// Attributes of one column, one map per row.
#[derive(Debug)]
pub struct AttributesColumn {
    /// `ends[row]..ends[row + 1]` is the row's range of entries.
    ends: Vec<i32>,
    keys: Strings,
    values: Strings,
    types: Vec<u8>,
    scratch: String,
    /// For labels: what a row may have, where what is more is changed.
    limits: Option<LabelLimits>,
    /// What was done to rows, by row.
    changes: Vec<(usize, LabelChanges)>,
}

impl AttributesColumn {
    pub(super) fn new() -> Self {
        Self {
            ends: vec![0],
            keys: Strings::new(),
            values: Strings::new(),
            types: Vec::new(),
            scratch: String::new(),
            limits: None,
            changes: Vec::new(),
        }
    }

    /// Labels, which keep `limits`.
    pub(super) fn limited(limits: LabelLimits) -> Self {
        Self { limits: Some(limits), ..Self::new() }
    }

    /// Most entries that the open row may be given.
    pub(super) fn most_entries(&self) -> usize {
        match &self.limits {
            Some(limits) if limits.on_excess != OnExcess::DeadLetter => MAX_EXCESS_LABELS,
            _ => MAX_ATTRIBUTES,
        }
    }

    /// What was done to the labels of the finished rows.
    pub(super) fn label_changes(&self) -> LabelChanges {
        self.changes.iter().fold(LabelChanges::default(), |sum, (_, changes)| sum.and(*changes))
    }

    pub(super) fn rows(&self) -> usize {
        self.ends.len() - 1
    }

    /// Bytes held so far, with what each entry takes besides its texts.
    pub(super) fn bytes(&self) -> usize {
        self.keys.bytes.len() + self.values.bytes.len() + self.types.len() * ENTRY_BYTES
    }

    /// Bytes of the row that was ended last, counted as [`AttributesColumn::bytes`] does.
    pub(super) fn last_row_bytes(&self) -> usize {
        let entries = range(&self.ends, self.rows().saturating_sub(1));
        let texts = |strings: &Strings| strings.offset_at(entries.end) - strings.offset_at(entries.start);
        texts(&self.keys) + texts(&self.values) + entries.len() * ENTRY_BYTES
    }

    /// The number of entries of the row under construction.
    pub fn open_entries(&self) -> usize {
        self.types.len() - self.finished_entries()
    }

    /// The keys of the row under construction, in order.
    pub(super) fn open_keys(&self) -> impl Iterator<Item = &[u8]> {
        (self.finished_entries()..self.types.len()).map(|entry| self.key(entry))
    }

    /// Gives each entry of the row under construction a new key, in order; an entry without one is taken out.
    pub(super) fn rename_open_entries(&mut self, keys: &[Option<Vec<u8>>]) {
        let from = self.finished_entries();
        let renamed = keys.iter().zip(from..self.types.len()).filter_map(|(key, entry)| {
            Some((key.clone()?, slice(&self.values, entry).to_vec(), self.types[entry]))
        });
        self.replace_open_entries(renamed.collect());
    }

    fn replace_open_entries(&mut self, entries: Vec<(Vec<u8>, Vec<u8>, u8)>) {
        self.truncate_entries(self.finished_entries());
        for (key, value, kind) in entries {
            self.keys.push(Some(&key));
            self.values.push(Some(&value));
            self.types.push(kind);
        }
    }

    fn finished_entries(&self) -> usize {
        self.ends.last().map_or(0, |&end| usize::try_from(end).unwrap_or(0))
    }

    /// Adds one entry with its canonical text; see [`ValueType`] for what the text of each type is.
    pub fn push(&mut self, key: &str, text: &str, kind: ValueType) {
        self.keys.push(Some(key.as_bytes()));
        self.values.push(Some(text.as_bytes()));
        self.types.push(kind.code());
    }

    /// Adds a string.
    pub fn push_str(&mut self, key: &str, value: &str) {
        self.push(key, value, ValueType::String);
    }

    /// Adds an integer.
    pub fn push_int(&mut self, key: &str, value: i64) {
        let mut digits = itoa::Buffer::new();
        self.push(key, digits.format(value), ValueType::Int);
    }

    /// Adds a double.
    pub fn push_double(&mut self, key: &str, value: f64) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        write_double(&mut text, value);
        self.push(key, &text, ValueType::Double);
        self.scratch = text;
    }

    /// Adds a boolean.
    pub fn push_bool(&mut self, key: &str, value: bool) {
        self.push(key, if value { "true" } else { "false" }, ValueType::Bool);
    }

    /// Adds bytes.
    pub fn push_bytes(&mut self, key: &str, value: &[u8]) {
        let mut text = std::mem::take(&mut self.scratch);
        text.clear();
        base64::engine::general_purpose::STANDARD.encode_string(value, &mut text);
        self.push(key, &text, ValueType::Bytes);
        self.scratch = text;
    }

    /// Counts that an entry of the open row is a value that its own column does not take.
    pub fn count_retyped(&mut self) {
        self.changes.push((self.rows(), LabelChanges { retyped: 1, ..LabelChanges::default() }));
    }

    /// Ends the row: repeated keys keep their last value.
    pub fn end_row(&mut self) {
        if self.has_repeated_keys() {
            self.keep_last_of_each_key();
        }
        if let Some(limits) = self.limits.filter(|limits| limits.on_excess != OnExcess::DeadLetter) {
            self.keep_limits(&limits);
        }
        self.ends.push(offset(self.types.len()));
    }

    /// Makes the open row keep its limits. Nearly all rows do.
    fn keep_limits(&mut self, limits: &LabelLimits) {
        let entries = self.finished_entries()..self.types.len();
        let sizes = entries.clone().map(|entry| (self.key(entry).len(), slice(&self.values, entry).len()));
        if label_limits::are_kept(limits, entries.len(), sizes) {
            return;
        }
        let copied = entries
            .map(|entry| (self.key(entry).to_vec(), slice(&self.values, entry).to_vec(), self.types[entry]));
        let (kept, changes) = label_limits::keep(limits, copied.collect());
        self.replace_open_entries(kept);
        self.changes.push((self.rows(), changes));
    }

    /// Ends the row as a copy of a row of `other`: for what many records share.
    pub(super) fn end_row_as(&mut self, other: &Self, row: usize) {
        self.truncate_entries(self.finished_entries());
        let entries = range(&other.ends, row);
        self.keys.extend_from(&other.keys, entries.clone());
        self.values.extend_from(&other.values, entries.clone());
        self.types.extend_from_slice(other.types.get(entries).unwrap_or_default());
        self.ends.push(offset(self.types.len()));
    }

    /// Checks the limits of the row that was ended last; `name` is the column's.
    pub(super) fn check_last_row(&self, name: &str, forbid_nul: bool) -> Result<(), FieldError> {
        let row = self.rows().saturating_sub(1);
        let entries = range(&self.ends, row);
        let max_count = self.limits.map_or(MAX_ATTRIBUTES, |limits| limits.max_count);
        let max_key_bytes = self.limits.map_or(MAX_KEY_BYTES, |limits| limits.max_key_bytes);
        let max_value_bytes = self.limits.map_or(MAX_VALUE_BYTES, |limits| limits.max_value_bytes);
        if entries.len() > max_count {
            let count = entries.len();
            return Err(FieldError::new(name, format!("has {count} keys: at most {max_count} are allowed")));
        }
        // One look over the row's bytes; only a row that holds a suspect byte is looked at entry by entry.
        let nul_in = |strings: &Strings| {
            let bytes = range(&strings.offsets, entries.start).start..strings.offset_at(entries.end);
            strings.bytes.get(bytes).unwrap_or_default().contains(&0)
        };
        for entry in entries.clone() {
            let key = self.key(entry);
            if key.len() > max_key_bytes {
                return Err(FieldError::new(
                    name,
                    format!("a key has {} bytes: at most {max_key_bytes} are allowed", key.len()),
                ));
            }
            let value = slice(&self.values, entry);
            if value.len() > max_value_bytes {
                let reason = format!("has {} bytes: at most {max_value_bytes} are allowed", value.len());
                return Err(FieldError::new(format!("{name}.{}", String::from_utf8_lossy(key)), reason));
            }
            let nested =
                self.types[entry] == ValueType::Array.code() || self.types[entry] == ValueType::Map.code();
            if forbid_nul && nested && std::str::from_utf8(value).is_ok_and(has_json_nul) {
                return Err(nul(name, key));
            }
        }
        if forbid_nul && (nul_in(&self.keys) || nul_in(&self.values)) {
            let with_nul = entries
                .into_iter()
                .find(|&entry| self.key(entry).contains(&0) || slice(&self.values, entry).contains(&0));
            return Err(nul(name, with_nul.map(|entry| self.key(entry)).unwrap_or_default()));
        }
        Ok(())
    }

    pub(super) fn truncate(&mut self, rows: usize) {
        self.ends.truncate(rows + 1);
        self.truncate_entries(self.finished_entries());
        self.changes.retain(|(row, _)| *row < rows);
    }

    fn truncate_entries(&mut self, entries: usize) {
        self.keys.truncate(entries);
        self.values.truncate(entries);
        self.types.truncate(entries);
    }

    fn key(&self, entry: usize) -> &[u8] {
        slice(&self.keys, entry)
    }

    /// Whether a key comes twice in the row under construction.
    pub(super) fn has_repeated_keys(&self) -> bool {
        let from = self.finished_entries();
        let until = self.types.len();
        if until - from < SORT_FROM_KEYS {
            return (from..until).any(|entry| (from..entry).any(|other| self.key(entry) == self.key(other)));
        }
        let mut entries: Vec<usize> = (from..until).collect();
        entries.sort_unstable_by_key(|&entry| self.key(entry));
        entries.windows(2).any(|pair| self.key(pair[0]) == self.key(pair[1]))
    }

    fn keep_last_of_each_key(&mut self) {
        let from = self.finished_entries();
        let mut seen = std::collections::HashSet::new();
        let mut kept: Vec<(Vec<u8>, Vec<u8>, u8)> = Vec::new();
        for entry in (from..self.types.len()).rev() {
            if seen.insert(self.key(entry).to_vec()) {
                kept.push((self.key(entry).to_vec(), slice(&self.values, entry).to_vec(), self.types[entry]));
            }
        }
        kept.reverse();
        self.replace_open_entries(kept);
    }

    pub(super) fn finish(self) -> Result<ArrayRef, ArrowError> {
        let entries = attribute_entries();
        let value_fields = attribute_value_fields();
        let values = StructArray::try_new(
            value_fields.clone(),
            vec![
                Arc::new(self.values.into_text()?),
                Arc::new(UInt8Array::new(ScalarBuffer::from(self.types), None)),
            ],
            None,
        )?;
        let rows = StructArray::try_new(
            Fields::from(vec![
                Field::new("key", arrow::datatypes::DataType::Utf8, false),
                Field::new("value", arrow::datatypes::DataType::Struct(value_fields), false),
            ]),
            vec![Arc::new(self.keys.into_text()?), Arc::new(values)],
            None,
        )?;
        Ok(Arc::new(MapArray::try_new(entries, offsets(self.ends), rows, None, false)?))
    }
}

fn nul(name: &str, key: &[u8]) -> FieldError {
    let key = String::from_utf8_lossy(key).replace('\0', "\\0");
    FieldError::new(format!("{name}.{key}"), NUL_REASON)
}

/// Whether canonical JSON holds the escape of a NUL character.
pub(super) fn has_json_nul(json: &str) -> bool {
    let mut rest = json;
    while let Some(at) = rest.find("\\u0000") {
        // An even number of backslashes before it means that the backslash itself is escaped.
        let before = rest.as_bytes().iter().take(at).rev().take_while(|&&byte| byte == b'\\').count();
        if before % 2 == 0 {
            return true;
        }
        rest = rest.get(at + 6..).unwrap_or_default();
    }
    false
}

fn range(offsets: &[i32], at: usize) -> std::ops::Range<usize> {
    let end = |at: usize| offsets.get(at).map_or(0, |&end| usize::try_from(end).unwrap_or(0));
    end(at)..end(at + 1)
}

fn slice(strings: &Strings, entry: usize) -> &[u8] {
    strings.bytes.get(range(&strings.offsets, entry)).unwrap_or_default()
}
