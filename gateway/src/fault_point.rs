//! Places where `make faults` and `make tier-test` end, freeze, break or confuse the gateway: variables of the environment in, a death, a skipped
//! step or another clock at exactly the named place out.
//!
//! Only a build with the cargo feature `fault-injection` reads the variables; in any other build all functions here are
//! empty and the configuration refuses the variables as it refuses every unknown one.
//!
//! | variable | value | effect |
//! |---|---|---|
//! | `TIDEWELL_FAULT_POINT` | `NAME` or `NAME:N`, a name of [`Point`] | abort at the N-th time (from 1) that the point is reached |
//! | `TIDEWELL_FAULT_FREEZE` | as above | stop, as SIGSTOP does, at the N-th time that the point is reached, until SIGCONT |
//! | `TIDEWELL_BROKEN` | a name of [`Step`] | the step is left out |
//! | `TIDEWELL_FAULT_CLOCK_OFFSET_S` | seconds, or the path of a file that holds them | the wall clock is off by that much, from then on; the file is read each time, so that the clock can jump |
//!
//! A value that means nothing ends the process at its first use: a fault that never happens would prove nothing.

use std::fmt;

/// A place at which the process can be made to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A group of frames has been written to the log, and not been synced.
    WalBeforeSync,
    /// The group is durable, and nobody has been told.
    WalAfterSync,
    /// A cut is durable, and its rows have not been sent.
    DeliverAfterCut,
    /// Some rows of a COPY have been sent to Postgres.
    TimescaleInCopy,
    /// Postgres has committed, and nothing has been made of its answer.
    TimescaleAfterCommit,
    /// A part of the body of an INSERT has been sent to ClickHouse.
    ClickHouseInBody,
    /// ClickHouse has answered an INSERT, and nothing has been made of the answer.
    ClickHouseAfterInsert,
    /// A range is to be moved, and is open.
    TierBeforeClose,
    /// The range is closed.
    TierAfterClose,
    /// Some rows of a move are in the cold table.
    TierInLoad,
    /// All rows of a move are in the cold table, and the ledger does not say so.
    TierBeforeLoaded,
    /// The ledger says that a move is loaded.
    TierAfterLoaded,
    /// The rows were read back and are right, and the ledger does not say so.
    TierBeforeVerified,
    /// The ledger says that a move is verified.
    TierAfterVerified,
    /// Everything of a new generation is there, and readers see the old one.
    TierBeforeSwap,
    /// Readers see the new generation, and the ledger does not say so.
    TierAfterSwap,
    /// The ledger says that a move is published.
    TierAfterPublished,
    /// The rows of a published move are taken away, in a transaction that is not committed.
    TierBeforeDrop,
    /// Timescale has given up the rows of a move.
    TierAfterDrop,
    /// The empty chunks of a dropped range are gone.
    TierAfterRemoved,
}

/// A step on which a guarantee rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Syncing the log before an append counts as durable.
    Fsync,
    /// Counting the rows of a cut in ClickHouse when a repeated INSERT succeeds.
    CountAfterSecondSuccess,
    /// Writing down progress in the transaction of a COPY.
    Progress,
    /// All that makes delivery exactly once: durable plans of cuts, progress in Postgres, the names of cuts in the rows of
    /// ClickHouse. What it costs is measured against a build without it.
    ExactlyOnce,
}

impl Point {
    /// All points.
    pub const ALL: [Self; 20] = [
        Self::WalBeforeSync,
        Self::WalAfterSync,
        Self::DeliverAfterCut,
        Self::TimescaleInCopy,
        Self::TimescaleAfterCommit,
        Self::ClickHouseInBody,
        Self::ClickHouseAfterInsert,
        Self::TierBeforeClose,
        Self::TierAfterClose,
        Self::TierInLoad,
        Self::TierBeforeLoaded,
        Self::TierAfterLoaded,
        Self::TierBeforeVerified,
        Self::TierAfterVerified,
        Self::TierBeforeSwap,
        Self::TierAfterSwap,
        Self::TierAfterPublished,
        Self::TierBeforeDrop,
        Self::TierAfterDrop,
        Self::TierAfterRemoved,
    ];

    /// Its name in `TIDEWELL_FAULT_POINT`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WalBeforeSync => "wal.before_sync",
            Self::WalAfterSync => "wal.after_sync",
            Self::DeliverAfterCut => "deliver.after_cut",
            Self::TimescaleInCopy => "timescale.in_copy",
            Self::TimescaleAfterCommit => "timescale.after_commit",
            Self::ClickHouseInBody => "clickhouse.in_body",
            Self::ClickHouseAfterInsert => "clickhouse.after_insert",
            Self::TierBeforeClose => "tier.before_close",
            Self::TierAfterClose => "tier.after_close",
            Self::TierInLoad => "tier.in_load",
            Self::TierBeforeLoaded => "tier.before_loaded",
            Self::TierAfterLoaded => "tier.after_loaded",
            Self::TierBeforeVerified => "tier.before_verified",
            Self::TierAfterVerified => "tier.after_verified",
            Self::TierBeforeSwap => "tier.before_swap",
            Self::TierAfterSwap => "tier.after_swap",
            Self::TierAfterPublished => "tier.after_published",
            Self::TierBeforeDrop => "tier.before_drop",
            Self::TierAfterDrop => "tier.after_drop",
            Self::TierAfterRemoved => "tier.after_removed",
        }
    }
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 4] =
        [Self::Fsync, Self::CountAfterSecondSuccess, Self::Progress, Self::ExactlyOnce];

    /// Its name in `TIDEWELL_BROKEN`, which says what is wrong with a build without the step.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fsync => "no_fsync",
            Self::CountAfterSecondSuccess => "trust_second_success",
            Self::Progress => "no_progress",
            Self::ExactlyOnce => "at_least_once",
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(feature = "fault-injection")]
pub(crate) use injected::VARIABLES;
#[cfg(feature = "fault-injection")]
pub use injected::{clock_offset_nanos, is_left_out, reached};

/// Ends the process here if the environment says so.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn reached(_point: Point) {}

/// Whether the step is to be left out.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn is_left_out(_step: Step) -> bool {
    false
}

/// How far the wall clock is off, in nanoseconds.
#[cfg(not(feature = "fault-injection"))]
#[inline]
pub fn clock_offset_nanos() -> i64 {
    0
}

#[cfg(feature = "fault-injection")]
mod injected;
