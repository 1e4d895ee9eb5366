//! One load signal: how much memory requests hold and how full the logs are in; how long to wait, or when to come again,
//! out.
//!
//! | load | from | at 90 % and above | full |
//! |---|---|---|---|
//! | memory | [`MemoryBudget`] | a request's body is read a little later, which holds up its sender and no memory | refused |
//! | log | the share of a log's budget that waits for its store | a request with rows for it is answered later | refused, as is what does not fit any more |
//!
//! Each log counts for the requests that have something for it, so that an outage of one store does not hold up those
//! for the other. How long the oldest row of a log has waited says nothing about whether more can be taken, but when it
//! makes sense to ask again.
//!
//! Guaranteed: a refusal is [`Rejection::Overloaded`], which every protocol words as retryable. The time it names grows
//! while the overload lasts and from sender to sender, so that they do not all come again at once; it is never longer
//! than [`LONGEST_RETRY`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::deliver::LogName;
use crate::memory::MemoryBudget;
use crate::rejection::{DEFAULT_RETRY_AFTER, Rejection};

/// The load from which on senders are slowed down.
const SLOW_DOWN_FROM: f64 = 0.9;
/// Longest wait before a body is read. It shall be felt by a sender and not by those who probe whether we are alive.
const LONGEST_BODY_DELAY: Duration = Duration::from_millis(250);
/// Longest wait of a request for a log that is nearly full: well below the time-outs of senders, 5 s for a Collector.
const LONGEST_LOG_DELAY: Duration = Duration::from_secs(1);
/// Longest time after which a refused sender is asked to come again.
const LONGEST_RETRY: Duration = Duration::from_secs(30);
/// An overload has ended when nothing was refused for this long.
const QUIET: Duration = Duration::from_secs(10);

/// How loaded a log is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LogLoad {
    /// The share of its budget that is used by what still has to be stored, from 0 to 1.
    pub share: f64,
    /// Whether it takes what is to be appended.
    pub fits: bool,
    /// How long the oldest of it has waited.
    pub lag: Duration,
}

/// Says how loaded a log is, for somebody with a frame of so many bytes.
type LogLoads = Box<dyn Fn(LogName, u64) -> LogLoad + Send + Sync>;

/// Watches the load of a gateway.
pub struct LoadSignal {
    memory: MemoryBudget,
    logs: LogLoads,
    overload: Mutex<Option<Overload>>,
    refusals: AtomicU64,
}

/// A time during which requests are refused.
#[derive(Debug, Clone, Copy)]
struct Overload {
    since: Instant,
    last: Instant,
}

impl LoadSignal {
    /// Watches `memory`, and the logs through `logs`.
    pub fn new(memory: MemoryBudget, logs: impl Fn(LogName, u64) -> LogLoad + Send + Sync + 'static) -> Self {
        Self { memory, logs: Box::new(logs), overload: Mutex::default(), refusals: AtomicU64::new(0) }
    }

