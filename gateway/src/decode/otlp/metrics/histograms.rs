//! `HistogramDataPoint`s, `ExponentialHistogramDataPoint`s and `SummaryDataPoint`s in, rows of `metrics_histograms`
//! out.
//!
//! | field | histogram | exponential | summary | column |
//! |---|---|---|---|---|
//! | attributes | 9 | 1 | 7 | `labels` |
//! | start and time | 2, 3 | 2, 3 | 2, 3 | `start_time` (NULL when 0), `time` |
//! | count | 4 | 4 | 4 | `count` |
//! | sum, min, max | 5, 11, 12 | 5, 12, 13 | 5 | the same; NULL when absent, and a summary's sum is never absent |
//! | explicit buckets | 6, 7 | | | `counts`, `bounds` (upper bounds, inclusive) |
//! | scale, zero count, zero threshold | | 6, 7, 14 | | the same |
//! | positive and negative buckets | | 8, 9 | | `positive_offset`, `positive_counts` and so on |
//! | quantiles | | | 6 | `quantiles`, `quantile_values` |
//! | flags | 10 | 10 | 8 | `flags`, NULL when 0 |
//! | exemplars | 8 | 11 | | `metrics_exemplars` |
//!
//! A point with the flag "no recorded value" has NULL for each of its counts and sums.

use super::exemplars::Point;
use super::{Head, Kind, MAX_LIST, NO_RECORDED_VALUE, in_senders_words};
use crate::decode::any_value::{Values, within};
use crate::decode::otlp::ids;
use crate::decode::otlp::origin::{self, Origin, OriginColumns};
use crate::decode::wire::{Field, Reader};
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::builtin::METRICS_HISTOGRAMS;

/// The builder of `metrics_histograms`.
#[derive(Debug)]
pub(super) struct Histograms {
    pub(super) table: TableBuilder,
    columns: Columns,
    origin: OriginColumns,
    /// The open row's point; kept for its vectors.
    point: HistogramPoint,
}

#[derive(Debug)]
struct Columns {
    time: usize,
    metric: usize,
    labels: usize,
    kind: usize,
    unit: usize,
    temporality: usize,
    start_time: usize,
    flags: usize,
    count: usize,
    sum: usize,
    min: usize,
    max: usize,
    bounds: usize,
    counts: usize,
    scale: usize,
    zero_count: usize,
    zero_threshold: usize,
    positive: BucketColumns,
    negative: BucketColumns,
    quantiles: usize,
    quantile_values: usize,
}

#[derive(Debug, Clone, Copy)]
struct BucketColumns {
    offset: usize,
    counts: usize,
}

/// The fields of all three messages, other than attributes and exemplars.
#[derive(Debug, Default)]
struct HistogramPoint {
    start_time: u64,
    time: u64,
    count: u64,
    sum: Option<f64>,
    min: Option<f64>,
    max: Option<f64>,
    flags: u32,
    has_exemplars: bool,
    bounds: Vec<f64>,
    counts: Vec<i64>,
    scale: i32,
    zero_count: u64,
    zero_threshold: f64,
    positive: Buckets,
    negative: Buckets,
    quantiles: Vec<f64>,
    quantile_values: Vec<f64>,
}

/// Exponential buckets; without an offset when the message is absent.
#[derive(Debug, Default)]
struct Buckets {
    offset: Option<i32>,
    counts: Vec<i64>,
}

impl HistogramPoint {
    fn clear(&mut self) {
        let Self {
            mut bounds,
            mut counts,
            mut positive,
            mut negative,
            mut quantiles,
            mut quantile_values,
            ..
        } = std::mem::take(self);
        (positive.offset, negative.offset) = (None, None);
        bounds.clear();
        quantiles.clear();
        quantile_values.clear();
        for counts in [&mut counts, &mut positive.counts, &mut negative.counts] {
            counts.clear();
        }
        *self = Self { bounds, counts, positive, negative, quantiles, quantile_values, ..Self::default() };
    }

    /// Reads a field that all three kinds have in common.
    fn read_common(&mut self, field: &Field<'_>) -> Result<(), FieldError> {
        match field.number {
            2 => self.start_time = field.fixed64("start_time_unix_nano")?,
            3 => self.time = field.fixed64("time_unix_nano")?,
            4 => self.count = field.fixed64("count")?,
            5 => self.sum = Some(field.double("sum")?),
            _ => {}
        }
        Ok(())
    }

