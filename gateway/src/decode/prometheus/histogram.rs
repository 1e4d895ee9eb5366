//! A native histogram: `Histogram` in, buckets as the tables hold them out.
//!
//! | field | number | | field | number |
//! |---|---|---|---|---|
//! | `count_int`, `count_float` | 1, 2 | | negative spans, deltas, counts | 8, 9, 10 |
//! | `sum` | 3 | | positive spans, deltas, counts | 11, 12, 13 |
//! | `schema` | 4 | | `reset_hint` | 14 |
//! | `zero_threshold` | 5 | | `timestamp` | 15 |
//! | `zero_count_int`, `zero_count_float` | 6, 7 | | `custom_values`, `start_timestamp` | 16, 17 |
//!
//! A span is a gap (field 1) and a number of buckets (field 2). Prometheus numbers a bucket by its upper bound and OTLP,
//! and with it our tables, by its lower one: an offset here is one less than there. Buckets between spans are 0.

use super::series;
use crate::decode::FieldError;
use crate::decode::wire::{Field, Reader};

/// The schema of a histogram whose bounds are its `custom_values`.
pub(super) const CUSTOM_BOUNDS: i32 = -53;
/// Most spans of one side, and most buckets from the first to the last: an exponential histogram of all doubles has
/// 65,536 at schema 5.
const MAX_BUCKETS: usize = 1 << 16;

/// Counts of one side as they are sent.
#[derive(Debug, Default)]
struct Side {
    spans: Vec<(i32, u32)>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// Counts without gaps.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Buckets {
    /// The number of the first bucket, by its upper bound.
    first: i64,
    /// For a histogram of integers.
    pub(super) counts: Vec<i64>,
    /// For a histogram of floats.
    pub(super) floats: Vec<f64>,
}

/// A count, which in a histogram of floats need not be whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Count {
    Int(u64),
    Float(f64),
}

/// What is said about a reset between this histogram and the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResetHint {
    Unknown,
    Yes,
    No,
    Gauge,
}

/// A native histogram.
#[derive(Debug)]
pub(super) struct Histogram {
    pub(super) time: i64,
    pub(super) start: Option<i64>,
    pub(super) count: Count,
    pub(super) sum: f64,
    pub(super) schema: i32,
    pub(super) zero_threshold: f64,
    pub(super) zero_count: Count,
    pub(super) positive: Buckets,
    pub(super) negative: Buckets,
    pub(super) reset_hint: ResetHint,
    pub(super) custom_values: Vec<f64>,
}

impl Histogram {
    /// Reads the histogram in `field` and checks that its parts go together.
    pub(super) fn read(field: &Field<'_>) -> Result<Self, FieldError> {
        let (mut positive, mut negative) = (Side::default(), Side::default());
        let mut histogram = Self {
            time: 0,
            start: None,
            count: Count::Int(0),
            sum: 0.0,
            schema: 0,
            zero_threshold: 0.0,
            zero_count: Count::Int(0),
            positive: Buckets::default(),
            negative: Buckets::default(),
            reset_hint: ResetHint::Unknown,
            custom_values: Vec::new(),
        };
        let mut reader = Reader::new(field.bytes("histograms")?);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => histogram.count = Count::Int(field.varint("count_int")?),
                2 => histogram.count = Count::Float(field.double("count_float")?),
                3 => histogram.sum = field.double("sum")?,
                4 => histogram.schema = field.sint32("schema")?,
                5 => histogram.zero_threshold = field.double("zero_threshold")?,
                6 => histogram.zero_count = Count::Int(field.varint("zero_count_int")?),
                7 => histogram.zero_count = Count::Float(field.double("zero_count_float")?),
                8 => negative.span("negative_spans", &field)?,
                9 => negative.delta("negative_deltas", &field)?,
                10 => negative.count("negative_counts", &field)?,
                11 => positive.span("positive_spans", &field)?,
                12 => positive.delta("positive_deltas", &field)?,
                13 => positive.count("positive_counts", &field)?,
                14 => histogram.reset_hint = ResetHint::of(field.int32("reset_hint")?),
                15 => histogram.time = series::time(&field)?,
                16 => field.extend_fixed64(
                    "custom_values",
                    &mut histogram.custom_values,
                    MAX_BUCKETS,
                    |bits| Ok(f64::from_bits(bits)),
                )?,
                17 => histogram.start = series::start(field.varint("start_timestamp")?.cast_signed())?,
                _ => {}
            }
        }
        let is_float = matches!(histogram.count, Count::Float(_));
        histogram.positive = positive.buckets("positive", is_float)?;
        histogram.negative = negative.buckets("negative", is_float)?;
        histogram.check_schema()?;
        Ok(histogram)
    }

    fn check_schema(&mut self) -> Result<(), FieldError> {
        match self.schema {
            -4..=8 => Ok(()),
            CUSTOM_BOUNDS => {
                let buckets = self.custom_values.len() + 1;
                if self.negative.len() > 0 {
                    return Err(FieldError::new("negative_spans", "must be empty with custom_values"));
                }
                self.positive.stretch(buckets).ok_or_else(|| {
                    let reason = format!("do not fit the {} custom_values", self.custom_values.len());
                    FieldError::new("positive_spans", reason)
                })
            }
            other => {
                let reason = format!("is {other}: -4 to 8 and {CUSTOM_BOUNDS} are known");
                Err(FieldError::new("schema", reason))
            }
        }
    }
}

impl ResetHint {
    fn of(number: i32) -> Self {
        match number {
            1 => Self::Yes,
            2 => Self::No,
            3 => Self::Gauge,
            _ => Self::Unknown,
        }
    }

