//! Routing: the rows of a decoded request in, the same rows in the tables that the tenant's routes name out.
//!
//! Every protocol decodes into the built-in table of its signal; what a route sends elsewhere is then matched to the other
//! table as record batches of Arrow senders are, see [`super::arrow::mapping`]: columns by name, the time column by its
//! role, and what the table has no column for becomes a label. A record that does not fit is refused by itself.
//!
//! Without rules nothing is done. Rules that ask for the caller or the header alone are decided once for a request.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, MapArray};
use arrow::buffer::NullBuffer;
use arrow::compute::{filter_record_batch, nullif};
use arrow::datatypes::{DataType, Field, Schema, UInt8Type};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::arrow::TableMapping;
use super::{DecodeContext, DecodeError, DecodeLimits, Decoded};
use crate::registry::{
    ColumnDef, RouteRequest, RouteRule, Routes, Signal, Snapshot, TableBatch, TableDef, TextPattern,
    ValueType,
};

/// Rows of one request that a rule sent to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routed {
    /// The rule's name.
    pub rule: String,
    /// The table.
    pub table: String,
    /// How many.
    pub rows: usize,
}

/// Sends the rows of built-in tables where the routes say.
pub fn route(
    mut decoded: Decoded,
    routes: &Routes,
    request: RouteRequest<'_>,
    context: &DecodeContext<'_>,
) -> Result<Decoded, DecodeError> {
    if routes.is_empty() {
        return Ok(decoded);
    }
    let mut places = Places::of(&decoded);
    for batch in std::mem::take(&mut decoded.batches) {
        let Some(signal) = Signal::of_table(batch.table().name().as_str()) else {
            decoded.batches.push(batch);
            continue;
        };
        let places = places.next(batch.len());
        let applying: Vec<&RouteRule> =
            routes.of(signal).iter().filter(|rule| rule.may_apply(request)).collect();
        let (parts, rest) = divide(&applying, Part { rows: batch, places })?;
        for (rule, part) in parts {
            let target = rule.target(request);
            let table = context.writable_table(target)?;
            decoded.routed.push(Routed {
                rule: rule.name.to_string(),
                table: target.to_owned(),
                rows: part.rows.len(),
            });
            if table.name() == part.rows.table().name() {
                decoded.batches.push(part.rows);
            } else {
                send(&mut decoded, &part, table, context)?;
            }
        }
        decoded.batches.extend(rest.map(|part| part.rows));
    }
    Ok(decoded)
}

/// Rows with their records' places in the request.
struct Part {
    rows: TableBatch,
    places: Vec<usize>,
}

/// Rows by the rule that took them, and those that none took.
type Divided<'r> = (Vec<(&'r RouteRule, Part)>, Option<Part>);

/// The places of the records that became rows, in order.
struct Places {
    rejected: HashSet<usize>,
    next: usize,
}

impl Places {
    fn of(decoded: &Decoded) -> Self {
        Self { rejected: decoded.rejected.iter().map(|record| record.index).collect(), next: 0 }
    }

    fn next(&mut self, rows: usize) -> Vec<usize> {
        let places: Vec<usize> =
            (self.next..).filter(|place| !self.rejected.contains(place)).take(rows).collect();
        self.next = places.last().map_or(self.next, |last| last + 1);
        places
    }
}

