//! `Sample`s in, rows of `metrics_events` out.

use super::series::{self, Series, SeriesColumns};
use super::{NO_RECORDED_VALUE, STALE_MARKER, column};
use crate::decode::wire::{Field, Reader};
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::builtin::METRICS_EVENTS;

/// The builder of `metrics_events`.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) table: TableBuilder,
    series: SeriesColumns,
    columns: Columns,
}

#[derive(Debug)]
struct Columns {
    time: usize,
    value: usize,
    kind: usize,
    unit: usize,
    temporality: usize,
    monotonic: usize,
    start_time: usize,
    flags: usize,
}

impl Samples {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_EVENTS)?;
        let columns = Columns {
            time: column(&table, "time")?,
            value: column(&table, "value")?,
            kind: column(&table, "type")?,
            unit: column(&table, "unit")?,
            temporality: column(&table, "temporality")?,
            monotonic: column(&table, "monotonic")?,
            start_time: column(&table, "start_time")?,
            flags: column(&table, "flags")?,
        };
        Ok(Self { series: SeriesColumns::of(&table)?, table, columns })
    }

    /// Adds the sample in `field`, or nothing.
    pub(super) fn write(&mut self, series: &Series<'_>, field: &Field<'_>) -> Result<(), FieldError> {
        let written = self.write_row(series, field).and_then(|()| self.table.end_row());
        if written.is_err() {
            self.table.discard_row();
        }
        written
    }

    fn write_row(&mut self, series: &Series<'_>, field: &Field<'_>) -> Result<(), FieldError> {
        let (mut value, mut time, mut start) = (0.0_f64, 0, series.created);
        let mut reader = Reader::new(field.bytes("samples")?);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => value = field.double("value")?,
                2 => time = series::time(&field)?,
                3 => start = series::start(field.varint("start_timestamp")?.cast_signed())?,
                _ => {}
            }
        }
        let (row, columns) = (&mut self.table, &self.columns);
        row.set_time(columns.time, time)?;
        if value.to_bits() == STALE_MARKER {
            row.set_int(columns.flags, NO_RECORDED_VALUE)?;
        } else {
            row.set_double(columns.value, value)?;
        }
        if let Some(kind) = series.metadata.kind {
            row.set_text(columns.kind, kind.word())?;
            if let Some(temporality) = kind.temporality() {
                row.set_text(columns.temporality, temporality)?;
            }
            if let Some(monotonic) = kind.monotonic() {
                row.set_bool(columns.monotonic, monotonic)?;
            }
        }
        if !series.metadata.unit.is_empty() {
            row.set_text(columns.unit, series.metadata.unit)?;
        }
        if let Some(start) = start {
            row.set_time(columns.start_time, start)?;
        }
        series.write(row, &self.series)
    }
}
