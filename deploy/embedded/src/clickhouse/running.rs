//! How many queries run at once, and under which ids.

use super::exception::Exception;
use std::collections::HashSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The queries that run.
#[derive(Debug)]
pub(crate) struct Running {
    limit: usize,
    /// How long a query waits for its turn.
    patience: Duration,
    ids: Mutex<HashSet<String>>,
    ended: Condvar,
}

/// A query's place among those that run.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    running: &'a Running,
    id: String,
}

impl Running {
    pub(crate) fn new(limit: usize, patience: Duration) -> Running {
        Running { limit, patience, ids: Mutex::default(), ended: Condvar::new() }
    }

    /// Waits for a place. Refuses an id that is in use, and gives up after a while.
    pub(crate) fn enter(&self, id: &str) -> Result<Turn<'_>, Exception> {
        let full = |ids: &mut HashSet<String>| ids.len() >= self.limit;
        let (mut ids, waited) = self
            .ended
            .wait_timeout_while(self.ids(), self.patience, full)
            .unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() {
            let message = format!("Too many simultaneous queries. Maximum: {}", self.limit);
            return Err(Exception::new(202, "TOO_MANY_SIMULTANEOUS_QUERIES", &message));
        }
        if !ids.insert(id.to_owned()) {
            let message = format!("Query with id = {id} is already running.");
            return Err(Exception::new(216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", &message));
        }
        Ok(Turn { running: self, id: id.to_owned() })
    }

    /// Waits until no query runs; false when that takes longer than `patience`.
    pub(crate) fn wait_until_idle(&self, patience: Duration) -> bool {
        let busy = |ids: &mut HashSet<String>| !ids.is_empty();
        let waited = self.ended.wait_timeout_while(self.ids(), patience, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.running.ids().remove(&self.id);
        self.running.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_over_the_limit_waits_and_then_is_refused() {
        let running = Running::new(1, Duration::from_millis(20));
        let first = running.enter("a").unwrap();
        assert_eq!(running.enter("b").unwrap_err().code, 202);
        drop(first);
        let _second = running.enter("b").unwrap();
        assert!(!running.wait_until_idle(Duration::from_millis(5)));
    }

    #[test]
    fn an_id_is_used_once_at_a_time() {
        let running = Running::new(9, Duration::ZERO);
        let _first = running.enter("a").unwrap();
        assert_eq!(running.enter("a").unwrap_err().code, 216);
    }
}
