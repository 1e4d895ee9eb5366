//! A trace with its log records, in SQL: the view `trace_with_logs` in ClickHouse, over the spans of both tiers and the
//! logs.
//!
//! The view takes the id as a parameter, since a filter on a plain view would not reach Postgres:
//! `SELECT * FROM trace_with_logs(trace_id = '..') ORDER BY time`.

use super::combined;
use crate::registry::{TableDef, builtin};

/// The name of the view.
pub const NAME: &str = "trace_with_logs";

/// The statement that makes the view; nothing but for the built-in table of spans.
pub(super) fn statement(table: &TableDef) -> Option<String> {
    if table.name().as_str() != builtin::TRACES_SPANS {
        return None;
    }
    let time = |column: &str, nanos: &str| {
        format!("addNanoseconds(toDateTime64({column}, 9, 'UTC'), ifNull({nanos}, 0)) AS time")
    };
    Some(format!(
        "CREATE OR REPLACE VIEW `{NAME}` AS\n\
         SELECT {span_time}, 'span' AS record, trace_id, span_id, parent_span_id, app, host, name, status AS level,\n    \
         ifNull(status_message, '') AS message, duration_ns, labels.json\nFROM `{spans}`\nWHERE trace_id = {{trace_id:String}}\n\
         UNION ALL\n\
         SELECT timestamp AS time, 'log' AS record, trace_id, span_id, NULL AS parent_span_id, CAST(app, 'String') AS app,\n    \
         CAST(host, 'String') AS host, CAST(event_name, 'String') AS name, CAST(level, 'String') AS level, message,\n    \
         NULL AS duration_ns, toJSONString(labels) AS `labels.json`\nFROM `{logs}`\nWHERE trace_id = {{trace_id:String}}",
        span_time = time("time", "time_nanos"),
        spans = combined::table_name(table),
        logs = builtin::LOGS_EVENTS,
    ))
}
