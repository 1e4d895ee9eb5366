//! The requests that the rules send.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use reqwest::{Method, Response};

use super::super::{attributes, recent, resource};
use super::Target;

pub(super) const PROTOBUF: &str = "application/x-protobuf";
pub(super) const JSON: &str = "application/json";
/// The addresses of the three signals.
pub(super) const PATHS: [&str; 3] = ["/v1/logs", "/v1/metrics", "/v1/traces"];

impl Target {
    /// Posts a body, as `encoding` says unless that is empty.
    pub(super) async fn post(
        &self,
        path: &str,
        content_type: &str,
        encoding: &str,
        body: Vec<u8>,
    ) -> Result<Response, String> {
        let mut request = self.client.request(Method::POST, format!("{}{path}", self.http));
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        if !encoding.is_empty() {
            request = request.header("content-encoding", encoding);
        }
        request.body(body).send().await.map_err(|error| format!("no answer: {error:?}"))
    }
}

/// The content type of an answer, by the letter.
pub(super) fn content_type(answer: &Response) -> String {
    let value = answer.headers().get("content-type").and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

pub(super) fn logs(records: Vec<LogRecord>) -> ExportLogsServiceRequest {
    let scope_logs = vec![ScopeLogs { log_records: records, ..ScopeLogs::default() }];
    let logs = ResourceLogs { resource: resource("conformance"), scope_logs, ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![logs] }
}

pub(super) fn record() -> LogRecord {
    LogRecord { time_unix_nano: recent(), attributes: attributes(), ..LogRecord::default() }
}

pub(super) fn spans(spans: Vec<Span>) -> ExportTraceServiceRequest {
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let spans = ResourceSpans { resource: resource("conformance"), scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }
}

pub(super) fn span() -> Span {
    Span {
        trace_id: vec![1; 16],
        span_id: vec![2; 8],
        name: "conformance".to_owned(),
        start_time_unix_nano: recent(),
        end_time_unix_nano: recent() + 1,
        attributes: attributes(),
        ..Span::default()
    }
}

/// One metric with these data.
pub(super) fn metrics(data: Data) -> ExportMetricsServiceRequest {
    let metric = Metric { name: "conformance".to_owned(), data: Some(data), ..Metric::default() };
    let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..ScopeMetrics::default() }];
    let metrics =
        ResourceMetrics { resource: resource("conformance"), scope_metrics, ..ResourceMetrics::default() };
    ExportMetricsServiceRequest { resource_metrics: vec![metrics] }
}
