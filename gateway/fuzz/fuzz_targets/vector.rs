//! Vector's native protocol.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| tidewell_fuzz::run(tidewell_gateway::decode::vector::push_events, body));
