//! What is known of each metric, once per request: rows of `metrics_metadata`.

use std::collections::HashMap;

use super::Head;
use crate::decode::any_value::Values;
use crate::decode::otlp::origin;
use crate::decode::otlp::outcome::Warning;
use crate::decode::otlp::walk::State;
use crate::decode::{DecodeContext, DecodeError, FieldError, TableBuilder};
use crate::registry::builtin::METRICS_METADATA;

/// The metrics of one request and the builder of `metrics_metadata`.
#[derive(Debug)]
pub(super) struct Metadata<'a> {
    table: TableBuilder,
    columns: Columns,
    now_nanos: i64,
    places: HashMap<Identity<'a>, usize>,
    metrics: Vec<Known<'a>>,
}

#[derive(Debug)]
struct Columns {
    metric: usize,
    kind: usize,
    unit: usize,
    temporality: usize,
    monotonic: usize,
    description: usize,
    metadata: usize,
    updated_at: usize,
}

/// What tells two metrics of one name apart: the table's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity<'a> {
    name: &'a str,
    kind: &'static str,
    unit: &'a str,
    temporality: &'static str,
    monotonic: bool,
}

#[derive(Debug)]
struct Known<'a> {
    identity: Identity<'a>,
    description: &'a str,
    /// The `Metric`, whose field 12 holds its metadata.
    metric: &'a [u8],
}

impl<'a> Identity<'a> {
    pub(super) fn of(head: &Head<'a>) -> Self {
        Self {
            name: head.name,
            kind: head.kind.name(),
            unit: head.unit,
            temporality: head.temporality.unwrap_or_default(),
            monotonic: head.monotonic.unwrap_or_default(),
        }
    }
}

impl<'a> Metadata<'a> {
    pub(super) fn new(context: &DecodeContext<'_>) -> Result<Self, DecodeError> {
        let table = context.builder(METRICS_METADATA)?;
        let column = |name| origin::column(&table, name);
        let columns = Columns {
            metric: column("metric")?,
            kind: column("type")?,
            unit: column("unit")?,
            temporality: column("temporality")?,
            monotonic: column("monotonic")?,
            description: column("description")?,
            metadata: column("metadata")?,
            updated_at: column("updated_at")?,
        };
        Ok(Self { table, columns, now_nanos: context.now_nanos, places: HashMap::new(), metrics: Vec::new() })
    }

    /// Notes a metric; of several with one identity the last counts.
    pub(super) fn note(&mut self, identity: Identity<'a>, description: &'a str, metric: &'a [u8]) {
        let known = Known { identity, description, metric };
        match self.places.get(&identity).and_then(|&place| self.metrics.get_mut(place)) {
            Some(earlier) => *earlier = known,
            None => {
                self.places.insert(identity, self.metrics.len());
                self.metrics.push(known);
            }
        }
    }

    /// The rows, one per metric. One that cannot be stored is left out with a warning: its points are stored, or
    /// refused for reasons of their own.
    pub(super) fn finish(mut self, state: &mut State) -> TableBuilder {
        for known in std::mem::take(&mut self.metrics) {
            if self.write(&known, &mut state.values).is_err() {
                self.table.discard_row();
                state.outcome.warn(Warning::Metadata, 1);
            }
        }
        self.table
    }

    fn write(&mut self, known: &Known<'_>, values: &mut Values) -> Result<(), FieldError> {
        let (row, columns) = (&mut self.table, &self.columns);
        if let Some(metadata) = row.attributes(columns.metadata) {
            values.push_attributes(metadata, "metadata", known.metric, 12)?;
        }
        row.set_text(columns.metric, known.identity.name)?;
        row.set_text(columns.kind, known.identity.kind)?;
        row.set_text(columns.unit, known.identity.unit)?;
        row.set_text(columns.temporality, known.identity.temporality)?;
        row.set_bool(columns.monotonic, known.identity.monotonic)?;
        if !known.description.is_empty() {
            row.set_text(columns.description, known.description)?;
        }
        row.set_time(columns.updated_at, self.now_nanos)?;
        row.end_row()
    }
}
