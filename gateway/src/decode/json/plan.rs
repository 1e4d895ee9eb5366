//! The plan of a table: what to do with each field name, made once per request.

use std::collections::{HashMap, HashSet};

use super::synonyms;
use super::vector_metric::MetricShape;
use crate::registry::{ColumnType, TableDef, TableKind, builtin};

/// What a field's name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The value of a column. Of several names for it the one with the lowest rank is taken; rank 0 is its own.
    Column { column: usize, rank: u8, role: Role },
    /// An object whose members are labels.
    LabelObject,
    /// The value of one of Vector's metric events.
    VectorMetric(MetricShape),
}

/// How a column's value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// As the column's type says.
    Plain,
    /// The record's time.
    Time,
    /// The text of a log record; what is not a string keeps its type in `message_type`.
    Message,
    /// A log level.
    Level,
    /// An id of this many bytes, hex.
    HexId(usize),
    /// The value of a sample; integers are kept exactly in `value_int`.
    SampleValue,
    /// The kind of a span.
    SpanKind,
    /// The status of a span.
    SpanStatus,
    /// The end of a span.
    SpanEnd,
    /// A duration, to be multiplied by this power of ten.
    SpanDuration(i32),
}

/// What to do with the fields of a table's records.
#[derive(Debug)]
pub(super) struct Plan {
    targets: HashMap<String, Target>,
    /// First parts of the names with a dot.
    prefixes: HashSet<&'static str>,
    pub(super) kind: TableKind,
    pub(super) label_column: Option<usize>,
    pub(super) time_column: Option<usize>,
    /// Columns that other fields than their own may fill or that must be filled; looked up once.
    pub(super) known: KnownColumns,
}

/// Columns with a meaning of their own, where the table has them.
#[derive(Debug, Default)]
pub(super) struct KnownColumns {
    pub(super) message: Option<usize>,
    pub(super) message_type: Option<usize>,
    pub(super) severity_number: Option<usize>,
    pub(super) severity_text: Option<usize>,
    pub(super) level: Option<usize>,
    pub(super) observed_timestamp: Option<usize>,
    pub(super) metric: Option<usize>,
    pub(super) value: Option<usize>,
    pub(super) value_int: Option<usize>,
    pub(super) flags: Option<usize>,
    pub(super) trace_id: Option<usize>,
    pub(super) span_kind: Option<usize>,
    pub(super) span_status: Option<usize>,
    pub(super) status_message: Option<usize>,
    pub(super) duration_ns: Option<usize>,
}

impl Plan {
    pub(super) fn new(table: &TableDef) -> Self {
        let kind = table.spec.kind;
        let mut plan = Self {
            targets: HashMap::new(),
            prefixes: HashSet::new(),
            kind,
            label_column: table.label_column(),
            time_column: table.time_column(),
            known: KnownColumns::of(table),
        };
        for (column, def) in table.columns().iter().enumerate() {
            if def.is_named_as_its_label() {
                continue;
            }
            let name = def.name.as_str();
            let time = table.time_column() == Some(column);
            let role = if time { Role::Time } else { role(kind, name, def.kind) };
            plan.targets.insert(name.to_owned(), Target::Column { column, rank: 0, role });
        }
        if let Some(labels) = table.label_column() {
            let own = table.columns().get(labels).map(|def| def.name.as_str()).unwrap_or_default();
            for name in synonyms::LABEL_OBJECTS.iter().copied().chain([own]) {
                if name == own || table.column_index(name).is_none() {
                    plan.targets.insert(name.to_owned(), Target::LabelObject);
                }
            }
        }
        if let Some(time) = table.time_column() {
            let spans: &[&str] = if kind == TableKind::Traces { synonyms::SPAN_START } else { &[] };
            plan.add_names(time, Role::Time, 1, spans.iter().chain(synonyms::TIME));
        }
        for (column, names) in synonyms::of(kind) {
            let Some(index) = table.column_index(column) else { continue };
            if let Some(def) = table.columns().get(index) {
                plan.add_names(index, role(kind, column, def.kind), 1, names.iter());
            }
        }
        if let Some(duration) = plan.known.duration_ns {
            for (rank, &(name, power)) in (10..).zip(synonyms::SPAN_DURATIONS) {
                plan.add_names(duration, Role::SpanDuration(power), rank, [&name]);
            }
            plan.add_names(duration, Role::SpanEnd, 100, synonyms::SPAN_END);
        }
        if table.name().as_str() == builtin::METRICS_EVENTS {
            for shape in MetricShape::ALL {
                plan.targets.entry(shape.key().to_owned()).or_insert(Target::VectorMetric(shape));
            }
        }
        plan
    }

