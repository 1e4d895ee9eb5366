//! When a cut is stored: what the server said in, what to ask it next out. No clock, no network, no rows.
//!
//! An INSERT carries a token that names the cut and its epoch, and the server drops an INSERT whose token it has seen.
//! That alone neither keeps from loss nor from doubling:
//!
//! - the server notes the token before the part appears. When it dies or the disk fails in between, the token is
//!   *poisoned*: each retry is answered with OK, and no row is there. Hence only the OK of a first attempt is trusted.
//! - an attempt that gave no answer may still run, or lie unseen in the queue of the server's socket. A new token would
//!   let both through. Hence a new token needs an OK under the old one, after which nothing under it can be stored
//!   except by what was running at that moment; no row; nothing running; and no row again, since what was running may
//!   have ended in between.
//!
//! | in state | the server is asked | and says | next |
//! |---|---|---|---|
//! | `First` | to insert | stored | end: done |
//! | | | refused: a value or the table does not fit | `Counting` |
//! | `Before` | for the cut's rows | all | end: done |
//! | | | none, some | `Again` |
//! | `Again` | to insert, same token | stored, refused | `Counting` |
//! | `Counting` | for the cut's rows | all | end: done |
//! | | | none | `Quiet` |
//! | | | some | end: torn |
//! | `Quiet` | for running attempts | none | `Last` |
//! | | | some | end: still running |
//! | `Last` | for the cut's rows | all | end: done |
//! | | | none | end: lost, or refused if the INSERT was |
//! | | | some | end: torn |
//!
//! Any error but a refusal ends the call with `Retry`, and the next call begins with `Before`. The
//! tests walk through every order of events that a server, a network and a gateway that dies can produce.
//!
//! Not covered, because it needs a server that forgets tokens (a power loss, since the server never syncs its notes of
//! them, or ten thousand later INSERTs into the table) while it keeps rows:
//!
//! - an attempt that a proxy in front of the server keeps back meanwhile;
//! - a power loss that begins and ends between the count of `Before` and the INSERT that follows at once.

/// Where a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum State {
    /// No attempt was made before.
    First,
    /// An attempt may have been made before.
    Before,
    /// The same INSERT is sent again.
    Again,
    /// The INSERT was answered.
    Counting(Answer),
    /// There is no row. Is anything on the way?
    Quiet(Answer),
    /// Nothing is on the way. Is there still no row?
    Last(Answer),
}

/// What an INSERT was answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Answer {
    /// OK, which a poisoned token is answered with as well.
    Stored,
    /// A value does not fit, or the table is not as the rows are. Something behind the table may have said so, after the
    /// rows were stored.
    Refused,
}

/// What to ask the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Question {
    /// To insert the rows under the cut's token.
    Insert,
    /// How many rows of the cut there are.
    Count,
    /// Whether an attempt to insert the cut is running.
    Running,
}

/// What came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// The INSERT's answer.
    Answered(Answer),
    /// The rows of the cut.
    Rows(Rows),
    /// Whether an attempt is running.
    Running(bool),
    /// Anything else: an error, no answer in time, a broken connection.
    Unknown,
}

/// The rows of a cut that are visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rows {
    /// Not one.
    None,
    /// Some, which one INSERT of one part cannot leave behind.
    Some,
    /// As many as the cut has.
    All,
}

/// How a call ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The rows are there, once.
    Done,
    /// Call again.
    Retry,
    /// Call again: an attempt is under way.
    StillRunning,
    /// The token is poisoned: go on with the next epoch.
    Lost,
    /// The rows are not there, and nothing is on the way: a value or the table does not fit.
    Refused,
    /// A part of the rows is there.
    Torn,
}

/// What follows an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask what this state asks.
    Ask(State),
    /// The call is over.
    End(Outcome),
}

impl State {
    /// Where a call begins. `fresh`: whether no attempt under this token can exist.
    pub(super) fn begin(fresh: bool) -> Self {
        if fresh { Self::First } else { Self::Before }
    }

    /// What the server is to be asked.
    pub(super) fn question(self) -> Question {
        match self {
            Self::First | Self::Again => Question::Insert,
            Self::Before | Self::Counting(_) | Self::Last(_) => Question::Count,
            Self::Quiet(_) => Question::Running,
        }
    }

    /// What follows the server's answer to that question.
    pub(super) fn next(self, event: Event) -> Next {
        match (self, event) {
            (Self::First, Event::Answered(Answer::Stored)) => Next::End(Outcome::Done),
            (Self::First | Self::Again, Event::Answered(answer)) => Next::Ask(Self::Counting(answer)),
            (Self::Before | Self::Counting(_) | Self::Last(_), Event::Rows(Rows::All)) => {
                Next::End(Outcome::Done)
            }
            (Self::Before, Event::Rows(Rows::None | Rows::Some)) => Next::Ask(Self::Again),
            (Self::Counting(_) | Self::Last(_), Event::Rows(Rows::Some)) => Next::End(Outcome::Torn),
            (Self::Counting(answer), Event::Rows(Rows::None)) => Next::Ask(Self::Quiet(answer)),
            (Self::Quiet(_), Event::Running(true)) => Next::End(Outcome::StillRunning),
            (Self::Quiet(answer), Event::Running(false)) => Next::Ask(Self::Last(answer)),
            (Self::Last(Answer::Stored), Event::Rows(Rows::None)) => Next::End(Outcome::Lost),
            (Self::Last(Answer::Refused), Event::Rows(Rows::None)) => Next::End(Outcome::Refused),
            // Nothing is known; an answer to another question tells nothing either.
            (_, Event::Unknown | Event::Answered(_) | Event::Rows(_) | Event::Running(_)) => {
                Next::End(Outcome::Retry)
            }
        }
    }
}

#[cfg(test)]
mod tests;
