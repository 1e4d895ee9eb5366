//! The schema registry from outside: tables registered, changed and read in both stores, by one gateway and by many.

mod concurrency;
mod evolution;
mod register;
mod routes;
mod under_load;

use std::time::{SystemTime, UNIX_EPOCH};

/// A time of today in nanoseconds since 1970.
fn now_nanos() -> i64 {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs();
    i64::try_from(seconds).expect("a time of this century") * 1_000_000_000
}
