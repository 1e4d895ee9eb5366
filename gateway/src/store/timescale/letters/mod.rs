//! Dead letters in Postgres: filters and ids in, letters and their states out.
//!
//! A letter is a row of `dead_letters`; what became of it is in `tidewell_dead_letter_states`, and a letter without a row
//! there is kept and waits. A letter that was written twice, by a crash between its log and the note of it, is one letter
//! here.
//!
//! Guaranteed: of two that begin to replay or discard one letter at once, one does; a letter whose replay began is not
//! replayed with other content until that one is known to have stored nothing.

mod budget;
mod select;

use std::time::SystemTime;

use deadpool_postgres::Pool;
use tokio_postgres::Row;

pub use self::budget::{LetterBudget, Removed};
pub use self::select::LetterFilter;
use super::error::{from_postgres, schema_error};
use super::pool::connection;
use crate::store::StoreError;

/// Most letters that one question or command goes through.
pub const MAX_LETTERS: usize = 10_000;

/// Begins a replay. A repetition of one with the same content begins as well: its idempotency key is the same.
const BEGIN: &str = "INSERT INTO tidewell_dead_letter_states AS known (id, state, payload)
     VALUES ($1::text::uuid, 'replaying', $2)
     ON CONFLICT (id) DO UPDATE SET changed_at = now()
         WHERE known.state = 'replaying' AND known.payload = $2
     RETURNING xmax = 0";
const STATE: &str = "SELECT state FROM tidewell_dead_letter_states WHERE id = $1::text::uuid";
/// Whatever the state: another click with the same content may have given the letter back meanwhile.
const FINISH: &str =
    "INSERT INTO tidewell_dead_letter_states AS known (id, state) VALUES ($1::text::uuid, 'replayed')
     ON CONFLICT (id) DO UPDATE SET state = 'replayed', changed_at = now() WHERE known.state <> 'replayed'";
const RELEASE: &str = "DELETE FROM tidewell_dead_letter_states WHERE id = $1::text::uuid AND state = 'replaying' AND payload = $2";
const DISCARD: &str = "INSERT INTO tidewell_dead_letter_states AS known (id, state)
     SELECT id::uuid, 'discarded' FROM unnest($1::text[]) AS letter (id) ORDER BY id
     ON CONFLICT (id) DO UPDATE SET state = 'discarded', changed_at = now() WHERE known.state = 'replaying'";

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterState {
    /// It waits.
    Kept,
    /// It was sent again, and it is not known how that ended: the same content can be sent again.
    Replaying,
    /// It was sent again, and is in the log of its store.
    Replayed,
    /// Somebody decided that it is not needed.
    Discarded,
}

/// A letter without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// Its id, a UUID.
    pub id: String,
    /// When the record was refused.
    pub time: SystemTime,
    /// How the record came; empty when its store refused it.
    pub protocol: String,
    /// Who sent it.
    pub caller: String,
    /// The table that it was meant for.
    pub target: String,
    /// Its place in the request.
    pub index: i64,
    /// The field at fault.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
    /// The media type of the payload.
    pub content_type: String,
    /// Bytes of the payload.
    pub payload_bytes: i64,
    /// What became of it.
    pub state: LetterState,
    /// Since when; none while it is kept.
    pub changed_at: Option<SystemTime>,
}

/// How a replay begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeginReplay {
    /// It may be sent. `first`: no replay of this letter was under way.
    Begun {
        /// Whether an end without rows leaves the letter as it was.
        first: bool,
    },
    /// The letter is in another state, or is being replayed with other content.
    Refused(LetterState),
}

/// The letters of one database.
#[derive(Debug, Clone)]
pub struct Letters {
    read: Pool,
    ingest: Pool,
    ddl: Pool,
}

impl LetterState {
    /// All states.
    pub const ALL: [Self; 4] = [Self::Kept, Self::Replaying, Self::Replayed, Self::Discarded];

    /// The state's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Replaying => "replaying",
            Self::Replayed => "replayed",
            Self::Discarded => "discarded",
        }
    }

    /// The state with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl Letters {
    pub(super) fn new(read: &Pool, ingest: &Pool, ddl: &Pool) -> Self {
        Self { read: read.clone(), ingest: ingest.clone(), ddl: ddl.clone() }
    }

    /// The newest letters that match, at most `limit` of them and [`MAX_LETTERS`].
    pub async fn list(&self, filter: &LetterFilter, limit: usize) -> Result<Vec<Letter>, StoreError> {
        let client = connection(&self.read).await?;
        select::list(&client, filter, limit.min(MAX_LETTERS)).await
    }

    /// How many letters match.
    pub async fn count(&self, filter: &LetterFilter) -> Result<u64, StoreError> {
        let client = connection(&self.read).await?;
        select::count(&client, filter).await
    }

    /// A letter with its payload.
    pub async fn get(&self, id: &str) -> Result<Option<(Letter, Vec<u8>)>, StoreError> {
        let client = connection(&self.read).await?;
        select::get(&client, id).await
    }

    /// Begins to replay a letter whose content has this hash.
    pub async fn begin(&self, id: &str, payload: u128) -> Result<BeginReplay, StoreError> {
        let client = connection(&self.ingest).await?;
        let payload = payload.to_be_bytes().to_vec();
        let begun = client.query_opt(BEGIN, &[&id, &payload]).await.map_err(|error| from_postgres(&error))?;
        if let Some(row) = begun {
            return Ok(BeginReplay::Begun { first: row.get(0) });
        }
        let state = client.query_opt(STATE, &[&id]).await.map_err(|error| from_postgres(&error))?;
        // Whoever held it gave it back meanwhile.
        let Some(row) = state else { return Ok(BeginReplay::Refused(LetterState::Replaying)) };
        Ok(BeginReplay::Refused(state_of(&row, 0)?))
    }

    /// The record of a letter is durable.
    pub async fn finish(&self, id: &str) -> Result<(), StoreError> {
        let client = connection(&self.ingest).await?;
        client.execute(FINISH, &[&id]).await.map(drop).map_err(|error| from_postgres(&error))
    }

    /// A replay stored nothing and never will: the letter waits again.
    pub async fn release(&self, id: &str, payload: u128) -> Result<(), StoreError> {
        let client = connection(&self.ingest).await?;
        let payload = payload.to_be_bytes().to_vec();
        client.execute(RELEASE, &[&id, &payload]).await.map(drop).map_err(|error| from_postgres(&error))
    }

    /// Discards letters that wait or whose replay has not ended. Returns how many.
    pub async fn discard(&self, ids: &[String]) -> Result<u64, StoreError> {
        let client = connection(&self.ingest).await?;
        client.execute(DISCARD, &[&ids]).await.map_err(|error| from_postgres(&error))
    }

    /// Removes letters beyond their time and beyond their budget.
    pub async fn keep_within(&self, budget: LetterBudget) -> Result<Removed, StoreError> {
        let mut client = connection(&self.ddl).await?;
        budget::keep_within(&mut client, budget).await
    }
}

fn state_of(row: &Row, at: usize) -> Result<LetterState, StoreError> {
    let name: &str = row.try_get(at).map_err(|error| from_postgres(&error))?;
    LetterState::from_name(name).ok_or_else(|| schema_error(format!("a dead letter has the state {name:?}")))
}