    fn read_histogram(&mut self, field: &Field<'_>) -> Result<(), FieldError> {
        match field.number {
            6 => field.extend_fixed64("bucket_counts", &mut self.counts, MAX_LIST, |count| {
                ids::signed("bucket_counts", count)
            })?,
            7 => field.extend_fixed64("explicit_bounds", &mut self.bounds, MAX_LIST, |bits| {
                Ok(f64::from_bits(bits))
            })?,
            8 => self.note_exemplar(field)?,
            10 => self.flags = field.uint32("flags")?,
            11 => self.min = Some(field.double("min")?),
            12 => self.max = Some(field.double("max")?),
            _ => self.read_common(field)?,
        }
        Ok(())
    }

    fn read_exponential(&mut self, field: &Field<'_>) -> Result<(), FieldError> {
        match field.number {
            6 => self.scale = field.sint32("scale")?,
            7 => self.zero_count = field.fixed64("zero_count")?,
            8 => {
                self.positive.read(field.bytes("positive")?).map_err(|error| within("positive", error))?;
            }
            9 => {
                self.negative.read(field.bytes("negative")?).map_err(|error| within("negative", error))?;
            }
            10 => self.flags = field.uint32("flags")?,
            11 => self.note_exemplar(field)?,
            12 => self.min = Some(field.double("min")?),
            13 => self.max = Some(field.double("max")?),
            14 => self.zero_threshold = field.double("zero_threshold")?,
            _ => self.read_common(field)?,
        }
        Ok(())
    }

    fn read_summary(&mut self, field: &Field<'_>) -> Result<(), FieldError> {
        match field.number {
            6 => self
                .read_quantile(field.bytes("quantile_values")?)
                .map_err(|error| within("quantile_values", error))?,
            8 => self.flags = field.uint32("flags")?,
            _ => self.read_common(field)?,
        }
        Ok(())
    }

    fn read_quantile(&mut self, message: &[u8]) -> Result<(), FieldError> {
        if self.quantiles.len() == MAX_LIST {
            return Err(FieldError::new("", format!("has more than {MAX_LIST} elements")));
        }
        let (mut quantile, mut value) = (0.0, 0.0);
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => quantile = field.double("quantile")?,
                2 => value = field.double("value")?,
                _ => {}
            }
        }
        self.quantiles.push(quantile);
        self.quantile_values.push(value);
        Ok(())
    }

    fn note_exemplar(&mut self, field: &Field<'_>) -> Result<(), FieldError> {
        self.has_exemplars = true;
        field.bytes("exemplars").map(drop)
    }

    /// Buckets and bounds must go together: one more count than bounds, or none of both.
    fn check_buckets(&self) -> Result<(), FieldError> {
        let (counts, bounds) = (self.counts.len(), self.bounds.len());
        if self.has_no_value() || (counts, bounds) == (0, 0) || counts == bounds + 1 {
            return Ok(());
        }
        Err(FieldError::new(
            "bucket_counts",
            format!(
                "has {counts} counts for {bounds} explicit_bounds: there must be one more, or none of both"
            ),
        ))
    }

    fn has_no_value(&self) -> bool {
        self.flags & NO_RECORDED_VALUE != 0
    }
}

impl Buckets {
    fn read(&mut self, message: &[u8]) -> Result<(), FieldError> {
        // A message that is there has an offset, 0 unless it says otherwise.
        let mut offset = self.offset.unwrap_or(0);
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => offset = field.sint32("offset")?,
                2 => field.extend_varints("bucket_counts", &mut self.counts, MAX_LIST, |count| {
                    ids::signed("bucket_counts", count)
                })?,
                _ => {}
            }
        }
        self.offset = Some(offset);
        Ok(())
    }

    fn write(&self, row: &mut TableBuilder, columns: BucketColumns) -> Result<(), FieldError> {
        if let Some(offset) = self.offset {
            row.set_int(columns.offset, i64::from(offset))?;
        }
        row.set_ints(columns.counts, self.counts.iter().copied())
    }
}