    /// The word in `envelope`; none when nothing is said.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::Unknown => None,
            Self::Yes => Some("yes"),
            Self::No => Some("no"),
            Self::Gauge => Some("gauge"),
        }
    }
}

impl Side {
    fn span(&mut self, name: &str, field: &Field<'_>) -> Result<(), FieldError> {
        if self.spans.len() == MAX_BUCKETS {
            return Err(FieldError::new(name, format!("has more than {MAX_BUCKETS} spans")));
        }
        let (mut gap, mut length) = (0, 0);
        let mut reader = Reader::new(field.bytes(name)?);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => gap = field.sint32(name)?,
                2 => length = field.uint32(name)?,
                _ => {}
            }
        }
        self.spans.push((gap, length));
        Ok(())
    }

    fn delta(&mut self, name: &str, field: &Field<'_>) -> Result<(), FieldError> {
        field.extend_varints(name, &mut self.deltas, MAX_BUCKETS, |bits| {
            Ok((bits >> 1).cast_signed() ^ -(bits & 1).cast_signed())
        })
    }

    fn count(&mut self, name: &str, field: &Field<'_>) -> Result<(), FieldError> {
        field.extend_fixed64(name, &mut self.counts, MAX_BUCKETS, |bits| Ok(f64::from_bits(bits)))
    }

    /// Lays the buckets out without gaps.
    fn buckets(self, name: &str, is_float: bool) -> Result<Buckets, FieldError> {
        let fail = |part: &str, reason: String| Err(FieldError::new(format!("{name}_{part}"), reason));
        let (given, unexpected, kind) = match is_float {
            true => (self.counts.len(), self.deltas.len(), "counts"),
            false => (self.deltas.len(), self.counts.len(), "deltas"),
        };
        if unexpected > 0 {
            let wrong = if is_float { "deltas" } else { "counts" };
            return fail(
                wrong,
                format!(
                    "do not belong to a histogram whose count is {}",
                    if is_float { "a float" } else { "an integer" }
                ),
            );
        }
        let wanted: u64 = self.spans.iter().map(|(_, length)| u64::from(*length)).sum();
        if wanted != given as u64 {
            return fail(kind, format!("has {given} buckets where the spans have {wanted}"));
        }
        let mut counts = Vec::with_capacity(given);
        let mut last = 0_i64;
        for delta in &self.deltas {
            last = match last.checked_add(*delta).filter(|count| *count >= 0) {
                Some(count) => count,
                None => return fail(kind, "gives a bucket a count below 0 or above 2^63".to_owned()),
            };
            counts.push(last);
        }
        let mut buckets = Buckets::default();
        let mut next = 0_i64;
        let mut filled = 0;
        for (at, (gap, length)) in self.spans.iter().enumerate() {
            if at > 0 && *gap < 0 {
                return fail("spans", "go backwards: only the first may begin below 0".to_owned());
            }
            next += i64::from(*gap);
            if *length == 0 {
                continue;
            }
            if filled == 0 {
                buckets.first = next;
            }
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            let before = usize::try_from(next - buckets.first).unwrap_or(usize::MAX);
            if before.saturating_add(length) > MAX_BUCKETS {
                return fail("spans", format!("lie more than {MAX_BUCKETS} buckets apart"));
            }
            if is_float {
                buckets.floats.resize(before, 0.0);
                buckets
                    .floats
                    .extend_from_slice(self.counts.get(filled..filled + length).unwrap_or_default());
            } else {
                buckets.counts.resize(before, 0);
                buckets.counts.extend_from_slice(counts.get(filled..filled + length).unwrap_or_default());
            }
            filled += length;
            next += i64::try_from(length).unwrap_or(i64::MAX);
        }
        Ok(buckets)
    }
}

impl Buckets {
    /// Buckets from the first to the last.
    pub(super) fn len(&self) -> usize {
        self.counts.len().max(self.floats.len())
    }

    /// The number of the first bucket by its lower bound; none when there are no buckets.
    pub(super) fn offset(&self) -> Option<i64> {
        (self.len() > 0).then(|| self.first - 1)
    }

    /// The counts as integers: those of floats are rounded.
    pub(super) fn whole(&self) -> Vec<i64> {
        if self.floats.is_empty() {
            self.counts.clone()
        } else {
            self.floats.iter().map(|count| rounded(*count)).collect()
        }
    }

    /// Makes them begin at 0 and be `buckets` in number; none when they do not fit.
    fn stretch(&mut self, buckets: usize) -> Option<()> {
        let before = usize::try_from(self.first).ok()?;
        if before + self.len() > buckets {
            return None;
        }
        let is_float = !self.floats.is_empty();
        self.first = 0;
        if is_float {
            self.floats.splice(0..0, std::iter::repeat_n(0.0, before));
            self.floats.resize(buckets, 0.0);
        } else {
            self.counts.splice(0..0, std::iter::repeat_n(0, before));
            self.counts.resize(buckets, 0);
        }
        Some(())
    }
}

impl Count {
    /// The count as an integer: a float is rounded.
    pub(super) fn whole(self, field: &str) -> Result<i64, FieldError> {
        match self {
            Self::Int(count) => i64::try_from(count).map_err(|_| {
                FieldError::new(field, format!("{count} is above {}, the stores' largest integer", i64::MAX))
            }),
            Self::Float(count) => Ok(rounded(count)),
        }
    }
}

/// The nearest integer that the stores hold; 0 for what is no number.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates, which is what is wanted")]
fn rounded(count: f64) -> i64 {
    count.round() as i64
}
