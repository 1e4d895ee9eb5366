//! `tidewell tier`: where tables stand whose rows cool, and what can be done about it. A client of the gateway's addresses
//! under `/tiering`.
//!
//! What takes long goes on in the gateway and is followed from here: ending the command ends the following alone.

mod follow;
mod text;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use self::follow::Follower;
use super::client::{Gateway, Listener, Whom, escaped};
use super::{CommandError, Files, output};
use crate::registry::builtin;

/// `verify` found a difference.
const DIFFERENT: u8 = 3;

#[derive(Debug, Subcommand)]
pub(super) enum TierCommand {
    /// Show what each tier holds, how far a table is behind its policy, and what is under way
    Status {
        /// One table, with its ranges; all by default
        table: Option<String>,
        /// The newest ranges, so many
        #[arg(long, value_name = "N", default_value_t = 20, requires = "table")]
        limit: usize,
        #[command(flatten)]
        form: Form,
    },
    /// List the ranges that would move now
    Plan {
        /// One table; all by default
        table: Option<String>,
        #[command(flatten)]
        form: Form,
    },
    /// Move all that is old enough, whatever the schedule says
    Run {
        /// One table; all that are not paused by default
        table: Option<String>,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        form: Form,
    },
    /// Compare the ledger with both stores; exit with 3 if something differs
    Verify {
        /// One table; all by default
        table: Option<String>,
        #[command(flatten)]
        span: Span,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        form: Form,
    },
    /// Bring rows back to TimescaleDB, where they stay until they are released
    Restore {
        /// The table
        table: String,
        /// Everything from this time on, RFC 3339: ranges come back as a whole, up to the newest that is cold
        #[arg(long, value_name = "TIME")]
        from: String,
        #[command(flatten)]
        wait: Wait,
        #[command(flatten)]
        form: Form,
    },
    /// Let the schedule take again what was brought back
    Release {
        /// The table
        table: String,
        #[command(flatten)]
        form: Form,
    },
}

/// Whom to ask, and how to tell it.
#[derive(Debug, Clone, Args)]
pub(super) struct Form {
    #[command(flatten)]
    whom: Whom,
    /// Write the gateway's answers as JSON, one a line
    #[arg(long)]
    json: bool,
}

/// Whether to wait for the end.
#[derive(Debug, Clone, Args)]
pub(super) struct Wait {
    /// End when it has begun: `tidewell tier status` tells how far it is
    #[arg(long)]
    no_wait: bool,
}

/// Of which time.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Span {
    /// Ranges that reach beyond this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Ranges that begin before this time
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl Span {
    fn query(&self) -> String {
        let given = [("from", &self.from), ("to", &self.to)];
        let parameters: Vec<String> = given
            .iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", escaped(value.as_ref()?))))
            .collect();
        if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) }
    }
}

pub(super) async fn run(command: TierCommand, files: &Files) -> Result<ExitCode, CommandError> {
    let form = match &command {
        TierCommand::Status { form, .. }
        | TierCommand::Plan { form, .. }
        | TierCommand::Run { form, .. }
        | TierCommand::Verify { form, .. }
        | TierCommand::Restore { form, .. }
        | TierCommand::Release { form, .. } => form.clone(),
    };
    let asking = Asking { gateway: form.whom.connect(Listener::Operators, files)?, json: form.json };
    match command {
        TierCommand::Status { table: None, .. } => {
            let answer = asking.gateway.succeed(Method::GET, "/tiering", None).await?;
            asking.tell(&answer, text::tables(&answer))?;
        }
        TierCommand::Status { table: Some(table), limit, .. } => {
            let path = format!("{}?limit={limit}", address(&table));
            let answer = asking.gateway.succeed(Method::GET, &path, None).await?;
            asking.tell(&answer, text::table(&answer))?;
        }
        TierCommand::Plan { table, .. } => {
            for table in asking.tables(table, |_| true).await? {
                let path = format!("{}/plan", address(&table));
                let answer = asking.gateway.succeed(Method::GET, &path, None).await?;
                asking.tell(&answer, text::plan(&answer))?;
            }
        }
        TierCommand::Run { table, wait, .. } => {
            let tables = asking.tables(table, |table| table["policy"]["paused"] != true).await?;
            return asking.each(&tables, "run", &wait).await;
        }
        TierCommand::Verify { table, span, wait, .. } => {
            let tables = asking.tables(table, |_| true).await?;
            return asking.each(&tables, &format!("verify{}", span.query()), &wait).await;
        }
        TierCommand::Restore { table, from, wait, .. } => {
            let action = format!("restore?from={}", escaped(&from));
            return asking.each(&[table], &action, &wait).await;
        }
        TierCommand::Release { table, .. } => {
            let path = format!("{}/release", address(&table));
            let answer = asking.gateway.succeed(Method::POST, &path, None).await?;
            asking.tell(&answer, text::released(&answer))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A gateway, and how its answers are told.
struct Asking {
    gateway: Gateway,
    json: bool,
}

impl Asking {
    /// The table that was named, or all of which the gateway says something that is `wanted`.
    async fn tables(
        &self,
        named: Option<String>,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Vec<String>, CommandError> {
        if let Some(table) = named {
            return Ok(vec![table]);
        }
        let answer = self.gateway.succeed(Method::GET, "/tiering", None).await?;
        let tables = answer["tables"].as_array().into_iter().flatten().filter(|table| wanted(table));
        let names: Vec<String> =
            tables.filter_map(|table| Some(table["table"].as_str()?.to_owned())).collect();
        if names.is_empty() && !self.json {
            output(text::NO_TABLES)?;
        }
        Ok(names)
    }

    /// Asks for the same of each table, one after the other, and follows it to its end. One that fails is told, and the
    /// others are gone on with.
    async fn each(&self, tables: &[String], action: &str, wait: &Wait) -> Result<ExitCode, CommandError> {
        let (mut has_failed, mut differs) = (false, false);
        for table in tables {
            let task = match self.task(table, action, wait).await {
                Ok(task) => task,
                Err(error) if tables.len() > 1 => {
                    error.report();
                    has_failed = true;
                    continue;
                }
                Err(error) => return Err(error),
            };
            if task["state"] == "failed" && !self.json {
                CommandError::Refused(text::failed(&task)).report();
            } else {
                self.tell(&task, text::ended(&task))?;
            }
            has_failed |= task["state"] == "failed";
            differs |= task["result"]["intact"] == false;
        }
        Ok(match (differs, has_failed) {
            (true, _) => ExitCode::from(DIFFERENT),
            (false, true) => ExitCode::FAILURE,
            (false, false) => ExitCode::SUCCESS,
        })
    }

    /// Asks for something of a table and gives the task, as it ended unless nobody waits for that.
    async fn task(&self, table: &str, action: &str, wait: &Wait) -> Result<Value, CommandError> {
        let address = address(table);
        let begun = self.gateway.succeed(Method::POST, &format!("{address}/{action}"), None).await?;
        if wait.no_wait {
            return Ok(begun);
        }
        Follower::new(&begun).follow(&self.gateway, &format!("{address}/task")).await
    }

    fn tell(&self, answer: &Value, text: String) -> Result<(), CommandError> {
        output(&if self.json { format!("{answer}\n") } else { text })
    }
}

fn address(table: &str) -> String {
    format!("/tiering/{}", escaped(builtin::unabbreviated(table)))
}