impl Histograms {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_HISTOGRAMS)?;
        let column = |name| origin::column(&table, name);
        let columns = Columns {
            time: column("time")?,
            metric: column("metric")?,
            labels: column("labels")?,
            kind: column("type")?,
            unit: column("unit")?,
            temporality: column("temporality")?,
            start_time: column("start_time")?,
            flags: column("flags")?,
            count: column("count")?,
            sum: column("sum")?,
            min: column("min")?,
            max: column("max")?,
            bounds: column("bounds")?,
            counts: column("counts")?,
            scale: column("scale")?,
            zero_count: column("zero_count")?,
            zero_threshold: column("zero_threshold")?,
            positive: BucketColumns {
                offset: column("positive_offset")?,
                counts: column("positive_counts")?,
            },
            negative: BucketColumns {
                offset: column("negative_offset")?,
                counts: column("negative_counts")?,
            },
            quantiles: column("quantiles")?,
            quantile_values: column("quantile_values")?,
        };
        let origin = OriginColumns::of(&table)?;
        Ok(Self { table, columns, origin, point: HistogramPoint::default() })
    }

    /// Fills the open row with the point in `bytes` and leaves it open.
    pub(super) fn write<'p>(
        &mut self,
        head: &Head<'_>,
        origin: Origin<'_>,
        bytes: &'p [u8],
        values: &mut Values,
    ) -> Result<Point<'p>, FieldError> {
        let (attributes, exemplars) = match head.kind {
            Kind::ExponentialHistogram => (1, 11),
            Kind::Summary => (7, 0),
            _ => (9, 8),
        };
        self.point.clear();
        if head.kind == Kind::Summary {
            self.point.sum = Some(0.0);
        }
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            if field.number == attributes {
                let pair = field.bytes("attributes")?;
                if let Some(labels) = self.table.attributes(self.columns.labels) {
                    values.push_attribute(labels, "attributes", pair)?;
                }
                continue;
            }
            match head.kind {
                Kind::ExponentialHistogram => self.point.read_exponential(&field)?,
                Kind::Summary => self.point.read_summary(&field)?,
                _ => self.point.read_histogram(&field)?,
            }
        }
        self.point.check_buckets()?;
        let time = super::time(self.point.time)?;
        self.write_row(head, origin, time).map_err(in_senders_words)?;
        let exemplars = self.point.has_exemplars.then_some(exemplars);
        Ok(Point { bytes, time, attributes, exemplars })
    }

    fn write_row(&mut self, head: &Head<'_>, origin: Origin<'_>, time: i64) -> Result<(), FieldError> {
        let (row, columns, point) = (&mut self.table, &self.columns, &self.point);
        row.set_time(columns.time, time)?;
        row.set_text(columns.metric, head.name)?;
        row.set_text(columns.kind, head.kind.name())?;
        row.set_text(columns.unit, head.unit)?;
        if let Some(temporality) = head.temporality {
            row.set_text(columns.temporality, temporality)?;
        }
        if point.start_time != 0 {
            row.set_time(columns.start_time, ids::signed("start_time", point.start_time)?)?;
        }
        if point.flags != 0 {
            row.set_int(columns.flags, i64::from(point.flags))?;
        }
        if !point.has_no_value() {
            row.set_int(columns.count, ids::signed("count", point.count)?)?;
            for (column, value) in
                [(columns.sum, point.sum), (columns.min, point.min), (columns.max, point.max)]
            {
                if let Some(value) = value {
                    row.set_double(column, value)?;
                }
            }
        }
        row.set_doubles(columns.bounds, point.bounds.iter().copied())?;
        row.set_ints(columns.counts, point.counts.iter().copied())?;
        row.set_doubles(columns.quantiles, point.quantiles.iter().copied())?;
        row.set_doubles(columns.quantile_values, point.quantile_values.iter().copied())?;
        if head.kind == Kind::ExponentialHistogram {
            row.set_int(columns.scale, i64::from(point.scale))?;
            if !point.has_no_value() {
                row.set_int(columns.zero_count, ids::signed("zero_count", point.zero_count)?)?;
            }
            row.set_double(columns.zero_threshold, point.zero_threshold)?;
            point.positive.write(row, columns.positive)?;
            point.negative.write(row, columns.negative)?;
        }
        self.origin.write(row, origin, "")
    }
}
