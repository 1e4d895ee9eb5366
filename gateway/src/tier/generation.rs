//! A generation: which rows of a tiered table are read from which tier, from one publication to the next.
//!
//! | row | is read from |
//! |---|---|
//! | older than the cut-off, brought by a move that counts | the cold table |
//! | older than the cut-off, still in Timescale | nowhere there: its copy is cold |
//! | not older | Timescale |
//! | arrived late, into a range that was closed | the cold table, where it alone is, whatever its time |
//! | brought by a move that was abandoned | nowhere |
//!
//! Whoever reads both tiers by one generation sees each row once: the cut-off on both sides is the same number. The
//! generation in force is written, as JSON, in the comment of the combined table in ClickHouse, and changes with it in one
//! step.

use chrono::{DateTime, SecondsFormat};
use serde::{Deserialize, Serialize};

use crate::registry::MOVE_COLUMN;
use crate::store::clickhouse::cold::LATE;

/// What is read from where.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Generation {
    /// Grows with each publication of the table, from 1.
    #[serde(rename = "generation")]
    pub number: u64,
    /// Rows older than this are read from the cold table, in nanoseconds since 1970 and whole microseconds; nothing as
    /// long as no range has moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cutoff: Option<i64>,
    /// Moves that do not count, though rows of theirs may be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandoned: Vec<u64>,
}

impl Generation {
    /// The condition on the rows of the cold table, whose time column is `time`, that says which are read.
    pub fn cold_condition(&self, time: &str) -> String {
        let late = format!("`{MOVE_COLUMN}` = {LATE}");
        let Some(cutoff) = self.cutoff_text() else { return late };
        let mut moved = format!("`{time}` < toDateTime64('{cutoff}', 6, 'UTC')");
        if !self.abandoned.is_empty() {
            let moves: Vec<String> = self.abandoned.iter().map(u64::to_string).collect();
            moved.push_str(&format!(" AND `{MOVE_COLUMN}` NOT IN ({})", moves.join(", ")));
        }
        format!("({moved}) OR {late}")
    }

    /// The condition on the rows of Timescale that says which are read; nothing when all are.
    pub fn hot_condition(&self, time: &str) -> Option<String> {
        self.cutoff_text().map(|cutoff| format!("\"{time}\" >= '{cutoff}+00'::timestamptz"))
    }

    /// The cut-off as both stores read it, in UTC.
    fn cutoff_text(&self) -> Option<String> {
        let cutoff = DateTime::from_timestamp_micros(self.cutoff?.div_euclid(1_000))?;
        Some(cutoff.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
    }

    /// The cut-off in RFC 3339, for people.
    pub fn cutoff_rfc3339(&self) -> Option<String> {
        let cutoff = DateTime::from_timestamp_micros(self.cutoff?.div_euclid(1_000))?;
        Some(cutoff.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_have_the_same_cut_off() {
        let first = Generation { number: 1, ..Generation::default() };
        assert_eq!(first.cold_condition("time"), "`tidewell_move` = 0");
        assert_eq!(first.hot_condition("time"), None);
        let later = Generation { number: 7, cutoff: Some(1_700_000_000_000_000_000), abandoned: vec![3, 5] };
        assert_eq!(
            later.cold_condition("time"),
            "(`time` < toDateTime64('2023-11-14 22:13:20.000000', 6, 'UTC') AND `tidewell_move` NOT IN (3, 5)) \
             OR `tidewell_move` = 0"
        );
        assert_eq!(
            later.hot_condition("time").unwrap(),
            "\"time\" >= '2023-11-14 22:13:20.000000+00'::timestamptz"
        );
        let json = serde_json::to_string(&later).unwrap();
        assert_eq!(json, r#"{"generation":7,"cutoff":1700000000000000000,"abandoned":[3,5]}"#);
        assert_eq!(serde_json::from_str::<Generation>(&json).unwrap(), later);
    }
}
