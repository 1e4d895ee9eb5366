//! What becomes of a table's rows as they age: the part `tiering` of a definition in, a checked [`TieringPolicy`] out.
//!
//! A table whose policy says nothing of an age keeps its rows in Timescale for ever.

use std::str::FromStr as _;

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::rollup::{self, Rollup};
use super::table::{StoreKind, TableError, TableSpec};

/// Width of a range when neither the policy nor the chunks say more.
const DAY_SECONDS: u32 = 86_400;
const NANOS_PER_DAY: i64 = 86_400 * 1_000_000_000;

/// How a table's rows age. All spans are in seconds, against the row's own time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TieringPolicy {
    /// Rows older than this move to ClickHouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cool_after_seconds: Option<u64>,
    /// Rows older than this are deleted from ClickHouse, where they have moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_cold_seconds: Option<u64>,
    /// Rows older than this are deleted from Timescale; only for tables that do not cool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_hot_seconds: Option<u64>,
    /// Rows older than this are compressed in Timescale's columnstore, by whole chunks, until they move or go; only where
    /// Timescale is of the Community edition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compress_after_seconds: Option<u64>,
    /// When a move may begin: a cron expression of five fields in UTC; whenever a range is old enough by default. One run
    /// moves all that is old enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Between which times of day, in UTC, a move may begin, as `01:00-05:00`; at any by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<String>,
    /// Most rows a second that a move reads, so that live rows keep their latency; no limit by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_second: Option<u64>,
    /// Width of a range, which moves as a whole: a multiple of `partition_seconds`; by default a day, or a chunk where
    /// that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range_seconds: Option<u32>,
    /// Aggregates of cold rows that are kept beside them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rollups: Vec<Rollup>,
    /// Whether nothing is moved or deleted for now. What has moved stays where it is.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
}

/// Times of day between which moves begin; the end may be on the next day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    from: NaiveTime,
    until: NaiveTime,
}

impl TieringPolicy {
    /// Whether rows of the table move to ClickHouse.
    pub fn cools(&self) -> bool {
        self.cool_after_seconds.is_some()
    }

