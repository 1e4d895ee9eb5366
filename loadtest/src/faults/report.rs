//! The report: outcomes in, a table for people and one line of JSON for programs out.

use std::fmt::Write;

use anyhow::Result;
use serde::Serialize;

use super::outcome::Outcome;

/// A fault in the last line.
#[derive(Serialize)]
struct Line<'r> {
    name: &'r str,
    runs: u32,
    acked: u64,
    lost: u64,
    duplicated: u64,
    corrupted: u64,
    recovered_s: f64,
}

/// The last line.
#[derive(Serialize)]
struct Last<'r> {
    faults: Vec<Line<'r>>,
    lost: u64,
    duplicated: u64,
    corrupted: u64,
}

/// Outcomes by the name of the fault, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Report {
    outcomes: Vec<(String, Outcome)>,
}

impl Report {
    /// Adds an outcome.
    pub(super) fn add(&mut self, name: String, outcome: Outcome) {
        self.outcomes.push((name, outcome));
    }

    /// Whether everything was as promised, and anything was tried at all.
    pub(super) fn is_clean(&self) -> bool {
        !self.outcomes.is_empty() && self.outcomes.iter().all(|(_, outcome)| outcome.is_clean())
    }

    /// The table.
    pub(super) fn table(&self) -> String {
        let width = self.outcomes.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
        let mut text = format!(
            "\n{:width$} {:>5} {:>9} {:>6} {:>10} {:>9} {:>9}\n",
            "fault", "runs", "acked", "lost", "duplicated", "corrupted", "recovered"
        );
        for (name, outcome) in &self.outcomes {
            let Outcome { runs, acknowledged, lost, duplicated, corrupted, recovered, .. } = outcome;
            let mark = if outcome.is_clean() { "" } else { "  FAILED" };
            // Writing to a string cannot fail.
            let _written = writeln!(
                text,
                "{name:width$} {runs:>5} {acknowledged:>9} {lost:>6} {duplicated:>10} {corrupted:>9} {:>7.2} s{mark}",
                recovered.as_secs_f64()
            );
            for note in &outcome.notes {
                let _written = writeln!(text, "{:width$}       {note}", "");
            }
            for failure in &outcome.failures {
                let _written = writeln!(text, "{:width$}     ! {failure}", "");
            }
        }
        text
    }

    /// The last line.
    pub(super) fn json(&self) -> Result<String> {
        let faults = self.outcomes.iter().map(|(name, outcome)| Line {
            name,
            runs: outcome.runs,
            acked: outcome.acknowledged,
            lost: outcome.lost,
            duplicated: outcome.duplicated,
            corrupted: outcome.corrupted,
            recovered_s: (outcome.recovered.as_secs_f64() * 100.0).round() / 100.0,
        });
        let sum = |of: fn(&Outcome) -> u64| self.outcomes.iter().map(|(_, outcome)| of(outcome)).sum();
        let last = Last {
            faults: faults.collect(),
            lost: sum(|outcome| outcome.lost),
            duplicated: sum(|outcome| outcome.duplicated),
            corrupted: sum(|outcome| outcome.corrupted),
        };
        Ok(serde_json::to_string(&last)?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn outcome() -> Outcome {
        Outcome {
            runs: 3,
            acknowledged: 1_000,
            recovered: Duration::from_millis(1_234),
            ..Outcome::default()
        }
    }

    #[test]
    fn the_last_line_has_this_shape() {
        let mut report = Report::default();
        report.add("1 killed".to_owned(), outcome());
        report.add("2 cut".to_owned(), Outcome { lost: 2, duplicated: 1, ..outcome() });
        assert_eq!(
            report.json().unwrap(),
            concat!(
                r#"{"faults":[{"name":"1 killed","runs":3,"acked":1000,"lost":0,"duplicated":0,"corrupted":0,"#,
                r#""recovered_s":1.23},{"name":"2 cut","runs":3,"acked":1000,"lost":2,"duplicated":1,"corrupted":0,"#,
                r#""recovered_s":1.23}],"lost":2,"duplicated":1,"corrupted":0}"#
            )
        );
        assert!(report.table().contains("2 cut") && report.table().contains("FAILED"));
    }

    #[test]
    fn anything_wrong_or_nothing_at_all_is_not_clean() {
        assert!(!Report::default().is_clean());
        let with = |outcome| {
            let mut report = Report::default();
            report.add("x".to_owned(), outcome);
            report.is_clean()
        };
        assert!(with(outcome()));
        assert!(!with(Outcome { corrupted: 1, ..outcome() }));
        assert!(!with(Outcome { failures: vec!["it hangs".to_owned()], ..outcome() }));
    }
}
