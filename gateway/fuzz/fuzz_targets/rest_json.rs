//! JSON of any sender, in both framings, for a table of each kind.
#![no_main]

use tidewell_gateway::decode::json::{Framing, records};
use tidewell_gateway::decode::{DecodeContext, DecodeError, Decoded};
use tidewell_gateway::registry::builtin::{LOGS_EVENTS, METRICS_EVENTS, TRACES_SPANS};

fn json<const LINES: bool, const TABLE: usize>(
    body: &[u8],
    context: &DecodeContext<'_>,
) -> Result<Decoded, DecodeError> {
    let framing = if LINES { Framing::Lines } else { Framing::Json };
    records(body, framing, [LOGS_EVENTS, METRICS_EVENTS, TRACES_SPANS][TABLE], context)
}

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    for decode in
        [json::<false, 0>, json::<false, 1>, json::<false, 2>, json::<true, 0>, json::<true, 1>, json::<true, 2>]
    {
        tidewell_fuzz::run(decode, body);
    }
});
