//! The last warnings and errors of the gateway's own log, kept for the status page: events in, the latest of them out.

use std::collections::VecDeque;
use std::fmt;
use std::time::SystemTime;

use parking_lot::Mutex;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// How many are kept.
const KEPT: usize = 50;

/// Longest text that is kept of one.
const MAX_TEXT_BYTES: usize = 500;

/// One for the process, as its log is.
static LATEST: Mutex<VecDeque<Problem>> = Mutex::new(VecDeque::new());

/// A warning or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// When it was logged last.
    pub at: SystemTime,
    /// Whether it is an error; else it is a warning.
    pub is_error: bool,
    /// The message and its fields.
    pub text: String,
    /// How often it was logged with these words since it is kept.
    pub times: u64,
}

/// The latest first.
pub fn latest() -> Vec<Problem> {
    LATEST.lock().iter().rev().cloned().collect()
}

/// Keeps what is logged. Let only warnings and errors reach it.
#[derive(Debug, Clone, Copy)]
pub struct KeepProblems;

impl<S: Subscriber> Layer<S> for KeepProblems {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        note(&mut LATEST.lock(), *event.metadata().level() == Level::ERROR, text.0);
    }
}

fn note(latest: &mut VecDeque<Problem>, is_error: bool, text: String) {
    let known = latest.iter().position(|known| known.text == text && known.is_error == is_error);
    let times = known.and_then(|at| latest.remove(at)).map_or(0, |known| known.times);
    if latest.len() == KEPT {
        latest.pop_front();
    }
    latest.push_back(Problem { at: SystemTime::now(), is_error, text, times: times + 1 });
}

/// The message of an event, and its fields as `name=value` behind it.
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.0.len() >= MAX_TEXT_BYTES {
            return;
        }
        if field.name() == "message" {
            self.0.insert_str(0, &format!("{value:?}"));
        } else {
            self.0.push_str(&format!(" {}={value:?}", field.name()));
        }
        let end = (0..=MAX_TEXT_BYTES.min(self.0.len())).rev().find(|at| self.0.is_char_boundary(*at));
        self.0.truncate(end.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_latest_come_first_and_repetitions_are_counted() {
        let mut kept = VecDeque::new();
        for number in 0..KEPT + 10 {
            note(&mut kept, false, format!("{number}"));
        }
        note(&mut kept, false, "30".to_owned());
        note(&mut kept, true, "30".to_owned());
        assert_eq!(kept.len(), KEPT);
        let last: Vec<_> =
            kept.iter().rev().take(3).map(|one| (one.text.as_str(), one.is_error, one.times)).collect();
        assert_eq!(last, [("30", true, 1), ("30", false, 2), ("59", false, 1)]);
    }

    #[test]
    fn events_are_kept_with_their_fields_up_to_a_length() {
        let layered = tracing_subscriber::registry().with(KeepProblems.with_filter(LevelFilter::WARN));
        tracing::subscriber::with_default(layered, || {
            tracing::info!("not kept: a test of problems");
            tracing::warn!(store = "clickhouse", seconds = 3, "kept: a test of problems");
            tracing::error!("long: a test of problems {}", "\u{e4}".repeat(MAX_TEXT_BYTES));
        });
        let ours: Vec<Problem> =
            latest().into_iter().filter(|problem| problem.text.contains("a test of problems")).collect();
        assert_eq!(ours.len(), 2);
        assert_eq!(ours[1].text, "kept: a test of problems store=\"clickhouse\" seconds=3");
        assert!(ours[0].is_error && ours[0].text.len() <= MAX_TEXT_BYTES);
    }
}
