//! What came of a fault: a verdict, and whether the gateway lived on.

use std::time::Duration;

use super::verdict::Verdict;

/// What came of one or more bouts with one kind of fault.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outcome {
    /// How often the fault happened.
    pub(super) runs: u32,
    /// Records that were acknowledged.
    pub(super) acknowledged: u64,
    /// Acknowledged records that were not there in the end.
    pub(super) lost: u64,
    /// Rows beyond those that may be there.
    pub(super) duplicated: u64,
    /// Rows that are not what was sent.
    pub(super) corrupted: u64,
    /// Longest time from the end of the fault until a record sent then was in both stores.
    pub(super) recovered: Duration,
    /// What else is worth knowing.
    pub(super) notes: Vec<String>,
    /// What should not have happened, besides.
    pub(super) failures: Vec<String>,
}

impl Outcome {
    /// The outcome of a bout in which the fault happened so often.
    pub(super) fn new(runs: u32, verdict: Verdict, recovered: Duration) -> Self {
        let mut notes = Vec::new();
        if verdict.unkeyed_copies > 0 {
            notes.push(format!("{} further copies without keys", verdict.unkeyed_copies));
        }
        Self {
            runs,
            acknowledged: verdict.acknowledged,
            lost: verdict.lost,
            duplicated: verdict.duplicated,
            corrupted: verdict.corrupted,
            recovered,
            notes,
            failures: verdict.named,
        }
    }

    /// One that could not be brought to its end.
    pub(super) fn failed(error: &anyhow::Error) -> Self {
        Self { failures: vec![format!("{error:#}")], ..Self::default() }
    }

    /// Both together.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.runs += other.runs;
        self.acknowledged += other.acknowledged;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.corrupted += other.corrupted;
        self.recovered = self.recovered.max(other.recovered);
        self.notes.extend(other.notes);
        self.failures.extend(other.failures);
        self
    }

    /// Adds what is worth knowing.
    pub(super) fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Whether the audit found something wrong.
    pub(super) fn caught(&self) -> bool {
        self.lost + self.duplicated + self.corrupted > 0
    }

    /// Whether everything was as promised.
    pub(super) fn is_clean(&self) -> bool {
        !self.caught() && self.failures.is_empty()
    }
}
