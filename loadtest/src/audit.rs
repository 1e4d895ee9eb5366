//! Is everything there that was acknowledged, exactly once? The ledger and the stores in, a [`Verdict`] out.
//!
//! The stores count by SQL, per request of the run: rows, distinct sequence numbers, their smallest and greatest and
//! the sum of their places in the request. What each request must show follows from its fate:
//!
//! | fate | rows | distinct |
//! |---|---|---|
//! | acknowledged | as many as were accepted | the same |
//! | unknown: refused, timed out or broken | at most all | the same as rows |
//! | never sent | none | none |

mod clickhouse;
mod postgres;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::identity::{FIRST_SEQUENCE, RunId};
use crate::tally::Fate;
use crate::workload::Signal;

pub use clickhouse::ClickHouse;
pub(crate) use postgres::connect;

/// Where the stores are.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Postgres, as a connection string.
    pub postgres: String,
    /// ClickHouse.
    pub clickhouse: ClickHouse,
    /// How long to wait for acknowledged records to become visible.
    pub patience: Duration,
}

/// What is looked for.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The run whose records are counted.
    pub run: RunId,
    /// Their kind, which says in which table of which store they are.
    pub signal: Signal,
    /// Records in each request.
    pub records_per_request: u64,
    /// Seconds since 1970 before the first record's time.
    pub from: i64,
    /// Seconds since 1970 after the last record's time.
    pub until: i64,
}

/// What a store holds of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The request's number; negative or too great when a row has a number that was never sent.
    pub request: i64,
    /// Rows.
    pub rows: u64,
    /// Distinct sequence numbers.
    pub distinct: u64,
    /// The smallest sequence number.
    pub min: u64,
    /// The greatest.
    pub max: u64,
    /// The sum over the rows of their places in the request, from 0.
    pub places: u64,
}

/// What the audit says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verdict {
    /// Records that were acknowledged.
    pub acknowledged: u64,
    /// Rows that are there.
    pub rows: u64,
    /// Distinct records that are there.
    pub distinct: u64,
    /// Acknowledged records that are not there.
    pub missing: u64,
    /// Rows beyond the first of a record.
    pub doubled: u64,
    /// Rows that were never sent, or whose numbers do not add up.
    pub foreign: u64,
    /// Records that are there though their request was not acknowledged, which is allowed.
    pub unacknowledged: u64,
    /// The smallest place in the run of a record that is there, from 0; 0 as well when none is.
    pub min: u64,
    /// The greatest.
    pub max: u64,
    /// The sum of the places in the run of all rows.
    pub sum: u128,
    /// Time from the last answer until the stores showed this, in seconds: how long after its acknowledgement the last
    /// record could be read, at most.
    pub settled_after_s: u64,
}

impl Verdict {
    /// Whether every acknowledged record is there once, and nothing that was not sent.
    pub fn clean(&self) -> bool {
        self.missing == 0 && self.doubled == 0 && self.foreign == 0
    }
}

/// Counts until everything acknowledged is visible, or patience ends.
pub async fn audit(stores: &Stores, question: &Question, ledger: &[Fate]) -> Result<Verdict> {
    let begin = Instant::now();
    loop {
        let asked = begin.elapsed();
        let found = match question.signal {
            Signal::Logs => stores.clickhouse.found(question).await?,
            Signal::Metrics | Signal::Traces => postgres::found(&stores.postgres, question).await?,
        };
        let mut verdict = judge(ledger, question.records_per_request, &found);
        verdict.settled_after_s = asked.as_secs();
        if verdict.missing == 0 || begin.elapsed() >= stores.patience {
            return Ok(verdict);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Holds what was found against the fates.
pub fn judge(ledger: &[Fate], records_per_request: u64, found: &[Found]) -> Verdict {
    let mut verdict = Verdict::default();
    let mut by_request: HashMap<usize, Found> = HashMap::with_capacity(found.len());
    for &found in found {
        verdict.rows += found.rows;
        let known = usize::try_from(found.request).ok().filter(|&request| request < ledger.len());
        match known {
            Some(request) if adds_up(&found, records_per_request) => {
                by_request.insert(request, found);
            }
            _ => verdict.foreign += found.rows,
        }
    }
    for (request, &fate) in ledger.iter().enumerate() {
        let found = by_request.get(&request);
        let (rows, distinct) = found.map_or((0, 0), |found| (found.rows, found.distinct));
        verdict.distinct += distinct;
        verdict.doubled += rows - distinct;
        match fate {
            Fate::Acknowledged(accepted) => {
                verdict.acknowledged += accepted;
                verdict.missing += accepted.saturating_sub(distinct);
                // A record that was refused by name, and is there all the same.
                verdict.unacknowledged += distinct.saturating_sub(accepted);
            }
            Fate::Unknown => verdict.unacknowledged += distinct,
        }
    }
    verdict.min = by_request.values().map(|found| found.min - FIRST_SEQUENCE).min().unwrap_or_default();
    verdict.max = by_request.values().map(|found| found.max - FIRST_SEQUENCE).max().unwrap_or_default();
    verdict.sum = by_request
        .iter()
        .map(|(&request, found)| {
            let first = request as u128 * u128::from(records_per_request);
            first * u128::from(found.rows) + u128::from(found.places)
        })
        .sum();
    verdict
}

/// Whether the store's numbers can be those of this request's records.
fn adds_up(found: &Found, records: u64) -> bool {
    let Ok(request) = u64::try_from(found.request) else { return false };
    let first = FIRST_SEQUENCE + request * records;
    let within = first <= found.min && found.min <= found.max && found.max < first + records;
    let counts = 1 <= found.distinct && found.distinct <= found.rows && found.distinct <= records;
    // With every record there once, the places are 0 to records - 1.
    let complete = found.distinct == records && found.rows == records;
    within && counts && (!complete || found.places == records * (records - 1) / 2)
}

#[cfg(test)]
mod tests;
