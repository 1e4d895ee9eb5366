//! What a caller may do: scopes, signals and tables. The one place that says no to somebody who is known.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::decode::Decoded;
use crate::registry::{TableDef, TableKind};
use crate::rejection::Rejection;

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Sending records.
    Write,
    /// Reading rows and what tables look like.
    Read,
    /// Creating tables and adding columns.
    Register,
    /// The gateway's own metrics, its page and what `/readyz` says of the stores.
    Observe,
    /// Dead letters, which hold what others sent.
    Admin,
}

impl Scope {
    fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Register => "register",
            Self::Observe => "observe",
            Self::Admin => "admin",
        }
    }
}

/// Names of tables: a name, or the beginning of one followed by `*`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct TablePattern(String);

impl TablePattern {
    fn matches(&self, table: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => table.starts_with(start),
            None => self.0 == table,
        }
    }
}

/// What a caller may do. The default is nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rights {
    /// Kinds of requests.
    pub scopes: Vec<Scope>,
    /// Signals that these requests may be about; none given means all.
    pub signals: Option<Vec<TableKind>>,
    /// Tables that these requests may be about; none given means all.
    pub tables: Option<Vec<TablePattern>>,
}

impl Rights {
    /// Everything: where nobody is asked who they are, and for what the gateway itself does.
    pub fn all() -> Self {
        let scopes = vec![Scope::Write, Scope::Read, Scope::Register, Scope::Observe, Scope::Admin];
        Self { scopes, signals: None, tables: None }
    }

    /// Whether requests of this kind are allowed at all.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Refuses a kind of request that is not allowed.
    pub fn require(&self, scope: Scope) -> Result<(), Rejection> {
        if self.has(scope) {
            return Ok(());
        }
        let has: Vec<_> = self.scopes.iter().map(|scope| scope.name()).collect();
        Err(Rejection::Forbidden(format!(
            "this needs scope {}, and the caller has {}",
            scope.name(),
            if has.is_empty() { "none".to_owned() } else { has.join(", ") }
        )))
    }

    /// Whether the caller may have to do with a table.
    pub fn cover(&self, table: &str, kind: TableKind) -> bool {
        let by_signal = self.signals.as_ref().is_none_or(|signals| signals.contains(&kind));
        by_signal && self.covers_name(table)
    }

    fn covers_name(&self, table: &str) -> bool {
        self.tables.as_ref().is_none_or(|tables| tables.iter().any(|pattern| pattern.matches(table)))
    }

    /// Refuses a table that is not the caller's to use.
    pub fn require_table(&self, table: &str, kind: TableKind) -> Result<(), Rejection> {
        if self.cover(table, kind) { Ok(()) } else { Err(not_covered(table)) }
    }

    /// Refuses a request that brought a record for a table that its caller may not write, and be it a bad one: that would
    /// be kept as the table's dead letter.
    pub(super) fn require_decoded(&self, decoded: &Decoded) -> Result<(), Rejection> {
        self.require(Scope::Write)?;
        if self.signals.is_none() && self.tables.is_none() {
            return Ok(());
        }
        for table in decoded.batches.iter().map(|batch| batch.table()) {
            self.require_table(table.name().as_str(), table.spec.kind)?;
        }
        match decoded.rejected.iter().find(|record| !self.covers_name(&record.table)) {
            Some(record) => Err(not_covered(&record.table)),
            None => Ok(()),
        }
    }

    /// Those of `tables` that the caller may know of.
    pub fn visible<'t, T: AsRef<TableDef> + 't>(
        &'t self,
        tables: impl IntoIterator<Item = T> + 't,
    ) -> impl Iterator<Item = T> + 't {
        tables.into_iter().filter(|table| {
            let table = table.as_ref();
            self.cover(table.name().as_str(), table.spec.kind)
        })
    }
}

fn not_covered(table: &str) -> Rejection {
    Rejection::Forbidden(format!(
        "table {table:?} is none that the caller may use: its signals and tables are in the callers' file"
    ))
}

// === impl Scope ===

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(signals: Option<Vec<TableKind>>, tables: &[&str]) -> Rights {
        let tables = tables.iter().map(|name| TablePattern((*name).to_owned())).collect();
        Rights { scopes: vec![Scope::Write], signals, tables: Some(tables) }
    }

    #[test]
    fn nothing_is_allowed_that_is_not_given() {
        let nothing = Rights::default();
        for scope in [Scope::Write, Scope::Read, Scope::Register, Scope::Observe, Scope::Admin] {
            assert!(matches!(nothing.require(scope), Err(Rejection::Forbidden(_))));
            assert_eq!(Rights::all().require(scope), Ok(()));
        }
        let refused = rights(None, &[]).require(Scope::Admin).unwrap_err().to_string();
        assert_eq!(refused, "this needs scope admin, and the caller has write");
    }

    #[test]
    fn tables_are_named_whole_or_by_their_beginning() {
        let some = rights(Some(vec![TableKind::Logs]), &["logs_*", "audit"]);
        assert!(some.cover("logs_events", TableKind::Logs) && some.cover("audit", TableKind::Logs));
        assert!(!some.cover("logs_events", TableKind::Metrics), "another signal");
        assert!(!some.cover("audit_2", TableKind::Logs) && !some.cover("log", TableKind::Logs));
        assert!(!rights(None, &[]).cover("logs_events", TableKind::Logs), "an empty list is no table");
        assert!(rights(None, &["*"]).cover("anything", TableKind::Events));
    }
}
