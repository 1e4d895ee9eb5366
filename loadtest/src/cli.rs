//! The command line: arguments in, a report out.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use http::Uri;

use crate::audit::{ClickHouse, Stores};
use crate::faults::command::FaultArgs;
use crate::idle;
use crate::limits::Limits;
use crate::measure::{Bench, Plan};
use crate::pacing::Load;
use crate::processes::{self, Process};
use crate::ratios::Rounds;
use crate::report::Report;
use crate::scratch;
use crate::send::Target;
use crate::suite::Suite;
use crate::telemetry::Shape;
use crate::tiering::bench::TierBenchArgs;
use crate::tiering::command::TierArgs;
use crate::workload::{Protocol, Signal, Workload};

/// Generates telemetry for a Tidewell gateway, measures what it costs and audits what arrived.
///
/// Ends with 0 when everything acknowledged was found exactly once, with 1 when it was not, with 2 when something kept
/// it from measuring or auditing.
#[derive(Debug, Parser)]
#[command(name = "tidewell-loadtest", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Measures one workload.
    Run(RunArgs),
    /// Measures every protocol, and the rates that must be held.
    Suite(SuiteArgs),
    /// Measures what the stores themselves take of rows that are there, and what decoding alone costs.
    Limits(LimitsArgs),
    /// Measures the gateway's memory while nothing is sent to it.
    Idle(IdleArgs),
    /// Creates or drops the databases of a run of bench.sh.
    Scratch(ScratchArgs),
    /// Kills and disturbs gateways and stores of its own and audits what was acknowledged.
    Faults(FaultArgs),
    /// Moves ranges between stores of its own while everything is disturbed, and audits every read.
    Tiering(TierArgs),
    /// Measures how fast ranges move between stores of its own, what that costs live senders, and what reading costs.
    TieringBench(TierBenchArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// How records are sent.
    #[arg(long, value_enum)]
    protocol: Protocol,
    /// What is sent.
    #[arg(long, value_enum)]
    signal: Signal,
    /// Records per second, in an open loop; without it a closed loop, as fast as answers come.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Most records; the run ends with them or with its seconds.
    #[arg(long)]
    records: Option<u64>,
    /// Connections, each with one request under way at a time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    #[command(flatten)]
    bench: BenchArgs,
}

#[derive(Debug, Args)]
struct SuiteArgs {
    #[command(flatten)]
    suite: Suite,
    #[command(flatten)]
    rounds: Rounds,
    /// Seconds to watch the gateway at rest before anything is sent; 0 leaves it out.
    #[arg(long, default_value_t = 5)]
    idle_seconds: u64,
    #[command(flatten)]
    bench: BenchArgs,
}

#[derive(Debug, Args)]
struct LimitsArgs {
    /// Seconds for each number of connections.
    #[arg(long, default_value_t = 3)]
    seconds: u64,
    #[command(flatten)]
    bench: BenchArgs,
}

#[derive(Debug, Args)]
struct IdleArgs {
    /// Seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The gateway's HTTP address, by which its process is found.
    #[arg(long, default_value = "127.0.0.1:4318")]
    http: SocketAddr,
    /// The gateway's process, instead of the one that listens on its HTTP port.
    #[arg(long)]
    gateway_pid: Option<u32>,
    /// Also write the report to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ScratchArgs {
    /// What to do.
    #[arg(value_parser = ["create", "drop"])]
    action: String,
    /// The name of the databases: bench_ and something.
    name: String,
    #[command(flatten)]
    stores: StoreArgs,
}

