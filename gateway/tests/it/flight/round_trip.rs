//! Batches of each signal, read back by SQL.

use arrow::array::*;
use arrow::datatypes::*;
use serde_json::json;

use super::*;

fn strings(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(values.to_vec()))
}

fn nanos(values: &[i64]) -> ArrayRef {
    Arc::new(TimestampNanosecondArray::from(values.to_vec()))
}

/// Scenario: log rows with dictionaries, labels as a struct with values of several types, and an unknown column.
/// Guarantees: they are found with types of labels and nanoseconds; the unknown column is a label.
#[tokio::test(flavor = "multi_thread")]
async fn logs_read_back() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let app: DictionaryArray<Int8Type> = vec!["auth", "auth"].into_iter().collect();
    let fields = Fields::from(vec![
        Field::new("int", DataType::Int64, true),
        Field::new("double", DataType::Float64, true),
        Field::new("bool", DataType::Boolean, true),
        Field::new("string", DataType::Utf8, true),
        Field::new("bytes", DataType::Binary, true),
    ]);
    let values: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![Some(1), None])),
        Arc::new(Float64Array::from(vec![Some(1.0), None])),
        Arc::new(BooleanArray::from(vec![Some(true), None])),
        Arc::new(StringArray::from(vec![Some("1"), Some("x")])),
        Arc::new(BinaryArray::from(vec![Some(b"hi".as_slice()), None])),
    ];
    let given = batch(vec![
        ("message", strings(&["one", "two"])),
        ("timestamp", nanos(&[time, time + 1])),
        ("app", Arc::new(app)),
        ("severity_number", Arc::new(Int32Array::from(vec![9, 17]))),
        ("labels", Arc::new(StructArray::new(fields, values, None))),
        ("pid", Arc::new(UInt32Array::from(vec![7, 8]))),
    ]);
    let answer = put_all(&gateway, &["logs_events"], vec![given]).await;
    assert_eq!(
        (&answer["accepted"], &answer["rejected"], &answer["ack"]),
        (&json!(2), &json!(0), &json!("stored"))
    );
    let rows = gateway
        .clickhouse(
            "SELECT toUnixTimestamp64Nano(timestamp) AS time, app, message, severity_number, labels, labels_types \
             FROM logs_events ORDER BY timestamp",
        )
        .await;
    let first = json!({
        "time": time, "app": "auth", "message": "one", "severity_number": 9,
        "labels": {"int": "1", "double": "1.0", "bool": "true", "string": "1", "bytes": "aGk=", "pid": "7"},
        "labels_types": {"int": "int", "double": "double", "bool": "bool", "bytes": "bytes", "pid": "int"},
    });
    let second = json!({
        "time": time + 1, "app": "auth", "message": "two", "severity_number": 17,
        "labels": {"string": "x", "pid": "8"}, "labels_types": {"pid": "int"},
    });
    assert_eq!(rows, [first, second]);
    gateway.stop().await;
}

/// Scenario: samples with milliseconds and labels as a map, spans with nanoseconds and binary ids.
/// Guarantees: both are found in their tables, times to the last digit, ids as lower-case hex.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_and_spans_read_back() {
    let gateway = TestGateway::start().await;
    let time = now_nanos();
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    labels.keys().append_value("k");
    labels.values().append_value("v");
    labels.append(true).unwrap();
    let samples = batch(vec![
        ("time", Arc::new(TimestampMillisecondArray::from(vec![time / 1_000_000]))),
        ("metric", strings(&["m"])),
        ("value", Arc::new(Float64Array::from(vec![f64::INFINITY]))),
        ("labels", Arc::new(labels.finish())),
    ]);
    put_all(&gateway, &["metrics", "metrics_events"], vec![samples]).await;
    let rows = gateway
        .timescale(
            "SELECT (extract(epoch FROM time) * 1000)::bigint AS millis, time_nanos, metric, value::text, labels \
             FROM metrics_events",
        )
        .await;
    let wanted = json!({"millis": time / 1_000_000, "time_nanos": null, "metric": "m", "value": "Infinity",
                        "labels": {"k": "v"}});
    assert_eq!(rows, [wanted]);

    let id = |bytes: &[u8]| -> ArrayRef { Arc::new(BinaryArray::from(vec![bytes])) };
    let spans = batch(vec![
        ("time", nanos(&[time])),
        ("trace_id", id(&[0xab; 16])),
        ("span_id", id(&[0xcd; 8])),
        ("name", strings(&["GET /"])),
        ("kind", strings(&["server"])),
        ("status", strings(&["ok"])),
        ("duration_ns", Arc::new(DurationMicrosecondArray::from(vec![1500]))),
        ("events", strings(&[r#"[{"name": "e"}]"#])),
    ]);
    put_all(&gateway, &["traces"], vec![spans]).await;
    let rows = gateway
        .timescale(
            "SELECT time_nanos, trace_id, span_id, duration_ns, kind, status, events FROM traces_spans",
        )
        .await;
    let wanted = json!({"time_nanos": 789, "trace_id": "ab".repeat(16), "span_id": "cd".repeat(8),
                        "duration_ns": 1_500_000, "kind": "server", "status": "ok", "events": [{"name": "e"}]});
    assert_eq!(rows, [wanted]);
    gateway.stop().await;
}

/// Scenario: the same batch as the body of `POST /write/{table}`, compressed within the stream.
/// Guarantees: REST takes an Arrow IPC stream as Flight takes its batches.
#[tokio::test(flavor = "multi_thread")]
async fn rest_takes_arrow_streams() {
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
    let gateway = TestGateway::start().await;
    let given = batch(vec![("timestamp", nanos(&[now_nanos(), 0])), ("message", strings(&["hello", "old"]))]);
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), &given.schema(), options).unwrap();
    writer.write(&given).unwrap();
    let body = writer.into_inner().unwrap();
    let cut_off = body[..body.len() - 8].to_vec();
    let answer = gateway.post("/write/logs", "application/vnd.apache.arrow.stream", cut_off).await;
    assert_eq!(answer.status().as_u16(), 400, "a body without its end is refused");
    let answer = gateway.post("/write/logs", "application/vnd.apache.arrow.stream", body).await;
    let answer: Value = answer.json().await.unwrap();
    assert_eq!((&answer["accepted"], &answer["rejected"]), (&json!(1), &json!(1)), "{answer}");
    assert_eq!(answer["errors"][0]["index"], 1);
    assert_eq!(gateway.clickhouse("SELECT message FROM logs_events").await, [json!({"message": "hello"})]);
    gateway.stop().await;
}
