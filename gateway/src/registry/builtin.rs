//! The tables that every gateway has: the definitions in `schemas/tables`, compiled in.

use super::table::{TableDef, TableSpec};
use super::tenant::Tenant;

/// Samples of gauges and sums.
pub const METRICS_EVENTS: &str = "metrics_events";
/// Histograms, exponential histograms and summaries.
pub const METRICS_HISTOGRAMS: &str = "metrics_histograms";
/// Exemplars of either.
pub const METRICS_EXEMPLARS: &str = "metrics_exemplars";
/// What is known of each metric: unit, type, temporality, description.
pub const METRICS_METADATA: &str = "metrics_metadata";
/// Spans.
pub const TRACES_SPANS: &str = "traces_spans";
/// Log records.
pub const LOGS_EVENTS: &str = "logs_events";
/// Records that were refused, kept with the reason.
pub const DEAD_LETTERS: &str = "dead_letters";

const DEFINITIONS: [(&str, &str); 7] = [
    (METRICS_EVENTS, include_str!("../../../schemas/tables/metrics_events.json")),
    (METRICS_HISTOGRAMS, include_str!("../../../schemas/tables/metrics_histograms.json")),
    (METRICS_EXEMPLARS, include_str!("../../../schemas/tables/metrics_exemplars.json")),
    (METRICS_METADATA, include_str!("../../../schemas/tables/metrics_metadata.json")),
    (TRACES_SPANS, include_str!("../../../schemas/tables/traces_spans.json")),
    (LOGS_EVENTS, include_str!("../../../schemas/tables/logs_events.json")),
    (DEAD_LETTERS, include_str!("../../../schemas/tables/dead_letters.json")),
];

/// A file in `schemas/tables` that is not a table definition: a mistake in our own sources.
#[derive(Debug, thiserror::Error)]
#[error("schemas/tables/{table}.json: {reason}")]
pub struct BuiltinError {
    table: &'static str,
    reason: String,
}

/// The built-in tables of a tenant, version 1.
pub fn tables(tenant: &Tenant) -> Result<Vec<TableDef>, BuiltinError> {
    DEFINITIONS
        .iter()
        .map(|&(table, json)| {
            let fail = |reason: String| BuiltinError { table, reason };
            let spec: TableSpec = serde_json::from_str(json).map_err(|error| fail(error.to_string()))?;
            TableDef::from_spec(tenant.clone(), spec, 1).map_err(|error| fail(error.to_string()))
        })
        .collect()
}

/// The names of the built-in tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    DEFINITIONS.iter().map(|&(name, _)| name)
}

/// Views over built-in tables, under names that queries elsewhere use.
const VIEWS: [&str; 4] = ["logs", "observability_events", "otel_logs", "otel_traces"];

/// Whether callers may not register a table with this name: it is built in, one of Tidewell's own, a view, or the short
/// name of a signal in the addresses.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with("tidewell_")
        || name.starts_with("table_registry")
        || matches!(name, "metrics" | "logs" | "traces")
        || VIEWS.contains(&name)
        || DEFINITIONS.iter().any(|&(builtin, _)| builtin == name)
}

/// The table that a name in an address means: a signal's name stands for its built-in table.
pub fn unabbreviated(name: &str) -> &str {
    match name {
        "metrics" => METRICS_EVENTS,
        "logs" => LOGS_EVENTS,
        "traces" => TRACES_SPANS,
        other => other,
    }
}

/// Whether only the gateway itself writes this table.
pub fn is_written_by_gateway(name: &str) -> bool {
    name == DEAD_LETTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_definition_is_valid_and_named_as_its_file() {
        let tables = tables(&Tenant::default()).unwrap();
        for (table, (name, _)) in tables.iter().zip(DEFINITIONS) {
            assert_eq!(table.name().as_str(), name);
        }
    }
}