#[derive(Debug, Args)]
struct BenchArgs {
    /// The gateway's HTTP address.
    #[arg(long, default_value = "127.0.0.1:4318", help_heading = "Gateway")]
    http: SocketAddr,
    /// The gateway's gRPC address.
    #[arg(long, default_value = "127.0.0.1:4317", help_heading = "Gateway")]
    grpc: SocketAddr,
    /// Send to addresses that are not of this machine.
    #[arg(long, help_heading = "Gateway")]
    allow_remote: bool,
    /// The acknowledgement to ask for; the gateway's default if left out.
    #[arg(long, value_parser = ["durable", "stored"], help_heading = "Gateway")]
    ack: Option<String>,
    /// Seconds to wait for an answer.
    #[arg(long, default_value_t = 30, help_heading = "Gateway")]
    timeout_seconds: u64,
    /// Records of each request.
    #[arg(long, default_value_t = 1_000, help_heading = "Telemetry")]
    batch: usize,
    /// Distinct requests that are generated before the run and sent in turn.
    #[arg(long, default_value_t = 16, help_heading = "Telemetry")]
    pool: usize,
    #[command(flatten)]
    shape: Shape,
    #[command(flatten)]
    stores: StoreArgs,
    /// The gateway's process, instead of the one that listens on its HTTP port.
    #[arg(long, help_heading = "Processes")]
    gateway_pid: Option<u32>,
    /// The Postgres server's first process, instead of the one that listens on its port.
    #[arg(long, help_heading = "Processes")]
    postgres_pid: Option<u32>,
    /// ClickHouse's process, instead of the one that listens on its port.
    #[arg(long, help_heading = "Processes")]
    clickhouse_pid: Option<u32>,
    /// Also write the report to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Stores")]
struct StoreArgs {
    /// Do not count in the stores what arrived.
    #[arg(long)]
    no_audit: bool,
    /// Nor wait until the gateway has delivered everything: for stores that are stopped.
    #[arg(long, requires = "no_audit")]
    no_wait: bool,
    /// Where Postgres is.
    #[arg(
        long,
        env = "TIDEWELL_TIMESCALE_URL",
        default_value = "postgres://tidewell@127.0.0.1:15432/tidewell"
    )]
    postgres: String,
    /// Where ClickHouse is.
    #[arg(long, env = "TIDEWELL_CLICKHOUSE_URL", default_value = "http://127.0.0.1:18123")]
    clickhouse: Uri,
    /// The database in ClickHouse.
    #[arg(long, env = "TIDEWELL_CLICKHOUSE_DATABASE", default_value = "tidewell")]
    clickhouse_database: String,
    /// The user in ClickHouse.
    #[arg(long, env = "TIDEWELL_CLICKHOUSE_USER", default_value = "default")]
    clickhouse_user: String,
    /// The password in ClickHouse.
    #[arg(long, env = "TIDEWELL_CLICKHOUSE_PASSWORD", default_value = "", hide_env_values = true)]
    clickhouse_password: String,
    /// Seconds to wait for acknowledged records to become visible.
    #[arg(long, default_value_t = 60)]
    audit_seconds: u64,
}

