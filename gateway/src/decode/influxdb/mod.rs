//! InfluxDB's line protocol: points in, rows of `metrics_events` out, one for each field of a point.
//!
//! | column | from |
//! |---|---|
//! | `metric` | measurement and field, `MEASUREMENT_FIELD` |
//! | `scope_name` | the measurement, so that the field can be told |
//! | `labels` | the tags, and `db` for the database or bucket unless a tag has that name |
//! | `app`, `host` | the tags `app` (or `service`, `service_name`, `application`) and `host` (or `hostname`); they stay among the labels |
//! | `time` | the point's time in the request's precision, else the time of arrival |
//! | `value`, `value_int`, `type`, `envelope` | the field, as below |
//!
//! | field | `value` | `value_int` | `type` | `envelope` |
//! |---|---|---|---|---|
//! | float `1.5` | the value | NULL | NULL | NULL |
//! | integer `7i`, unsigned `7u` | the nearest double | the value | NULL | NULL |
//! | boolean `t`, `false` | 1 or 0 | NULL | `boolean` | NULL |
//! | string `"text"` | NULL | NULL | `string` | `{"text": ..}` |
//!
//! A point is a record: one with a bad field is refused whole and alone, and kept as a line of its own. Source:
//! InfluxDB's line protocol reference.

mod line;
mod rows;

use self::line::{Point, points};
use self::rows::Rows;
use super::outcome::Outcome;
use super::{DecodeContext, DecodeError, Decoded};
use crate::registry::builtin::METRICS_EVENTS;

/// The unit of a request's times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Nanoseconds.
    Nanoseconds,
    /// Microseconds.
    Microseconds,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Minutes.
    Minutes,
    /// Hours.
    Hours,
}

impl Precision {
    const ALL: [Self; 6] = [
        Self::Nanoseconds,
        Self::Microseconds,
        Self::Milliseconds,
        Self::Seconds,
        Self::Minutes,
        Self::Hours,
    ];

    /// The precision that the parameter `precision` names.
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "" | "n" | "ns" | "nanosecond" => Some(Self::Nanoseconds),
            "u" | "us" | "\u{b5}" | "microsecond" => Some(Self::Microseconds),
            "ms" | "millisecond" => Some(Self::Milliseconds),
            "s" | "second" => Some(Self::Seconds),
            "m" => Some(Self::Minutes),
            "h" => Some(Self::Hours),
            _ => None,
        }
    }

    /// The precision of a letter with this media type.
    pub fn of_kept(content_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|precision| precision.kept_content_type() == content_type)
    }

    /// The media type of a refused point.
    pub fn kept_content_type(self) -> &'static str {
        match self {
            Self::Nanoseconds => "text/plain; messageType=\"influxdb.line\"; precision=ns",
            Self::Microseconds => "text/plain; messageType=\"influxdb.line\"; precision=us",
            Self::Milliseconds => "text/plain; messageType=\"influxdb.line\"; precision=ms",
            Self::Seconds => "text/plain; messageType=\"influxdb.line\"; precision=s",
            Self::Minutes => "text/plain; messageType=\"influxdb.line\"; precision=m",
            Self::Hours => "text/plain; messageType=\"influxdb.line\"; precision=h",
        }
    }

    fn nanos(self) -> i64 {
        match self {
            Self::Nanoseconds => 1,
            Self::Microseconds => 1_000,
            Self::Milliseconds => 1_000_000,
            Self::Seconds => 1_000_000_000,
            Self::Minutes => 60_000_000_000,
            Self::Hours => 3_600_000_000_000,
        }
    }
}

/// Decodes points that were written to the database or bucket `db`, which may be empty.
pub fn write(
    body: &[u8],
    db: &str,
    precision: Precision,
    context: &DecodeContext<'_>,
) -> Result<Decoded, DecodeError> {
    let mut rows = Rows::new(db, precision, context)?;
    let mut outcome = Outcome::new(context);
    for bytes in points(body) {
        match Point::read(bytes).and_then(|point| rows.write(&point)) {
            Ok(()) => outcome.accept()?,
            Err(error) => {
                let kept = line::with_tag(bytes, "db", db);
                outcome.refuse(METRICS_EVENTS, error, kept, precision.kept_content_type())?;
            }
        }
    }
    if rows.undated > 0 {
        let undated = rows.undated;
        outcome
            .decoded
            .warnings
            .push(format!("{undated} points had no time: the time of arrival was stored"));
    }
    outcome.finish([rows.table])
}

#[cfg(test)]
mod tests;
