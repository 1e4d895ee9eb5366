//! The record of a dead letter, as it was kept or mended: its bytes and their media type in, rows out.
//!
//! | media type | what it is |
//! |---|---|
//! | `application/json` | records as `POST /write/{table}` takes them; an OTLP request when it has the fields of one |
//! | `application/x-ndjson`, `text/plain`, `application/vnd.apache.arrow.stream` | as `POST /write/{table}` takes them |
//! | `application/vnd.tidewell.row+json` | a row that Arrow brought or that a store refused |
//! | `application/x-protobuf` or `application/json` with `messageType` of an OTLP request | that request, with one record |
//! | `application/x-protobuf` with `messageType` of a record of `tidewell.v1` | that record |
//! | `application/x-protobuf` with `messageType` of a remote write request | that request, with one record |
//! | `application/json` or `application/x-protobuf` with `messageType` of Loki's push request | that request, with one entry |
//! | `application/x-ndjson` with `messageType` of Elasticsearch's bulk request | that request, with one item |
//! | `text/plain` with `messageType` of InfluxDB's lines and their precision | a point |
//! | `application/x-protobuf` with `messageType` of a request of Vector's | that request, with one event |

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use serde::de::IgnoredAny;

use super::arrow::ROW_JSON;
use super::influxdb::{self, Precision};
use super::json::Framing;
use super::otlp::envelope::{self, put};
use super::prometheus::{self, Version};
use super::{
    DecodeContext, DecodeError, Decoded, arrow, elasticsearch, json, lines, loki, otlp, tidewell_v1, vector,
};

/// The messages of `tidewell.v1` that are kept alone: name, field of the `WriteRequest`, field of their list.
const RECORDS: [(&str, u32, u32); 4] = [
    ("tidewell.v1.LogRecord", 1, 1),
    ("tidewell.v1.MetricSample", 2, 1),
    ("tidewell.v1.Span", 3, 1),
    ("tidewell.v1.Row", 4, 2),
];

/// Top-level fields of OTLP requests in JSON.
const OTLP_FIELDS: [(&str, Signal); 6] = [
    ("resourceLogs", Signal::Logs),
    ("resource_logs", Signal::Logs),
    ("resourceMetrics", Signal::Metrics),
    ("resource_metrics", Signal::Metrics),
    ("resourceSpans", Signal::Traces),
    ("resource_spans", Signal::Traces),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signal {
    Logs,
    Metrics,
    Traces,
}

/// Decodes the record of a letter that was meant for `table`.
pub fn record(
    body: &Bytes,
    content_type: &str,
    table: &str,
    context: &DecodeContext<'_>,
) -> Result<Decoded, DecodeError> {
    match content_type {
        vector::KEPT => return vector::push_events(body, context),
        elasticsearch::KEPT => return elasticsearch::bulk(body, "", context),
        loki::KEPT_JSON => return loki::push_json(body, context),
        loki::KEPT_PROTOBUF => return loki::push_protobuf(body, context),
        _ => {}
    }
    if let Some(precision) = Precision::of_kept(content_type) {
        return influxdb::write(body, "", precision, context);
    }
    let (essence, message) = parts(content_type);
    match (essence.as_str(), message.map(Signal::of_message)) {
        ("application/json", Some(Some(signal))) => signal.json(body, context),
        ("application/x-protobuf", Some(Some(signal))) => signal.protobuf(body, context),
        ("application/json", _) => match otlp_signal(body) {
            Some(signal) => signal.json(body, context),
            None => json::records(body, Framing::Json, table, context),
        },
        ("application/x-ndjson" | "application/ndjson", _) => {
            json::records(body, Framing::Lines, table, context)
        }
        ("text/plain", _) => lines::records(body, table, context),
        ("application/vnd.apache.arrow.stream", _) => arrow::ipc_stream(body, table, context),
        (ROW_JSON, _) => arrow::row(body, table, context),
        ("application/x-protobuf", Some(None)) => match message.and_then(Version::of_message) {
            Some(version) => prometheus::write_request(body, version, context).map(|(decoded, _)| decoded),
            None => tidewell_record(body, message, table, context),
        },
        _ => Err(DecodeError::Malformed(format!(
            "content-type {content_type:?} is none that a letter's record can have: send application/json"
        ))),
    }
}

/// Whether a payload of this media type has all that its row needs. What was too much to keep for one request is there
/// without its resource.
pub fn is_whole(content_type: &str, protocol: &str) -> bool {
    let (_, message) = parts(content_type);
    message.is_some() || !protocol.starts_with("otlp")
}

/// The media type in lower case, and the value of its parameter `messageType`.
fn parts(content_type: &str) -> (String, Option<&str>) {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let message = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.eq_ignore_ascii_case("messageType").then(|| value.trim_matches('"'))
    });
    (essence, message)
}

fn otlp_signal(body: &[u8]) -> Option<Signal> {
    let members: HashMap<Cow<'_, str>, IgnoredAny> = serde_json::from_slice(body).ok()?;
    OTLP_FIELDS.iter().find(|(name, _)| members.contains_key(*name)).map(|(_, signal)| *signal)
}

fn tidewell_record(
    body: &[u8],
    message: Option<&str>,
    table: &str,
    context: &DecodeContext<'_>,
) -> Result<Decoded, DecodeError> {
    let Some(&(_, kind, field)) = RECORDS.iter().find(|(name, ..)| Some(*name) == message) else {
        let message = message.unwrap_or_default();
        return Err(DecodeError::Malformed(format!(
            "messageType {message:?} is none that a letter can have"
        )));
    };
    let mut records = Vec::with_capacity(body.len() + 16);
    if kind == 4 {
        put(&mut records, 1, table.as_bytes());
    }
    put(&mut records, field, body);
    let mut request = Vec::with_capacity(records.len() + 8);
    put(&mut request, kind, &records);
    tidewell_v1::write_request(&request, context)
}

impl Signal {
    fn of_message(name: &str) -> Option<Self> {
        let is = |types: envelope::RequestTypes| parts(types.protobuf).1 == Some(name);
        [(envelope::LOGS, Self::Logs), (envelope::METRICS, Self::Metrics), (envelope::TRACES, Self::Traces)]
            .into_iter()
            .find(|(types, _)| is(*types))
            .map(|(_, signal)| signal)
    }

    fn protobuf(self, body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        match self {
            Self::Logs => otlp::logs(body, context),
            Self::Metrics => otlp::metrics(body, context),
            Self::Traces => otlp::traces(body, context),
        }
    }

    fn json(self, body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        match self {
            Self::Logs => otlp::json::logs(body, context),
            Self::Metrics => otlp::json::metrics(body, context),
            Self::Traces => otlp::json::traces(body, context),
        }
    }
}
