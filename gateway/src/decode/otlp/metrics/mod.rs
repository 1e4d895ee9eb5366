//! `Metric`s in, rows of `metrics_events`, `metrics_histograms`, `metrics_exemplars` and `metrics_metadata` out.
//!
//! The record that is counted, stored or refused is the data point, together with its exemplars. What is wrong with
//! the metric itself (no name, no temporality, two kinds of data) is wrong with each of its points.
//!
//! | data | number | table | temporality |
//! |---|---|---|---|
//! | gauge | 5 | `metrics_events` | none |
//! | sum | 7 | `metrics_events` | delta or cumulative |
//! | histogram | 9 | `metrics_histograms` | delta or cumulative |
//! | exponential histogram | 10 | `metrics_histograms` | delta or cumulative |
//! | summary | 11 | `metrics_histograms` | none |

mod exemplars;
mod histograms;
mod metadata;
mod numbers;

use self::exemplars::Exemplars;
use self::histograms::Histograms;
use self::metadata::{Identity, Metadata};
use self::numbers::Numbers;
use super::envelope::SharedByPoints;
use super::ids;
use super::origin::{self, Origin};
use super::outcome::{Kept, Warning};
use super::walk::{Items, State};
use crate::decode::any_value::Values;
use crate::decode::wire::{Field, Reader};
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError};
use crate::registry::builtin::{METRICS_EVENTS, METRICS_HISTOGRAMS};

/// Most buckets, bounds or quantiles of one point.
const MAX_LIST: usize = 1 << 17;
/// The bit of a point's flags that says that it has no value: the series has ended or could not be read.
const NO_RECORDED_VALUE: u32 = 1;

/// The sender's words for columns with names of their own.
const WORDS: [(&str, &str); 9] = [
    ("time", "time_unix_nano"),
    ("start_time", "start_time_unix_nano"),
    ("metric", "name"),
    ("bounds", "explicit_bounds"),
    ("counts", "bucket_counts"),
    ("point_time", "time_unix_nano"),
    ("filtered_labels", "filtered_attributes"),
    ("quantiles", "quantile_values.quantile"),
    ("quantile_values", "quantile_values.value"),
];

/// The builders of the four tables.
#[derive(Debug)]
pub(super) struct Metrics<'a> {
    numbers: Numbers,
    histograms: Histograms,
    exemplars: Exemplars,
    metadata: Metadata<'a>,
}

/// The kinds of data that a metric can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Gauge,
    Sum,
    Histogram,
    ExponentialHistogram,
    Summary,
}

/// A metric without its points.
#[derive(Debug)]
struct Metric<'a> {
    name: &'a str,
    description: &'a str,
    unit: &'a str,
    kind: Option<Kind>,
    /// Several kinds of data, or something in the head that cannot be read.
    error: Option<FieldError>,
    /// A field that this version of the gateway does not know.
    has_unknown: bool,
    temporality: i32,
    is_monotonic: bool,
}

/// What all points of a metric share.
#[derive(Debug, Clone, Copy)]
struct Head<'a> {
    name: &'a str,
    unit: &'a str,
    kind: Kind,
    temporality: Option<&'static str>,
    monotonic: Option<bool>,
}

impl Kind {
    fn of(number: u32) -> Option<Self> {
        match number {
            5 => Some(Self::Gauge),
            7 => Some(Self::Sum),
            9 => Some(Self::Histogram),
            10 => Some(Self::ExponentialHistogram),
            11 => Some(Self::Summary),
            _ => None,
        }
    }

    fn number(self) -> u32 {
        match self {
            Self::Gauge => 5,
            Self::Sum => 7,
            Self::Histogram => 9,
            Self::ExponentialHistogram => 10,
            Self::Summary => 11,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::ExponentialHistogram => "exponential_histogram",
            Self::Summary => "summary",
        }
    }

    fn table(self) -> &'static str {
        match self {
            Self::Gauge | Self::Sum => METRICS_EVENTS,
            Self::Histogram | Self::ExponentialHistogram | Self::Summary => METRICS_HISTOGRAMS,
        }
    }

    fn has_temporality(self) -> bool {
        !matches!(self, Self::Gauge | Self::Summary)
    }
}

