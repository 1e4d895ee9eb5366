//! InfluxDB's line protocol.
#![no_main]

use tidewell_gateway::decode::influxdb::{Precision, write};

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    tidewell_fuzz::run(|body, context| write(body, "db", Precision::Milliseconds, context), body);
});
