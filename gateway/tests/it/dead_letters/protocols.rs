//! One test per protocol: a record is refused, mended and sent again, and lands with its values.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow::ipc::writer::StreamWriter;
use base64::Engine as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use serde_json::json;
use tidewell_proto::v1;
use tidewell_proto::v1::ingest_client::IngestClient;
use tidewell_proto::v1::write_request::Records;

use super::{assert_stored, fix, letters, now_nanos, replay, rows, shown};
use crate::harness::TestGateway;

const ROWS: &str =
    "SELECT toUnixTimestamp64Nano(timestamp) AS nanos, app, trace_id, message, labels, scope_name
                    FROM logs_events ORDER BY nanos";

fn text(text: &str) -> Option<AnyValue> {
    Some(AnyValue { value: Some(Any::StringValue(text.to_owned())) })
}

fn resource(app: &str) -> Option<Resource> {
    let name = KeyValue { key: "service.name".to_owned(), value: text(app), ..KeyValue::default() };
    Some(Resource { attributes: vec![name], ..Resource::default() })
}

fn scope() -> Option<InstrumentationScope> {
    Some(InstrumentationScope { name: "lib".to_owned(), ..InstrumentationScope::default() })
}

fn decoded<M: prost::Message + Default>(letter: &serde_json::Value) -> M {
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(letter["payload_base64"].as_str().expect("bytes"))
        .expect("base64");
    M::decode(bytes.as_slice()).expect("the payload is a request")
}

/// Scenario: a sample with a word for a number comes as JSON; it is replayed as it is, then mended.
/// Guarantees: the first replay is refused with the reason and the letter waits; the mended one lands with its values.
#[tokio::test(flavor = "multi_thread")]
async fn rest_json() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let bad = json!({"metric": "m", "value": "many", "ts": time, "floor": 3});
    assert_eq!(gateway.post_json("/write/metrics", &bad).await.0, 400);
    let letter = letters(&gateway, "?target=metrics_events&protocol=rest", 1).await.remove(0);
    assert_eq!(shown(&gateway, &letter).await["payload"], bad.to_string());

    let (status, answer) = replay(&gateway, &letter).await;
    assert_eq!((status, &answer["errors"][0]["field"]), (400, &json!("value")), "{answer}");
    letters(&gateway, "", 1).await;
    let mended = json!({"metric": "m", "value": 7, "ts": time, "floor": 3});
    assert_stored(&fix(&gateway, &letter, "application/json", mended.to_string().into_bytes()).await);
    rows(
        async || {
            let sql =
                "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS nanos, metric,
                              value, labels FROM metrics_events";
            gateway.timescale(sql).await
        },
        &[json!({"nanos": time, "metric": "m", "value": 7, "labels": {"floor": 3}})],
    )
    .await;
    letters(&gateway, "", 0).await;
    gateway.stop().await;
}

/// Scenario: an NDJSON line and a line of plain text are refused; the first is mended as NDJSON, the second as text.
/// Guarantees: both land.
#[tokio::test(flavor = "multi_thread")]
async fn ndjson_and_text() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let bad = "{\"message\":\"one\",\"ts\":\"never\"}\n";
    assert_eq!(gateway.post("/write/logs", "application/x-ndjson", bad).await.status(), 400);
    let letter = letters(&gateway, "", 1).await.remove(0);
    let mended = format!("{{\"message\":\"one\",\"ts\":{time},\"app\":\"a\"}}\n").into_bytes();
    assert_stored(&fix(&gateway, &letter, "application/x-ndjson", mended).await);

    assert_eq!(gateway.post("/write/logs", "text/plain", &b"tw\xffo\n"[..]).await.status(), 400);
    let letter = letters(&gateway, "", 1).await.remove(0);
    assert_eq!(letter["content_type"], "text/plain");
    assert_stored(&fix(&gateway, &letter, "text/plain", b"two".to_vec()).await);
    let wanted = [json!({"app": "a", "message": "one"}), json!({"app": "", "message": "two"})];
    rows(async || gateway.clickhouse("SELECT app, message FROM logs_events ORDER BY message").await, &wanted)
        .await;
    gateway.stop().await;
}