impl<'a> Metric<'a> {
    /// Reads a metric. An error means that its points cannot be told apart; what else is wrong goes to `error`.
    fn read(bytes: &'a [u8]) -> Result<Self, FieldError> {
        let mut metric = Self {
            name: "",
            description: "",
            unit: "",
            kind: None,
            error: None,
            has_unknown: false,
            temporality: 0,
            is_monotonic: false,
        };
        let mut reader = Reader::new(bytes);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => metric.name = metric.text(&field, "name"),
                2 => metric.description = metric.text(&field, "description"),
                3 => metric.unit = metric.text(&field, "unit"),
                12 => {}
                number => match Kind::of(number) {
                    Some(kind) => metric.read_data(kind, field.bytes(kind.name())?)?,
                    None => metric.has_unknown = true,
                },
            }
        }
        Ok(metric)
    }

    fn text(&mut self, field: &Field<'a>, name: &str) -> &'a str {
        field.text(name).unwrap_or_else(|error| {
            self.error = Some(error);
            ""
        })
    }

    fn read_data(&mut self, kind: Kind, data: &'a [u8]) -> Result<(), FieldError> {
        if self.kind.is_some_and(|earlier| earlier != kind) {
            self.error = Some(FieldError::new("data", "has more than one kind of data: only one is allowed"));
        }
        self.kind = Some(kind);
        let mut reader = Reader::new(data);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => {
                    field.bytes("data_points")?;
                }
                2 if kind.has_temporality() => match field.int32("aggregation_temporality") {
                    Ok(temporality) => self.temporality = temporality,
                    Err(error) => self.error = Some(error),
                },
                3 if kind == Kind::Sum => match field.bool("is_monotonic") {
                    Ok(is_monotonic) => self.is_monotonic = is_monotonic,
                    Err(error) => self.error = Some(error),
                },
                _ => {}
            }
        }
        Ok(())
    }

    fn head(&self, kind: Kind) -> Result<Head<'a>, FieldError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        if self.name.is_empty() {
            return Err(FieldError::new("name", "is empty: a metric must have a name"));
        }
        let temporality = match self.temporality {
            _ if !kind.has_temporality() => None,
            1 => Some("delta"),
            2 => Some("cumulative"),
            other => {
                return Err(FieldError::new(
                    "aggregation_temporality",
                    format!("is {other}: it must be 1 (delta) or 2 (cumulative)"),
                ));
            }
        };
        let monotonic = (kind == Kind::Sum).then_some(self.is_monotonic);
        Ok(Head { name: self.name, unit: self.unit, kind, temporality, monotonic })
    }
}

impl<'a> Metrics<'a> {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            numbers: Numbers::new(context)?,
            histograms: Histograms::new(context)?,
            exemplars: Exemplars::new(context)?,
            metadata: Metadata::new(context)?,
        })
    }

    pub(super) fn finish(self, mut state: State) -> Result<Decoded, DecodeError> {
        let metadata = self.metadata.finish(&mut state);
        state.finish([self.numbers.table, self.histograms.table, self.exemplars.table, metadata])
    }

    /// Stores a point with its exemplars, or nothing of it.
    fn point(
        &mut self,
        head: &Head<'_>,
        origin: Origin<'_>,
        bytes: &[u8],
        values: &mut Values,
    ) -> Result<(), FieldError> {
        let exemplars_before = self.exemplars.table.rows();
        let result = match head.kind {
            Kind::Gauge | Kind::Sum => {
                let Self { numbers, exemplars, .. } = self;
                numbers.write(head, origin, bytes, values).and_then(|point| {
                    exemplars.write(head, origin, &point, values)?;
                    numbers.table.end_row().map_err(in_senders_words)
                })
            }
            Kind::Histogram | Kind::ExponentialHistogram | Kind::Summary => {
                let Self { histograms, exemplars, .. } = self;
                histograms.write(head, origin, bytes, values).and_then(|point| {
                    exemplars.write(head, origin, &point, values)?;
                    histograms.table.end_row().map_err(in_senders_words)
                })
            }
        };
        if result.is_err() {
            self.numbers.table.discard_row();
            self.histograms.table.discard_row();
            self.exemplars.table.truncate(exemplars_before);
        }
        result
    }
}

/// The time of a point.
fn time(nanos: u64) -> Result<i64, FieldError> {
    if nanos == 0 {
        return Err(FieldError::new("time_unix_nano", "is 0: a data point must have a time"));
    }
    ids::signed("time_unix_nano", nanos)
}

fn in_senders_words(error: FieldError) -> FieldError {
    origin::in_senders_words(error, &WORDS)
}

// === impl Metrics ===

impl<'a> Items<'a> for Metrics<'a> {
    const TABLE: &'static str = METRICS_EVENTS;

    fn item(
        &mut self,
        origin: Result<Origin<'_>, &FieldError>,
        bytes: &'a [u8],
        state: &mut State,
    ) -> Result<(), DecodeError> {
        let metric = match Metric::read(bytes) {
            Ok(metric) => metric,
            Err(error) => return state.outcome.record(METRICS_EVENTS, bytes, Err(error)),
        };
        let Some(kind) = metric.kind else {
            // Data of a kind that is newer than this gateway must not vanish.
            if metric.has_unknown {
                let error = FieldError::new("data", "is of a kind that this gateway does not know");
                return state.outcome.record(METRICS_EVENTS, bytes, Err(error));
            }
            state.outcome.warn(Warning::NoData, 1);
            return Ok(());
        };
        let head = metric.head(kind);
        if let Ok(head) = &head {
            self.metadata.note(Identity::of(head), metric.description, bytes);
        }
        let mut shared: Option<SharedByPoints> = None;
        let mut metric_reader = Reader::new(bytes);
        while let Ok(Some(field)) = metric_reader.field() {
            let (Some(_), Ok(data)) = (Kind::of(field.number), field.bytes("")) else { continue };
            let mut data_reader = Reader::new(data);
            while let Ok(Some(field)) = data_reader.field() {
                let (1, Ok(point)) = (field.number, field.bytes("")) else { continue };
                let result = match (&head, origin) {
                    (Ok(head), Ok(origin)) => self.point(head, origin, point, &mut state.values),
                    (Err(error), _) | (_, Err(error)) => Err(error.clone()),
                };
                let kept = if result.is_ok() {
                    Kept::Item(point)
                } else {
                    let metric = shared.get_or_insert_with(|| SharedByPoints::of(bytes, kind.number()));
                    Kept::Point(metric, point)
                };
                state.outcome.record_in(kind.table(), result, kept)?;
            }
        }
        Ok(())
    }
}
