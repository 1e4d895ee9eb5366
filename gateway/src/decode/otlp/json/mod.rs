//! OTLP/JSON: a request rewritten as protobuf, then decoded like one.
//!
//! What differs from protobuf's own JSON mapping is OTLP's: identifiers are hexadecimal, enums are integers. Beyond
//! it, an array of requests and requests one after the other are read, since Vector's `opentelemetry` sink sends
//! them, and field names in snake case are read with a warning. Unknown fields are ignored.
//!
//! A record that cannot be rewritten is refused alone. What is wrong with a resource, a scope or a metric refuses the
//! records below it; JSON that cannot be read refuses the request.

mod encode;
mod kept;
mod levels;
mod numbers;
mod schema;

use std::borrow::Cow;

use self::levels::{Request, Rewriter};
use super::envelope;
use crate::decode::{DecodeContext, DecodeError, Decoded};
use crate::registry::builtin::{LOGS_EVENTS, METRICS_EVENTS, TRACES_SPANS};

/// The media type of OTLP messages in JSON.
pub const JSON: &str = "application/json";

static LOGS: Request = Request { message: &schema::LOGS, table: LOGS_EVENTS, types: envelope::LOGS };
static METRICS: Request =
    Request { message: &schema::METRICS, table: METRICS_EVENTS, types: envelope::METRICS };
static TRACES: Request = Request { message: &schema::TRACES, table: TRACES_SPANS, types: envelope::TRACES };

/// Decodes one or more `ExportLogsServiceRequest`s.
pub fn logs(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    decode(body, context, &LOGS, super::logs)
}

/// Decodes one or more `ExportMetricsServiceRequest`s.
pub fn metrics(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    decode(body, context, &METRICS, super::metrics)
}

/// Decodes one or more `ExportTraceServiceRequest`s.
pub fn traces(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    decode(body, context, &TRACES, super::traces)
}

fn decode(
    body: &[u8],
    context: &DecodeContext<'_>,
    request: &'static Request,
    protobuf: impl FnOnce(&[u8], &DecodeContext<'_>) -> Result<Decoded, DecodeError>,
) -> Result<Decoded, DecodeError> {
    let (text, damage) = as_text(body);
    let rewriter = Rewriter::new(&text, &damage, request, context.limits.records);
    let rewritten = rewriter.rewrite()?;
    let decoded = protobuf(&rewritten.protobuf, context)?;
    Ok(rewritten.account(decoded, body, context.limits))
}

/// The body as text of the same length. Bytes that are not UTF-8 become question marks, and their places are
/// returned in order: only the records that hold them are refused.
fn as_text(body: &[u8]) -> (Cow<'_, str>, Vec<usize>) {
    if let Ok(text) = std::str::from_utf8(body) {
        return (Cow::Borrowed(text), Vec::new());
    }
    let mut text = String::with_capacity(body.len());
    let mut damage = Vec::new();
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        for _ in chunk.invalid() {
            damage.push(text.len());
            text.push('?');
        }
    }
    (Cow::Owned(text), damage)
}
