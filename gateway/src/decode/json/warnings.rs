//! What was stored otherwise than sent, counted over a request.

/// Counts of what the sender should know of, though nothing was refused for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Warnings {
    /// Records without a time.
    pub(super) missing_times: usize,
    /// Timestamps without a zone.
    pub(super) zoneless_times: usize,
    /// Values that were converted to the type of their column.
    pub(super) converted: usize,
    /// Numbers that no integer and no double holds.
    pub(super) numbers_as_text: usize,
    /// Spans that end before they start.
    pub(super) negative_durations: usize,
}

impl Warnings {
    /// One sentence for each kind that occurred.
    pub(super) fn sentences(self) -> Vec<String> {
        [
            (self.missing_times, "records without a time, stored with the time of arrival"),
            (self.zoneless_times, "timestamps without a zone, read as UTC"),
            (self.converted, "values converted to the type of their column"),
            (self.numbers_as_text, "numbers that fit neither 64-bit integers nor doubles, stored as text"),
            (self.negative_durations, "spans that end before they start, stored with a negative duration"),
        ]
        .into_iter()
        .filter(|&(count, _)| count > 0)
        .map(|(count, what)| format!("{what}: {count}"))
        .collect()
    }
}
