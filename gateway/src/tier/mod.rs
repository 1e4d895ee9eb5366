//! Two tiers of one table: new rows hot in Timescale, old ones cold in ClickHouse, and both shown as one.
//!
//! - [`generation`]: which rows are read from where, at one moment; [`combined`]: the statements that make both tiers one
//!   table; [`publish`]: swaps the readers of that table from one generation to the next;
//! - `mover`: takes ranges of time from one tier to the other, by [`tiering`], which runs it when the policy of a table
//!   says so; `hot` and `export` are its hands, `ledger` its memory, `range` its choice; [`content`] is how it knows that
//!   rows are the same; `restore` is the way back, `audit` looks again later;
//! - [`read`] answers queries of a table from both tiers; [`rollup`] keeps aggregates of what is cold; `otel` shows spans
//!   under the names of others, `views` a trace with its log records, in SQL.
//!
//! # A move
//!
//! A range of time moves as a whole, oldest first, so that one cut-off per table says which tier has what. A *move* is one
//! attempt, under a number that is never used twice; the rows that it writes to the cold table carry that number. Each
//! state is a row of the ledger in Postgres, and a mover that finds it goes on from there.
//!
//! | state | what is true of the range | after a crash |
//! |---|---|---|
//! | (closing) | no gateway writes older rows to Timescale: they go to the cold table, as late rows, and are seen there at once | moves |
//! | `closed` | rows are on the way to the cold table, where nobody sees them | abandoned, begun anew |
//! | `loaded` | all are there, with the count and content that the export had | abandoned, begun anew |
//! | `verified` | they were read back, and are what was exported | published, if nothing changed |
//! | `published` | readers take them from the cold table; Timescale has them still | dropped, when the grace is over |
//! | `dropped` | the cold table alone has them | |
//! | `abandoned` | they do not count; readers do not see them, and they go | dropped from the cold table |
//! | `restoring`, `restored` | they are on the way back, they are back | see `restore` |
//!
//! # Why no row is lost, doubled or shown wrongly
//!
//! *What readers see is a function of the ledger.* A generation is a cut-off and a list of moves that do not count. Readers
//! see, of the hot side, rows not older than the cut-off; of the cold side, older rows of the moves that count, and all
//! late rows, which were never in Timescale. Both sides of a generation have the same literal cut-off, and the generation
//! changes in one step ([`publish`]). So a row is seen once if these hold, at each moment, for the generation in force:
//!
//! 1. Timescale has every row that is not older than the cut-off, and that is not a late row. It gives rows up only in
//!    [the drop](#the-drop), behind the cut-off.
//! 2. The cold rows that count are exactly those that Timescale had, or has, behind the cut-off. Copying never changes
//!    this: it writes under a new number, above the cut-off, or into the list of what does not count, which is published
//!    before the first row is written.
//! 3. No row behind the cut-off is in Timescale alone. This is the work of the *publication*.
//!
//! ## The publication
//!
//! It raises the cut-off, and with it takes a range away from the hot side. In one transaction of Postgres, which ends
//! after readers were moved: the chunks of the range are held, so that nobody writes; the range is counted, and compared
//! with the export by count and by transaction: a row of a transaction that the export's snapshot did not see makes the
//! range *changed* (`hot::Sight`); the cold rows are counted; the table as a
//! whole is held for the moment of the swap, so that no chunk can be added; readers are moved; the ledger is written; the
//! transaction commits. A changed range is copied again, as a whole, under a new number. Hence at the swap the cold rows of
//! the range are exactly the hot ones, and the two views on either side of the swap show the same rows.
//!
//! If the gateway dies between the swap and the commit, the ledger still has the old cut-off and Timescale has all rows:
//! the next mover finds that readers see something else than the ledger says, and shows them, as a new generation, what it
//! says; meanwhile they see the range cold, which is as right.
//!
//! ## The drop
//!
//! After the grace, in which queries that began with the old generation end, the same check is made again, in the
//! transaction that takes the rows away: that readers have the cut-off, that Timescale has nothing that was not exported,
//! that the cold table has lost nothing. If something changed since the publication (another program wrote into the range,
//! or changed its rows; ClickHouse lost a part), the range is copied again under a new number, and the swap hides the old
//! copy and shows the new one in one step.
//!
//! ## Others
//!
//! | event | why it does no harm |
//! |---|---|
//! | a late row before the range is closed | it is in Timescale before the export's snapshot: the fence waits for its transaction |
//! | a late row later | its gateway is told inside of its transaction, divides its cut durably, and the row is stored in the cold table as a late row, exactly once, by the protocol of any cut |
//! | a gateway that knows nothing of the policy | the fence is in the transaction of every cut, and asks the ledger, not the registry |
//! | another program writes into a closed range | before the publication: the range changed; between that and the drop: as well; after the drop: the row makes a chunk behind the cut-off, which the next run moves like a range, hidden until it is published |
//! | two gateways | one has the table's advisory lock; the ledger is written over that lock's own session, so that whoever lost the one cannot do the other |
//! | a mover that comes back from the dead | its session has ended, and with it its right: it can write neither the ledger nor, in the transaction that it began, anything else; its INSERTs carry a number that was abandoned: they land where nobody looks, and go; what it had staged for readers was taken away before the next mover looked, so that it cannot move them ([`publish`]) |
//! | Postgres comes back older than it was | its rows and its ledger went back together: readers are shown what that ledger says. Moves that it does not know are hidden and kept. Numbers of transactions of before mean nothing: the database and its timeline are part of the check, and a range whose export was of another one is copied again |
//! | ClickHouse lost rows after the drop | nothing helps but a copy of its disk; the [audit](tiering::Tiering::verify) compares what is there with the ledger |
//!
//! A range that does not move stays hot, and says why: in the ledger, in the log, in `tidewell_tiering_blocked`.