/// Scenario: a log record whose trace id has 15 bytes comes as OTLP in protobuf, between two good ones.
/// Guarantees: its letter is a request with its resource and scope; mended, it lands as if it had been good.
#[tokio::test(flavor = "multi_thread")]
async fn otlp_protobuf_logs() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let record = |message: &str, at: i64, trace_id: Vec<u8>| LogRecord {
        time_unix_nano: at.unsigned_abs(),
        body: text(message),
        trace_id,
        ..LogRecord::default()
    };
    let log_records = vec![
        record("a", time, vec![1; 16]),
        record("b", time + 1, vec![2; 15]),
        record("c", time + 2, vec![]),
    ];
    let scope_logs = vec![ScopeLogs { scope: scope(), log_records, ..ScopeLogs::default() }];
    let resource_logs =
        vec![ResourceLogs { resource: resource("shop"), scope_logs, ..ResourceLogs::default() }];
    let request = ExportLogsServiceRequest { resource_logs };
    let answer = gateway.post("/v1/logs", "application/x-protobuf", request.encode_to_vec()).await;
    assert_eq!(answer.status(), 200);

    let letter = letters(&gateway, "?protocol=otlp_http_protobuf", 1).await.remove(0);
    let letter = shown(&gateway, &letter).await;
    let mut kept: ExportLogsServiceRequest = decoded(&letter);
    let records = &mut kept.resource_logs[0].scope_logs[0].log_records;
    assert_eq!(records.len(), 1);
    records[0].trace_id = vec![2; 16];
    let content_type = letter["content_type"].as_str().expect("a media type");
    assert_stored(&fix(&gateway, &letter, content_type, kept.encode_to_vec()).await);
    let row = |n: i64, message: &str, trace_id: String| {
        json!({"nanos": time + n, "app": "shop", "trace_id": trace_id, "message": message, "labels": {},
               "scope_name": "lib"})
    };
    let wanted = [row(0, "a", "01".repeat(16)), row(1, "b", "02".repeat(16)), row(2, "c", String::new())];
    rows(async || gateway.clickhouse(ROWS).await, &wanted).await;
    gateway.stop().await;
}

/// Scenario: a data point without a time comes as OTLP in protobuf.
/// Guarantees: its letter is a request with its metric and resource; mended, it lands with its name, unit and app.
#[tokio::test(flavor = "multi_thread")]
async fn otlp_protobuf_metrics() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let point = |at: u64| NumberDataPoint {
        time_unix_nano: at,
        value: Some(number_data_point::Value::AsDouble(0.5)),
        ..NumberDataPoint::default()
    };
    let data_points = vec![point(time.unsigned_abs()), point(0)];
    let metric = Metric {
        name: "load".to_owned(),
        unit: "1".to_owned(),
        data: Some(metric::Data::Gauge(Gauge { data_points })),
        ..Metric::default()
    };
    let scope_metrics =
        vec![ScopeMetrics { scope: scope(), metrics: vec![metric], ..ScopeMetrics::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource("shop"), scope_metrics, ..ResourceMetrics::default() }];
    let request = ExportMetricsServiceRequest { resource_metrics };
    let answer = gateway.post("/v1/metrics", "application/x-protobuf", request.encode_to_vec()).await;
    assert_eq!(answer.status(), 200);

    let letter = letters(&gateway, "", 1).await.remove(0);
    let letter = shown(&gateway, &letter).await;
    let mut kept: ExportMetricsServiceRequest = decoded(&letter);
    let metric = &mut kept.resource_metrics[0].scope_metrics[0].metrics[0];
    let Some(metric::Data::Gauge(gauge)) = &mut metric.data else { panic!("{metric:?}") };
    assert_eq!(gauge.data_points.len(), 1);
    gauge.data_points[0].time_unix_nano = time.unsigned_abs() + 1000;
    let content_type = letter["content_type"].as_str().expect("a media type");
    assert_stored(&fix(&gateway, &letter, content_type, kept.encode_to_vec()).await);
    let row = json!({"metric": "load", "unit": "1", "app": "shop", "value": 0.5});
    let sql = "SELECT metric, unit, app, value FROM metrics_events";
    rows(async || gateway.timescale(sql).await, &[row.clone(), row]).await;
    gateway.stop().await;
}