    /// To be waited for before a request's body is read.
    pub async fn before_body(&self) {
        let delay = delay(self.memory.load(), LONGEST_BODY_DELAY);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    /// To be waited for before frames of so many bytes are appended to these logs; refused when one has no room for it, so
    /// that nothing is appended to the others first.
    pub async fn before_append(
        &self,
        frames: impl IntoIterator<Item = (LogName, u64)>,
    ) -> Result<(), Rejection> {
        let mut longest = Duration::ZERO;
        for (log, bytes) in frames {
            let LogLoad { share, fits, lag } = (self.logs)(log, bytes);
            if share >= 1.0 || !fits {
                return Err(self.refusal(full(log), lag));
            }
            longest = longest.max(delay(share, LONGEST_LOG_DELAY));
        }
        if !longest.is_zero() {
            tokio::time::sleep(longest).await;
        }
        Ok(())
    }

    /// The refusal of a request for which there is no room; `lag` is how long the oldest row of what is full has waited.
    pub fn refusal(&self, reason: String, lag: Duration) -> Rejection {
        let now = Instant::now();
        let lasted = {
            let mut overload = self.overload.lock();
            let since = overload.filter(|seen| now - seen.last < QUIET).map_or(now, |seen| seen.since);
            *overload = Some(Overload { since, last: now });
            now - since
        };
        let number = self.refusals.fetch_add(1, Ordering::Relaxed);
        Rejection::Overloaded { reason, retry_after: retry_after(lasted, lag, spread(number)) }
    }

    /// Gives an overload the time that fits; other rejections stay as they are.
    pub fn pace(&self, rejection: Rejection) -> Rejection {
        match rejection {
            Rejection::Overloaded { reason, retry_after: DEFAULT_RETRY_AFTER } => {
                self.refusal(reason, Duration::ZERO)
            }
            other => other,
        }
    }
}

fn full(log: LogName) -> String {
    let name = log.name();
    format!(
        "log {name} has used its space on disk (wal.{name}_max_bytes): its store is slow or down, try again"
    )
}

/// How long to wait at this load: nothing below [`SLOW_DOWN_FROM`], then more and more.
fn delay(load: f64, longest: Duration) -> Duration {
    // What is no number is no load.
    if load.is_nan() {
        return Duration::ZERO;
    }
    let above = ((load - SLOW_DOWN_FROM) / (1.0 - SLOW_DOWN_FROM)).clamp(0.0, 1.0);
    longest.mul_f64(above * above)
}

/// When to come again after an overload has lasted this long. `spread`, from 0 to 1, tells senders apart.
fn retry_after(lasted: Duration, lag: Duration, spread: f64) -> Duration {
    let base = DEFAULT_RETRY_AFTER.max(lasted / 4).max(lag / 20);
    base.mul_f64(1.0 + spread / 2.0).min(LONGEST_RETRY)
}

/// Numbers from 0 to 1 of which each is far from those before it: multiples of the golden ratio.
fn spread(number: u64) -> f64 {
    const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;
    #[expect(clippy::cast_precision_loss, reason = "eleven bits less tell senders apart as well")]
    let scaled = number.wrapping_mul(GOLDEN_RATIO) as f64 / u64::MAX as f64;
    scaled
}

// === impl LoadSignal ===

impl fmt::Debug for LoadSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadSignal").field("overload", &self.overload).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(memory: &MemoryBudget, timescale: LogLoad) -> LoadSignal {
        LoadSignal::new(memory.clone(), move |log, bytes| match log {
            LogName::Timescale => LogLoad { fits: bytes <= 1000, ..timescale },
            LogName::ClickHouse | LogName::DeadLetters => share(0.0),
        })
    }

    fn share(share: f64) -> LogLoad {
        LogLoad { share, fits: true, lag: Duration::ZERO }
    }

    fn small(logs: impl IntoIterator<Item = LogName>) -> Vec<(LogName, u64)> {
        logs.into_iter().map(|log| (log, 1)).collect()
    }

    async fn elapsed<T>(future: impl Future<Output = T>) -> (Duration, T) {
        let begun = Instant::now();
        let result = future.await;
        (begun.elapsed(), result)
    }

    fn seconds(rejection: &Rejection) -> f64 {
        assert!(matches!(rejection, Rejection::Overloaded { .. }), "{rejection:?}");
        rejection.retry_after().unwrap().as_secs_f64()
    }

    #[test]
    fn delays_begin_at_nine_tenths_and_grow() {
        let longest = Duration::from_secs(1);
        assert_eq!((delay(0.0, longest), delay(0.9, longest)), (Duration::ZERO, Duration::ZERO));
        let delays: Vec<_> = (90..=101).map(|percent| delay(f64::from(percent) / 100.0, longest)).collect();
        assert!(delays.is_sorted());
        assert!(delays[1] < longest / 50, "gently at first: {:?}", delays[1]);
        assert_eq!((delays[10], delays[11]), (longest, longest));
        assert_eq!(delay(f64::NAN, longest), Duration::ZERO);
    }

    #[test]
    fn the_time_to_come_again_grows_with_the_overload_and_is_bounded() {
        let at =
            |lasted, lag| retry_after(Duration::from_secs(lasted), Duration::from_secs(lag), 0.0).as_secs();
        assert_eq!((at(0, 0), at(4, 0), at(20, 0), at(3600, 0)), (1, 1, 5, 30));
        assert_eq!((at(0, 100), at(0, 86_400)), (5, 30));
        let spreads: Vec<f64> = (0..100).map(spread).collect();
        assert!(spreads.iter().all(|spread| (0.0..=1.0).contains(spread)));
        let tenths: std::collections::HashSet<_> =
            spreads.iter().take(20).map(|spread| format!("{:.1}", spread.min(0.94))).collect();
        assert!(tenths.len() >= 9, "the first twenty fill the whole range: {tenths:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_log_refuses_what_is_for_its_store_alone() {
        let signal = signal(&MemoryBudget::new(1024, 100), share(1.0));
        let refused =
            signal.before_append(small([LogName::ClickHouse, LogName::Timescale])).await.unwrap_err();
        assert!(refused.to_string().contains("wal.timescale_max_bytes"), "{refused}");
        let (waited, taken) = elapsed(signal.before_append(small([LogName::ClickHouse]))).await;
        assert_eq!((waited, taken), (Duration::ZERO, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_fit_is_refused_before_anything_is_appended() {
        let signal = signal(&MemoryBudget::new(1024, 100), share(0.5));
        let fits = signal.before_append([(LogName::DeadLetters, 10), (LogName::Timescale, 1000)]).await;
        assert_eq!(fits, Ok(()));
        let refused = signal.before_append([(LogName::DeadLetters, 10), (LogName::Timescale, 1001)]).await;
        assert!(refused.unwrap_err().to_string().contains("wal.timescale_max_bytes"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_nearly_full_slows_down() {
        let signal = signal(&MemoryBudget::new(1024, 100), share(0.95));
        let (waited, taken) = elapsed(signal.before_append(small([LogName::Timescale]))).await;
        assert_eq!(taken, Ok(()));
        assert!((Duration::from_millis(240)..Duration::from_millis(260)).contains(&waited), "{waited:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_read_later_while_memory_is_short() {
        let memory = MemoryBudget::new(100 << 10, 100);
        let signal = signal(&memory, share(0.0));
        assert_eq!(elapsed(signal.before_body()).await.0, Duration::ZERO);
        let mut grant = memory.grant();
        grant.resize(100 << 10).unwrap();
        assert_eq!(elapsed(signal.before_body()).await.0, LONGEST_BODY_DELAY);
        drop(grant);
        assert_eq!(elapsed(signal.before_body()).await.0, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn senders_are_told_longer_times_while_it_lasts() {
        let signal = signal(&MemoryBudget::new(1024, 100), share(0.0));
        let refuse = || seconds(&signal.pace(Rejection::overloaded("full")));
        let first = refuse();
        assert!((1.0..1.5).contains(&first), "{first}");
        for _ in 0..20 {
            tokio::time::advance(Duration::from_secs(2)).await;
            refuse();
        }
        let later = refuse();
        assert!((10.0..15.1).contains(&later), "{later}");
        tokio::time::advance(QUIET).await;
        let after = refuse();
        assert!((1.0..1.5).contains(&after), "the next overload begins anew: {after}");
        let lagging = seconds(&signal.refusal(String::new(), Duration::from_secs(200)));
        assert!((10.0..15.1).contains(&lagging), "{lagging}");
        let other = Rejection::Malformed("x".to_owned());
        assert_eq!(signal.pace(other.clone()), other);
    }
}
