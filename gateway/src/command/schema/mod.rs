//! `tidewell schema`: the tables of the registry listed, shown and registered, through the same code that serves
//! `POST /schema/register`; a directory of definitions compared with the registry and applied ([`directory`]).

mod directory;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::{CommandError, Files, output};
use crate::config::Config;
use crate::observe::logging;
use crate::receive::schema::{MAX_DEFINITION_BYTES, read_definition};
use crate::registry::{Effort, Registered, Registration, Registry, TableDef, TableSpec, Tenant};
use crate::store::Store;
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::{TableRegistry, Timescale};

/// Who registered a table, as `table_registry` says it.
const AUTHOR: &str = "tidewell schema register";

#[derive(Debug, Subcommand)]
pub(super) enum SchemaCommand {
    /// List all tables
    List {
        /// Write the definitions as a JSON array
        #[arg(long)]
        json: bool,
    },
    /// Write a table's definition as JSON
    Show {
        /// Name of the table
        table: String,
        /// Write the statements that create it in its store instead
        #[arg(long)]
        ddl: bool,
    },
    /// Create a table, or add what it lacks
    Register {
        /// File with the definition as JSON; - for standard input
        file: PathBuf,
        #[command(flatten)]
        allowed: Allowed,
    },
    /// Say what applying the definitions of a directory would do, and the statements for it
    Diff {
        /// Directory with a definition as JSON in each file that ends in .json
        directory: PathBuf,
        #[command(flatten)]
        allowed: Allowed,
        /// Exit with 1 when anything would be done
        #[arg(long)]
        check: bool,
    },
    /// Register every definition of a directory, or none when one of them is refused
    Apply {
        /// Directory with a definition as JSON in each file that ends in .json
        directory: PathBuf,
        #[command(flatten)]
        allowed: Allowed,
    },
}

/// What the stores may do.
#[derive(Debug, Clone, Args)]
pub(super) struct Allowed {
    /// Allow what the store can only do by writing all rows of a table anew
    #[arg(long, value_name = "EFFORT", value_parser = ["rewrite"])]
    allow: Option<String>,
}

impl Allowed {
    fn registration(&self, author: &str) -> Registration {
        let allowed = if self.allow.is_some() { Effort::Rewrite } else { Effort::Online };
        Registration { author: author.to_owned(), allowed, ..Registration::default() }
    }
}

pub(super) async fn run(command: SchemaCommand, files: &Files) -> Result<ExitCode, CommandError> {
    let config = files.load()?.config;
    logging::start(&config.log)?;
    let registry = registry(&config)?;
    let tenant = Tenant::default();
    match command {
        SchemaCommand::List { json } => {
            registry.refresh().await?;
            let tables = registry.cell().load().tables(&tenant);
            output(&if json { definitions(&tables)? } else { listed(&tables) })?;
        }
        SchemaCommand::Show { table, ddl } => {
            registry.refresh().await?;
            let Some(table) = registry.cell().load().table(&tenant, &table).cloned() else {
                return Err(CommandError::NoTable(table));
            };
            let text = if ddl {
                registry
                    .ddl(&table)?
                    .into_iter()
                    .map(|statement| format!("{};\n", statement.trim_end_matches(';')))
                    .collect()
            } else {
                format!("{}\n", serde_json::to_string_pretty(&table.spec).map_err(CommandError::json)?)
            };
            output(&text)?;
        }
        SchemaCommand::Register { file, allowed } => {
            let spec = definition(&file)?;
            let (done, table) = registry.register(&tenant, spec, allowed.registration(AUTHOR)).await?;
            output(&registered(done, &table))?;
        }
        SchemaCommand::Diff { directory, allowed, check } => {
            let differences = directory::compare(&registry, &tenant, &directory, &allowed).await?;
            output(&differences.to_string())?;
            let is_clean = if check { !differences.is_any() } else { !differences.is_refused() };
            return Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        SchemaCommand::Apply { directory, allowed } => {
            let differences = directory::compare(&registry, &tenant, &directory, &allowed).await?;
            if differences.is_refused() {
                output(&differences.to_string())?;
                return Ok(ExitCode::FAILURE);
            }
            directory::apply(&registry, &tenant, differences, &allowed).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn registered(done: Registered, table: &TableDef) -> String {
    let (name, store) = (table.name(), table.store().name());
    format!("{} {name} in {store}, version {}\n", done.name(), table.version)
}

fn registry(config: &Config) -> Result<Arc<Registry>, CommandError> {
    let timescale = Timescale::new(&config.timescale)?;
    let rows = TableRegistry::new(timescale.ddl_pool().clone());
    let stores: [Arc<dyn Store>; 2] = [Arc::new(timescale), Arc::new(ClickHouse::new(&config.clickhouse)?)];
    Ok(Arc::new(Registry::new(rows, stores, None)?))
}

fn definition(file: &Path) -> Result<TableSpec, CommandError> {
    let fail = |source| CommandError::Definition { file: file.to_owned(), source };
    let mut text = Vec::new();
    let source: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(|error| fail(error.into()))?)
    };
    let most = MAX_DEFINITION_BYTES as u64;
    source.take(most + 1).read_to_end(&mut text).map_err(|error| fail(error.into()))?;
    if text.len() > MAX_DEFINITION_BYTES {
        return Err(fail(format!("is larger than {MAX_DEFINITION_BYTES} bytes").into()));
    }
    read_definition(&text).map_err(|error| fail(error.into()))
}

fn definitions(tables: &[Arc<TableDef>]) -> Result<String, CommandError> {
    let specs: Vec<&TableSpec> = tables.iter().map(|table| &table.spec).collect();
    Ok(format!("{}\n", serde_json::to_string_pretty(&specs).map_err(CommandError::json)?))
}

fn listed(tables: &[Arc<TableDef>]) -> String {
    let width = tables.iter().map(|table| table.name().as_str().len()).max().unwrap_or(0).max(5);
    let mut text = format!("{:width$}  {:10}  {:>7}  COLUMNS\n", "TABLE", "STORE", "VERSION");
    for table in tables {
        text += &format!(
            "{:width$}  {:10}  {:>7}  {}\n",
            table.name().as_str(),
            table.store().name(),
            table.version,
            table.columns().len()
        );
    }
    text
}
