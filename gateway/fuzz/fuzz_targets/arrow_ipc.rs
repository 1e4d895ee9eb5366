//! Arrow IPC streams, compressed or not, for a table of each kind.
#![no_main]

use tidewell_gateway::decode::arrow::ipc_stream;
use tidewell_gateway::decode::{DecodeContext, DecodeError, DecodeLimits, Decoded};
use tidewell_gateway::registry::builtin::{LOGS_EVENTS, METRICS_EVENTS, METRICS_HISTOGRAMS, TRACES_SPANS};

fn arrow<const TABLE: usize>(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let tables = [LOGS_EVENTS, METRICS_EVENTS, METRICS_HISTOGRAMS, TRACES_SPANS];
    // A column without values takes no bytes for its rows, so that their number is bounded by this limit alone.
    let limits = DecodeLimits { records: body.len(), ..context.limits };
    let body = bytes::Bytes::copy_from_slice(body);
    ipc_stream(&body, tables[TABLE], &DecodeContext { limits, ..*context })
}

libfuzzer_sys::fuzz_target!(init: tidewell_fuzz::let_arrow_panic(), |body: &[u8]| {
    for decode in [arrow::<0>, arrow::<1>, arrow::<2>, arrow::<3>] {
        tidewell_fuzz::run(decode, body);
    }
});
