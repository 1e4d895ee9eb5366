//! Views under names that queries elsewhere use: what was written through the gateway is read by such queries, as they
//! were written.

use std::sync::Arc;

use serde_json::{Value, json};
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::timescale::Timescale;
use tidewell_gateway::tier::generation::Generation;
use tidewell_gateway::tier::publish::Publisher;

use crate::harness::gateway::TestGateway;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

async fn stored(gateway: &TestGateway, path: &str, records: Value) {
    let answer = gateway.request(reqwest::Method::POST, path).header("tidewell-ack", "stored").json(&records);
    let answer = answer.send().await.unwrap();
    assert_eq!(answer.headers()["tidewell-ack"], "stored");
    let told: Value = answer.json().await.unwrap();
    assert_eq!(told["rejected"], 0, "{told}");
}

/// Scenario: a sample and a span of one machine and a sample of another are stored; the table of events that pipelines
/// straight into Postgres make is queried.
/// Guarantees: a count per minute by node and source is right, labels and columns are in raw, a reader may read it, and
/// time and node filter both tables below.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_counted_by_node_and_source() {
    let gateway = TestGateway::start().await;
    let at = |second: u32| format!("2026-11-20T12:30:{second:02}Z");
    let sample = |host: &str, labels: Value| json!({"time": at(1), "metric": "requests", "app": "shop", "host": host, "value": 1.5, "labels": labels});
    let samples =
        json!([sample("web-1", json!({"source": "nginx", "code": 200})), sample("web-2", json!({}))]);
    stored(&gateway, "/write/metrics", samples).await;
    let span = json!({"time": at(2), "trace_id": TRACE, "span_id": "eee19b7ec3c1b174", "name": "GET /", "kind": "server",
        "app": "nginx", "host": "web-1", "duration_ns": 1_500_000, "status": "ok"});
    stored(&gateway, "/write/traces", span).await;

    let counted = gateway
        .timescale(
            "SELECT time_bucket('1 minute', event_time) AS minute, count(*) FROM observability_events
             WHERE node = 'web-1' AND raw->>'source' = 'nginx' GROUP BY 1 ORDER BY 1",
        )
        .await;
    assert_eq!(counted, [json!({"minute": "2026-11-20T12:30:00+00:00", "count": 2})]);
    let raw = gateway.timescale("SELECT raw FROM observability_events ORDER BY event_time, node").await;
    assert_eq!(raw[0]["raw"]["code"], 200);
    assert_eq!(
        raw[1]["raw"],
        json!({"event": "metric", "source": "shop", "app": "shop", "host": "web-2", "metric": "requests", "value": 1.5})
    );
    assert_eq!((&raw[2]["raw"]["trace_id"], &raw[2]["raw"]["source"]), (&TRACE.into(), &"nginx".into()));

    let granted = gateway
        .timescale("SELECT has_table_privilege('tidewell_read', 'observability_events', 'SELECT')")
        .await;
    assert_eq!(granted, [json!({"has_table_privilege": true})]);
    let client = gateway.databases.postgres().await;
    let plan = client
        .query(
            "EXPLAIN SELECT count(*) FROM observability_events WHERE event_time > '2031-01-01' AND node = 'x'",
            &[],
        )
        .await
        .unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    assert!(!plan.iter().any(|line| line.contains("_chunk")), "the time range leaves chunks out: {plan:#?}");
    gateway.stop().await;
}

/// Scenario: logs of two machines are stored; the top nodes between two times are asked for, and what Grafana's
/// ClickHouse data source asks in its OTel mode (clickhouse-datasource 4.20, src/data/sqlGenerator.ts, generateLogsQuery).
/// Guarantees: both find them, and filters by time and trace id use the index below the view.
#[tokio::test(flavor = "multi_thread")]
async fn logs_are_found_under_the_names_of_others() {
    let gateway = TestGateway::start().await;
    let log = |host: &str, level: &str| json!({"time": "2026-11-20T12:30:00.000000001Z", "app": "shop", "host": host, "level": level, "trace_id": TRACE, "message": "hello", "path": "/a"});
    stored(
        &gateway,
        "/write/logs",
        json!([log("web-1", "info"), log("web-1", "error"), log("web-2", "info")]),
    )
    .await;

    let top = gateway
        .clickhouse(
            "SELECT node, count() AS records FROM logs
             WHERE timestamp BETWEEN toDateTime('2026-11-20 12:00:00') AND toDateTime('2026-11-20 13:00:00')
             GROUP BY node ORDER BY records DESC LIMIT 10",
        )
        .await;
    assert_eq!(top, [json!({"node": "web-1", "records": 2}), json!({"node": "web-2", "records": 1})]);

    let otel = r#"SELECT "Timestamp" as timestamp, "Body" as body, "SeverityText" as level, "LogAttributes" as labels,
        "TraceId" as traceID FROM "otel_logs" WHERE ( timestamp >= toDateTime(1795176000) AND timestamp <= toDateTime(1795179600) )
        AND ( level IN ('error','ERROR','Error') ) ORDER BY timestamp DESC LIMIT 1000"#;
    let rows = gateway.clickhouse(otel).await;
    assert_eq!(
        rows,
        [json!({"timestamp": "2026-11-20 12:30:00.000000001", "body": "hello", "level": "error",
            "labels": {"path": "/a"}, "traceID": TRACE})]
    );
    let plan = gateway.databases.clickhouse(
        "EXPLAIN indexes = 1 SELECT count() FROM otel_logs WHERE TraceId = 'none' AND Timestamp > toDateTime(1795176000)",
    );
    let plan = plan.await;
    assert!(plan.contains("trace_id_bloom") && plan.contains("timestamp in"), "{plan}");
    gateway.stop().await;
}

