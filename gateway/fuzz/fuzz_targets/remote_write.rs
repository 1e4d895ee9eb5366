//! Prometheus remote write, both messages.
#![no_main]

use tidewell_gateway::decode::prometheus::{Version, write_request};
use tidewell_gateway::decode::{DecodeContext, DecodeError, Decoded};

fn first(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    write_request(body, Version::V1, context).map(|(decoded, _)| decoded)
}

fn second(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    write_request(body, Version::V2, context).map(|(decoded, _)| decoded)
}

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    tidewell_fuzz::run(first, body);
    tidewell_fuzz::run(second, body);
});
