//! Every form by example, and the exactness of numbers and RFC 3339 by property.

use chrono::{DateTime, SecondsFormat};
use proptest::prelude::*;

use super::*;

const NOON: i64 = 1_714_566_600_000_000_000;

fn zoned(text: &str) -> i64 {
    let timestamp = parse(text).unwrap_or_else(|error| panic!("{text:?} {error}"));
    assert!(timestamp.zoned, "{text:?}");
    timestamp.nanos
}

#[test]
fn numbers_are_told_apart_by_magnitude_and_stay_exact() {
    for (text, nanos) in [
        ("1700000000", 1_700_000_000_000_000_000),
        ("1700000000000", 1_700_000_000_000_000_000),
        ("1700000000000000", 1_700_000_000_000_000_000),
        ("1700000000000000001", 1_700_000_000_000_000_001),
        ("1700000000.123456789", 1_700_000_000_123_456_789),
        ("1700000000.12345678999999999999999999999999999999999999", 1_700_000_000_123_456_789),
        ("1700000000123.456789", 1_700_000_000_123_456_789),
        ("1.700000000123456789e9", 1_700_000_000_123_456_789),
        ("1.7E+18", 1_700_000_000_000_000_000),
        ("17000000000000000010e-1", 1_700_000_000_000_000_001),
        ("-1.5", -1_500_000_000),
        ("0", 0),
        ("0e999999999", 0),
        ("1e-999999999", 0),
    ] {
        assert_eq!(zoned(text), nanos, "{text}");
    }
}

#[test]
fn absurd_numbers_are_out_of_range() {
    let digits = "9".repeat(10_000);
    for text in ["99999999999", "1e30", "-1e19", "9223372036854775808", "1e2147483647", &digits] {
        assert_eq!(parse(text), Err(TimestampError::Range), "{:.30}", text);
    }
}

#[test]
fn texts_with_a_zone_mean_what_they_say() {
    for text in [
        "2024-05-01T12:30:00Z",
        "2024-05-01T12:30:00z",
        "2024-05-01 12:30:00 UTC",
        "2024-05-01T14:30:00+02:00",
        "2024-05-01T14:30+0200",
        "2024-05-01 14:30:00.000 +02",
        "2024-05-01T03:00:00-09:30",
        "2024/05/01 12:29:60Z",
        "Wed, 01 May 2024 14:30:00 +0200",
    ] {
        assert_eq!(zoned(text), NOON, "{text}");
    }
    assert_eq!(zoned("2024-05-01T12:30:00.1234567899Z"), NOON + 123_456_789);
}

#[test]
fn texts_without_a_zone_are_utc_and_say_so() {
    for text in
        ["2024-05-01T12:30:00", "2024-05-01 12:30", " 2024-05-01_12:30:00,000 ", "2024/05/01 12:30:00.0"]
    {
        assert_eq!(parse(text), Ok(Timestamp { nanos: NOON, zoned: false }), "{text}");
    }
    let midnight = Timestamp { nanos: NOON - 45_000_000_000_000, zoned: false };
    assert_eq!(parse("2024-05-01"), Ok(midnight));
}

#[test]
fn what_is_no_time_is_refused() {
    for text in [
        "",
        ".",
        "-",
        "e5",
        "yesterday",
        "2024-13-01",
        "2023-02-29T00:00:00Z",
        "2024-05-01T24:00:00Z",
        "2024-05-01T12:30:00.Z",
        "2024-05-01T12:30:00+25:00",
        "2024-05-01T12:30:00+02:",
        "2024-05-01T12:30:00Europe/Berlin",
        "2024-05/01",
        "1e5e5",
        "1.2.3",
        "NaN",
        "12\u{661}",
    ] {
        assert_eq!(parse(text), Err(TimestampError::Form), "{text:?}");
    }
    assert_eq!(parse("9999-12-31T23:59:59Z"), Err(TimestampError::Range));
    assert_eq!(parse("0001-01-01T00:00:00Z"), Err(TimestampError::Range));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,40}|[0-9TZ:.+eE, -]{0,40}") {
        prop_assert_eq!(parse(&format!(" {text} ")), parse(&text));
    }

    /// The reference is chrono's own reading of what chrono wrote.
    #[test]
    fn rfc3339_reads_as_chrono_wrote_it(nanos in -2_208_988_800_000_000_000..i64::MAX, offset in -86_000..86_000i32) {
        let zone = chrono::FixedOffset::east_opt(offset / 60 * 60).unwrap();
        let text = DateTime::from_timestamp_nanos(nanos).with_timezone(&zone).to_rfc3339();
        prop_assert_eq!(parse(&text), Ok(Timestamp { nanos, zoned: true }), "{}", text);
        let text = DateTime::from_timestamp_nanos(nanos).to_rfc3339_opts(SecondsFormat::Nanos, true);
        prop_assert_eq!(parse(&text), Ok(Timestamp { nanos, zoned: true }), "{}", text);
    }

    /// Seconds with nine decimals, as Python's `time.time()` would like to write them.
    #[test]
    fn decimal_seconds_keep_their_nanoseconds(seconds in 1_000_000_000i64..9_000_000_000, nanos in 0i64..1_000_000_000) {
        let text = format!("{seconds}.{nanos:09}");
        prop_assert_eq!(parse(&text).unwrap().nanos, seconds * 1_000_000_000 + nanos);
    }
}