/// Scenario: the columns of both are compared with those of the Collector's exporter (clickhouseexporter,
/// sqltemplates/logs_table.sql and traces_table.sql); a span with an event and a link is stored, and a trace is asked for as
/// Grafana's trace view does (src/data/sqlGenerator.ts, generateTraceIdQuery).
/// Guarantees: no column is missing, and the span comes back with status, tags, events and links.
#[tokio::test(flavor = "multi_thread")]
async fn traces_are_found_as_the_collectors_exporter_names_them() {
    let gateway = TestGateway::start().await;
    let event =
        json!({"name": "retry", "time_unix_nano": 1_795_178_400_000_000_001_i64, "attributes": {"n": 1}});
    let link = json!({"trace_id": "aa", "span_id": "bb", "attributes": {"why": "batch"}});
    let span = json!({"time": "2026-11-20T12:30:00.000001Z", "trace_id": TRACE, "span_id": "eee19b7ec3c1b174",
        "name": "GET /", "kind": "server", "app": "shop", "duration_ns": 1_500_000, "status": "error",
        "labels": {"http.method": "GET"}, "events": [event], "links": [link], "resource": {"service.name": "shop"}});
    stored(&gateway, "/write/traces", span).await;
    let config = gateway.databases.config();
    let (timescale, clickhouse) =
        (Timescale::new(&config.timescale).unwrap(), ClickHouse::new(&config.clickhouse).unwrap());
    let publisher = Publisher::new(&config, Arc::new(timescale), Arc::new(clickhouse)).unwrap();
    let tables = gateway.server.shared().ingest.tables();
    let spans = tables.table(&Default::default(), "traces_spans").unwrap();
    publisher.publish(spans, &Generation { number: 1, ..Generation::default() }).await.unwrap();

    for (view, columns) in [
        (
            "otel_logs",
            "Timestamp TraceId SpanId TraceFlags SeverityText SeverityNumber ServiceName Body ResourceSchemaUrl \
             ResourceAttributes ScopeSchemaUrl ScopeName ScopeVersion ScopeAttributes LogAttributes EventName",
        ),
        (
            "otel_traces",
            "Timestamp TraceId SpanId ParentSpanId TraceState SpanName SpanKind ServiceName ResourceAttributes ScopeName \
             ScopeVersion SpanAttributes Duration StatusCode StatusMessage Events.Timestamp Events.Name Events.Attributes \
             Links.TraceId Links.SpanId Links.TraceState Links.Attributes",
        ),
    ] {
        let sql = format!(
            "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '{view}' ORDER BY position"
        );
        let named = gateway.databases.clickhouse(&sql).await;
        let named: Vec<&str> = named.split_whitespace().collect();
        let missing: Vec<&str> =
            columns.split_whitespace().filter(|column| !named.contains(column)).collect();
        assert!(missing.is_empty(), "{view} has no {missing:?}");
    }

    let trace = format!(
        r#"SELECT "TraceId" as traceID, "SpanId" as spanID, "ParentSpanId" as parentSpanID, "ServiceName" as serviceName,
        "SpanName" as operationName, multiply(toUnixTimestamp64Nano("Timestamp"), 0.000001) as startTime,
        multiply("Duration", 0.000001) as duration,
        arrayMap(key -> map('key', key, 'value',"SpanAttributes"[key]), mapKeys("SpanAttributes")) as tags,
        if("StatusCode" IN ('Error', 'STATUS_CODE_ERROR'), 2, 0) as statusCode,
        arrayMap((name, timestamp, attributes) -> tuple(name, toString(toUnixTimestamp64Milli(timestamp)),
            arrayMap(key -> map('key', key, 'value', attributes[key]), mapKeys(attributes)))::Tuple(name String, timestamp String, fields Array(Map(String, String))),
            "Events".Name, "Events".Timestamp, "Events".Attributes) AS logs,
        arrayMap((traceID, spanID, attributes) -> tuple(traceID, spanID,
            arrayMap(key -> map('key', key, 'value', attributes[key]), mapKeys(attributes)))::Tuple(traceID String, spanID String, tags Array(Map(String, String))),
            "Links".TraceId, "Links".SpanId, "Links".Attributes) AS references,
        "SpanKind" as kind, "StatusMessage" as statusMessage
        FROM "otel_traces" WHERE traceID = '{TRACE}' LIMIT 1000"#
    );
    let rows = gateway.clickhouse(&trace).await;
    assert_eq!(
        rows,
        [json!({"traceID": TRACE, "spanID": "eee19b7ec3c1b174", "parentSpanID": "", "serviceName": "shop",
            "operationName": "GET /", "startTime": 1_795_177_800_000.001, "duration": 1.5,
            "tags": [{"key": "http.method", "value": "GET"}], "statusCode": 2,
            "logs": [{"name": "retry", "timestamp": "1795178400000", "fields": [{"key": "n", "value": "1"}]}],
            "references": [{"traceID": "aa", "spanID": "bb", "tags": [{"key": "why", "value": "batch"}]}],
            "kind": "Server", "statusMessage": ""})]
    );
    gateway.stop().await;
}
