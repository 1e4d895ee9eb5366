//! Which changes of a table its store can make while writes go on: two definitions in, what it takes to get from one to
//! the other out.
//!
//! The rules are the table in `docs/schema.md`, and there is a test for each of its cells. What a definition leaves out
//! stays: registering a part of a table is not a request to drop the rest.

mod columns;
#[cfg(test)]
mod tests;

use std::fmt;

use super::{StoreKind, TableDef, TableKind, TableSpec};
use columns::column;

/// Records that are no older than this are never from before 1970; see the sort key of logs in ClickHouse.
const FIFTY_YEARS_SECONDS: u64 = 50 * 365 * 86_400;

/// What a store may do to its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Effort {
    /// What does not hold up those who write.
    #[default]
    Online,
    /// Besides, what reads and writes all rows anew; Timescale locks the table for as long.
    Rewrite,
}

/// What it takes to turn one definition into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The store adds what is missing; the definition that results.
    Online(Box<TableSpec>),
    /// The store writes rows anew.
    Rewriting {
        /// The definition that results.
        spec: Box<TableSpec>,
        /// What makes it necessary.
        because: Vec<String>,
    },
}

/// Why one definition cannot become another, and what can be done instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Incompatible {
    /// What differs.
    pub reason: String,
    /// The compatible way to much the same end.
    pub instead: String,
}

impl Incompatible {
    fn new(reason: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { reason: reason.into(), instead: instead.into() }
    }
}

/// A definition completed by what the table has wherever it says nothing, so that a part of a table is a definition as
/// well. One without columns is of the policies alone, and says neither store nor kind.
pub fn complete(existing: &TableSpec, mut wanted: TableSpec) -> TableSpec {
    if wanted.columns.is_empty() {
        if wanted.store == StoreKind::default() {
            wanted.store = existing.store;
        }
        if wanted.kind == TableKind::default() {
            wanted.kind = existing.kind;
        }
    }
    for column in &existing.columns {
        if !wanted.columns.iter().any(|wanted| wanted.name == column.name) {
            wanted.columns.push(column.clone());
        }
    }
    if wanted.key.is_empty() {
        wanted.key.clone_from(&existing.key);
    }
    wanted.time_column = wanted.time_column.or_else(|| existing.time_column.clone());
    wanted.label_column = wanted.label_column.or_else(|| existing.label_column.clone());
    wanted.partition_seconds = wanted.partition_seconds.or(existing.partition_seconds);
    wanted
}

/// Compares what exists with what is wanted.
pub fn compare(existing: &TableDef, wanted: &TableDef) -> Result<Change, Incompatible> {
    let (old, new) = (&existing.spec, &wanted.spec);
    identity(old, new)?;
    partitioning(old, new)?;
    let mut result = old.clone();
    let mut because = Vec::new();
    for wanted in &new.columns {
        match result.columns.iter_mut().find(|known| known.name == wanted.name) {
            Some(known) => {
                let (changed, rewrites) = column(existing, known, wanted)?;
                *known = changed;
                because.extend(rewrites);
            }
            None if wanted.can_be_added() => result.columns.push(wanted.clone()),
            None => {
                return Err(Incompatible::new(
                    format!(
                        "the new column {:?} is not nullable, and the rows that exist have no value for it",
                        wanted.name
                    ),
                    "make it nullable, or give it a default",
                ));
            }
        }
    }
    for index in &new.indexes {
        match old.indexes.iter().find(|known| known.name == index.name) {
            Some(known) if known == index => {}
            Some(_) => {
                return Err(Incompatible::new(
                    format!("index {:?} is another one", index.name),
                    "give the new one another name",
                ));
            }
            None => result.indexes.push(index.clone()),
        }
    }
    policies(&mut result, new)?;
    Ok(if result == *old {
        Change::None
    } else if because.is_empty() {
        Change::Online(Box::new(result))
    } else {
        Change::Rewriting { spec: Box::new(result), because }
    })
}

/// What makes a table this table.
fn identity(old: &TableSpec, new: &TableSpec) -> Result<(), Incompatible> {
    let is_other =
        |what: &str, instead: &str| Err(Incompatible::new(format!("its {what} is another"), instead));
    let elsewhere = "register a table with another name, and let a route send records there";
    if old.store != new.store {
        return is_other("store", elsewhere);
    }
    if old.kind != new.kind {
        return is_other("kind", elsewhere);
    }
    if old.key != new.key {
        return is_other("key", elsewhere);
    }
    if old.time_column != new.time_column {
        return is_other("time column", "add a column for the other time");
    }
    if new.label_column.is_some() && old.label_column.is_some() && old.label_column != new.label_column {
        return is_other("label column", "promote the labels that matter to columns of their own");
    }
    Ok(())
}

fn partitioning(old: &TableSpec, new: &TableSpec) -> Result<(), Incompatible> {
    let elsewhere = "register a table with another name, and let a route send records there";
    if new.hash.is_some() && old.hash != new.hash {
        return Err(Incompatible::new("its hash dimension is another", elsewhere));
    }
    if !new.sort_key.is_empty() && old.sort_key != new.sort_key {
        return Err(Incompatible::new("its sort key is another", "add an index, or register another table"));
    }
    if new.partition_seconds.is_none() || old.partition_seconds == new.partition_seconds {
        return Ok(());
    }
    if old.store == StoreKind::ClickHouse {
        return Err(Incompatible::new(
            "its partition width is another",
            "leave it out: a partition is a day",
        ));
    }
    if old.tiering.as_ref().is_some_and(|policy| policy.cools()) {
        return Err(Incompatible::new(
            "its partition width is another, and whole chunks move to ClickHouse",
            "set tiering.range_seconds",
        ));
    }
    Ok(())
}

/// Takes over what needs nothing of the store.
fn policies(result: &mut TableSpec, new: &TableSpec) -> Result<(), Incompatible> {
    if result.label_column.is_none() {
        result.label_column.clone_from(&new.label_column);
    }
    result.partition_seconds = new.partition_seconds.or(result.partition_seconds);
    result.labels = new.labels.or(result.labels);
    let past = new.accept_past_seconds.or(result.accept_past_seconds);
    let is_wider = |seconds: &u64| *seconds > FIFTY_YEARS_SECONDS;
    let was_wider = result.accept_past_seconds.as_ref().is_some_and(is_wider);
    if result.store == StoreKind::ClickHouse
        && result.kind == TableKind::Logs
        && result.sort_key.is_empty()
        && past.as_ref().is_some_and(is_wider)
        && !was_wider
    {
        return Err(Incompatible::new(
            "its sort key has no order for times before 1970, which the new window lets in",
            format!(
                "accept_past_seconds of at most {FIFTY_YEARS_SECONDS}, or register another table for such times"
            ),
        ));
    }
    result.accept_past_seconds = past;
    result.accept_future_seconds = new.accept_future_seconds.or(result.accept_future_seconds);
    if new.tiering.is_some() {
        result.tiering.clone_from(&new.tiering);
    }
    result.retired = new.retired.or(result.retired);
    Ok(())
}

// === impl Incompatible ===

impl fmt::Display for Incompatible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; instead: {}", self.reason, self.instead)
    }
}
