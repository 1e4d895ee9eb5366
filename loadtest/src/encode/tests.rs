//! Each encoding, stamped, must be what a reference decoder reads as the same records with the expected ids.

use std::collections::BTreeSet;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampNanosecondType;
use arrow_flight::FlightData;
use arrow_flight::utils::flight_data_to_batches;
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as PointValue;
use prost::Message;
use serde_json::Value as Json;
use tidewell_proto::v1;
use tidewell_proto::v1::write_request::Records;

use crate::identity::{self, FIRST_SEQUENCE, RunId};
use crate::telemetry::Shape;
use crate::workload::{Endpoint, Pool, Protocol, Signal, Workload};

const RUN: RunId = RunId::new(0x0102_0304);
const RECORDS: usize = 100;
const REQUEST: u64 = 3;
const NOW: u64 = 1_700_000_000_000_000_000;

/// What a decoder read of one record; ids as hex, a parent only where there is one.
#[derive(Debug, PartialEq)]
struct Read {
    time: u64,
    trace: String,
    span: String,
    parent: String,
    message: String,
}

fn pool(signal: Signal, protocol: Protocol) -> Pool {
    Pool::new(Workload { signal, protocol }, &Shape::default(), RUN, 2, RECORDS).unwrap()
}

fn request(signal: Signal, protocol: Protocol) -> Bytes {
    pool(signal, protocol).request(REQUEST, NOW)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sequence(position: usize) -> u64 {
    FIRST_SEQUENCE + REQUEST * RECORDS as u64 + position as u64
}

/// Times, traces, spans and parents as they must be; messages are compared between protocols.
fn check(read: &[Read], parents: bool) {
    assert_eq!(read.len(), RECORDS);
    for (position, read) in read.iter().enumerate() {
        let root = position - position % 8;
        assert_eq!(read.time, NOW + position as u64);
        assert_eq!(read.span, hex(&identity::span_id(sequence(position))));
        assert_eq!(read.trace, hex(&identity::trace_id(RUN, sequence(root))));
        let parent =
            if parents && position != root { hex(&identity::span_id(sequence(root))) } else { String::new() };
        assert_eq!(read.parent, parent);
        assert!(!read.message.is_empty());
    }
}

fn text(json: &Json, key: &str) -> String {
    json[key].as_str().unwrap_or_default().to_owned()
}

fn rfc3339(json: &Json) -> u64 {
    let time = chrono::DateTime::parse_from_rfc3339(json["timestamp"].as_str().unwrap()).unwrap();
    u64::try_from(time.timestamp_nanos_opt().unwrap()).unwrap()
}

/// The items of all groups and scopes of an OTLP request.
fn items<'a>(json: &'a Json, groups: &str, scopes: &str, items: &str) -> Vec<&'a Json> {
    let list = |json: &'a Json, key: &str| json[key].as_array().unwrap().iter().collect::<Vec<_>>();
    let scopes = list(json, groups).into_iter().flat_map(|group| list(group, scopes));
    scopes.flat_map(|scope| list(scope, items)).collect()
}

// === logs ===

fn otlp_logs() -> Vec<Read> {
    let request = ExportLogsServiceRequest::decode(request(Signal::Logs, Protocol::OtlpGrpc)).unwrap();
    let scopes = request.resource_logs.into_iter().flat_map(|group| group.scope_logs);
    let logs = scopes.flat_map(|scope| scope.log_records);
    logs.map(|log| {
        assert_eq!((log.observed_time_unix_nano, log.attributes.len()), (log.time_unix_nano, 5));
        let Some(opentelemetry_proto::tonic::common::v1::any_value::Value::StringValue(message)) =
            log.body.unwrap().value
        else {
            panic!("the body is no text")
        };
        let (trace, span) = (hex(&log.trace_id), hex(&log.span_id));
        Read { time: log.time_unix_nano, trace, span, parent: String::new(), message }
    })
    .collect()
}

fn otlp_json_logs() -> Vec<Read> {
    let json: Json = serde_json::from_slice(&request(Signal::Logs, Protocol::OtlpHttpJson)).unwrap();
    let logs = items(&json, "resourceLogs", "scopeLogs", "logRecords");
    logs.into_iter()
        .map(|log| Read {
            time: text(log, "timeUnixNano").parse().unwrap(),
            trace: text(log, "traceId"),
            span: text(log, "spanId"),
            parent: String::new(),
            message: text(&log["body"], "stringValue"),
        })
        .collect()
}

