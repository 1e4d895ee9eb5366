//! Elasticsearch's bulk requests.
#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    tidewell_fuzz::run(|body, context| tidewell_gateway::decode::elasticsearch::bulk(body, "i", context), body);
});