/// Scenario: a log record with a trace id that is no hex comes as OTLP in JSON, with its resource after its records.
/// Guarantees: its letter is a request in JSON with its resource and scope; mended, it lands with its app.
#[tokio::test(flavor = "multi_thread")]
async fn otlp_json() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let body = format!(
        r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{{"timeUnixNano":"{time}","traceId":"xyz",
        "body":{{"stringValue":"hi"}}}}],"scope":{{"name":"lib"}}}}],
        "resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"shop"}}}}]}}}}]}}"#
    );
    assert_eq!(gateway.post("/v1/logs", "application/json", body).await.status(), 200);
    let letter = letters(&gateway, "?protocol=otlp_http_json", 1).await.remove(0);
    let letter = shown(&gateway, &letter).await;
    let payload = letter["payload"].as_str().expect("text");
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let mended = payload.replace("xyz", trace_id).into_bytes();
    assert_stored(&fix(&gateway, &letter, "application/json", mended).await);
    let wanted = json!({"nanos": time, "app": "shop", "trace_id": trace_id, "message": "hi", "labels": {},
                        "scope_name": "lib"});
    rows(async || gateway.clickhouse(ROWS).await, &[wanted]).await;
    gateway.stop().await;
}

/// Scenario: a row of 1970 comes in an Arrow stream.
/// Guarantees: its letter is the row as JSON; mended, it lands with its label.
#[tokio::test(flavor = "multi_thread")]
async fn arrow_rows() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let batch = RecordBatch::try_from_iter(vec![
        ("time", Arc::new(TimestampNanosecondArray::from(vec![1]).with_timezone("UTC")) as ArrayRef),
        ("metric", Arc::new(StringArray::from(vec!["m"]))),
        ("value", Arc::new(Float64Array::from(vec![f64::NAN]))),
        ("region", Arc::new(StringArray::from(vec!["eu"]))),
    ])
    .expect("columns of one length");
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref()).expect("a schema");
    writer.write(&batch).expect("memory");
    let body = writer.into_inner().expect("memory");
    let answer = gateway.post("/write/metrics", "application/vnd.apache.arrow.stream", body).await;
    assert_eq!(answer.status(), 400);

    let letter = letters(&gateway, "", 1).await.remove(0);
    let letter = shown(&gateway, &letter).await;
    let payload = letter["payload"].as_str().expect("text");
    let mut row: serde_json::Value = serde_json::from_str(payload).expect("JSON");
    let seconds = time / 1_000_000_000;
    let at = chrono::DateTime::from_timestamp(seconds, 123_456_789).expect("a time").to_rfc3339();
    row["time"] = json!(at);
    let content_type = letter["content_type"].as_str().expect("a media type");
    assert_stored(&fix(&gateway, &letter, content_type, row.to_string().into_bytes()).await);
    let sql = "SELECT time_nanos, metric, value::text, labels FROM metrics_events";
    let wanted = json!({"time_nanos": 789, "metric": "m", "value": "NaN", "labels": {"region": "eu"}});
    rows(async || gateway.timescale(sql).await, &[wanted]).await;
    gateway.stop().await;
}