    /// Names that are a column's own, or that came before, keep their meaning.
    fn add_names<'n>(
        &mut self,
        column: usize,
        role: Role,
        first_rank: u8,
        names: impl IntoIterator<Item = &'n &'static str>,
    ) {
        for (rank, &name) in (first_rank..).zip(names) {
            if let Some((prefix, _)) = name.split_once('.') {
                self.prefixes.insert(prefix);
            }
            self.targets.entry(name.to_owned()).or_insert(Target::Column { column, rank, role });
        }
    }

    pub(super) fn target(&self, name: &str) -> Option<Target> {
        self.targets.get(name).copied()
    }

    /// Whether a column may be named by a member of an object of this name.
    pub(super) fn is_prefix(&self, name: &str) -> bool {
        self.prefixes.contains(name)
    }

    /// The column that a label of this name fills when nothing else does.
    pub(super) fn promoted(&self, table: &TableDef, name: &str) -> Option<usize> {
        match self.target(name) {
            Some(Target::Column { column, .. }) if self.kind != TableKind::Events => {
                let def = table.columns().get(column)?;
                synonyms::PROMOTED.contains(&def.name.as_str()).then_some(column)
            }
            _ => None,
        }
    }
}

impl KnownColumns {
    fn of(table: &TableDef) -> Self {
        let kind = table.spec.kind;
        let column = |of: TableKind, name: &str, kinds: &[ColumnType]| {
            let index = table.column_index(name).filter(|_| kind == of)?;
            table.columns().get(index).is_some_and(|def| kinds.contains(&def.kind)).then_some(index)
        };
        let text = &[ColumnType::Text, ColumnType::LowCardinalityText];
        let int = &[ColumnType::BigInt, ColumnType::Integer];
        let time = &[ColumnType::TimestampMs, ColumnType::TimestampUs, ColumnType::TimestampNs];
        Self {
            message: column(TableKind::Logs, "message", text),
            message_type: column(TableKind::Logs, "message_type", text),
            severity_number: column(TableKind::Logs, "severity_number", int),
            severity_text: column(TableKind::Logs, "severity_text", text),
            level: column(TableKind::Logs, "level", text),
            observed_timestamp: column(TableKind::Logs, "observed_timestamp", time),
            metric: column(TableKind::Metrics, "metric", text),
            value: column(TableKind::Metrics, "value", &[ColumnType::Double]),
            value_int: column(TableKind::Metrics, "value_int", &[ColumnType::BigInt]),
            flags: column(TableKind::Metrics, "flags", int),
            trace_id: column(TableKind::Traces, "trace_id", text),
            span_kind: column(TableKind::Traces, "kind", text),
            span_status: column(TableKind::Traces, "status", text),
            status_message: column(TableKind::Traces, "status_message", text),
            duration_ns: column(TableKind::Traces, "duration_ns", &[ColumnType::BigInt]),
        }
    }
}

/// A column has a role when it has the type of the built-in one.
fn role(kind: TableKind, column: &str, of: ColumnType) -> Role {
    let text = matches!(of, ColumnType::Text | ColumnType::LowCardinalityText);
    match (kind, column) {
        (TableKind::Events, _) => Role::Plain,
        (TableKind::Metrics, "value") if of == ColumnType::Double => Role::SampleValue,
        _ if !text => Role::Plain,
        (_, "trace_id") => Role::HexId(16),
        (_, "span_id" | "parent_span_id") => Role::HexId(8),
        (TableKind::Logs, "message") => Role::Message,
        (TableKind::Logs, "level") => Role::Level,
        (TableKind::Traces, "kind") => Role::SpanKind,
        (TableKind::Traces, "status") => Role::SpanStatus,
        _ => Role::Plain,
    }
}
