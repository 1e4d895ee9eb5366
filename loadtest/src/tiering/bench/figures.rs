//! What was measured, and whether it is enough.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;
use serde::Serialize;

use super::stage::Amounts;

/// A move may take this many times as long as `COPY .. TO '/dev/null'`.
const SLOWER_THAN_COPY: f64 = 3.0;
/// Live acknowledgements may take this many times as long beside a move.
const SLOWER_BESIDE: f64 = 1.5;
const TRACE_MS: f64 = 200.0;
const TRACE_WITH_LOGS_MS: f64 = 1_500.0;

/// Times of the same question about different traces.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Times {
    pub(super) median: f64,
    pub(super) longest: f64,
}

/// One table.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Moved {
    pub(super) rows: u64,
    pub(super) copy_rows_per_second: f64,
    pub(super) move_rows_per_second: f64,
    pub(super) hot_bytes_per_row: f64,
    pub(super) cold_bytes_per_row: f64,
}

/// All of it, as the last line says it.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) spans: u64,
    pub(super) samples: u64,
    pub(super) logs: u64,
    pub(super) tables: BTreeMap<&'static str, Moved>,
    pub(super) ack_p99_ms_alone: f64,
    pub(super) ack_p99_ms_beside: f64,
    pub(super) trace_hot_ms: Times,
    pub(super) trace_cold_ms: Times,
    pub(super) trace_with_logs_ms: Times,
    /// What is not as it must be.
    pub(super) missed: Vec<String>,
}

/// Whether a figure is as it must be; one that was not measured is not.
fn is_within(figure: f64, most: f64) -> bool {
    figure <= most
}

impl Times {
    pub(super) fn of(mut millis: Vec<f64>) -> Self {
        millis.sort_by(f64::total_cmp);
        let at = |at: usize| millis.get(at).copied().unwrap_or_default();
        Self { median: at(millis.len() / 2), longest: at(millis.len().saturating_sub(1)) }
    }
}

impl Figures {
    pub(super) fn of(amounts: &Amounts) -> Self {
        Self {
            spans: amounts.spans,
            samples: amounts.samples,
            logs: amounts.logs,
            tables: BTreeMap::new(),
            ack_p99_ms_alone: 0.0,
            ack_p99_ms_beside: 0.0,
            trace_hot_ms: Times::default(),
            trace_cold_ms: Times::default(),
            trace_with_logs_ms: Times::default(),
            missed: Vec::new(),
        }
    }

    /// Notes what is not as it must be.
    pub(super) fn judge(&mut self) {
        let mut missed = Vec::new();
        for (table, moved) in &self.tables {
            let share = moved.copy_rows_per_second / moved.move_rows_per_second;
            if !is_within(share, SLOWER_THAN_COPY) {
                missed.push(format!("a move of {table} takes {share:.2} times as long as COPY"));
            }
        }
        let ratio = self.ack_p99_ms_beside / self.ack_p99_ms_alone;
        if !is_within(ratio, SLOWER_BESIDE) {
            missed.push(format!("acknowledgements take {ratio:.2} times as long beside a move"));
        }
        for (what, times, most) in [
            ("a hot trace", self.trace_hot_ms, TRACE_MS),
            ("a cold trace", self.trace_cold_ms, TRACE_MS),
            ("a trace with its logs", self.trace_with_logs_ms, TRACE_WITH_LOGS_MS),
        ] {
            if !is_within(times.longest, most) {
                missed.push(format!("{what} takes {:.0} ms", times.longest));
            }
        }
        self.missed = missed;
    }

    /// Prints the last line.
    pub(super) fn print(&self) -> Result<()> {
        Ok(writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(self)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Figures {
        let amounts = Amounts { spans: 1, samples: 1, logs: 1, days: 4, live_rate: 1, live_seconds: 1 };
        let mut figures = Figures::of(&amounts);
        let moved = Moved {
            rows: 1,
            copy_rows_per_second: 300.0,
            move_rows_per_second: 100.0,
            hot_bytes_per_row: 1.0,
            cold_bytes_per_row: 1.0,
        };
        figures.tables.insert("t", moved);
        (figures.ack_p99_ms_alone, figures.ack_p99_ms_beside) = (2.0, 3.0);
        figures
    }

    #[test]
    fn each_must_is_missed_by_itself() {
        let missed = |change: fn(&mut Figures)| {
            let mut figures = good();
            change(&mut figures);
            figures.judge();
            figures.missed.len()
        };
        assert_eq!(missed(|_| {}), 0);
        assert_eq!(missed(|figures| figures.ack_p99_ms_beside = 3.1), 1);
        assert_eq!(missed(|figures| figures.trace_hot_ms.longest = 201.0), 1);
        assert_eq!(missed(|figures| figures.trace_cold_ms.longest = 201.0), 1);
        assert_eq!(missed(|figures| figures.trace_with_logs_ms.longest = 1_501.0), 1);
        let slow = |figures: &mut Figures| {
            figures.tables.values_mut().for_each(|moved| moved.move_rows_per_second = 99.0);
        };
        assert_eq!(missed(slow), 1);
        assert_eq!(
            missed(|figures| figures.ack_p99_ms_alone = f64::NAN),
            1,
            "what was not measured is missed"
        );
    }

    #[test]
    fn times_have_a_middle_and_an_end() {
        let times = Times::of(vec![3.0, 1.0, 2.0]);
        assert_eq!((times.median, times.longest), (2.0, 3.0));
    }
}