    /// Whether moves may begin now, when the table was looked at last at `looked_at`: the schedule has come by since
    /// then, and the window is open.
    pub fn is_due(&self, looked_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> bool {
        let window = self.window.as_deref().and_then(|window| Window::read(window).ok());
        if window.is_some_and(|window| !window.contains(now.time())) {
            return false;
        }
        let schedule = self.schedule.as_deref().and_then(|schedule| croner::Cron::from_str(schedule).ok());
        match (schedule, looked_at) {
            (Some(schedule), Some(looked_at)) => {
                schedule.find_next_occurrence(&looked_at, false).is_ok_and(|next| next <= now)
            }
            _ => true,
        }
    }

    /// From when on moves may begin, which is `now` when they may already; none when they never do. Nothing is said of
    /// whether there is something to move then.
    pub fn next_due(&self, looked_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if self.paused {
            return None;
        }
        let schedule = self.schedule.as_deref().and_then(|schedule| croner::Cron::from_str(schedule).ok());
        let scheduled = match (schedule, looked_at) {
            (Some(schedule), Some(looked_at)) => schedule.find_next_occurrence(&looked_at, false).ok()?,
            _ => now,
        };
        let from = scheduled.max(now);
        let window = self.window.as_deref().and_then(|window| Window::read(window).ok());
        match window {
            Some(window) if !window.contains(from.time()) => {
                let opens = from.date_naive().and_time(window.from).and_utc();
                Some(if opens < from { opens + TimeDelta::days(1) } else { opens })
            }
            _ => Some(from),
        }
    }

    /// Where the cold rows begin that are kept, at `now`, both in nanoseconds since 1970: those of earlier days go, or have
    /// gone. None when all are kept.
    pub fn kept_from(&self, now: i64) -> Option<i64> {
        let keep = self.keep_cold_seconds.filter(|_| !self.paused)?;
        let keep = i64::try_from(keep).ok()?.checked_mul(1_000_000_000)?;
        Some(now.saturating_sub(keep).div_euclid(NANOS_PER_DAY).saturating_mul(NANOS_PER_DAY))
    }

    /// Seconds of one range of a table whose chunks have `chunk_seconds`.
    pub fn range_seconds(&self, chunk_seconds: u32) -> u32 {
        self.range_seconds.unwrap_or_else(|| DAY_SECONDS.next_multiple_of(chunk_seconds.max(1)))
    }

    /// Whether the policy makes sense for the table; says where not.
    pub(super) fn check(&self, spec: &TableSpec, has_time: bool) -> Result<(), TableError> {
        let fail = |field: &str, reason: String| Err(TableError::new(format!("tiering.{field}"), reason));
        if spec.store != StoreKind::Timescale || !spec.key.is_empty() || !has_time {
            return Err(TableError::new(
                "tiering",
                "is for tables in timescale that have a time column and no key: leave it out",
            ));
        }
        let ages = [
            ("cool_after_seconds", self.cool_after_seconds),
            ("keep_cold_seconds", self.keep_cold_seconds),
            ("keep_hot_seconds", self.keep_hot_seconds),
            ("compress_after_seconds", self.compress_after_seconds),
            ("rows_per_second", self.rows_per_second),
        ];
        for (field, value) in ages {
            if value == Some(0) || value.is_some_and(|value| value > 1_000_000_000) {
                return fail(field, "must be between 1 and 1000000000".to_owned());
            }
        }
        if self.cools() && self.keep_hot_seconds.is_some() {
            return fail(
                "keep_hot_seconds",
                "is for tables that do not cool: use cool_after_seconds and keep_cold_seconds".to_owned(),
            );
        }
        match (self.cool_after_seconds, self.keep_cold_seconds) {
            (None, Some(_)) => {
                return fail("keep_cold_seconds", "needs cool_after_seconds, or nothing is cold".to_owned());
            }
            (Some(cool), Some(keep)) if keep <= cool => {
                return fail("keep_cold_seconds", format!("must be more than cool_after_seconds, {cool}"));
            }
            _ => {}
        }
        let hot_for = self.cool_after_seconds.or(self.keep_hot_seconds);
        if let (Some(compress), Some(hot_for)) = (self.compress_after_seconds, hot_for)
            && compress >= hot_for
        {
            return fail(
                "compress_after_seconds",
                format!("must be less than the {hot_for} that rows stay hot"),
            );
        }
        rollup::check(&self.rollups, spec)?;
        if let Some(Err(error)) = self.schedule.as_deref().map(croner::Cron::from_str) {
            return fail("schedule", format!("is no cron expression of five fields: {error}"));
        }
        if let Some(Err(reason)) = self.window.as_deref().map(Window::read) {
            return fail("window", reason);
        }
        // A definition that changes nothing but the policy need not say how wide chunks are.
        let chunk = spec.partition_seconds.unwrap_or(1);
        match self.range_seconds {
            Some(range) if range == 0 || !range.is_multiple_of(chunk) => {
                fail("range_seconds", format!("must be a multiple of a chunk's {chunk} seconds"))
            }
            _ => Ok(()),
        }
    }
}

impl Window {
    fn read(text: &str) -> Result<Self, String> {
        let time = |text: &str| NaiveTime::parse_from_str(text.trim(), "%H:%M").ok();
        text.split_once('-')
            .and_then(|(from, until)| Some(Self { from: time(from)?, until: time(until)? }))
            .ok_or_else(|| format!("{text:?} is no window: write HH:MM-HH:MM"))
    }