impl Cli {
    /// Does what the arguments say and prints the report.
    pub async fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Run(args) => {
                let bench = args.bench.bench()?;
                let load = Load {
                    rate: args.rate,
                    duration: Duration::from_secs(args.seconds),
                    records: args.records,
                };
                let workload = Workload { signal: args.signal, protocol: args.protocol };
                let plan = Plan { workload, load, connections: args.connections };
                let mut report = Report::new(bench.shape.clone());
                report.add(bench.measure(plan).await?);
                finish(&report, args.bench.json)
            }
            Command::Suite(args) => {
                let bench = args.bench.bench()?;
                let mut report = Report::new(bench.shape.clone());
                if args.idle_seconds > 0 {
                    let gateway = bench.processes.iter().find(|process| process.name == GATEWAY);
                    let gateway = gateway.context("the gateway's process was not found")?;
                    report.idle = Some(idle::measure(gateway, Duration::from_secs(args.idle_seconds)).await?);
                }
                for plan in args.suite.plans() {
                    say(&describe(&plan))?;
                    match bench.measure(plan).await {
                        Ok(measurement) => report.add(measurement),
                        Err(error) => report.add_unmeasured(plan.workload, &error),
                    }
                }
                if args.rounds.rounds > 0 {
                    let connections = args.suite.protocol_connections;
                    let said = args.rounds.measure(&bench, connections, |line| drop(say(line))).await?;
                    report.add_ratios(said);
                    let code = finish(&report, args.bench.json)?;
                    writeln!(std::io::stdout().lock(), "{}", report.summary())?;
                    return Ok(code);
                }
                finish(&report, args.bench.json)
            }
            Command::Limits(args) => {
                let bench = args.bench.bench()?;
                let limits = Limits::measure(&bench, Duration::from_secs(args.seconds)).await?;
                writeln!(std::io::stdout().lock(), "{}", serde_json::to_string_pretty(&limits)?)?;
                Ok(ExitCode::SUCCESS)
            }
            Command::Idle(args) => {
                let gateway = find(GATEWAY, args.gateway_pid, Some(args.http.port()), false)
                    .with_context(|| format!("nobody listens on {}", args.http))?;
                let mut report = Report::new(Shape::default());
                report.idle = Some(idle::measure(&gateway, Duration::from_secs(args.seconds)).await?);
                finish(&report, args.json)
            }
            Command::Faults(args) => args.run().await,
            Command::Tiering(args) => args.run().await,
            Command::TieringBench(args) => args.run().await,
            Command::Scratch(args) => {
                let Stores { postgres, clickhouse, .. } = args.stores.stores();
                if args.action == "create" {
                    scratch::create(&postgres, &args.name).await?;
                } else {
                    scratch::drop(&postgres, &clickhouse, &args.name).await?;
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

const GATEWAY: &str = "gateway";

impl BenchArgs {
    fn bench(&self) -> Result<Bench> {
        if let Some(remote) = [self.http, self.grpc].iter().find(|address| !address.ip().is_loopback())
            && !self.allow_remote
        {
            bail!("{remote} is not of this machine: load goes to loopback unless --allow-remote is given");
        }
        Ok(Bench {
            target: Target {
                http: self.http,
                grpc: self.grpc,
                level: self.ack.clone(),
                timeout: Duration::from_secs(self.timeout_seconds),
            },
            shape: self.shape.clone(),
            batch: self.batch,
            pool: self.pool,
            stores: (!self.stores.no_audit).then(|| self.stores.stores()),
            waits: !self.stores.no_wait,
            processes: self.processes()?,
        })
    }

    /// The processes that are given or found; one that is on another machine is not measured.
    fn processes(&self) -> Result<Vec<Process>> {
        let postgres = processes::port_of(&self.stores.postgres).ok();
        let clickhouse = self.stores.clickhouse.port_u16();
        let found = [
            find(GATEWAY, self.gateway_pid, Some(self.http.port()), false),
            find("postgres", self.postgres_pid, postgres, true),
            find("clickhouse", self.clickhouse_pid, clickhouse, false),
            find("generator", Some(std::process::id()), None, false),
        ];
        let found: Vec<Process> = found.into_iter().flatten().collect();
        for process in &found {
            process.cpu_s().with_context(|| format!("cannot measure {}", process.name))?;
        }
        Ok(found)
    }
}

impl StoreArgs {
    fn stores(&self) -> Stores {
        Stores {
            postgres: self.postgres.clone(),
            clickhouse: ClickHouse {
                url: self.clickhouse.clone(),
                database: self.clickhouse_database.clone(),
                user: self.clickhouse_user.clone(),
                password: self.clickhouse_password.clone(),
            },
            patience: Duration::from_secs(self.audit_seconds),
        }
    }
}

fn find(name: &'static str, pid: Option<u32>, port: Option<u16>, tree: bool) -> Option<Process> {
    let pid = pid.or_else(|| processes::listening_on(port?))?;
    Some(Process { name, pid, tree })
}

fn describe(plan: &Plan) -> String {
    let seconds = plan.load.duration.as_secs();
    match plan.load.rate {
        None => format!("{}: closed loop, {} connections, {seconds} s", plan.workload, plan.connections),
        Some(rate) => format!("{}: {rate} records/s, {seconds} s", plan.workload),
    }
}

/// Progress goes to standard error, the report to standard output.
fn say(line: &str) -> Result<()> {
    Ok(writeln!(std::io::stderr().lock(), "{line}")?)
}

fn finish(report: &Report, json: Option<PathBuf>) -> Result<ExitCode> {
    std::io::stdout().lock().write_all(report.text().as_bytes())?;
    if let Some(path) = json {
        report.write_json(&path)?;
    }
    Ok(match (report.clean(), report.unmeasured.is_empty()) {
        (false, _) => ExitCode::from(1),
        (true, false) => ExitCode::from(2),
        (true, true) => ExitCode::SUCCESS,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bench(arguments: &[&str]) -> Result<Bench> {
        let fixed = ["tidewell-loadtest", "run", "--protocol", "otlp-grpc", "--signal", "logs"];
        let cli = Cli::try_parse_from(fixed.iter().chain(arguments))?;
        match cli.command {
            Command::Run(args) => args.bench.bench(),
            _ => bail!("not a run"),
        }
    }

    #[test]
    fn other_machines_are_refused_unless_allowed() {
        let error = bench(&["--http", "192.0.2.1:4318"]).unwrap_err();
        assert!(error.to_string().contains("--allow-remote"), "{error}");
        assert!(bench(&["--grpc", "[2001:db8::1]:4317"]).is_err());
        assert!(bench(&["--http", "192.0.2.1:4318", "--allow-remote"]).is_ok());
        assert!(bench(&["--http", "[::1]:4318"]).is_ok());
    }

    #[test]
    fn senseless_arguments_are_refused() {
        for arguments in
            [&["--rate", "0"], &["--rate", "fast"], &["--ack", "maybe"], &["--resource-attributes", "1"]]
        {
            assert!(bench(arguments).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn a_given_process_that_is_not_there_is_an_error() {
        let error = bench(&["--gateway-pid", "4294967295"]).unwrap_err();
        assert!(error.to_string().contains("cannot measure gateway"), "{error}");
    }
}
