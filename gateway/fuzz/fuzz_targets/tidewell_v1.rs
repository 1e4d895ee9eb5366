//! `WriteRequest`s of `tidewell.v1`.
#![no_main]

use tidewell_gateway::decode::tidewell_v1::{stream_item, write_options, write_request};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    tidewell_fuzz::run(write_request, body);
    drop(stream_item(body));
    drop(write_options(body));
});
