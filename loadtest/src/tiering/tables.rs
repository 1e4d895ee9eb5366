//! The three tables: one of metrics, one of spans, with a hash dimension besides time, and one that a user registers.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Identities: rows of the past from 1, rows that writers send and rows that are written past the gateways from these on.
pub(super) const SENT: i64 = 1_000_000_000;
pub(super) const FOREIGN: i64 = 2_000_000_000;

/// A table, how a row of it looks and where its identity is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Table {
    /// Its name.
    pub(super) name: &'static str,
    /// The column that holds a row's identity.
    pub(super) id: &'static str,
    /// Seconds of a range, which is a chunk.
    pub(super) range: i64,
    /// How many ranges of the past there are.
    pub(super) ranges: i64,
    /// Columns of a row and, as SQL of Postgres with `id` and `at`, their values.
    columns: &'static str,
    values: &'static str,
}

/// All three.
pub(super) const TABLES: [Table; 3] = [
    Table {
        name: "metrics_events",
        id: "value_int",
        range: 21_600,
        ranges: 8,
        columns: "time, time_nanos, metric, app, host, value_int, labels, value",
        values: "at, (id % 1000)::smallint, 'metric_' || id % 50, 'app_' || id % 7, 'host_' || id % 20, id, \
                 jsonb_build_object('id', id, 'zone', 'z' || id % 5, 'ok', id % 2 = 0, 'share', (id / 8.0)::float8), id * 0.25",
    },
    Table {
        name: "traces_spans",
        id: "duration_ns",
        range: 21_600,
        ranges: 4,
        columns: "time, trace_id, span_id, name, kind, status, app, host, duration_ns, labels",
        values: "at, md5((id / 10)::text), left(md5(id::text), 16), 'span ' || id % 30, 'server', 'ok', 'app_' || id % 7, \
                 'host_' || id % 20, id, jsonb_build_object('http.status_code', 200 + id % 5, 'path', '/' || id % 100)",
    },
    Table {
        name: "readings",
        id: "id",
        range: 3_600,
        ranges: 10,
        columns: "time, id, app, note, share, labels",
        values: "at, id, 'app_' || id % 7, CASE WHEN id % 3 = 0 THEN NULL ELSE 'note ' || id END, id / 16.0, \
                 jsonb_build_object('k', id % 11)",
    },
];

impl Table {
    /// The definition that is registered, with a policy by which rows cool after `cool_after` seconds.
    pub(super) fn definition(&self, cool_after: i64, paused: bool) -> Value {
        let columns = match self.name {
            "readings" => json!([
                {"name": "time", "type": "timestamp"}, {"name": "id", "type": "bigint"},
                {"name": "app", "type": "text", "nullable": false}, {"name": "note", "type": "text"},
                {"name": "share", "type": "double"}, {"name": "labels", "type": "attributes"},
            ]),
            _ => json!([{"name": "time", "type": "timestamp_ns", "nullable": false}]),
        };
        let kind = match self.name {
            "metrics_events" => "metrics",
            "traces_spans" => "traces",
            _ => "events",
        };
        let mut definition = json!({
            "table_name": self.name, "kind": kind, "columns": columns,
            "tiering": {"cool_after_seconds": cool_after, "range_seconds": self.range, "paused": paused},
        });
        definition["partition_seconds"] = json!(self.range);
        definition
    }

    /// The statement that fills it with `rows` rows of the past, evenly before `until`, seconds since 1970.
    pub(super) fn fill(&self, rows: i64, until: i64) -> String {
        let span = self.range * self.ranges;
        self.insert(&format!(
            "SELECT id, to_timestamp({until}) - interval '1 microsecond' * ((id::numeric / {rows}) * {span} * 1000000)::bigint
             FROM generate_series(1, {rows}) id"
        ))
    }

    /// The statement that writes one row past the gateways, at a time in seconds since 1970.
    pub(super) fn foreign(&self, id: i64, at: i64) -> String {
        self.insert(&format!("SELECT {id}::bigint AS id, to_timestamp({at}) AS at"))
    }

    fn insert(&self, rows: &str) -> String {
        format!(
            "INSERT INTO {} ({}) SELECT {} FROM ({rows}) source (id, at)",
            self.name, self.columns, self.values
        )
    }

    /// A record as REST takes it, at a time in microseconds since 1970.
    pub(super) fn record(&self, id: i64, micros: i64) -> Result<Value> {
        let at = chrono::DateTime::from_timestamp_micros(micros).context("a time beyond time")?;
        let time = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        Ok(match self.name {
            "metrics_events" => json!({
                "time": time, "metric": format!("metric_{}", id % 50), "app": "live", "host": "h", "value_int": id,
                "value": 1.5, "labels": {"id": id},
            }),
            "traces_spans" => json!({
                "time": time, "trace_id": format!("{:032x}", id / 3 + 1), "span_id": format!("{id:016x}"), "name": "live",
                "app": "live", "host": "h", "duration_ns": id, "labels": {"id": id},
            }),
            _ => json!({"time": time, "id": id, "app": "live", "share": 0.5, "labels": {"id": id}}),
        })
    }

    /// The path that takes its records.
    pub(super) fn path(&self) -> String {
        match self.name {
            "metrics_events" => "/write/metrics".to_owned(),
            "traces_spans" => "/write/traces_spans".to_owned(),
            other => format!("/write/{other}"),
        }
    }

    /// The columns whose content is compared, as an expression of ClickHouse over the combined table.
    pub(super) fn content(&self) -> &'static str {
        match self.name {
            "metrics_events" => {
                "cityHash64(toString(time), ifNull(time_nanos, 0), metric, app, host, ifNull(value_int, 0), \
                 ifNull(value, 0), ifNull(labels['id'], ''), ifNull(labels['zone'], ''), ifNull(labels['share'], ''))"
            }
            "traces_spans" => {
                "cityHash64(toString(time), trace_id, span_id, name, app, host, ifNull(duration_ns, 0), \
                 ifNull(labels['path'], ''), ifNull(labels['http.status_code'], ''))"
            }
            _ => {
                "cityHash64(toString(time), ifNull(id, 0), app, ifNull(note, 'none'), ifNull(share, 0), \
                 ifNull(labels['k'], ''))"
            }
        }
    }
}