/// Scenario: a sample without a value and a row with an unknown column come by `tidewell.v1`. The first is mended in
/// protobuf; the second is sent again as it is, after the column was registered.
/// Guarantees: both land with their values.
#[tokio::test(flavor = "multi_thread")]
async fn tidewell_v1() {
    let gateway = TestGateway::start().await;
    let columns = json!([{"name": "time", "type": "timestamp_ns"}, {"name": "value", "type": "double"}]);
    let table = |columns: &serde_json::Value| json!({"table_name": "t", "columns": columns});
    assert_eq!(gateway.post_json("/schema/register", &table(&columns)).await.0, 201);
    let mut client = IngestClient::new(gateway.channel().await);
    let write = |records| v1::WriteRequest { records: Some(records), ..Default::default() };
    let sample =
        v1::MetricSample { metric: "m".into(), time_unix_nano: Some(now_nanos()), ..Default::default() };
    let samples = Records::Metrics(v1::MetricSamples { samples: vec![sample.clone()] });
    client.write(write(samples)).await.expect("an answer");
    let value = |kind| v1::Value { kind: Some(kind) };
    let values = [
        ("time", value(v1::value::Kind::TimeUnixNano(now_nanos()))),
        ("value", value(v1::value::Kind::DoubleValue(0.5))),
        ("room", value(v1::value::Kind::StringValue("attic".to_owned()))),
    ];
    let values = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let bad_rows = Records::Rows(v1::Rows { table: "t".to_owned(), rows: vec![v1::Row { values }] });
    client.write(write(bad_rows)).await.expect("an answer");

    let letter = letters(&gateway, "?target=metrics_events&protocol=grpc", 1).await.remove(0);
    let mended = v1::MetricSample { value: Some(v1::metric_sample::Value::IntValue(7)), ..sample };
    let content_type = letter["content_type"].as_str().expect("a media type");
    assert_stored(&fix(&gateway, &letter, content_type, mended.encode_to_vec()).await);
    let wanted = json!({"metric": "m", "value_int": 7});
    rows(async || gateway.timescale("SELECT metric, value_int FROM metrics_events").await, &[wanted]).await;

    let letter = letters(&gateway, "?target=t", 1).await.remove(0);
    assert_eq!(replay(&gateway, &letter).await.0, 400);
    let wider = json!([{"name": "time", "type": "timestamp_ns"}, {"name": "value", "type": "double"},
                       {"name": "room", "type": "text"}]);
    assert_eq!(gateway.post_json("/schema/register", &table(&wider)).await.0, 200);
    assert_stored(&replay(&gateway, &letter).await);
    let wanted = json!({"value": 0.5, "room": "attic", "time_nanos": 789});
    rows(async || gateway.timescale("SELECT value, room, time_nanos FROM t").await, &[wanted]).await;
    gateway.stop().await;
}

/// Scenario: an administrator's constraint refuses a row that has labels of every type; then it is dropped.
/// Guarantees: the letter is the row; sent again as it is, it lands with its types and nanoseconds.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_its_store_refused() {
    let gateway = TestGateway::start().await;
    let client = gateway.databases.postgres().await;
    client
        .batch_execute("ALTER TABLE metrics_events ADD CONSTRAINT positive CHECK (value >= 0)")
        .await
        .unwrap();
    let time = now_nanos();
    let labels = json!({"text": "1", "int": 9_007_199_254_740_993_i64, "double": 1.0, "bool": true, "none": null,
        "list": [1, 1.5, "x"], "map": {"a": {"b": [true]}}, "$cost": "dear", "unicode": "\u{e9}\u{1f600}"});
    let record = json!({"metric": "m", "value": -2.5, "ts": time, "app": "a", "unit": "s", "labels": labels});
    let (_, answer) = gateway.post_json("/write/metrics", &record).await;
    assert_eq!(answer["rejected"], 1, "{answer}");
    let letter = letters(&gateway, "?reason=check%20constraint", 1).await.remove(0);
    assert_eq!(letter["content_type"], "application/vnd.tidewell.row+json");

    client.batch_execute("ALTER TABLE metrics_events DROP CONSTRAINT positive").await.unwrap();
    assert_stored(&replay(&gateway, &letter).await);
    let sql =
        "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + time_nanos AS nanos, app, value, unit,
                      labels, labels->>'double' AS double FROM metrics_events";
    let wanted =
        json!({"nanos": time, "app": "a", "value": -2.5, "unit": "s", "labels": labels, "double": "1.0"});
    rows(async || gateway.timescale(sql).await, &[wanted]).await;
    gateway.stop().await;
}
