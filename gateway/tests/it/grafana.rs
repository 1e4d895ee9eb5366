//! The SQL of the dashboard against the real stores.

use serde_json::Value;

use crate::harness::gateway::TestGateway;

/// Macros and variables of Grafana with what it puts in their place, for the panels of one hour.
const TIMESCALE: [(&str, &str); 4] = [
    ("$__timeGroupAlias(\"time\", $__interval)", "time_bucket('15s', \"time\") AS \"time\""),
    ("$__timeFilter(\"time\")", "\"time\" BETWEEN now() - INTERVAL '1 hour' AND now() + INTERVAL '1 hour'"),
    ("${metric:sqlstring}", "'requests'"),
    ("${trace_id:sqlstring}", "'5b8efff798038103d269b633813fc60c'"),
];
const CLICKHOUSE: [(&str, &str); 3] = [
    ("$__timeInterval(timestamp)", "toStartOfInterval(toDateTime(timestamp), INTERVAL 15 second)"),
    (
        "$__timeFilter(timestamp)",
        "(timestamp >= toDateTime(now() - 3600) AND timestamp <= toDateTime(now() + 3600))",
    ),
    ("${trace_id:sqlstring}", "'5b8efff798038103d269b633813fc60c'"),
];

fn expanded(sql: &str, replacements: &[(&str, &str)]) -> String {
    let sql = replacements.iter().fold(sql.to_owned(), |sql, (from, to)| sql.replace(from, to));
    assert!(!sql.contains('$'), "a macro that the test does not know is in {sql}");
    sql
}

/// Scenario: a sample, a span and a log of one trace, and a bad log, are stored; every panel and variable is queried.
/// Guarantees: each query runs in its store and shows what is there.
#[tokio::test(flavor = "multi_thread")]
async fn every_panel_shows_what_is_stored() {
    let gateway = TestGateway::start().await;
    let now = chrono::Utc::now().to_rfc3339();
    let trace = "5b8efff798038103d269b633813fc60c";
    for (path, record) in [
        (
            "/write/metrics",
            serde_json::json!({"time": now, "metric": "requests", "app": "shop", "host": "a", "value": 1.5}),
        ),
        (
            "/write/traces",
            serde_json::json!({"time": now, "trace_id": trace, "span_id": "eee19b7ec3c1b174", "name": "GET /", "kind": "server",
                "app": "shop", "host": "a", "duration_ns": 1_500_000, "status": "ok"}),
        ),
        (
            "/write/logs",
            serde_json::json!({"time": now, "trace_id": trace, "app": "shop", "level": "info", "message": "hello"}),
        ),
        (
            "/write/logs",
            serde_json::json!([{"time": "yesterday", "message": "bad"}, {"time": now, "message": "good"}]),
        ),
    ] {
        let (status, answer) = gateway.post_json(path, &record).await;
        assert_eq!(status, 200, "{path}: {answer}");
    }

    let dashboard = include_str!("../../../grafana/dashboards/overview.json");
    let dashboard: Value = serde_json::from_str(dashboard).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert_eq!(panels.len(), 8);
    for panel in panels {
        let target = &panel["targets"][0];
        let sql = target["rawSql"].as_str().unwrap();
        let rows = match target["datasource"]["uid"].as_str().unwrap() {
            "tidewell-timescale" => gateway.timescale(&expanded(sql, &TIMESCALE)).await,
            "tidewell-clickhouse" => gateway.clickhouse(&expanded(sql, &CLICKHOUSE)).await,
            other => panic!("no data source has the uid {other}"),
        };
        assert!(!rows.is_empty(), "{} shows nothing", panel["title"]);
    }
    let variable = dashboard["templating"]["list"][0]["query"].as_str().unwrap();
    let metrics = gateway.timescale(variable).await;
    assert_eq!(metrics, [serde_json::json!({"metric": "requests"})]);
    gateway.stop().await;
}