fn rest_events(body: &Bytes, protocol: Protocol) -> Vec<Json> {
    match protocol {
        Protocol::RestArray => serde_json::from_slice(body).unwrap(),
        _ => body
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect(),
    }
}

fn rest_logs(protocol: Protocol) -> Vec<Read> {
    let events = rest_events(&request(Signal::Logs, protocol), protocol);
    events
        .iter()
        .map(|event| Read {
            time: rfc3339(event),
            trace: text(event, "trace_id"),
            span: text(event, "span_id"),
            parent: String::new(),
            message: text(event, "message"),
        })
        .collect()
}

fn own_logs() -> Vec<Read> {
    let request = v1::WriteRequest::decode(request(Signal::Logs, Protocol::Grpc)).unwrap();
    let Some(Records::Logs(logs)) = request.records else { panic!("no logs") };
    logs.records
        .into_iter()
        .map(|log| {
            let Some(v1::value::Kind::StringValue(message)) = log.message.unwrap().kind else {
                panic!("no text")
            };
            let time = log.time_unix_nano.unwrap().cast_unsigned();
            Read { time, trace: log.trace_id, span: log.span_id, parent: String::new(), message }
        })
        .collect()
}

fn flight_rows() -> RecordBatch {
    let pool = pool(Signal::Logs, Protocol::Flight);
    let Endpoint::DoPut { opening } = pool.endpoint() else { panic!("no stream") };
    let opening = FlightData::decode(opening.clone()).unwrap();
    assert_eq!(opening.flight_descriptor.as_ref().unwrap().path, ["logs_events"]);
    let batch = FlightData::decode(pool.request(REQUEST, NOW)).unwrap();
    flight_data_to_batches(&[opening, batch]).unwrap().remove(0)
}

fn flight_logs() -> Vec<Read> {
    let rows = flight_rows();
    let times = rows.column_by_name("timestamp").unwrap().as_primitive::<TimestampNanosecondType>();
    let text = |name: &str, row| rows.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
    (0..rows.num_rows())
        .map(|row| Read {
            time: times.value(row).cast_unsigned(),
            trace: text("trace_id", row),
            span: text("span_id", row),
            parent: String::new(),
            message: text("message", row),
        })
        .collect()
}

#[test]
fn every_protocol_carries_the_same_logs() {
    let reference = otlp_logs();
    check(&reference, false);
    for logs in [
        otlp_json_logs(),
        rest_logs(Protocol::RestNdjson),
        rest_logs(Protocol::RestArray),
        own_logs(),
        flight_logs(),
    ] {
        assert_eq!(logs, reference);
    }
}

#[test]
fn the_second_stamp_of_a_template_leaves_nothing_of_the_first() {
    let pool = pool(Signal::Logs, Protocol::RestNdjson);
    let one = rest_events(&pool.request(0, NOW), Protocol::RestNdjson);
    let other = rest_events(&pool.request(2, NOW), Protocol::RestNdjson);
    let spans: BTreeSet<_> = one.iter().chain(&other).map(|event| text(event, "span_id")).collect();
    assert_eq!(spans.len(), 2 * RECORDS);
}

// === metrics ===

fn check_values(values: &[f64]) {
    let expected: Vec<f64> = (0..RECORDS).map(|position| sequence(position) as f64).collect();
    assert_eq!(values, expected);
}

#[test]
fn otlp_samples_carry_their_number_as_value_and_the_run_as_label() {
    let request = ExportMetricsServiceRequest::decode(request(Signal::Metrics, Protocol::OtlpGrpc)).unwrap();
    let scopes = request.resource_metrics.into_iter().flat_map(|group| group.scope_metrics);
    let points = scopes.flat_map(|scope| scope.metrics).flat_map(|metric| match metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points,
        Some(Data::Sum(sum)) => sum.data_points,
        other => panic!("{other:?}"),
    });
    let points: Vec<_> = points.collect();
    assert!(points.iter().all(|point| point.attributes.len() == 5));
    assert!(points.iter().all(|point| point.attributes.iter().any(|label| label.key == "run")));
    let times: Vec<u64> = points.iter().map(|point| point.time_unix_nano - NOW).collect();
    assert_eq!(times, (0..RECORDS as u64).collect::<Vec<_>>());
    let values = points.iter().map(|point| match point.value.unwrap() {
        PointValue::AsDouble(double) => double,
        PointValue::AsInt(int) => int as f64,
    });
    check_values(&values.collect::<Vec<_>>());
}

