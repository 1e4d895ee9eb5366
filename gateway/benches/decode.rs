//! Time per record of decoding OTLP: the walker down to finished columns, against prost's decoding alone, and JSON.
//!
//! `cargo bench -p tidewell-gateway --bench decode` prints nanoseconds per record, the best of several runs; each record
//! has 5 attributes, each resource 4.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its result and ends at the first surprise"
)]

use std::hint::black_box;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value::AsDouble;
use opentelemetry_proto::tonic::metrics::v1::{
    Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use tidewell_gateway::decode::{DecodeContext, DecodeError, DecodeLimits, Decoded, otlp};
use tidewell_gateway::registry::{Snapshot, Tenant, builtin};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: i64 = 1_700_000_000_000_000_000;
const RECORDS: usize = 8000;
const RUNS: usize = 30;

fn main() {
    let logs = logs().encode_to_vec();
    let metrics = metrics().encode_to_vec();
    println!(
        "{RECORDS} records per request: {} bytes per log record, {} per point",
        logs.len() / RECORDS,
        metrics.len() / RECORDS
    );
    report("logs, walker to columns", || decode(otlp::logs, &logs));
    report("logs, prost to messages", || {
        ExportLogsServiceRequest::decode(logs.as_slice()).unwrap().resource_logs.len()
    });
    report("metrics, walker to columns", || decode(otlp::metrics, &metrics));
    report("metrics, prost to messages", || {
        ExportMetricsServiceRequest::decode(metrics.as_slice()).unwrap().resource_metrics.len()
    });
    let json = logs_json();
    report("logs, JSON to columns", || decode(otlp::json::logs, json.as_bytes()));
}

fn report<T>(name: &str, mut run: impl FnMut() -> T) {
    let best = (0..RUNS)
        .map(|_| {
            let started = Instant::now();
            black_box(run());
            started.elapsed()
        })
        .min()
        .unwrap_or_default();
    println!("{name:28} {:6.0} ns per record", best.as_nanos() as f64 / RECORDS as f64);
}

fn decode(decode: fn(&[u8], &DecodeContext<'_>) -> Result<Decoded, DecodeError>, body: &[u8]) -> usize {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    let context =
        DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits: DecodeLimits::default() };
    let decoded = decode(body, &context).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (RECORDS, 0));
    decoded.batches.len()
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn resource() -> Option<Resource> {
    let attributes = ["service.name", "host.name", "deployment.environment", "k8s.pod.name"]
        .map(|key| pair(key, Value::StringValue(format!("{key}-0123456789"))))
        .to_vec();
    Some(Resource { attributes, ..Resource::default() })
}

fn attributes(at: usize) -> Vec<KeyValue> {
    vec![
        pair("http.method", Value::StringValue("GET".to_owned())),
        pair("http.route", Value::StringValue(format!("/api/v1/items/{}", at % 100))),
        pair("http.status_code", Value::IntValue(200)),
        pair("net.peer.ip", Value::StringValue("10.0.0.17".to_owned())),
        pair("cached", Value::BoolValue(at.is_multiple_of(2))),
    ]
}

fn logs() -> ExportLogsServiceRequest {
    let log_records = (0..RECORDS)
        .map(|at| LogRecord {
            time_unix_nano: NOW.cast_unsigned() - at as u64,
            observed_time_unix_nano: NOW.cast_unsigned(),
            severity_number: 9,
            severity_text: "INFO".to_owned(),
            body: Some(AnyValue {
                value: Some(Value::StringValue(format!("handled request {at} for a user in 12 ms"))),
            }),
            attributes: attributes(at),
            trace_id: vec![7; 16],
            span_id: vec![9; 8],
            ..LogRecord::default()
        })
        .collect();
    let scope = Some(InstrumentationScope { name: "bench".to_owned(), ..InstrumentationScope::default() });
    let scope_logs = vec![ScopeLogs { scope, log_records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { resource: resource(), scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }
}

fn metrics() -> ExportMetricsServiceRequest {
    let data_points = (0..RECORDS)
        .map(|at| NumberDataPoint {
            attributes: attributes(at),
            start_time_unix_nano: NOW.cast_unsigned() - 1_000_000_000,
            time_unix_nano: NOW.cast_unsigned(),
            value: Some(AsDouble(at as f64)),
            ..NumberDataPoint::default()
        })
        .collect();
    let sum = Sum { data_points, aggregation_temporality: 2, is_monotonic: true };
    let metrics = vec![Metric {
        name: "http.server.requests".to_owned(),
        unit: "{request}".to_owned(),
        data: Some(metric::Data::Sum(sum)),
        ..Metric::default()
    }];
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics =
        vec![ResourceMetrics { resource: resource(), scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn logs_json() -> String {
    let attributes = r#"[{"key":"http.method","value":{"stringValue":"GET"}},{"key":"http.route","value":{"stringValue":"/api/v1/items/17"}},{"key":"http.status_code","value":{"intValue":"200"}},{"key":"net.peer.ip","value":{"stringValue":"10.0.0.17"}},{"key":"cached","value":{"boolValue":true}}]"#;
    let record = format!(
        r#"{{"timeUnixNano":"{NOW}","observedTimeUnixNano":"{NOW}","severityNumber":9,"severityText":"INFO","body":{{"stringValue":"handled request 17 for a user in 12 ms"}},"attributes":{attributes},"traceId":"07070707070707070707070707070707","spanId":"0909090909090909"}}"#
    );
    let records = vec![record; RECORDS].join(",");
    format!(
        r#"{{"resourceLogs":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"a"}}}}]}},"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#
    )
}
