//! A ClickHouse server for one machine: the ClickHouse engine as a C library behind the server's HTTP interface.
//!
//! In: HTTP requests as a ClickHouse server takes them. Out: its answers. Clients speak to it as to a server, and a
//! real server takes its place by changing one URL.
//!
//! The path of a request: [`http_server`] accepts it, [`request`] reads its URL and headers, [`query`] takes the text
//! and runs it in an [`engine`] session after [`sql`] has adapted it, an INSERT's data waits in a [`spool`] until it
//! is complete, and [`answer`] writes the result. [`install`] fetches the library; [`real_server`] replaces all of
//! this when the machine has a `clickhouse` binary.

mod answer;
mod engine;
mod exception;
mod http_server;
mod install;
mod listen;
mod native;
mod query;
mod real_server;
mod request;
mod running;
mod sessions;
mod spool;
mod sql;
mod wire;

pub(crate) use install::{install, library_path};
pub(crate) use real_server::find as real_server;

use answer::Identity;
use anyhow::{Context, Result, bail};
use engine::Engine;
use engine::library::use_utc;
use running::Running;
use sessions::Sessions;
use spool::Spools;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a query waits for one of the places that `--max-concurrent-queries` gives.
const QUEUE_PATIENCE: Duration = Duration::from_secs(30);
/// How long killed queries may take to end on shutdown.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
const GIB: u64 = 1 << 30;

/// Settings of the ClickHouse server.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// Folder that holds the data.
    #[arg(long, default_value = "data/clickhouse")]
    pub(crate) path: PathBuf,
    /// Address of the HTTP interface.
    #[arg(long, default_value = "127.0.0.1:18123")]
    pub(crate) listen: SocketAddr,
    /// The engine's shared library; by default the installed one. Naming it makes a `clickhouse` on the PATH ignored.
    #[arg(long, env = "EMBEDDED_STORES_CHDB_LIBRARY")]
    pub(crate) library: Option<PathBuf>,
    /// Folder of installed tools.
    #[arg(long, default_value = ".tools")]
    pub(crate) tools: PathBuf,
    /// Bytes of memory for queries and caches together; by default half of the machine's.
    #[arg(long)]
    pub(crate) max_memory: Option<u64>,
    /// Bytes that the data of one INSERT may have, decompressed.
    #[arg(long, default_value_t = 4 * GIB)]
    pub(crate) max_body: u64,
    /// Bytes of data being received that are kept in memory; what exceeds them goes to the data folder.
    #[arg(long, default_value_t = 2 * GIB)]
    pub(crate) max_spool_memory: u64,
    /// Queries that run at once; more wait.
    #[arg(long, default_value_t = 64)]
    pub(crate) max_concurrent_queries: usize,
}

/// Everything that requests share.
#[derive(Debug)]
struct Server {
    engine: Engine,
    identity: Identity,
    spools: Spools,
    sessions: Sessions,
    running: Running,
}

/// Serves until SIGTERM or SIGINT. To be called while the process has one thread.
pub(crate) fn serve(options: Options) -> Result<()> {
    if options.library.is_none()
        && let Some(binary) = real_server::find()
    {
        return real_server::run(&binary, &options);
    }
    use_utc();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(http_server::MAX_CONNECTIONS)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let server = runtime.block_on(run(&options))?;
    // A request that did not end in time keeps its thread and its session, and with it the engine.
    runtime.shutdown_timeout(KILL_PATIENCE);
    match Arc::try_unwrap(server) {
        Ok(server) => {
            server.sessions.clear();
            server.engine.stop();
            tracing::info!("stopped");
            Ok(())
        }
        Err(_) => bail!("a query did not end in time; the data folder needs no repair"),
    }
}

async fn run(options: &Options) -> Result<Arc<Server>> {
    // The address first: a port that is taken must not cost the start of the engine.
    let listener = listen::bind(options.listen, "--listen").await?;
    let library = library(options)?;
    let memory = options.max_memory.map_or_else(half_of_memory, Ok)?;
    let engine = Engine::start(&library, &options.path, memory)?;
    let temporary = options.path.join("embedded_spool");
    std::fs::create_dir_all(&temporary).with_context(|| format!("cannot create {}", temporary.display()))?;
    let identity = Identity {
        version: engine.version.clone(),
        display_name: display_name(),
        temporary: temporary.clone(),
    };
    let server = Arc::new(Server {
        engine,
        identity,
        spools: Spools::new(&temporary, options.max_spool_memory, options.max_body),
        sessions: Sessions::default(),
        running: Running::new(options.max_concurrent_queries, QUEUE_PATIENCE),
    });
    tracing::info!(
        "ClickHouse {} serves http://{} with data in {}",
        server.identity.version,
        options.listen,
        options.path.display()
    );
    http_server::serve(Arc::clone(&server), listener, stop_signal()?).await?;
    let draining = Arc::clone(&server);
    tokio::task::spawn_blocking(move || draining.end_queries())
        .await
        .context("cannot end the running queries")?;
    Ok(server)
}

impl Server {
    /// Kills what still runs and waits for it.
    fn end_queries(&self) {
        if self.running.wait_until_idle(Duration::ZERO) {
            return;
        }
        if let Ok(mut session) = self.engine.session()
            && let Err(exception) = session.run(b"KILL QUERY WHERE query_id != queryID() ASYNC")
        {
            tracing::warn!("cannot kill the running queries: {}", exception.render(&self.identity.version));
        }
        self.running.wait_until_idle(KILL_PATIENCE);
    }
}

/// Ready at SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot handle SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot handle SIGINT")?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

fn library(options: &Options) -> Result<PathBuf> {
    let path = options.library.clone().unwrap_or_else(|| library_path(&options.tools));
    match path.try_exists() {
        Ok(true) => Ok(path),
        _ => {
            bail!("{} is missing: run `tidewell-embedded install`, or name it with --library", path.display())
        }
    }
}

fn half_of_memory() -> Result<u64> {
    let path = Path::new("/proc/meminfo");
    let text = std::fs::read_to_string(path).context("cannot read /proc/meminfo: name --max-memory")?;
    let kilobytes =
        text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    kilobytes
        .map(|kilobytes: u64| kilobytes * 1024 / 2)
        .context("/proc/meminfo has no MemTotal: name --max-memory")
}

fn display_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}