mod audit;
pub mod combined;
pub mod content;
mod export;
pub mod generation;
mod hot;
mod ledger;
mod merge;
mod mover;
mod otel;
mod parts;
mod progress;
pub mod publish;
mod range;
pub mod read;
mod restore;
pub mod rollup;
mod session;
pub mod tiering;
mod views;

pub use audit::{Audit, Finding};
pub use ledger::MoveState;
pub use mover::Done;
pub use progress::{Copied, Progress};
pub use tiering::{Outcome, Overview, TaskReport, TaskState, Tiering, Work};

use crate::store::StoreError;

/// Why a table's ranges do not move, or did not come back. Nothing is lost: rows stay where they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    /// A store did not do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Rows of the range are being written or changed by something else than a gateway.
    #[error("the range changes while it is copied: {0}; end what writes into it, or its long transactions")]
    Changing(String),
    /// The cold table has other rows than were exported.
    #[error("the copy differs from the original and does not count: {0}")]
    Differs(String),
    /// A row cannot be read as the registry says.
    #[error("a row of the range cannot be read: {0}; correct or delete it")]
    Unreadable(String),
    /// A person must decide.
    #[error("{0}")]
    Blocked(String),
    /// The ledger is not as this mover left it.
    #[error("the ledger of moves: {0}; the next run begins from what it says")]
    Ledger(String),
    /// Another mover has the table.
    #[error(
        "another gateway, or the schedule of this one, is moving the rows of this table: try again when it is done"
    )]
    Elsewhere,
    /// Something that was asked for has not ended.
    #[error(
        "table {table:?}: a {what} that began at {since} is under way: wait for its end, GET /tiering/{table}/task tells \
         how far it is"
    )]
    UnderWay {
        /// The table.
        table: String,
        /// What is under way.
        what: &'static str,
        /// When it was begun.
        since: String,
    },
    /// No table of that name has a policy.
    #[error(
        "table {0:?} has no policy of tiering: register it with \"tiering\": {{\"cool_after_seconds\": ..}}"
    )]
    NotTiered(String),
    /// The gateway is ending.
    #[error("the gateway is ending")]
    Stopped,
}
