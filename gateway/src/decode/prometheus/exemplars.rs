//! `Exemplar`s in, rows of `metrics_exemplars` out.
//!
//! The labels `trace_id` and `span_id` go to their columns when they are hex of the right length; all others, and
//! those that are not, to `filtered_labels`. Remote write does not say which sample an exemplar belongs to, so that
//! `point_time` is NULL.

use super::column;
use super::dialect::{Dialect, Labels};
use super::series::{Series, SeriesColumns};
use crate::decode::wire::{Field, Reader};
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::builtin::METRICS_EXEMPLARS;

/// Most bytes of the labels of one exemplar: OpenMetrics allows 128 characters.
const MAX_LABEL_BYTES: usize = 64 * 1024;

/// The builder of `metrics_exemplars`.
#[derive(Debug)]
pub(super) struct Exemplars {
    pub(super) table: TableBuilder,
    series: SeriesColumns,
    time: usize,
    value: usize,
    trace_id: usize,
    span_id: usize,
    filtered_labels: usize,
}

/// An exemplar as it was sent.
#[derive(Debug)]
pub(super) struct Exemplar<'a> {
    pub(super) labels: Vec<(&'a str, &'a str)>,
    pub(super) value: f64,
    /// Milliseconds.
    pub(super) timestamp: i64,
}

impl<'a> Exemplar<'a> {
    pub(super) fn read(field: &Field<'a>, dialect: &Dialect<'a>) -> Result<Self, FieldError> {
        let (mut value, mut timestamp) = (0.0, 0);
        let mut labels = Labels::default();
        let mut reader = Reader::new(field.bytes("exemplars")?);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => dialect.gather(&field, &mut labels)?,
                2 => value = field.double("exemplar.value")?,
                3 => timestamp = field.varint("exemplar.timestamp")?.cast_signed(),
                _ => {}
            }
        }
        let labels = dialect.labels(labels)?;
        let bytes: usize = labels.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > MAX_LABEL_BYTES {
            let reason = format!("have {bytes} bytes: at most {MAX_LABEL_BYTES} are allowed");
            return Err(FieldError::new("exemplar.labels", reason));
        }
        Ok(Self { labels, value, timestamp })
    }
}

impl Exemplars {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_EXEMPLARS)?;
        Ok(Self {
            series: SeriesColumns::of(&table)?,
            time: column(&table, "time")?,
            value: column(&table, "value")?,
            trace_id: column(&table, "trace_id")?,
            span_id: column(&table, "span_id")?,
            filtered_labels: column(&table, "filtered_labels")?,
            table,
        })
    }

    /// Adds the exemplar in `field`, or nothing.
    pub(super) fn write<'a>(
        &mut self,
        series: &Series<'a>,
        field: &Field<'a>,
        dialect: &Dialect<'a>,
    ) -> Result<(), FieldError> {
        let written = Exemplar::read(field, dialect)
            .and_then(|exemplar| self.write_row(series, &exemplar))
            .and_then(|()| self.table.end_row());
        if written.is_err() {
            self.table.discard_row();
        }
        written
    }

    fn write_row(&mut self, series: &Series<'_>, exemplar: &Exemplar<'_>) -> Result<(), FieldError> {
        let row = &mut self.table;
        row.set_time(self.time, super::nanos("exemplar.timestamp", exemplar.timestamp)?)?;
        row.set_double(self.value, exemplar.value)?;
        series.write(row, &self.series)?;
        for &(name, value) in &exemplar.labels {
            let id = match name {
                "trace_id" if is_id(value, 32) => Some(self.trace_id),
                "span_id" if is_id(value, 16) => Some(self.span_id),
                _ => None,
            };
            match id {
                Some(column) => row.set_text(column, &value.to_ascii_lowercase())?,
                None => {
                    if let Some(labels) = row.attributes(self.filtered_labels) {
                        labels.push_str(name, value);
                    }
                }
            }
        }
        Ok(())
    }
}

fn is_id(text: &str, digits: usize) -> bool {
    text.len() == digits
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0')
}
