//! OTLP: export requests in protobuf or JSON in, rows of the built-in tables out.
//!
//! Protobuf is read without building a tree: `wire` finds the fields, `walk` goes through the levels, and one module
//! per signal writes the rows. [`json`] rewrites a JSON request as protobuf, so that there is one place
//! that decides what a record becomes. `accepted` and the indexes of rejected records count log records, data points
//! and spans.
//!
//! Sources: the OTLP 1.11 specification and the comments in its `.proto` files.

pub mod envelope;
pub mod json;

mod ids;
mod logs;
mod metrics;
mod origin;
mod outcome;
mod span_parts;
mod traces;
mod walk;

#[cfg(test)]
mod tests;

pub use self::outcome::PROTOBUF;

use self::logs::Logs;
use self::metrics::Metrics;
use self::traces::Traces;
use self::walk::State;
use super::{DecodeContext, DecodeError, Decoded};

/// Decodes an `ExportLogsServiceRequest`.
pub fn logs(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let (mut logs, mut state) = (Logs::new(context)?, State::new(context, envelope::LOGS));
    walk::walk(body, &mut logs, &mut state)?;
    logs.finish(state)
}

/// Decodes an `ExportMetricsServiceRequest`.
pub fn metrics(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let (mut metrics, mut state) = (Metrics::new(context)?, State::new(context, envelope::METRICS));
    walk::walk(body, &mut metrics, &mut state)?;
    metrics.finish(state)
}

/// Decodes an `ExportTraceServiceRequest`.
pub fn traces(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let (mut traces, mut state) = (Traces::new(context)?, State::new(context, envelope::TRACES));
    walk::walk(body, &mut traces, &mut state)?;
    traces.finish(state)
}
