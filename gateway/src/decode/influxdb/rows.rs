//! Points in, rows of `metrics_events` out.

use super::Precision;
use super::line::{Point, Value};
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::attributes::write_json_string;
use crate::registry::builtin::METRICS_EVENTS;

const APP: [&str; 4] = ["app", "service", "service_name", "application"];
const HOST: [&str; 2] = ["host", "hostname"];

/// The builder of `metrics_events`.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    pub(super) table: TableBuilder,
    /// Points without a time.
    pub(super) undated: usize,
    db: &'a str,
    precision: Precision,
    now_nanos: i64,
    columns: Columns,
}

#[derive(Debug)]
struct Columns {
    time: usize,
    metric: usize,
    app: usize,
    host: usize,
    labels: usize,
    value: usize,
    value_int: usize,
    kind: usize,
    scope_name: usize,
    envelope: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(
        db: &'a str,
        precision: Precision,
        context: &DecodeContext<'_>,
    ) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_EVENTS)?;
        let column = |name: &str| {
            table.column(name).ok_or_else(|| {
                DecodeError::Internal(format!("table {} has no column {name:?}", table.table().name()))
            })
        };
        let columns = Columns {
            time: column("time")?,
            metric: column("metric")?,
            app: column("app")?,
            host: column("host")?,
            labels: column("labels")?,
            value: column("value")?,
            value_int: column("value_int")?,
            kind: column("type")?,
            scope_name: column("scope_name")?,
            envelope: column("envelope")?,
        };
        Ok(Self { table, undated: 0, db, precision, now_nanos: context.now_nanos, columns })
    }

    /// Adds a row for each field of `point`, or nothing.
    pub(super) fn write(&mut self, point: &Point<'_>) -> Result<(), FieldError> {
        let time = match point.time {
            None => self.now_nanos,
            Some(time) => time.checked_mul(self.precision.nanos()).ok_or_else(|| {
                FieldError::new("timestamp", format!("{time} is beyond what the stores can hold"))
            })?,
        };
        let before = self.table.rows();
        for (name, value) in &point.fields {
            let written = self.fill(point, time, name, value).and_then(|()| self.table.end_row());
            if let Err(error) = written {
                self.table.truncate(before);
                return Err(in_senders_words(error));
            }
        }
        self.undated += usize::from(point.time.is_none());
        Ok(())
    }

    fn fill(
        &mut self,
        point: &Point<'_>,
        time: i64,
        name: &str,
        value: &Value<'_>,
    ) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        let tag_bytes: usize = point.tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        row.check_room(tag_bytes + point.measurement.len() + self.db.len())?;
        let first = |names: &[&str]| {
            let tag =
                |wanted: &&str| point.tags.iter().find(|(key, _)| key == wanted).map(|(_, value)| value);
            names.iter().find_map(tag).map_or("", |value| value)
        };
        row.set_time(columns.time, time)?;
        row.set_text(columns.metric, &format!("{}_{name}", point.measurement))?;
        row.set_text(columns.scope_name, &point.measurement)?;
        row.set_text(columns.app, first(&APP))?;
        row.set_text(columns.host, first(&HOST))?;
        match value {
            Value::Float(value) => row.set_double(columns.value, *value)?,
            Value::Integer(value) => {
                row.set_double(columns.value, *value as f64)?;
                row.set_int(columns.value_int, *value)?;
            }
            Value::Boolean(value) => {
                row.set_double(columns.value, f64::from(u8::from(*value)))?;
                row.set_text(columns.kind, "boolean")?;
            }
            Value::String(text) => {
                row.set_text(columns.kind, "string")?;
                let mut json = String::from("{\"text\":");
                write_json_string(&mut json, text);
                json.push('}');
                row.set_text(columns.envelope, &json)?;
            }
        }
        let Some(labels) = row.attributes(columns.labels) else { return Ok(()) };
        if point.tags.len() >= labels.most_entries() {
            let reason =
                format!("has {} tags: at most {} are allowed", point.tags.len(), labels.most_entries());
            return Err(FieldError::new("tags", reason));
        }
        for (key, value) in &point.tags {
            labels.push_str(key, value);
        }
        if !self.db.is_empty() && !point.tags.iter().any(|(key, _)| key == "db") {
            labels.push_str("db", self.db);
        }
        Ok(())
    }
}

/// Names a column as the line does.
fn in_senders_words(error: FieldError) -> FieldError {
    const WORDS: [(&str, &str); 5] = [
        ("time", "timestamp"),
        ("labels", "tags"),
        ("scope_name", "measurement"),
        ("metric", "measurement"),
        ("envelope", "field"),
    ];
    match WORDS.iter().find(|(column, _)| *column == error.field) {
        Some((_, word)) => FieldError { field: (*word).to_owned(), ..error },
        None => error,
    }
}
