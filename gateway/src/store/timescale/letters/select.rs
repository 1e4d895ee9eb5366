//! Which letters: a filter in, letters out, each once.

use std::collections::HashSet;
use std::time::SystemTime;

use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::error::from_postgres;
use super::{Letter, LetterState, state_of};
use crate::store::StoreError;

const COLUMNS: &str =
    "letter.id::text, letter.time, letter.protocol, letter.caller, letter.target, letter.record_index,
     letter.field, letter.reason, letter.content_type, octet_length(letter.payload)::bigint,
     coalesce(known.state, 'kept'), known.changed_at";
const FROM: &str = "FROM dead_letters letter LEFT JOIN tidewell_dead_letter_states known USING (id)";

/// Which letters are meant; nothing set means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Meant for this table.
    pub target: Option<String>,
    /// Came by this protocol.
    pub protocol: Option<String>,
    /// Text that is part of the reason.
    pub reason: Option<String>,
    /// Refused at or after this time.
    pub since: Option<SystemTime>,
    /// Refused before this time.
    pub until: Option<SystemTime>,
    /// In this state.
    pub state: Option<LetterState>,
}

impl LetterFilter {
    /// Letters that wait.
    pub fn waiting() -> Self {
        Self { state: Some(LetterState::Kept), ..Self::default() }
    }

    /// The conditions and their values.
    fn conditions(&self) -> (String, Vec<Box<dyn ToSql + Sync + Send>>) {
        let mut conditions: Vec<String> = Vec::new();
        let mut values: Vec<Box<dyn ToSql + Sync + Send>> = Vec::new();
        let mut add = |before: &str, value: Box<dyn ToSql + Sync + Send>, after: &str| {
            values.push(value);
            conditions.push(format!("{before}${}{after}", values.len()));
        };
        if let Some(target) = &self.target {
            add("letter.target = ", Box::new(target.clone()), "");
        }
        if let Some(protocol) = &self.protocol {
            add("letter.protocol = ", Box::new(protocol.clone()), "");
        }
        if let Some(reason) = &self.reason {
            add("strpos(letter.reason, ", Box::new(reason.clone()), ") > 0");
        }
        if let Some(since) = self.since {
            add("letter.time >= ", Box::new(since), "");
        }
        if let Some(until) = self.until {
            add("letter.time < ", Box::new(until), "");
        }
        match self.state {
            None => {}
            Some(LetterState::Kept) => conditions.push("known.state IS NULL".to_owned()),
            Some(state) => conditions.push(format!("known.state = '{}'", state.name())),
        }
        let text = match conditions.as_slice() {
            [] => String::new(),
            all => format!(" WHERE {}", all.join(" AND ")),
        };
        (text, values)
    }
}

pub(super) async fn list(
    client: &Object,
    filter: &LetterFilter,
    limit: usize,
) -> Result<Vec<Letter>, StoreError> {
    let (conditions, values) = filter.conditions();
    // A letter is there twice at most.
    let rows = limit.saturating_mul(2);
    let sql =
        format!("SELECT {COLUMNS} {FROM}{conditions} ORDER BY letter.time DESC, letter.id LIMIT {rows}");
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
    let rows = client.query(&sql, &values).await.map_err(|error| from_postgres(&error))?;
    let mut seen = HashSet::new();
    let mut letters = Vec::new();
    for row in &rows {
        let letter = letter(row)?;
        if letters.len() < limit && seen.insert(letter.id.clone()) {
            letters.push(letter);
        }
    }
    Ok(letters)
}

pub(super) async fn count(client: &Object, filter: &LetterFilter) -> Result<u64, StoreError> {
    let (conditions, values) = filter.conditions();
    let sql = format!("SELECT count(DISTINCT letter.id) {FROM}{conditions}");
    let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
    let row = client.query_one(&sql, &values).await.map_err(|error| from_postgres(&error))?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or_default())
}

pub(super) async fn get(client: &Object, id: &str) -> Result<Option<(Letter, Vec<u8>)>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, letter.payload {FROM} WHERE letter.id = $1::text::uuid ORDER BY letter.time LIMIT 1"
    );
    let row = client.query_opt(&sql, &[&id]).await.map_err(|error| from_postgres(&error))?;
    row.map(|row| Ok((letter(&row)?, row.get(12)))).transpose()
}

fn letter(row: &Row) -> Result<Letter, StoreError> {
    Ok(Letter {
        id: row.get(0),
        time: row.get(1),
        protocol: row.get(2),
        caller: row.get(3),
        target: row.get(4),
        index: row.get(5),
        field: row.get(6),
        reason: row.get(7),
        content_type: row.get(8),
        payload_bytes: row.get(9),
        state: state_of(row, 10)?,
        changed_at: row.get(11),
    })
}
