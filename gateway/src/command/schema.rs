//! `tidewell schema`: the tables of the registry listed, shown and registered, through the same code that serves
//! `POST /schema/register`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use super::{CommandError, Files, output};
use crate::config::Config;
use crate::observe::logging;
use crate::receive::schema::{MAX_DEFINITION_BYTES, read_definition};
use crate::registry::{Registry, TableDef, TableSpec, Tenant};
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
    },
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
                let statements = registry.ddl(&tenant, table.spec.clone())?;
                statements
                    .into_iter()
                    .map(|statement| format!("{};\n", statement.trim_end_matches(';')))
                    .collect()
            } else {
                format!("{}\n", serde_json::to_string_pretty(&table.spec).map_err(CommandError::json)?)
            };
            output(&text)?;
        }
        SchemaCommand::Register { file } => {
            let spec = registry.completed(&tenant, definition(&file)?).await?;
            let (done, table) = registry.register(&tenant, spec, AUTHOR).await?;
            output(&format!(
                "{} {} in {}, version {}\n",
                done.name(),
                table.name(),
                table.store().name(),
                table.version
            ))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn registry(config: &Config) -> Result<Registry, CommandError> {
    let timescale = Timescale::new(&config.timescale)?;
    let rows = TableRegistry::new(timescale.ddl_pool().clone());
    let stores: [Arc<dyn Store>; 2] = [Arc::new(timescale), Arc::new(ClickHouse::new(&config.clickhouse)?)];
    Ok(Registry::new(rows, stores, None)?)
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
