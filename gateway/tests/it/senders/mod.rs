//! What all protocols promise their senders alike.

mod levels;
mod limits;
mod retries;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampNanosecondArray};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::{FlightData, FlightDescriptor};
use futures::TryStreamExt as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use tidewell_proto::v1;
use tidewell_proto::v1::write_request::Records;
use tonic::Request;

/// A time of now in nanoseconds since 1970.
fn now_nanos() -> i64 {
    tidewell_gateway::ingest::now()
}

/// A call with these metadata.
fn with_metadata<T>(message: T, pairs: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in pairs {
        request.metadata_mut().append(*name, value.parse().expect("a value of ASCII"));
    }
    request
}

/// An export of `count` log records with one event name.
fn otlp_logs(event: &str, count: usize) -> ExportLogsServiceRequest {
    let record = LogRecord {
        time_unix_nano: u64::try_from(now_nanos()).expect("a time after 1970"),
        event_name: event.to_owned(),
        ..LogRecord::default()
    };
    let scope_logs = vec![ScopeLogs { log_records: vec![record; count], ..ScopeLogs::default() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { scope_logs, ..ResourceLogs::default() }] }
}

/// A batch of `count` log records with one event name.
fn own_logs(event: &str, count: usize) -> v1::WriteRequest {
    let record = v1::LogRecord {
        time_unix_nano: Some(now_nanos()),
        event_name: event.to_owned(),
        ..v1::LogRecord::default()
    };
    let records = Records::Logs(v1::LogRecords { records: vec![record; count] });
    v1::WriteRequest { records: Some(records), ..v1::WriteRequest::default() }
}

/// The messages that put batches of one row each to `logs_events`, with these `app_metadata`.
async fn flight_messages(metadata: &[&str]) -> Vec<FlightData> {
    let time: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![1_700_000_000_123_456_789]));
    let message: ArrayRef = Arc::new(StringArray::from(vec!["m"]));
    let batch = RecordBatch::try_from_iter([("timestamp", time), ("message", message)]).unwrap();
    let batches: Vec<_> = metadata.iter().map(|_| Ok(batch.clone())).collect();
    let mut messages: Vec<FlightData> = FlightDataEncoderBuilder::new()
        .with_schema(batch.schema())
        .with_flight_descriptor(Some(FlightDescriptor::new_path(vec!["logs".to_owned()])))
        .build(futures::stream::iter(batches))
        .try_collect()
        .await
        .unwrap();
    for (message, metadata) in messages.iter_mut().skip(1).zip(metadata) {
        message.app_metadata = (*metadata).to_owned().into();
    }
    messages
}