#[test]
fn the_other_protocols_carry_the_same_values() {
    let json: Json = serde_json::from_slice(&request(Signal::Metrics, Protocol::OtlpHttpJson)).unwrap();
    let metrics = items(&json, "resourceMetrics", "scopeMetrics", "metrics");
    let points = metrics.into_iter().flat_map(|metric| {
        let data = metric.get("gauge").or(metric.get("sum")).unwrap();
        data["dataPoints"].as_array().unwrap()
    });
    let values = points.map(|point| match point.get("asInt") {
        Some(int) => int.as_str().unwrap().parse().unwrap(),
        None => point["asDouble"].as_f64().unwrap(),
    });
    check_values(&values.collect::<Vec<_>>());

    for protocol in [Protocol::RestNdjson, Protocol::RestArray] {
        let events = rest_events(&request(Signal::Metrics, protocol), protocol);
        assert!(events.iter().all(|event| event["labels"]["run"] == "01020304"));
        check_values(&events.iter().map(|event| event["value"].as_f64().unwrap()).collect::<Vec<_>>());
    }

    let request = v1::WriteRequest::decode(request(Signal::Metrics, Protocol::Grpc)).unwrap();
    let Some(Records::Metrics(samples)) = request.records else { panic!("no samples") };
    assert!(samples.samples.iter().all(|sample| sample.labels.contains_key("run")));
    let values = samples.samples.iter().map(|sample| match sample.value {
        Some(v1::metric_sample::Value::DoubleValue(double)) => double,
        ref other => panic!("{other:?}"),
    });
    check_values(&values.collect::<Vec<_>>());
}

// === traces ===

fn otlp_spans() -> Vec<Read> {
    let request = ExportTraceServiceRequest::decode(request(Signal::Traces, Protocol::OtlpGrpc)).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|group| group.scope_spans);
    scopes
        .flat_map(|scope| scope.spans)
        .enumerate()
        .map(|(position, span)| {
            let duration = span.end_time_unix_nano - span.start_time_unix_nano;
            assert_eq!(duration, identity::duration_nanos(position as u64));
            Read {
                time: span.start_time_unix_nano,
                trace: hex(&span.trace_id),
                span: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                message: span.name,
            }
        })
        .collect()
}

fn otlp_json_spans() -> Vec<Read> {
    let json: Json = serde_json::from_slice(&request(Signal::Traces, Protocol::OtlpHttpJson)).unwrap();
    let spans = items(&json, "resourceSpans", "scopeSpans", "spans");
    spans
        .into_iter()
        .map(|span| Read {
            time: text(span, "startTimeUnixNano").parse().unwrap(),
            trace: text(span, "traceId"),
            span: text(span, "spanId"),
            parent: text(span, "parentSpanId"),
            message: text(span, "name"),
        })
        .collect()
}

fn rest_spans(protocol: Protocol) -> Vec<Read> {
    let events = rest_events(&request(Signal::Traces, protocol), protocol);
    events
        .iter()
        .map(|event| Read {
            time: rfc3339(event),
            trace: text(event, "trace_id"),
            span: text(event, "span_id"),
            parent: text(event, "parent_span_id"),
            message: text(event, "name"),
        })
        .collect()
}

fn own_spans() -> Vec<Read> {
    let request = v1::WriteRequest::decode(request(Signal::Traces, Protocol::Grpc)).unwrap();
    let Some(Records::Spans(spans)) = request.records else { panic!("no spans") };
    spans
        .spans
        .into_iter()
        .map(|span| Read {
            time: span.start_time_unix_nano.unwrap_or_default().cast_unsigned(),
            trace: span.trace_id,
            span: span.span_id,
            parent: span.parent_span_id,
            message: span.name,
        })
        .collect()
}

#[test]
fn every_protocol_carries_the_same_spans() {
    let reference = otlp_spans();
    check(&reference, true);
    for spans in
        [otlp_json_spans(), rest_spans(Protocol::RestNdjson), rest_spans(Protocol::RestArray), own_spans()]
    {
        assert_eq!(spans, reference);
    }
}
