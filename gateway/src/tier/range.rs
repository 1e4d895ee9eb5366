//! Which range moves next: the chunks of a table, its policy and the time in, a range out. Pure.
//!
//! A range is the unit of a move. Its end lies on the grid of the policy's `range_seconds`, and behind every chunk that
//! begins in it, so that what is dropped is always whole chunks. The first range of a table has no beginning: whatever is
//! older belongs to it.

use std::ops::Range;

/// A chunk's span in nanoseconds since 1970, and its quoted name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) name: String,
    pub(super) span: Range<i64>,
}

/// The end of the oldest range that is wholly older than `limit`; none when there is none. Rows before `published` have
/// moved.
pub(super) fn next_end(chunks: &[Chunk], published: Option<i64>, width: i64, limit: i64) -> Option<i64> {
    let begins =
        |chunk: &Chunk| published.map_or(chunk.span.start, |published| chunk.span.start.max(published));
    let first = chunks
        .iter()
        .filter(|chunk| published.is_none_or(|published| chunk.span.end > published))
        .map(begins)
        .min()?;
    let mut end = first.div_euclid(width).checked_add(1)?.checked_mul(width)?;
    // Chunks of another width than now may reach beyond the grid.
    while let Some(beyond) = chunks
        .iter()
        .filter(|chunk| chunk.span.start < end && end < chunk.span.end)
        .map(|chunk| chunk.span.end)
        .max()
    {
        end = beyond;
    }
    (end <= limit).then_some(end)
}

/// Where the range begins that ends at `end`.
pub(super) fn start_of(chunks: &[Chunk], published: Option<i64>, end: i64) -> i64 {
    let oldest = chunks.iter().map(|chunk| chunk.span.start).min();
    published.or(oldest).unwrap_or(end).min(end)
}

/// The spans before `published` that chunks still cover, oldest first: what others wrote there after the range had been
/// dropped, or nothing. Spans that `busy` moves will drop themselves are left out.
pub(super) fn strays(chunks: &[Chunk], published: i64, busy: &[Range<i64>]) -> Vec<Range<i64>> {
    let mut spans: Vec<Range<i64>> = chunks
        .iter()
        .filter(|chunk| chunk.span.start < published)
        .map(|chunk| chunk.span.start..chunk.span.end.min(published))
        .filter(|span| !busy.iter().any(|busy| overlap(busy, span)))
        .collect();
    spans.sort_by_key(|span| span.start);
    let mut merged: Vec<Range<i64>> = Vec::new();
    for span in spans {
        match merged.last_mut() {
            // Several chunks of one span, by hash.
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}

/// Whether two ranges share a moment.
pub(super) fn overlap(one: &Range<i64>, other: &Range<i64>) -> bool {
    one.start < other.end && other.start < one.end
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunks(spans: &[Range<i64>]) -> Vec<Chunk> {
        spans.iter().map(|span| Chunk { name: String::new(), span: span.clone() }).collect()
    }

    #[test]
    fn ranges_go_oldest_first_on_the_grid() {
        let chunks = chunks(&[30..40, 10..20, 10..20, 50..60]);
        assert_eq!(next_end(&chunks, None, 20, 100), Some(20));
        assert_eq!(start_of(&chunks, None, 20), 10);
        assert_eq!(next_end(&chunks, Some(20), 20, 100), Some(40));
        assert_eq!(start_of(&chunks, Some(20), 40), 20);
        assert_eq!(next_end(&chunks, Some(40), 20, 60), Some(60), "an empty span costs no move");
        assert_eq!(next_end(&chunks, Some(40), 20, 59), None, "not old enough");
        assert_eq!(next_end(&chunks, Some(60), 20, 100), None);
        assert_eq!(next_end(&[], None, 20, 100), None);
    }

    #[test]
    fn chunks_of_another_width_are_taken_whole() {
        assert_eq!(next_end(&chunks(&[0..50, 45..70]), None, 20, 100), Some(70));
        assert_eq!(
            next_end(&chunks(&std::iter::once(-30..-10).collect::<Vec<_>>()), None, 20, 100),
            Some(-10)
        );
    }

    #[test]
    fn strays_are_what_lies_before_the_cut_off_and_nobody_moves() {
        let chunks = chunks(&[0..10, 0..10, 20..30, 40..60]);
        assert_eq!(strays(&chunks, 50, &[]), [0..10, 20..30, 40..50]);
        assert_eq!(strays(&chunks, 50, &std::iter::once(15..25).collect::<Vec<_>>()), [0..10, 40..50]);
        assert!(strays(&chunks, 0, &[]).is_empty());
    }

    proptest! {
        #[test]
        fn no_chunk_reaches_over_the_end(
            spans in prop::collection::vec((-500_i64..500, 1_i64..90), 1..9), published in any::<Option<i8>>(),
            width in 1_i64..60,
        ) {
            let chunks = chunks(&spans.iter().map(|(start, length)| *start..start + length).collect::<Vec<_>>());
            let published = published.map(i64::from);
            if let Some(end) = next_end(&chunks, published, width, i64::MAX) {
                prop_assert!(published.is_none_or(|published| published < end));
                prop_assert!(chunks.iter().all(|chunk| chunk.span.end <= end || end <= chunk.span.start));
            }
        }
    }
}
