//! Native histograms in, rows of `metrics_histograms` out.
//!
//! | schema | `type` | buckets |
//! |---|---|---|
//! | -4 to 8 | `exponential_histogram` | `scale`, `zero_threshold`, `zero_count`, `positive_offset`, `positive_counts` and so on |
//! | -53 | `histogram` | `bounds` (the `custom_values`) and `counts` |
//!
//! The temporality is `cumulative`, and none for gauge histograms. What has no column is in `envelope`:
//!
//! | member | from |
//! |---|---|
//! | `reset_hint` | `yes`, `no` or `gauge`, unless nothing is said |
//! | `schema` | -53, which tells custom bounds from a classic histogram |
//! | `float_counts` | a histogram of floats: `count`, `zero_count`, `positive` and `negative` exactly; the columns hold them rounded |
//!
//! A histogram whose sum is the stale marker has `flags` 1 and NULL for each of its counts and sums.

use super::histogram::{CUSTOM_BOUNDS, Count, Histogram, ResetHint};
use super::metadata::Kind;
use super::series::{Series, SeriesColumns};
use super::{NO_RECORDED_VALUE, STALE_MARKER, column};
use crate::decode::wire::Field;
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::ValueType;
use crate::registry::attributes::{write_double, write_json_value};
use crate::registry::builtin::METRICS_HISTOGRAMS;

/// The builder of `metrics_histograms`.
#[derive(Debug)]
pub(super) struct Histograms {
    pub(super) table: TableBuilder,
    series: SeriesColumns,
    columns: Columns,
}

#[derive(Debug)]
struct Columns {
    time: usize,
    kind: usize,
    unit: usize,
    temporality: usize,
    start_time: usize,
    flags: usize,
    count: usize,
    sum: usize,
    bounds: usize,
    counts: usize,
    scale: usize,
    zero_count: usize,
    zero_threshold: usize,
    positive_offset: usize,
    positive_counts: usize,
    negative_offset: usize,
    negative_counts: usize,
    envelope: usize,
}

impl Histograms {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_HISTOGRAMS)?;
        let column = |name| column(&table, name);
        let columns = Columns {
            time: column("time")?,
            kind: column("type")?,
            unit: column("unit")?,
            temporality: column("temporality")?,
            start_time: column("start_time")?,
            flags: column("flags")?,
            count: column("count")?,
            sum: column("sum")?,
            bounds: column("bounds")?,
            counts: column("counts")?,
            scale: column("scale")?,
            zero_count: column("zero_count")?,
            zero_threshold: column("zero_threshold")?,
            positive_offset: column("positive_offset")?,
            positive_counts: column("positive_counts")?,
            negative_offset: column("negative_offset")?,
            negative_counts: column("negative_counts")?,
            envelope: column("envelope")?,
        };
        Ok(Self { series: SeriesColumns::of(&table)?, table, columns })
    }

    /// Adds the histogram in `field`, or nothing.
    pub(super) fn write(&mut self, series: &Series<'_>, field: &Field<'_>) -> Result<(), FieldError> {
        let written = Histogram::read(field)
            .and_then(|histogram| self.write_row(series, &histogram))
            .and_then(|()| self.table.end_row());
        if written.is_err() {
            self.table.discard_row();
        }
        written
    }

    fn write_row(&mut self, series: &Series<'_>, histogram: &Histogram) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        let is_custom = histogram.schema == CUSTOM_BOUNDS;
        let is_gauge =
            histogram.reset_hint == ResetHint::Gauge || series.metadata.kind == Some(Kind::GaugeHistogram);
        row.set_time(columns.time, histogram.time)?;
        row.set_text(columns.kind, if is_custom { "histogram" } else { "exponential_histogram" })?;
        if !series.metadata.unit.is_empty() {
            row.set_text(columns.unit, series.metadata.unit)?;
        }
        if !is_gauge {
            row.set_text(columns.temporality, "cumulative")?;
        }
        if let Some(start) = histogram.start.or(series.created) {
            row.set_time(columns.start_time, start)?;
        }
        series.write(row, &self.series)?;
        if histogram.sum.to_bits() == STALE_MARKER {
            row.set_int(columns.flags, NO_RECORDED_VALUE)?;
        } else {
            self.write_counts(histogram, is_custom)?;
        }
        self.write_envelope(histogram, is_custom)
    }

    fn write_counts(&mut self, histogram: &Histogram, is_custom: bool) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        let buckets = histogram.positive.len() + histogram.negative.len() + histogram.custom_values.len();
        row.check_room(2 * size_of::<i64>() * buckets)?;
        row.set_int(columns.count, histogram.count.whole("count_int")?)?;
        row.set_double(columns.sum, histogram.sum)?;
        if is_custom {
            row.set_doubles(columns.bounds, histogram.custom_values.iter().copied())?;
            return row.set_ints(columns.counts, histogram.positive.whole());
        }
        row.set_int(columns.scale, i64::from(histogram.schema))?;
        row.set_int(columns.zero_count, histogram.zero_count.whole("zero_count_int")?)?;
        row.set_double(columns.zero_threshold, histogram.zero_threshold)?;
        for (buckets, offset, counts) in [
            (&histogram.positive, columns.positive_offset, columns.positive_counts),
            (&histogram.negative, columns.negative_offset, columns.negative_counts),
        ] {
            if let Some(first) = buckets.offset() {
                row.set_int(offset, first)?;
            }
            row.set_ints(counts, buckets.whole())?;
        }
        Ok(())
    }

    fn write_envelope(&mut self, histogram: &Histogram, is_custom: bool) -> Result<(), FieldError> {
        let mut members = Vec::new();
        if let Some(word) = histogram.reset_hint.word() {
            members.push(format!("\"reset_hint\":\"{word}\""));
        }
        if is_custom {
            members.push(format!("\"schema\":{CUSTOM_BOUNDS}"));
        }
        let is_stale = histogram.sum.to_bits() == STALE_MARKER;
        if let (Count::Float(count), false) = (histogram.count, is_stale) {
            members.push(format!("\"float_counts\":{}", float_counts(histogram, count)));
        }
        if members.is_empty() {
            return Ok(());
        }
        self.table.set_text(self.columns.envelope, &format!("{{{}}}", members.join(",")))
    }
}

fn float_counts(histogram: &Histogram, count: f64) -> String {
    let zero_count = match histogram.zero_count {
        Count::Float(count) => count,
        Count::Int(count) => count as f64,
    };
    let mut json = String::from("{\"count\":");
    write_number(&mut json, count);
    json.push_str(",\"zero_count\":");
    write_number(&mut json, zero_count);
    for (name, counts) in [("positive", &histogram.positive.floats), ("negative", &histogram.negative.floats)]
    {
        json.push_str(&format!(",\"{name}\":["));
        for (at, count) in counts.iter().enumerate() {
            if at > 0 {
                json.push(',');
            }
            write_number(&mut json, *count);
        }
        json.push(']');
    }
    json.push('}');
    json
}

fn write_number(json: &mut String, number: f64) {
    let mut text = String::new();
    write_double(&mut text, number);
    write_json_value(json, &text, ValueType::Double);
}
