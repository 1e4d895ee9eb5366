//! All that the page shows at one moment: the parts of the gateway in, numbers out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::deliver::FeedStatus;
use crate::observe::health::Report;
use crate::observe::problems::{self, Problem};
use crate::observe::{Metrics, ProtocolTotals};
use crate::receive::Gateway;
use crate::registry::Identifier;
use crate::store::timescale::letters::LetterFilter;
use crate::tier::{Overview, TaskReport, Tiering};

/// Letters that are looked through for reasons.
const LETTERS: usize = 200;

/// A database that takes longer than this to list them is not waited for.
const LETTERS_WITHIN: Duration = Duration::from_millis(500);

/// How long the list of reasons holds while a page is open.
const LETTERS_EVERY: Duration = Duration::from_secs(10);

/// The gateway at one moment.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) report: Report,
    pub(super) feeds: [FeedStatus; 3],
    pub(super) protocols: Vec<Flow>,
    pub(super) tables: BTreeMap<String, Rate>,
    pub(super) in_flight_bytes: usize,
    pub(super) in_flight_limit_bytes: usize,
    /// Where tables stand that cool, as it was last measured, and what was asked for them.
    pub(super) tiers: Vec<(Overview, Option<TaskReport>)>,
    pub(super) letters: WaitingLetters,
    pub(super) problems: Vec<Problem>,
    at: Instant,
}

/// A number and how fast it grows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rate {
    pub(super) total: u64,
    pub(super) per_second: f64,
}

/// What came over one protocol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flow {
    pub(super) totals: ProtocolTotals,
    pub(super) records: Rate,
    pub(super) bytes: Rate,
}

/// The dead letters that wait.
#[derive(Debug, Clone, Default)]
pub(super) struct WaitingLetters {
    /// How many; none before they were counted.
    pub(super) count: Option<u64>,
    pub(super) reasons: Reasons,
    looked_at: Option<Instant>,
}

/// Why letters wait.
#[derive(Debug, Clone, Default)]
pub(super) enum Reasons {
    /// The latest by target and reason, the most frequent first.
    Known(Vec<Reason>),
    /// The database did not say in time.
    #[default]
    Unknown,
    /// They may quote what senders sent.
    NotForThisReader,
}

/// Letters that were refused for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reason {
    pub(super) target: String,
    pub(super) field: String,
    pub(super) reason: String,
    pub(super) letters: usize,
}

impl Snapshot {
    /// The gateway now. Rates are those since `before`, or since the start; reasons of dead letters only if wanted.
    pub(super) async fn of(gateway: &Gateway, before: Option<&Self>, with_reasons: bool) -> Self {
        let report = gateway.report();
        let at = Instant::now();
        let elapsed =
            before.map_or(Duration::from_secs(report.uptime_seconds.max(1)), |before| at - before.at);
        let rate = |total: u64, earlier: Option<u64>| rate(total, earlier.unwrap_or_default(), elapsed);
        let limit = gateway.config.ingest.in_flight_bytes;
        Self {
            feeds: gateway.delivery.status(),
            protocols: flows(&gateway.metrics, before, rate),
            tables: tables(&gateway.metrics, before, rate),
            in_flight_bytes: limit.saturating_sub(gateway.ingest.memory().available()),
            in_flight_limit_bytes: limit,
            letters: WaitingLetters::of(gateway, before.map(|before| &before.letters), with_reasons).await,
            tiers: tiers(&gateway.tiering),
            problems: problems::latest(),
            report,
            at,
        }
    }
}

fn tiers(tiering: &Tiering) -> Vec<(Overview, Option<TaskReport>)> {
    let with_task = |overview: Overview| {
        let name = Identifier::new(&overview.status.table).ok();
        let task = name.and_then(|name| tiering.task(&name));
        (overview, task)
    };
    tiering.last_overviews().into_iter().map(with_task).collect()
}

