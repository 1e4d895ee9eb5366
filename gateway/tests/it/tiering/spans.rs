//! Spans of made-up traces.

use std::sync::Arc;

use tidewell_gateway::registry::{TableBatch, TableDef, ValueType};

use crate::stores::sample;

/// 2023-11-10T00:00:00Z.
pub(super) const DAY: i64 = 1_699_574_400_000_000_000;
/// A second in nanoseconds.
pub(super) const SECOND: i64 = 1_000_000_000;

/// The id of the trace with this number.
pub(super) fn trace_id(number: u64) -> String {
    format!("{number:032x}")
}

/// Spans of `table`, which is `traces_spans`: for each (trace, time) one span.
pub(super) fn spans(table: &Arc<TableDef>, spans: &[(u64, i64)]) -> TableBatch {
    let mut rows = sample::builder(table);
    for (at, (trace, time)) in spans.iter().enumerate() {
        rows.set_time(0, *time).unwrap();
        let texts = [
            ("trace_id", trace_id(*trace)),
            ("span_id", format!("{at:016x}")),
            ("name", format!("GET /{}", trace % 3)),
            ("kind", "server".to_owned()),
            ("app", format!("app{}", trace % 2)),
            ("host", "h".to_owned()),
            ("status", "ok".to_owned()),
        ];
        for (name, text) in texts {
            let column = rows.column(name).unwrap();
            rows.set_text(column, &text).unwrap();
        }
        let labels = rows.column("labels").unwrap();
        let labels = rows.attributes(labels).unwrap();
        labels.push("code", &(trace % 7).to_string(), ValueType::Int);
        labels.push("region", "eu", ValueType::String);
        rows.end_row().unwrap();
    }
    rows.finish().unwrap().unwrap()
}
