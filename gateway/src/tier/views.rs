//! Views in ClickHouse over the combined table of spans: a table in, names and statements out.
//!
//! `trace_with_logs` shows one trace: its spans, of both tiers, and its log records. It takes the id as a parameter, since a
//! filter on a plain view would not reach Postgres: `SELECT * FROM trace_with_logs(trace_id = '..') ORDER BY time`.

use super::combined;
use crate::registry::{TableDef, builtin};

const TRACE_WITH_LOGS: &str = "trace_with_logs";

/// The views over the combined table of `table`, each with the statement that makes it; none but for the built-in table
/// of spans.
pub(super) fn statements(table: &TableDef) -> Vec<(&'static str, String)> {
    let is_of_spans = table.name().as_str() == builtin::TRACES_SPANS;
    let view = is_of_spans.then(|| (TRACE_WITH_LOGS, trace_with_logs(&combined::table_name(table))));
    view.into_iter().collect()
}

fn trace_with_logs(spans: &str) -> String {
    let time = |column: &str, nanos: &str| {
        format!("addNanoseconds(toDateTime64({column}, 9, 'UTC'), ifNull({nanos}, 0)) AS time")
    };
    format!(
        "CREATE OR REPLACE VIEW `{TRACE_WITH_LOGS}` AS\n\
         SELECT {span_time}, 'span' AS record, trace_id, span_id, parent_span_id, app, host, name, status AS level,\n    \
         ifNull(status_message, '') AS message, duration_ns, labels.json\nFROM `{spans}`\nWHERE trace_id = {{trace_id:String}}\n\
         UNION ALL\n\
         SELECT timestamp AS time, 'log' AS record, trace_id, span_id, NULL AS parent_span_id, CAST(app, 'String') AS app,\n    \
         CAST(host, 'String') AS host, CAST(event_name, 'String') AS name, CAST(level, 'String') AS level, message,\n    \
         NULL AS duration_ns, toJSONString(labels) AS `labels.json`\nFROM `{logs}`\nWHERE trace_id = {{trace_id:String}}",
        span_time = time("time", "time_nanos"),
        logs = builtin::LOGS_EVENTS,
    )
}
