//! Definitions under version control: the JSON files of a directory in, what the registry would make of them out.
//!
//! ```text
//! orders: to evolve to version 3 in timescale
//!     ALTER TABLE "orders" ADD COLUMN IF NOT EXISTS "city" text;
//! users: unchanged
//! events: refused: table "events" exists: its key is another; instead: register a table with another name
//! ```

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Allowed, definition, registered};
use crate::command::{CommandError, output};
use crate::registry::{Proposal, RegisterError, Registered, Registry, TableSpec, Tenant};

/// Who registered a table, as `table_registry` says it.
const AUTHOR: &str = "tidewell schema apply";

/// What becomes of each definition of a directory, in the order of their files.
#[derive(Debug)]
pub(super) struct Differences(Vec<Difference>);

#[derive(Debug)]
struct Difference {
    spec: TableSpec,
    outcome: Result<Proposal, RegisterError>,
}

/// Compares every definition of `directory` with the registry and the stores.
pub(super) async fn compare(
    registry: &Arc<Registry>,
    tenant: &Tenant,
    directory: &Path,
    allowed: &Allowed,
) -> Result<Differences, CommandError> {
    let mut differences = Vec::new();
    for spec in definitions(directory)? {
        let proposed = registry.propose(tenant, spec.clone(), &allowed.registration(AUTHOR)).await;
        let outcome = match proposed {
            // A store that does not answer says nothing of the definition.
            Err(RegisterError::Store(error)) => return Err(error.into()),
            outcome => outcome,
        };
        differences.push(Difference { spec, outcome });
    }
    Ok(Differences(differences))
}

/// Registers the definitions one by one, and says so of each.
pub(super) async fn apply(
    registry: &Arc<Registry>,
    tenant: &Tenant,
    differences: Differences,
    allowed: &Allowed,
) -> Result<(), CommandError> {
    for Difference { spec, .. } in differences.0 {
        let (done, table) = registry.register(tenant, spec, allowed.registration(AUTHOR)).await?;
        output(&registered(done, &table))?;
    }
    Ok(())
}

impl Differences {
    /// Whether anything would be done.
    pub(super) fn is_any(&self) -> bool {
        let is_nothing =
            |proposal: &Proposal| proposal.done == Registered::Unchanged && proposal.work.is_empty();
        !self.0.iter().all(|difference| difference.outcome.as_ref().is_ok_and(is_nothing))
    }

    /// Whether one of them is refused.
    pub(super) fn is_refused(&self) -> bool {
        self.0.iter().any(|difference| difference.outcome.is_err())
    }
}

/// The definitions in the files that end in `.json`, ordered by name; each table once.
fn definitions(directory: &Path) -> Result<Vec<TableSpec>, CommandError> {
    let fail =
        |file: PathBuf| move |error: std::io::Error| CommandError::Definition { file, source: error.into() };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(fail(directory.to_owned()))? {
        let path = entry.map_err(fail(directory.to_owned()))?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            files.push(path);
        }
    }
    files.sort();
    let mut specs = Vec::new();
    let mut seen = HashMap::new();
    for file in files {
        let spec = definition(&file)?;
        if let Some(other) = seen.insert(spec.table_name.clone(), file.clone()) {
            let source = format!("{} defines table {:?} as well", other.display(), spec.table_name).into();
            return Err(CommandError::Definition { file, source });
        }
        specs.push(spec);
    }
    Ok(specs)
}

// === impl Differences ===

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Difference { spec, outcome } in &self.0 {
            let name = &spec.table_name;
            match outcome {
                Err(error) => writeln!(f, "{name}: refused: {error}")?,
                Ok(Proposal { done: Registered::Unchanged, work, .. }) if work.is_empty() => {
                    writeln!(f, "{name}: unchanged")?;
                }
                Ok(Proposal { done, table, work }) => {
                    let to = match done {
                        Registered::Created => "to be created".to_owned(),
                        Registered::Evolved => format!("to evolve to version {}", table.version),
                        Registered::Unchanged => "to be mended".to_owned(),
                    };
                    writeln!(f, "{name}: {to} in {}", table.store().name())?;
                    for work in work {
                        writeln!(f, "    {};", work.statement.replace('\n', "\n    "))?;
                    }
                }
            }
        }
        Ok(())
    }
}
