//! Loki's push requests, JSON and protobuf.
#![no_main]

use tidewell_gateway::decode::loki::{push_json, push_protobuf};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    tidewell_fuzz::run(push_json, body);
    tidewell_fuzz::run(push_protobuf, body);
});
