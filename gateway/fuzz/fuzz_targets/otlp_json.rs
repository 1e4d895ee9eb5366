//! OTLP/JSON of all three signals.
#![no_main]

use tidewell_gateway::decode::otlp::json;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    for decode in [json::logs, json::metrics, json::traces] {
        tidewell_fuzz::run(decode, body);
    }
});
