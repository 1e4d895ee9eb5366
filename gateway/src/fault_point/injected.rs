//! The functions of a build with `fault-injection`.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Signal, getpid, kill_process};

use super::{Point, Step};

const POINT: &str = "TIDEWELL_FAULT_POINT";
const FREEZE: &str = "TIDEWELL_FAULT_FREEZE";
const BROKEN: &str = "TIDEWELL_BROKEN";
const CLOCK_OFFSET: &str = "TIDEWELL_FAULT_CLOCK_OFFSET_S";

/// Variables that are no settings and are not refused.
pub(crate) const VARIABLES: [&str; 4] = [POINT, FREEZE, BROKEN, CLOCK_OFFSET];

/// What the environment asks for.
static PLAN: LazyLock<Plan> = LazyLock::new(|| {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let read = || {
        let plan = Plan::read(variable(POINT), variable(BROKEN), variable(CLOCK_OFFSET))?;
        let freeze = variable(FREEZE).map(|text| Occasion::read(FREEZE, &text)).transpose()?;
        Ok::<_, String>(Plan { freeze, ..plan })
    };
    match read() {
        Ok(plan) => plan,
        Err(reason) => {
            tracing::error!(%reason, "a fault cannot be injected");
            std::process::abort()
        }
    }
});

#[derive(Debug, Default)]
struct Plan {
    death: Option<Occasion>,
    freeze: Option<Occasion>,
    left_out: Option<Step>,
    clock: Option<Clock>,
}

/// A point, and how often it must be reached.
#[derive(Debug)]
struct Occasion {
    point: Point,
    at: u64,
    reached: AtomicU64,
}

#[derive(Debug, PartialEq)]
enum Clock {
    Off(i64),
    File(String),
}

impl Plan {
    fn read(
        point: Option<String>,
        broken: Option<String>,
        clock_offset: Option<String>,
    ) -> Result<Self, String> {
        Ok(Self {
            death: point.as_deref().map(|text| Occasion::read(POINT, text)).transpose()?,
            freeze: None,
            left_out: broken.as_deref().map(step).transpose()?,
            clock: clock_offset.map(|text| match text.parse() {
                Ok(seconds) => Clock::Off(seconds),
                Err(_) => Clock::File(text),
            }),
        })
    }
}

impl Occasion {
    fn read(variable: &str, text: &str) -> Result<Self, String> {
        let (name, at) = text.split_once(':').unwrap_or((text, "1"));
        let point = Point::ALL.into_iter().find(|point| point.name() == name);
        let at = at.parse().ok().filter(|&at| at > 0);
        match (point, at) {
            (Some(point), Some(at)) => Ok(Self { point, at, reached: AtomicU64::new(0) }),
            _ => Err(format!(
                "{variable}={text} names no point: write one of {}, or NAME:N",
                names(&Point::ALL)
            )),
        }
    }

    /// Whether this is the time.
    fn is_due(&self, point: Point) -> bool {
        point == self.point && self.reached.fetch_add(1, Ordering::Relaxed) + 1 == self.at
    }
}

fn step(text: &str) -> Result<Step, String> {
    let step = Step::ALL.into_iter().find(|step| step.name() == text);
    step.ok_or_else(|| format!("{BROKEN}={text} names no step: write one of {}", names(&Step::ALL)))
}

fn names<T: ToString>(all: &[T]) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

/// Ends the process here if the environment says so, as SIGKILL would: nothing is flushed, nobody is told. Or freezes it,
/// all threads at once, until somebody sends SIGCONT.
pub fn reached(point: Point) {
    if PLAN.freeze.as_ref().is_some_and(|freeze| freeze.is_due(point)) {
        tracing::error!(%point, "freezes here, as it was told to");
        if let Err(error) = kill_process(getpid(), Signal::STOP) {
            tracing::error!(%error, "it cannot freeze");
            std::process::abort();
        }
    }
    if PLAN.death.as_ref().is_some_and(|death| death.is_due(point)) {
        tracing::error!(%point, "ends here, as it was told to");
        std::process::abort();
    }
}

/// Whether the step is to be left out.
pub fn is_left_out(step: Step) -> bool {
    PLAN.left_out == Some(step)
}

/// How far the wall clock is off, in nanoseconds; 0 while the file that says so cannot be read.
pub fn clock_offset_nanos() -> i64 {
    PLAN.clock.as_ref().map_or(0, Clock::offset_nanos)
}

impl Clock {
    fn offset_nanos(&self) -> i64 {
        let seconds = match self {
            Self::Off(seconds) => Some(*seconds),
            Self::File(path) => std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()),
        };
        seconds.unwrap_or(0).saturating_mul(1_000_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn every_name_is_read_back() {
        for point in Point::ALL {
            assert_eq!(Occasion::read(POINT, point.name()).unwrap().point, point);
        }
        for step in Step::ALL {
            assert_eq!(super::step(step.name()), Ok(step));
        }
    }

    #[test]
    fn a_point_is_due_once_at_its_nth_time() {
        let death = Occasion::read(POINT, "timescale.after_commit:3").unwrap();
        assert!(!death.is_due(Point::TimescaleInCopy));
        let due: Vec<bool> = (0..5).map(|_| death.is_due(Point::TimescaleAfterCommit)).collect();
        assert_eq!(due, [false, false, true, false, false]);
        assert!(Occasion::read(FREEZE, "wal.after_sync").unwrap().is_due(Point::WalAfterSync));
    }

    #[test]
    fn what_means_nothing_is_refused() {
        for wrong in ["wal.sometime", "wal.after_sync:", "wal.after_sync:0", "wal.after_sync:x", ":1"] {
            assert!(Plan::read(text(wrong), None, None).unwrap_err().contains("wal.before_sync"), "{wrong}");
        }
        assert!(Plan::read(None, text("no_care"), None).unwrap_err().contains("no_fsync"));
        let none = Plan::read(None, None, None).unwrap();
        assert!(none.death.is_none() && none.left_out.is_none() && none.clock.is_none());
    }

    #[test]
    fn the_clock_is_off_by_seconds_or_by_what_a_file_says_now() {
        assert_eq!(Clock::Off(-3600).offset_nanos(), -3_600_000_000_000);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offset");
        let plan = Plan::read(None, None, text(path.to_str().unwrap())).unwrap();
        let clock = plan.clock.unwrap();
        assert_eq!(clock.offset_nanos(), 0);
        std::fs::write(&path, "7\n").unwrap();
        assert_eq!(clock.offset_nanos(), 7_000_000_000);
    }
}