/// The rows by the first rule that takes them, and those that none takes.
fn divide<'r>(rules: &[&'r RouteRule], all: Part) -> Result<Divided<'r>, DecodeError> {
    match rules.first() {
        None => return Ok((Vec::new(), Some(all))),
        Some(rule) if !rule.asks_of_records() => return Ok((vec![(*rule, all)], None)),
        Some(_) => {}
    }
    let mut open = vec![true; all.rows.len()];
    let mut divided = Vec::new();
    for rule in rules {
        let taken: Vec<bool> = match rule.asks_of_records() {
            true => {
                let conditions = Conditions::of(rule, &all.rows);
                open.iter().enumerate().map(|(row, open)| *open && conditions.hold(row)).collect()
            }
            false => open.clone(),
        };
        if taken.contains(&true) {
            open.iter_mut().zip(&taken).for_each(|(open, taken)| *open &= !taken);
            divided.push((*rule, select(&all, taken)?));
        }
    }
    if divided.is_empty() {
        return Ok((divided, Some(all)));
    }
    let rest = if open.contains(&true) { Some(select(&all, open)?) } else { None };
    // Told once, with whichever rows come first.
    let changes = all.rows.label_changes();
    if let Some((_, first)) = divided.first_mut() {
        first.rows = first.rows.clone().with_label_changes(changes);
    }
    Ok((divided, rest))
}

fn select(all: &Part, selected: Vec<bool>) -> Result<Part, DecodeError> {
    let places = all.places.iter().zip(&selected).filter(|(_, selected)| **selected);
    let places = places.map(|(place, _)| *place).collect();
    let rows = filter_record_batch(all.rows.rows(), &BooleanArray::from(selected)).map_err(internal)?;
    let rows = TableBatch::new(Arc::clone(all.rows.table()), rows);
    Ok(Part { rows: rows.map_err(|error| DecodeError::Internal(error.to_string()))?, places })
}

/// What a rule asks of each record: maps with the key and the pattern of a value.
struct Conditions<'a>(Vec<(Option<Attributes<'a>>, &'a str, &'a TextPattern)>);

#[derive(Clone, Copy)]
struct Attributes<'a> {
    map: &'a MapArray,
}

impl<'a> Conditions<'a> {
    fn of(rule: &'a RouteRule, batch: &'a TableBatch) -> Self {
        let column = |at: Option<usize>| {
            let column = batch.rows().columns().get(at?)?;
            column.as_map_opt().map(|map| Attributes { map })
        };
        let labels = column(batch.table().label_column());
        let resource = column(batch.table().column_index("resource"));
        let of_labels = rule.labels.iter().map(|(key, pattern)| (labels, key.as_str(), pattern));
        let of_resource = rule.resource.iter().map(|(key, pattern)| (resource, key.as_str(), pattern));
        Self(of_resource.chain(of_labels).collect())
    }

    fn hold(&self, row: usize) -> bool {
        self.0.iter().all(|(attributes, key, pattern)| {
            attributes
                .and_then(|attributes| attributes.value(row, key))
                .is_some_and(|text| pattern.matches(text))
        })
    }
}

impl<'a> Attributes<'a> {
    /// The text of the value of a key; none for a value that is empty.
    fn value(self, row: usize, key: &str) -> Option<&'a str> {
        let offsets = self.map.value_offsets();
        let at = |row: usize| offsets.get(row).and_then(|&end| usize::try_from(end).ok());
        let keys = self.map.keys().as_string::<i32>();
        let entry = (at(row)?..at(row + 1)?).find(|&entry| keys.value(entry) == key)?;
        let values = self.map.values().as_struct();
        let kind = values.column(1).as_primitive::<UInt8Type>().value(entry);
        (kind != ValueType::Empty.code()).then(|| values.column(0).as_string::<i32>().value(entry))
    }
}

/// Matches rows to another table. What it refuses was accepted before.
fn send(
    decoded: &mut Decoded,
    part: &Part,
    table: &Arc<TableDef>,
    context: &DecodeContext<'_>,
) -> Result<(), DecodeError> {
    let source = source(&part.rows, table).map_err(internal)?;
    let mapping = TableMapping::new(context, table.name().as_str(), &source.schema())?;
    let sent = mapping.decode(context, &source)?;
    decoded.accepted = decoded.accepted.saturating_sub(sent.rejected.len());
    let changes = part.rows.label_changes();
    decoded.batches.extend(sent.batches.into_iter().map(|rows| {
        let both = changes.and(rows.label_changes());
        rows.with_label_changes(both)
    }));
    decoded.rejected.extend(sent.rejected.into_iter().map(|mut record| {
        record.index = part.places.get(record.index).copied().unwrap_or(record.index);
        record
    }));
    for warning in sent.warnings {
        if !decoded.warnings.contains(&warning) {
            decoded.warnings.push(warning);
        }
    }
    Ok(())
}