fn flows(metrics: &Metrics, before: Option<&Snapshot>, rate: impl Fn(u64, Option<u64>) -> Rate) -> Vec<Flow> {
    let flow = |(at, totals): (usize, ProtocolTotals)| {
        let earlier = before.and_then(|before| before.protocols.get(at)).map(|flow| flow.totals);
        Flow {
            totals,
            records: rate(totals.records(), earlier.map(|earlier| earlier.records())),
            bytes: rate(totals.bytes, earlier.map(|earlier| earlier.bytes)),
        }
    };
    metrics.totals().into_iter().enumerate().map(flow).collect()
}

fn tables(
    metrics: &Metrics,
    before: Option<&Snapshot>,
    rate: impl Fn(u64, Option<u64>) -> Rate,
) -> BTreeMap<String, Rate> {
    let of_table = |(table, total): (String, u64)| {
        let earlier = before.map(|before| before.tables.get(&table).map_or(0, |rows| rows.total));
        let rate = rate(total, earlier);
        (table, rate)
    };
    metrics.rows_written().into_iter().map(of_table).collect()
}

fn rate(total: u64, earlier: u64, elapsed: Duration) -> Rate {
    #[expect(clippy::cast_precision_loss, reason = "a rate is read by people")]
    let grown = total.saturating_sub(earlier) as f64;
    Rate { total, per_second: grown / elapsed.as_secs_f64().max(0.001) }
}

impl WaitingLetters {
    /// The letters now; the list of reasons only as often as it is worth.
    async fn of(gateway: &Gateway, before: Option<&Self>, with_reasons: bool) -> Self {
        let count = gateway.letters.waiting();
        if !with_reasons {
            return Self { count, reasons: Reasons::NotForThisReader, looked_at: None };
        }
        let fresh = before.filter(|before| {
            before.count == count && before.looked_at.is_some_and(|at| at.elapsed() < LETTERS_EVERY)
        });
        if let Some(before) = fresh {
            return before.clone();
        }
        let store = gateway.timescale.letters();
        let filter = LetterFilter::waiting();
        let listed = tokio::time::timeout(LETTERS_WITHIN, store.list(&filter, LETTERS)).await;
        let reasons = listed.ok().and_then(Result::ok).map(|letters| {
            grouped(letters.into_iter().map(|letter| (letter.target, letter.field, letter.reason)))
        });
        // What was just refused is shown although it is counted once a minute only.
        let shown = reasons.as_ref().map(|reasons| reasons.iter().map(|reason| reason.letters as u64).sum());
        let reasons = reasons.map_or(Reasons::Unknown, Reasons::Known);
        Self { count: count.max(shown), reasons, looked_at: Some(Instant::now()) }
    }
}

fn grouped(letters: impl Iterator<Item = (String, String, String)>) -> Vec<Reason> {
    let mut counts = BTreeMap::new();
    for letter in letters {
        *counts.entry(letter).or_insert(0) += 1;
    }
    let reason = |((target, field, reason), letters)| Reason { target, field, reason, letters };
    let mut reasons: Vec<Reason> = counts.into_iter().map(reason).collect();
    reasons.sort_by_key(|reason| std::cmp::Reverse(reason.letters));
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_was_added_in_the_time() {
        let two_seconds = Duration::from_secs(2);
        assert_eq!(rate(30, 10, two_seconds), Rate { total: 30, per_second: 10.0 });
        assert_eq!(rate(5, 10, two_seconds).per_second, 0.0);
        assert!(rate(5, 0, Duration::ZERO).per_second.is_finite());
    }

    #[test]
    fn letters_are_grouped_by_target_field_and_reason() {
        let letter = |target: &str, reason: &str| (target.to_owned(), "f".to_owned(), reason.to_owned());
        let letters = [letter("a", "x"), letter("b", "x"), letter("b", "x"), letter("b", "y")];
        let counts: Vec<_> = grouped(letters.into_iter())
            .into_iter()
            .map(|reason| (reason.target, reason.reason, reason.letters))
            .collect();
        assert_eq!(counts[0], ("b".to_owned(), "x".to_owned(), 2));
        assert_eq!(counts.len(), 3);
    }
}
