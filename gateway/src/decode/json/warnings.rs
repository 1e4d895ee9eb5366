//! What was stored otherwise than sent, or not at all, counted over a request.

/// Most bytes of a label's name in a warning.
const MAX_NAME_BYTES: usize = 1024;

/// Counts of what the sender should know of, though nothing was refused for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    /// Labels whose names are those of other labels.
    lost_labels: usize,
    first_lost_label: String,
}

impl Warnings {
    /// Counts a label that has no name of its own.
    pub(super) fn add_lost_label(&mut self, name: &str) {
        if self.lost_labels == 0 {
            let kept = name.get(..name.floor_char_boundary(MAX_NAME_BYTES)).unwrap_or_default();
            kept.clone_into(&mut self.first_lost_label);
        }
        self.lost_labels += 1;
    }

    /// One sentence for each kind that occurred.
    pub(super) fn sentences(self) -> Vec<String> {
        let lost_labels = format!(
            "labels not stored, as other members have both their names, the first of them {:?}",
            self.first_lost_label
        );
        [
            (self.missing_times, "records without a time, stored with the time of arrival"),
            (self.zoneless_times, "timestamps without a zone, read as UTC"),
            (self.converted, "values converted to the type of their column"),
            (self.numbers_as_text, "numbers that fit neither 64-bit integers nor doubles, stored as text"),
            (self.negative_durations, "spans that end before they start, stored with a negative duration"),
            (self.lost_labels, &lost_labels),
        ]
        .into_iter()
        .filter(|&(count, _)| count > 0)
        .map(|(count, what)| format!("{what}: {count}"))
        .collect()
    }
}