/// Whether records of `source` can become rows of `target`; the error is the reason why not.
pub fn check(source: &TableDef, target: &TableDef) -> Result<(), String> {
    let name = target.name();
    if target.is_retired() {
        return Err(format!("table {name:?} is retired"));
    }
    if source.name() == target.name() {
        return Ok(());
    }
    let Some(time) = target.time_column().and_then(|at| target.columns().get(at)) else {
        return Err(format!("table {name:?} has no time column"));
    };
    let is_time = |column: &ColumnDef| source.spec.time_column.as_ref() == Some(&column.name);
    if source.columns().iter().any(|column| column.name == time.name && !is_time(column)) {
        return Err(format!(
            "the time column of table {name:?} is called as another column of {:?}: call it time",
            source.name()
        ));
    }
    let missing = source
        .columns()
        .iter()
        .find(|column| !is_time(column) && target.column_index(column.name.as_str()).is_none());
    if let (Some(missing), None) = (missing, target.label_column()) {
        return Err(format!(
            "table {name:?} has neither column {:?} nor a column of labels for it: add one of them",
            missing.name
        ));
    }
    let (tenant, limits) = (target.tenant.clone(), DecodeLimits::default());
    let tables = Snapshot::new([target.clone()]);
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 0, limits };
    let none = TableBatch::new(Arc::new(source.clone()), RecordBatch::new_empty(Arc::clone(source.arrow())))
        .map_err(|error| error.to_string())?;
    let none = self::source(&none, target).map_err(|error| error.to_string())?;
    TableMapping::new(&context, name.as_str(), &none.schema()).map(drop).map_err(|error| error.to_string())
}

/// The rows as a sender of the other table would send them: the time under its name, and nothing where nothing is said.
fn source(rows: &TableBatch, table: &TableDef) -> Result<RecordBatch, ArrowError> {
    let own_time = rows.table().time_column();
    let time = table.time_column().and_then(|at| table.columns().get(at)).map(|column| column.name.as_str());
    let (mut fields, mut columns) = (Vec::new(), Vec::<ArrayRef>::new());
    for (at, (column, values)) in rows.table().columns().iter().zip(rows.rows().columns()).enumerate() {
        let name = time.filter(|_| own_time == Some(at)).unwrap_or(column.name.as_str());
        let is_column = table.column_index(name).is_some();
        let values = if is_column { Arc::clone(values) } else { without_blanks(values)? };
        if !is_column && values.null_count() == values.len() {
            continue;
        }
        fields.push(Field::new(name, values.data_type().clone(), true));
        columns.push(values);
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// NULL in place of empty texts, lists and maps.
fn without_blanks(values: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match values.data_type() {
        DataType::Utf8 => {
            let texts = values.as_string::<i32>();
            let blanks: BooleanArray =
                texts.iter().map(|text| Some(text.is_none_or(str::is_empty))).collect();
            nullif(values, &blanks)
        }
        DataType::Map(entries, sorted) => {
            let map = values.as_map();
            let filled: NullBuffer = map.value_offsets().windows(2).map(|ends| ends[0] < ends[1]).collect();
            let nulls = NullBuffer::union(map.nulls(), Some(&filled));
            let map = MapArray::try_new(
                Arc::clone(entries),
                map.offsets().clone(),
                map.entries().clone(),
                nulls,
                *sorted,
            )?;
            Ok(Arc::new(map))
        }
        _ => Ok(Arc::clone(values)),
    }
}

fn internal(error: ArrowError) -> DecodeError {
    DecodeError::Internal(error.to_string())
}
