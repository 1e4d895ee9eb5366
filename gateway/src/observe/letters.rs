//! Dead letters kept within their limits and counted, once a minute: settings in; removals, log lines and the number of
//! letters that wait out.
//!
//! Guaranteed: a letter that waited is never removed in silence. It is counted in
//! `tidewell_dead_letters_removed_total` and told of as an error with the way out.

use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::config::DeadLettersConfig;
use crate::store::StoreError;
use crate::store::timescale::letters::{LetterBudget, LetterFilter, Letters};

/// How often the letters are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// The letters of a gateway's database, as they were when they were looked at last.
#[derive(Debug)]
pub struct LetterWatch {
    letters: Letters,
    budget: LetterBudget,
    waiting: Mutex<Option<u64>>,
}

impl LetterWatch {
    /// Watches `letters`, of which nothing is known yet.
    pub fn new(letters: Letters, config: &DeadLettersConfig) -> Self {
        let budget = LetterBudget { max_bytes: config.max_bytes, retain_days: config.retain_days };
        Self { letters, budget, waiting: Mutex::default() }
    }

    /// How many letters waited when they were looked at last; none before that.
    pub fn waiting(&self) -> Option<u64> {
        *self.waiting.lock()
    }

    /// Looks after the letters until `stop`.
    pub async fn watch(&self, metrics: &Metrics, stop: CancellationToken) {
        loop {
            let looked = tokio::select! {
                looked = self.look(metrics) => looked,
                () = stop.cancelled() => return,
            };
            if let Err(error) = looked {
                tracing::warn!(%error, "the dead letters could not be looked at, will try again");
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Removes what is beyond the limits, and counts what waits.
    pub async fn look(&self, metrics: &Metrics) -> Result<(), StoreError> {
        let removed = self.letters.keep_within(self.budget).await?;
        metrics.letters_removed("over_budget", removed.over_budget);
        metrics.letters_removed("expired", removed.expired);
        if removed.over_budget > 0 {
            tracing::error!(
                letters = removed.over_budget,
                max_bytes = self.budget.max_bytes,
                "the oldest dead letters were removed: there are more than dead_letters.max_bytes; find the sender with \
                 `tidewell dead-letters list`, replay or discard what waits, or raise the limit"
            );
        }
        if removed.expired > 0 {
            tracing::error!(
                letters = removed.expired,
                retain_days = self.budget.retain_days,
                "dead letters that nobody replayed or discarded were removed: they are older than \
                 dead_letters.retain_days; look at `tidewell dead-letters list` in time, or raise the limit"
            );
        }
        let waiting = self.letters.count(&LetterFilter::waiting()).await?;
        *self.waiting.lock() = Some(waiting);
        Ok(())
    }
}
