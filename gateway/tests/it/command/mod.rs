//! The program `tidewell` as its users run it: arguments and variables in, exit code and both outputs out.

mod configuration;
mod dead_letters;
mod serving;
mod stores;
mod tier;
mod wal;

use std::process::{Command, Output};

use crate::harness::database::Databases;

/// The program with nothing of the test's own environment but what is given.
pub(crate) fn tidewell(arguments: &[&str], variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewell"));
    command.args(arguments).env_clear().envs(variables.iter().copied());
    command
}

/// How a run of the program ended.
struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// Both outputs.
    fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
        Self { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// Runs the program to its end.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    tidewell(arguments, variables).output().expect("the program runs").into()
}

/// Variables that name a test's databases and let the system choose ports.
fn variables(databases: &Databases) -> Vec<(&'static str, String)> {
    let config = databases.config();
    vec![
        ("TIDEWELL_TIMESCALE_URL", config.timescale.url.reveal().to_owned()),
        ("TIDEWELL_CLICKHOUSE_URL", config.clickhouse.url.clone()),
        ("TIDEWELL_CLICKHOUSE_DATABASE", config.clickhouse.database.clone()),
        ("TIDEWELL_WAL_DIRECTORY", config.wal.directory.display().to_string()),
        ("TIDEWELL_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("TIDEWELL_GRPC_LISTEN", "127.0.0.1:0".to_owned()),
        ("TIDEWELL_LOG_FORMAT", "json".to_owned()),
    ]
}

fn borrowed<'v>(variables: &'v [(&'static str, String)]) -> Vec<(&'v str, &'v str)> {
    variables.iter().map(|(name, value)| (*name, value.as_str())).collect()
}
