//! REST and the registry over HTTP, from the socket to the stores.

mod arrow;
mod bad_input;
mod http;
mod round_trip;
mod vector;

use std::time::{SystemTime, UNIX_EPOCH};

/// A time of today in nanoseconds since 1970, with a remainder that microseconds cannot hold.
fn now_nanos() -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
    i64::try_from(seconds).expect("a time of this century") * 1_000_000_000 + 123_456_789
}
