//! Vector's metric events, as its `http` sink encodes them: one JSON object in, one row out.
//!
//! ```json
//! {"name":"requests","namespace":"web","tags":{"host":"a"},"timestamp":"2024-05-01T12:30:00Z",
//!  "kind":"incremental","counter":{"value":3.0}}
//! ```
//!
//! | value | table | type | |
//! |---|---|---|---|
//! | `counter` | `metrics_events` | `sum` | monotonic |
//! | `gauge` | `metrics_events` | `gauge` | |
//! | `set` | `metrics_events` | `set` | the value is the number of members; they are in `envelope` |
//! | `distribution` | `metrics_histograms` | `distribution` | one bucket per distinct sample, so nothing is lost |
//! | `aggregated_histogram` | `metrics_histograms` | `histogram` | |
//! | `aggregated_summary` | `metrics_histograms` | `summary` | |
//! | `sketch` | refused | | its bins mean nothing without the sketch's own parameters |
//!
//! The metric is called `namespace_name`, as Vector's own Prometheus sinks call it. `incremental` is the temporality
//! `delta`, `absolute` is `cumulative`; `interval_ms` gives the start. Source: Vector, `lib/vector-core/src/event/metric`.

mod row;

use self::row::{Row, ValueError};
use super::cell;
use super::record::RecordReader;
use super::value::{Member, Value};
use crate::decode::FieldError;
use crate::registry::builtin;

/// The kinds of value that a metric of Vector's can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MetricShape {
    Counter,
    Gauge,
    Set,
    Distribution,
    AggregatedHistogram,
    AggregatedSummary,
    Sketch,
}

impl MetricShape {
    pub(super) const ALL: [Self; 7] = [
        Self::Counter,
        Self::Gauge,
        Self::Set,
        Self::Distribution,
        Self::AggregatedHistogram,
        Self::AggregatedSummary,
        Self::Sketch,
    ];

    /// The field that holds the value.
    pub(super) fn key(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Set => "set",
            Self::Distribution => "distribution",
            Self::AggregatedHistogram => "aggregated_histogram",
            Self::AggregatedSummary => "aggregated_summary",
            Self::Sketch => "sketch",
        }
    }

    /// The word in the `type` column.
    fn type_name(self) -> &'static str {
        match self {
            Self::Counter => "sum",
            Self::Gauge => "gauge",
            Self::Set => "set",
            Self::Distribution => "distribution",
            Self::AggregatedHistogram => "histogram",
            Self::AggregatedSummary => "summary",
            Self::Sketch => "sketch",
        }
    }

    fn is_scalar(self) -> bool {
        matches!(self, Self::Counter | Self::Gauge | Self::Set)
    }
}

/// What comes with every metric.
#[derive(Debug, Default)]
struct Series<'b> {
    name: Option<Value<'b>>,
    namespace: Option<Value<'b>>,
    time: Option<i64>,
    interval_ms: Option<i64>,
    temporality: Option<&'static str>,
}

impl<'b> RecordReader<'_, 'b> {
    /// Whether the record is one of Vector's, and not a sample with a label that is called `counter`.
    pub(super) fn is_vector_metric(&self) -> bool {
        let has = |name: &str| self.members.iter().any(|(key, _)| key == name);
        has("name") && has("kind")
    }

    /// Reads the record at hand; `value` is the index of the member that holds the value.
    pub(super) fn read_vector_metric(&mut self, shape: MetricShape, value: usize) -> Result<(), FieldError> {
        if shape == MetricShape::Sketch {
            return Err(FieldError::new(
                "sketch",
                "sketches cannot be stored: send a distribution or an aggregated_histogram",
            ));
        }
        let series = self.read_series()?;
        let members = std::mem::take(&mut self.members);
        let written = self.write_metric(shape, &series, &members, value);
        self.members = members;
        written
    }

    fn read_series(&mut self) -> Result<Series<'b>, FieldError> {
        let mut series = Series::default();
        for (key, text) in &self.members {
            let fail = |reason: String| FieldError::new(&**key, reason);
            let value = Value::read(text).map_err(fail)?;
            if value == Value::Null {
                continue;
            }
            match &**key {
                "name" => series.name = Some(value),
                "namespace" => series.namespace = Some(value),
                "timestamp" => series.time = Some(cell::read_time(&value, &mut self.scratch).map_err(fail)?),
                "interval_ms" => {
                    let interval = cell::read_int(&value, &mut self.scratch).and_then(Result::ok);
                    let interval = interval.filter(|&interval| interval > 0);
                    series.interval_ms =
                        Some(interval.ok_or_else(|| fail("is not a number of milliseconds".into()))?);
                }
                "kind" => {
                    series.temporality = Some(match &value {
                        Value::String(kind) if kind == "incremental" => "delta",
                        Value::String(kind) if kind == "absolute" => "cumulative",
                        _ => return Err(fail("is neither \"incremental\" nor \"absolute\"".into())),
                    });
                }
                _ => {}
            }
        }
        Ok(series)
    }

    fn write_metric(
        &mut self,
        shape: MetricShape,
        series: &Series<'b>,
        members: &[Member<'b>],
        value: usize,
    ) -> Result<(), FieldError> {
        let now = self.context.now_nanos;
        let scratch = &mut self.scratch;
        let rows = if shape.is_scalar() {
            &mut self.rows
        } else {
            if self.histograms.is_none() {
                let builder = self.context.builder(builtin::METRICS_HISTOGRAMS);
                self.histograms = Some(builder.map_err(|error| FieldError::new("", error.to_string()))?);
            }
            match &mut self.histograms {
                Some(histograms) => histograms,
                None => return Err(FieldError::new("", "there is no table for histograms")),
            }
        };
        let name = match (&series.namespace, &series.name) {
            (_, None) => return Err(FieldError::new("name", "is missing")),
            (Some(Value::String(namespace)), Some(Value::String(name))) => format!("{namespace}_{name}"),
            (None, Some(Value::String(name))) => name.to_string(),
            _ => return Err(FieldError::new("name", "and namespace must be strings")),
        };
        scratch.warnings.missing_times += usize::from(series.time.is_none());
        let time = series.time.unwrap_or(now);
        let label_objects = &mut self.label_objects;
        label_objects.clear();
        let mut row = Row { rows };
        row.time("time", time)?;
        if let Some(interval) = series.interval_ms {
            row.time("start_time", time.saturating_sub(interval.saturating_mul(1_000_000)))?;
        }
        row.text("metric", &name)?;
        row.text("type", shape.type_name())?;
        row.text("temporality", series.temporality.unwrap_or("cumulative"))?;
        for (at, (key, text)) in members.iter().enumerate() {
            let written = match &**key {
                "name" | "namespace" | "timestamp" | "interval_ms" | "kind" => Ok(()),
                _ if at == value => Ok(()),
                "tags" => {
                    let first = row.open_labels();
                    let written = row.tags(text, scratch);
                    label_objects.add(at, first..row.open_labels());
                    written
                }
                _ => Value::read(text).and_then(|value| row.label(key, &value, scratch)),
            };
            written.map_err(|reason| FieldError::new(&**key, reason))?;
        }
        if let Some(labels) = row.labels() {
            label_objects.name_apart(labels, members, &mut scratch.warnings);
        }
        let (key, text) = members.get(value).map(|(key, text)| (&**key, *text)).unwrap_or_default();
        let fail = |error: ValueError| match error {
            ValueError::Reason(reason) => FieldError::new(key, reason),
            ValueError::Column(error) => error,
        };
        row.value(shape, text, scratch).map_err(fail)?;
        row.rows.end_row()
    }
}