    fn contains(self, time: NaiveTime) -> bool {
        if self.from <= self.until {
            self.from <= time && time < self.until
        } else {
            self.from <= time || time < self.until
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{TableDef, Tenant};

    fn table(tiering: &serde_json::Value) -> Result<TableDef, TableError> {
        let spec = serde_json::json!({
            "table_name": "t", "partition_seconds": 3600, "tiering": tiering,
            "columns": [{"name": "time", "type": "timestamp"}],
        });
        TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1)
    }

    #[test]
    fn a_policy_keeps_what_it_was_given_and_knows_the_rest() {
        let given = serde_json::json!({"cool_after_seconds": 604_800, "window": "22:00-04:00"});
        let table = table(&given).unwrap();
        let policy = table.spec.tiering.clone().unwrap();
        assert_eq!(serde_json::to_value(&policy).unwrap(), given);
        assert_eq!(policy.range_seconds(3600), 86_400);
        assert_eq!(policy.range_seconds(604_800), 604_800, "never less than a chunk");
    }

    #[test]
    fn moves_begin_by_schedule_and_window() {
        let at = |hour, minute| {
            let time = NaiveTime::from_hms_opt(hour, minute, 0).unwrap();
            chrono::NaiveDate::from_ymd_opt(2026, 1, 1).unwrap().and_time(time).and_utc()
        };
        let policy = |json: serde_json::Value| serde_json::from_value::<TieringPolicy>(json).unwrap();
        let night = policy(serde_json::json!({"window": "22:00-04:00"}));
        let is_open = |hour| night.is_due(Some(at(hour, 0)), at(hour, 0));
        assert!(is_open(23) && is_open(3) && !is_open(4));
        let hourly = policy(serde_json::json!({"schedule": "0 * * * *"}));
        assert!(hourly.is_due(None, at(1, 30)));
        assert!(!hourly.is_due(Some(at(1, 0)), at(1, 59)) && hourly.is_due(Some(at(1, 30)), at(2, 0)));
    }

    #[test]
    fn the_next_time_is_one_at_which_moves_are_due() {
        let at = |day, hour, minute| {
            let date = chrono::NaiveDate::from_ymd_opt(2026, 11, day).unwrap();
            date.and_hms_opt(hour, minute, 0).unwrap().and_utc()
        };
        let policy = |policy: serde_json::Value| serde_json::from_value::<TieringPolicy>(policy).unwrap();
        let now = at(20, 12, 30);
        let always = policy(serde_json::json!({"cool_after_seconds": 60}));
        assert_eq!(always.next_due(Some(now), now), Some(now));
        for (given, looked_at, wanted) in [
            (serde_json::json!({"window": "01:00-05:00"}), now, at(21, 1, 0)),
            (serde_json::json!({"window": "22:00-04:00"}), now, at(20, 22, 0)),
            (serde_json::json!({"schedule": "0 * * * *"}), now, at(20, 13, 0)),
            (serde_json::json!({"schedule": "0 * * * *"}), at(20, 11, 30), now),
            (serde_json::json!({"schedule": "0 0 * * *", "window": "01:00-05:00"}), now, at(21, 1, 0)),
        ] {
            let policy = policy(given);
            assert_eq!(policy.next_due(Some(looked_at), now), Some(wanted), "{policy:?}");
            assert!(policy.is_due(Some(looked_at), wanted), "{policy:?}");
        }
        assert_eq!(policy(serde_json::json!({"paused": true})).next_due(None, now), None);
    }

    #[test]
    fn cold_rows_are_kept_by_whole_days() {
        let policy = |json: serde_json::Value| serde_json::from_value::<TieringPolicy>(json).unwrap();
        let day = NANOS_PER_DAY;
        let keep = policy(serde_json::json!({"cool_after_seconds": 9, "keep_cold_seconds": 86_400}));
        assert_eq!(keep.kept_from(10 * day), Some(9 * day));
        assert_eq!(
            keep.kept_from(10 * day - 1),
            Some(8 * day),
            "a day goes as a whole, and not before its end is old"
        );
        assert_eq!(TieringPolicy { paused: true, ..keep }.kept_from(10 * day), None);
        assert_eq!(policy(serde_json::json!({"cool_after_seconds": 9})).kept_from(0), None);
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        let mistakes = [
            (r#"{"cool_after_seconds":0}"#, "tiering.cool_after_seconds"),
            (r#"{"keep_cold_seconds":9}"#, "tiering.keep_cold_seconds"),
            (r#"{"cool_after_seconds":9,"keep_cold_seconds":9}"#, "tiering.keep_cold_seconds"),
            (r#"{"cool_after_seconds":9,"keep_hot_seconds":9}"#, "tiering.keep_hot_seconds"),
            (r#"{"cool_after_seconds":9,"compress_after_seconds":9}"#, "tiering.compress_after_seconds"),
            (r#"{"keep_hot_seconds":9,"compress_after_seconds":10}"#, "tiering.compress_after_seconds"),
            (r#"{"cool_after_seconds":9,"schedule":"at noon"}"#, "tiering.schedule"),
            (r#"{"cool_after_seconds":9,"window":"01:00"}"#, "tiering.window"),
            (r#"{"cool_after_seconds":9,"range_seconds":5400}"#, "tiering.range_seconds"),
        ];
        for (policy, field) in mistakes {
            let error = table(&serde_json::from_str(policy).unwrap()).unwrap_err();
            assert_eq!(error.field, field, "{policy}");
        }
    }
}
