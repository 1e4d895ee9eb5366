//! OTLP over gRPC and over HTTP: export requests of the three signals in, export responses out.
//!
//! Both ways share what a signal is: how its requests are decoded and what its responses are called. The request's
//! bytes go to the decoder as they came; only responses are built as messages.

pub mod grpc;
pub mod http;

use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsPartialSuccess, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};

use crate::decode::{DecodeContext, DecodeError, Decoded, otlp};

/// Rejected records and a message, as [`crate::rejection::partial_success`] words them; none for full success, which
/// leaves the field unset.
pub(crate) type PartialSuccess = Option<(i64, String)>;

/// One of the signals of OTLP.
pub(crate) trait Signal: Clone + Send + Sync + 'static {
    /// What a response is.
    type Response: prost::Message + Default + 'static;

    /// The full name of the gRPC service.
    const SERVICE: &'static str;
    /// The HTTP path.
    const PATH: &'static str;
    /// The member of `partialSuccess` in JSON that counts rejected records.
    const REJECTED: &'static str;

    /// Decodes a request in protobuf.
    fn decode(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError>;

    /// Decodes a request in JSON.
    fn decode_json(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError>;

    /// A response.
    fn response(partial_success: PartialSuccess) -> Self::Response;
}

/// Log records.
#[derive(Debug, Clone)]
pub(crate) struct Logs;

/// Data points.
#[derive(Debug, Clone)]
pub(crate) struct Metrics;

/// Spans.
#[derive(Debug, Clone)]
pub(crate) struct Traces;

// === impl Signal ===

impl Signal for Logs {
    type Response = ExportLogsServiceResponse;

    const SERVICE: &'static str = "opentelemetry.proto.collector.logs.v1.LogsService";
    const PATH: &'static str = "/v1/logs";
    const REJECTED: &'static str = "rejectedLogRecords";

    fn decode(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        otlp::logs(body, context)
    }

    fn decode_json(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        otlp::json::logs(body, context)
    }

    fn response(partial_success: PartialSuccess) -> Self::Response {
        let partial_success = partial_success.map(|(rejected_log_records, error_message)| {
            ExportLogsPartialSuccess { rejected_log_records, error_message }
        });
        ExportLogsServiceResponse { partial_success }
    }
}

impl Signal for Metrics {
    type Response = ExportMetricsServiceResponse;

    const SERVICE: &'static str = "opentelemetry.proto.collector.metrics.v1.MetricsService";
    const PATH: &'static str = "/v1/metrics";
    const REJECTED: &'static str = "rejectedDataPoints";

    fn decode(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        otlp::metrics(body, context)
    }

    fn decode_json(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        otlp::json::metrics(body, context)
    }

    fn response(partial_success: PartialSuccess) -> Self::Response {
        let partial_success = partial_success.map(|(rejected_data_points, error_message)| {
            ExportMetricsPartialSuccess { rejected_data_points, error_message }
        });
        ExportMetricsServiceResponse { partial_success }
    }
}

impl Signal for Traces {
    type Response = ExportTraceServiceResponse;

    const SERVICE: &'static str = "opentelemetry.proto.collector.trace.v1.TraceService";
    const PATH: &'static str = "/v1/traces";
    const REJECTED: &'static str = "rejectedSpans";

    fn decode(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        otlp::traces(body, context)
    }

    fn decode_json(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        otlp::json::traces(body, context)
    }

    fn response(partial_success: PartialSuccess) -> Self::Response {
        let partial_success = partial_success.map(|(rejected_spans, error_message)| {
            ExportTracePartialSuccess { rejected_spans, error_message }
        });
        ExportTraceServiceResponse { partial_success }
    }
}
