//! OTLP decoding against what prost reads, and against each trap of the protocol.

mod bombs;
mod corpus;
mod differential;
mod expected;
mod generate;
mod json_form;
mod json_traps;
mod log_traps;
mod metric_traps;
mod trace_traps;

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType, UInt8Type,
};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics, metric};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use serde_json::{Value, json};

use crate::decode::{DecodeContext, DecodeError, DecodeLimits, Decoded, otlp};
use crate::registry::{Snapshot, TableBatch, Tenant, builtin};

/// The time of arrival in every test.
pub(super) const NOW: i64 = 1_700_000_000_000_000_000;
/// A time of a record that is accepted.
pub(super) const TIME: u64 = 1_699_999_999_123_456_789;

/// A row by column, NULLs left out; doubles as their bits, attributes as lists of (key, text, type).
pub(super) type Row = BTreeMap<String, Value>;

type Decode = fn(&[u8], &DecodeContext<'_>) -> Result<Decoded, DecodeError>;

pub(super) fn decode_with(decode: Decode, body: &[u8], limits: DecodeLimits) -> Result<Decoded, DecodeError> {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    decode(body, &DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits })
}

pub(super) fn decode(decode: Decode, body: &[u8]) -> Result<Decoded, DecodeError> {
    decode_with(decode, body, DecodeLimits::default())
}

pub(super) fn rows(decoded: &Decoded, table: &str) -> Vec<Row> {
    let of_table = |batch: &&TableBatch| batch.table().name().as_str() == table;
    decoded.batches.iter().filter(of_table).flat_map(batch_rows).collect()
}

pub(super) fn all_rows(decoded: &Decoded) -> BTreeMap<String, Vec<Row>> {
    decoded.batches.iter().map(|batch| (batch.table().name().to_string(), batch_rows(batch))).collect()
}

pub(super) fn double(value: f64) -> Value {
    json!(format!("{value:?} {:016x}", value.to_bits()))
}

fn batch_rows(batch: &TableBatch) -> Vec<Row> {
    let schema = batch.rows().schema();
    (0..batch.len())
        .map(|row| {
            let cells = schema.fields().iter().zip(batch.rows().columns());
            cells
                .filter(|(_, column)| column.is_valid(row))
                .map(|(field, column)| (field.name().clone(), cell(column, row)))
                .collect()
        })
        .collect()
}

fn cell(column: &ArrayRef, row: usize) -> Value {
    match column.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            json!(column.as_primitive::<TimestampNanosecondType>().value(row))
        }
        DataType::Float64 => double(column.as_primitive::<Float64Type>().value(row)),
        DataType::Int64 => json!(column.as_primitive::<Int64Type>().value(row)),
        DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(row)),
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::List(_) => {
            let list = column.as_list::<i32>().value(row);
            (0..list.len()).map(|at| cell(&list, at)).collect()
        }
        DataType::Map(..) => {
            let entries = column.as_map().value(row);
            let values = entries.column(1).as_struct();
            (0..entries.len())
                .map(|at| {
                    let kind = values.column(1).as_primitive::<UInt8Type>().value(at);
                    json!([cell(entries.column(0), at), cell(values.column(0), at), kind])
                })
                .collect()
        }
        other => panic!("no cell of {other}"),
    }
}

pub(super) fn any(value: Any) -> Option<AnyValue> {
    Some(AnyValue { value: Some(value) })
}

pub(super) fn text(value: &str) -> Option<AnyValue> {
    any(Any::StringValue(value.to_owned()))
}

pub(super) fn attribute(key: &str, value: Option<AnyValue>) -> KeyValue {
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// A length-delimited field with a key of one byte.
pub(super) fn field(key: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![key];
    prost::encode_length_delimiter(bytes.len(), &mut field).unwrap();
    field.extend_from_slice(bytes);
    field
}

/// A request with one item of any bytes: a log record, a span or a metric.
pub(super) fn around(item: &[u8]) -> Vec<u8> {
    field(0x0a, &field(0x12, &field(0x12, item)))
}

/// A request with these log records.
pub(super) fn logs_of(records: Vec<LogRecord>) -> Vec<u8> {
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    let resource_logs = vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }];
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

/// A request with these spans.
pub(super) fn traces_of(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A request with a metric for each of these data.
pub(super) fn metrics_of(data: Vec<metric::Data>) -> Vec<u8> {
    let metrics = data
        .into_iter()
        .map(|data| Metric { name: "m".to_owned(), data: Some(data), ..Metric::default() })
        .collect();
    let scope_metrics = vec![ScopeMetrics { metrics, ..ScopeMetrics::default() }];
    let resource_metrics = vec![ResourceMetrics { scope_metrics, ..ResourceMetrics::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

/// The single refusal as "index field: reason".
pub(super) fn refusal(decoded: &Decoded) -> String {
    assert_eq!(decoded.rejected.len(), 1, "{:?}", decoded.rejected);
    format!("{} {}", decoded.rejected[0].index, decoded.rejected[0].error)
}

pub(super) const LOGS: Decode = otlp::logs;
pub(super) const METRICS: Decode = otlp::metrics;
pub(super) const TRACES: Decode = otlp::traces;
pub(super) const LOGS_JSON: Decode = otlp::json::logs;
pub(super) const METRICS_JSON: Decode = otlp::json::metrics;
pub(super) const TRACES_JSON: Decode = otlp::json::traces;
