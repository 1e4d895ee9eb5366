//! What is known of a metric: rows of `metrics_metadata`, once per metric and request.
//!
//! | type | number | `type` | `temporality` | `monotonic` |
//! |---|---|---|---|---|
//! | unknown | 0 | NULL (`''` in `metrics_metadata`) | NULL | NULL |
//! | counter | 1 | `sum` | `cumulative` | true |
//! | gauge | 2 | `gauge` | NULL | NULL |
//! | histogram | 3 | `histogram` | `cumulative` | NULL |
//! | gauge histogram | 4 | `gauge_histogram` | NULL | NULL |
//! | summary | 5 | `summary` | NULL | NULL |
//! | info | 6 | `info` | NULL | NULL |
//! | state set | 7 | `state_set` | NULL | NULL |
//!
//! The words are those of OTLP's metrics where both mean the same, so that one query finds both.

use std::collections::HashMap;

use super::column;
use super::dialect::Dialect;
use crate::decode::wire::Reader;
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::builtin::METRICS_METADATA;

/// The type of a metric, unless it is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    GaugeHistogram,
    Summary,
    Info,
    StateSet,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::Counter,
        Self::Gauge,
        Self::Histogram,
        Self::GaugeHistogram,
        Self::Summary,
        Self::Info,
        Self::StateSet,
    ];

    fn of(number: i32) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
    }

    /// The number on the wire.
    pub(super) fn number(self) -> u8 {
        self as u8 + 1
    }

    /// The word in `type`.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Counter => "sum",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gauge_histogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "state_set",
        }
    }

    pub(super) fn temporality(self) -> Option<&'static str> {
        matches!(self, Self::Counter | Self::Histogram).then_some("cumulative")
    }

    pub(super) fn monotonic(self) -> Option<bool> {
        (self == Self::Counter).then_some(true)
    }
}

/// The metadata of one metric.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known<'a> {
    pub(super) kind: Option<Kind>,
    pub(super) help: &'a str,
    pub(super) unit: &'a str,
}

impl<'a> Known<'a> {
    /// Reads the metadata of a series of 2.0.
    pub(super) fn read_v2(&mut self, message: &'a [u8], dialect: &Dialect<'a>) -> Result<(), FieldError> {
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                1 => self.kind = Kind::of(field.int32("metadata.type")?),
                3 => self.help = dialect.symbol("metadata.help_ref", field.uint32("metadata.help_ref")?)?,
                4 => self.unit = dialect.symbol("metadata.unit_ref", field.uint32("metadata.unit_ref")?)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.kind.is_none() && self.help.is_empty() && self.unit.is_empty()
    }
}

/// Reads a metadata of 1.0, with the name of its metric.
pub(super) fn read_family(message: &[u8]) -> Result<(&str, Known<'_>), FieldError> {
    let (mut name, mut known) = ("", Known::default());
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            1 => known.kind = Kind::of(field.int32("metadata.type")?),
            2 => name = field.text("metadata.metric_family_name")?,
            4 => known.help = field.text("metadata.help")?,
            5 => known.unit = field.text("metadata.unit")?,
            _ => {}
        }
    }
    if name.is_empty() {
        return Err(FieldError::new("metadata.metric_family_name", "is empty"));
    }
    Ok((name, known))
}

/// The metrics of one request and the builder of `metrics_metadata`.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    table: TableBuilder,
    columns: Columns,
    now_nanos: i64,
    /// The help text by what tells two metrics apart: the table's key.
    metrics: HashMap<(&'a str, Option<Kind>, &'a str), &'a str>,
}

#[derive(Debug)]
struct Columns {
    metric: usize,
    kind: usize,
    unit: usize,
    temporality: usize,
    monotonic: usize,
    description: usize,
    updated_at: usize,
}

impl<'a> Metadata<'a> {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_METADATA)?;
        let columns = Columns {
            metric: column(&table, "metric")?,
            kind: column(&table, "type")?,
            unit: column(&table, "unit")?,
            temporality: column(&table, "temporality")?,
            monotonic: column(&table, "monotonic")?,
            description: column(&table, "description")?,
            updated_at: column(&table, "updated_at")?,
        };
        Ok(Self { table, columns, now_nanos: context.now_nanos, metrics: HashMap::new() })
    }

    /// Notes what a series says of its metric, if it says anything; of several the last counts.
    pub(super) fn note(&mut self, name: &'a str, known: Known<'a>) {
        if !known.is_empty() {
            self.note_family(name, known);
        }
    }

    /// Notes a metadata that was sent for itself.
    pub(super) fn note_family(&mut self, name: &'a str, known: Known<'a>) {
        self.metrics.insert((name, known.kind, known.unit), known.help);
    }

    /// Whether a metric can be stored.
    pub(super) fn check(&mut self, name: &str, known: Known<'_>) -> Result<(), FieldError> {
        let fits = self.fill(name, known.kind, known.unit, known.help);
        self.table.discard_row();
        fits.map_err(|error| FieldError { field: format!("metadata.{}", error.field), ..error })
    }

    /// The rows, one per metric. One that cannot be stored is left out with a warning.
    pub(super) fn finish(mut self, warnings: &mut Vec<String>) -> TableBuilder {
        let mut metrics: Vec<_> = std::mem::take(&mut self.metrics).into_iter().collect();
        metrics.sort_unstable_by_key(|((name, kind, unit), _)| (*name, kind.map(Kind::number), *unit));
        let mut left_out = 0;
        for ((name, kind, unit), help) in metrics {
            let written = self.fill(name, kind, unit, help).and_then(|()| self.table.end_row());
            if written.is_err() {
                self.table.discard_row();
                left_out += 1;
            }
        }
        if left_out > 0 {
            warnings.push(format!("the metadata of {left_out} metrics could not be stored"));
        }
        self.table
    }

    /// Fills the open row.
    fn fill(&mut self, name: &str, kind: Option<Kind>, unit: &str, help: &str) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        row.check_room(name.len() + unit.len() + help.len())?;
        row.set_text(columns.metric, name)?;
        row.set_text(columns.kind, kind.map_or("", Kind::word))?;
        row.set_text(columns.unit, unit)?;
        row.set_text(columns.temporality, kind.and_then(Kind::temporality).unwrap_or_default())?;
        row.set_bool(columns.monotonic, kind.and_then(Kind::monotonic).unwrap_or_default())?;
        if !help.is_empty() {
            row.set_text(columns.description, help)?;
        }
        row.set_time(columns.updated_at, self.now_nanos)
    }
}
