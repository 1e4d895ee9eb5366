//! When requests are sent: a load in, the number and the intended time of each request out.
//!
//! Closed loop: a connection sends its next request when the one before is answered, which finds the limit of
//! the gateway but hides its pauses. Open loop: requests are due at fixed times whatever the gateway does; one that
//! waits for a free connection is late, and its latency counts from the time at which it was due. So a pause of a
//! second shows in every request that was due in that second (no coordinated omission).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How much is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Load {
    /// Records per second; none for a closed loop.
    pub rate: Option<u64>,
    /// How long requests are sent.
    pub duration: Duration,
    /// Most records, rounded up to whole requests.
    pub records: Option<u64>,
}

/// How long after the end of an open loop its late requests are still sent; what is left then is unsent.
pub const GRACE: Duration = Duration::from_secs(5);

/// Hands out requests to connections.
#[derive(Debug)]
pub struct Schedule {
    load: Load,
    records_per_request: u64,
    /// The most requests: of an open loop those that are due, of a closed loop the bound if there is one.
    requests: u64,
    next: AtomicU64,
}

/// A request to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// Its number in the run, from 0.
    pub request: u64,
    /// When it is due, from the start of the run; none in a closed loop: at once.
    pub due: Option<Duration>,
}

impl Schedule {
    /// A schedule of requests of this many records.
    pub fn new(load: Load, records_per_request: u64) -> Self {
        let bounded = load.records.map_or(u64::MAX, |records| records.div_ceil(records_per_request));
        let due = load.rate.map_or(u64::MAX, |rate| {
            let records = u128::from(rate) * load.duration.as_millis() / 1_000;
            u64::try_from(records.div_ceil(u128::from(records_per_request))).unwrap_or(u64::MAX)
        });
        Self { load, records_per_request, requests: bounded.min(due), next: AtomicU64::new(0) }
    }

    /// The next request, at this time from the start; none when the run is over.
    pub fn turn(&self, elapsed: Duration) -> Option<Turn> {
        let last = match self.load.rate {
            Some(_) => self.load.duration + GRACE,
            None => self.load.duration,
        };
        if elapsed >= last {
            return None;
        }
        let claim = |next: u64| (next < self.requests).then_some(next + 1);
        let request = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).ok()?;
        let due = self.load.rate.map(|rate| self.due(request, rate));
        Some(Turn { request, due })
    }

    fn due(&self, request: u64, rate: u64) -> Duration {
        let records = u128::from(request) * u128::from(self.records_per_request);
        let nanos = records * 1_000_000_000 / u128::from(rate.max(1));
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When the last request of an open loop is due, sent or not; zero for a closed loop.
    pub fn last_due(&self) -> Duration {
        self.load.rate.map_or(Duration::ZERO, |rate| self.due(self.requests.saturating_sub(1), rate))
    }

    /// Requests that were handed out.
    pub fn begun(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Requests that were due and never sent, once the run is over: an open loop that could not keep up.
    pub fn unsent(&self) -> u64 {
        self.load.rate.map_or(0, |_| self.requests - self.begun())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_closed_loop_ends_with_its_time() {
        let schedule = Schedule::new(Load { rate: None, duration: 2 * SECOND, records: None }, 10);
        assert_eq!(schedule.turn(Duration::ZERO), Some(Turn { request: 0, due: None }));
        assert_eq!(schedule.turn(SECOND), Some(Turn { request: 1, due: None }));
        assert_eq!(schedule.turn(2 * SECOND), None);
        assert_eq!((schedule.begun(), schedule.unsent()), (2, 0));
    }

    #[test]
    fn a_closed_loop_ends_with_its_records() {
        let schedule = Schedule::new(Load { rate: None, duration: SECOND, records: Some(25) }, 10);
        let turns = std::iter::from_fn(|| schedule.turn(Duration::ZERO)).count();
        assert_eq!((turns, schedule.begun()), (3, 3));
    }

    #[test]
    fn an_open_loop_is_due_at_even_times_whatever_the_clock_says() {
        let load = Load { rate: Some(1_000), duration: SECOND, records: None };
        let schedule = Schedule::new(load, 100);
        let due: Vec<_> = (0..10)
            // The gateway hangs: every turn is taken a second late, and none is skipped or moved.
            .map(|_| schedule.turn(2 * SECOND).unwrap().due.unwrap().as_millis())
            .collect();
        assert_eq!(due, [0, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
        assert_eq!(schedule.turn(2 * SECOND), None);
        assert_eq!(schedule.unsent(), 0);
        assert_eq!(schedule.last_due(), Duration::from_millis(900));
    }

    #[test]
    fn an_open_loop_that_cannot_keep_up_says_how_much_it_left() {
        let load = Load { rate: Some(1_000), duration: SECOND, records: None };
        let schedule = Schedule::new(load, 100);
        assert!(schedule.turn(SECOND).is_some());
        assert_eq!(schedule.turn(SECOND + GRACE), None);
        assert_eq!((schedule.begun(), schedule.unsent()), (1, 9));
    }
}
