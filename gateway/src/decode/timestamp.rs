//! Timestamps as people and programs write them: text or a number in, nanoseconds since 1970 out.
//!
//! | form | example | reading |
//! |---|---|---|
//! | RFC 3339 | `2024-05-01T12:30:00.123456789Z`, `2024-05-01 12:30:00+02:00` | as it says |
//! | the same without a zone | `2024-05-01 12:30:00,123`, `2024/05/01 12:30`, `2024-05-01` | UTC, see [`Timestamp::zoned`] |
//! | RFC 2822 | `Wed, 01 May 2024 12:30:00 +0200` | as it says |
//! | a number, or a text that is one | `1714566600`, `1714566600.123456789`, `1.7145666e9`, `"1714566600123"` | see below |
//!
//! The unit of a number follows from its magnitude: below 10^11 seconds, below 10^14 milliseconds, below 10^17
//! microseconds, else nanoseconds. As seconds 10^11 is in the year 5138, as milliseconds in 1973. Numbers are read
//! digit by digit and never through a float, which would be off by some 100 ns.

use chrono::{DateTime, NaiveDate};

use super::decimal::Decimal;

/// A point in time, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    /// Nanoseconds since 1970, UTC.
    pub nanos: i64,
    /// Whether it said of itself which zone it is in. Numbers always do.
    pub zoned: bool,
}

/// A text or a number that is no timestamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// It has none of the forms.
    #[error(
        "is not a timestamp: send RFC 3339 (2024-05-01T12:30:00Z) or a number of s, ms, us or ns since 1970"
    )]
    Form,
    /// It does not fit in 64 bits of nanoseconds.
    #[error("is outside of 1677-09-21 to 2262-04-11")]
    Range,
}

/// Reads any of the forms.
pub fn parse(text: &str) -> Result<Timestamp, TimestampError> {
    let text = text.trim();
    if let Some(number) = Decimal::parse(text) {
        return Ok(Timestamp { nanos: epoch_nanos(number)?, zoned: true });
    }
    if let Some(timestamp) = date_time(text.as_bytes()) {
        return timestamp;
    }
    match DateTime::parse_from_rfc2822(text) {
        Ok(time) => {
            let nanos = time.timestamp_nanos_opt().ok_or(TimestampError::Range)?;
            Ok(Timestamp { nanos, zoned: true })
        }
        Err(_) => Err(TimestampError::Form),
    }
}

fn epoch_nanos(number: Decimal) -> Result<i64, TimestampError> {
    let power = match number.magnitude().ok_or(TimestampError::Range)? {
        0..100_000_000_000 => 9,
        100_000_000_000..100_000_000_000_000 => 6,
        100_000_000_000_000..100_000_000_000_000_000 => 3,
        _ => 0,
    };
    number.scaled(power).ok_or(TimestampError::Range)
}

/// A date and what may follow it; none when the text does not begin with a date.
fn date_time(text: &[u8]) -> Option<Result<Timestamp, TimestampError>> {
    let mut rest = Cursor(text);
    let year = rest.digits(4)?;
    let separator = rest.one_of(b"-/")?;
    let month = rest.digits(2)?;
    rest.one_of(&[separator])?;
    let day = rest.digits(2)?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    if rest.0.is_empty() {
        return Some(timestamp(date, [0; 3], 0, None));
    }
    rest.one_of(b"Tt _")?;
    let hour = rest.digits(2)?;
    rest.one_of(b":")?;
    let minute = rest.digits(2)?;
    let mut second = 0;
    let mut fraction = 0;
    if rest.one_of(b":").is_some() {
        second = rest.digits(2)?;
        if rest.one_of(b".,").is_some() {
            fraction = rest.fraction()?;
        }
    }
    // A leap second is the first of the next minute, as POSIX counts.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let offset = rest.zone()?;
    Some(timestamp(date, [hour, minute, second], fraction, offset))
}

fn timestamp(
    date: NaiveDate,
    [hour, minute, second]: [u32; 3],
    fraction: i64,
    offset: Option<i64>,
) -> Result<Timestamp, TimestampError> {
    let midnight = date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp();
    let seconds = midnight + i64::from(hour * 3600 + minute * 60 + second) - offset.unwrap_or(0);
    let nanos = i128::from(seconds) * 1_000_000_000 + i128::from(fraction);
    match i64::try_from(nanos) {
        Ok(nanos) => Ok(Timestamp { nanos, zoned: offset.is_some() }),
        Err(_) => Err(TimestampError::Range),
    }
}

/// What is still to be read of a text.
struct Cursor<'t>(&'t [u8]);

impl Cursor<'_> {
    fn one_of(&mut self, allowed: &[u8]) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        allowed.contains(&first).then(|| {
            self.0 = rest;
            first
        })
    }

    fn digits(&mut self, count: usize) -> Option<u32> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let value = digits.iter().try_fold(0u32, |value, byte| {
            byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(value)
    }

    /// Digits after the point as nanoseconds; what is finer is cut off.
    fn fraction(&mut self) -> Option<i64> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        let nanos = (0..9)
            .fold(0, |nanos, at| nanos * 10 + digits.get(at).map_or(0, |digit| i64::from(digit - b'0')));
        (count > 0).then_some(nanos)
    }

    /// The zone's offset in seconds; `Some(None)` when there is no zone, none when it cannot be read.
    fn zone(&mut self) -> Option<Option<i64>> {
        let rest = self.0.trim_ascii();
        if rest.is_empty() {
            return Some(None);
        }
        if ["z", "utc", "gmt"].iter().any(|zone| rest.eq_ignore_ascii_case(zone.as_bytes())) {
            return Some(Some(0));
        }
        self.0 = rest;
        let sign = self.one_of(b"+-")?;
        let hours = self.digits(2)?;
        let has_colon = self.one_of(b":").is_some();
        let minutes = if self.0.is_empty() && !has_colon { 0 } else { self.digits(2)? };
        if !self.0.is_empty() || hours > 23 || minutes > 59 {
            return None;
        }
        let offset = i64::from(hours * 3600 + minutes * 60);
        Some(Some(if sign == b'-' { -offset } else { offset }))
    }
}

#[cfg(test)]
mod tests;
