//! Both stores together: up, down, status, run.
//!
//! Guarantees: every command may be repeated; commands on one data folder exclude each other through a lock file; a
//! store that was killed at any moment is started again without repair.

mod clickhouse;
mod status;

use std::fmt::Debug;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use self::clickhouse::ClickHouse;
pub(crate) use self::status::status;
use crate::daemon::{Daemon, Running};
use crate::install::Lock;
use crate::layout::{Layout, StoreName};
use crate::port;
use crate::progress::{answer, say};
use crate::timescale::Timescale;

/// A database that this program installs, starts and stops.
pub(crate) trait Store: Debug + Sync {
    /// Its name in messages.
    fn name(&self) -> &'static str;
    /// Its process.
    fn daemon(&self) -> &Daemon;
    /// Its process, if it runs.
    fn running(&self) -> Result<Option<Running>>;
    /// The port it shall listen on.
    fn port(&self) -> u16;
    /// How to choose another port.
    fn port_setting(&self) -> &'static str;
    /// Its address for clients when it listens on `port`.
    fn url(&self, port: u16) -> String;
    /// Whether everything it needs is there.
    fn is_installed(&self) -> Result<bool>;
    /// Installs what is missing.
    fn install(&self) -> Result<()>;
    /// Makes its data folder ready and gives the command that serves it.
    fn command(&self) -> Result<Command>;
    /// Creates what clients expect to find in a running store.
    fn prepare(&self, port: u16) -> Result<()>;
    /// Asks the running store for its version.
    fn version(&self, port: u16) -> Result<String>;
    /// What makes it stop, and how long each is waited for.
    fn stop_signals(&self) -> Vec<(Signal, Duration)>;
}

/// A store may replay its log after a crash before it answers; this bounds the wait for it.
const START_LIMIT: Duration = Duration::from_secs(600);

/// The stores that a command is about.
pub(crate) fn stores(layout: &Layout) -> Vec<Box<dyn Store>> {
    let mut stores: Vec<Box<dyn Store>> = Vec::new();
    if layout.only.is_none_or(|only| only == StoreName::Timescale) {
        stores.push(Box::new(Timescale::new(layout)));
    }
    if layout.only.is_none_or(|only| only == StoreName::Clickhouse) {
        stores.push(Box::new(ClickHouse::new(layout)));
    }
    stores
}

/// Installs what is missing and nothing else.
///
/// # Errors
/// When something cannot be installed.
pub(crate) fn install(layout: &Layout) -> Result<()> {
    install_missing(layout, &stores(layout).iter().map(Box::as_ref).collect::<Vec<_>>())
}

/// Installs what is missing, starts what does not run, waits until all answer. Gives the names of those it started.
///
/// # Errors
/// When a store cannot be installed or started.
pub(crate) fn up(layout: &Layout) -> Result<Vec<&'static str>> {
    let _lock = lock(layout)?;
    let stores = stores(layout);
    let mut missing = Vec::new();
    for store in &stores {
        if !is_up(store.as_ref())? {
            missing.push(store.as_ref());
        }
    }
    // Before the minutes that an installation takes, and again right before each start.
    for store in &missing {
        require_free_port(*store)?;
    }
    install_missing(layout, &missing)?;
    let mut started = Vec::new();
    for store in missing {
        let command = store.command()?;
        require_free_port(store)?;
        say(store.name(), "starts");
        started.push((store, store.daemon().start(command, store.port())?, Instant::now()));
    }
    for (store, process, since) in &started {
        let Some(version) = wait_until_it_answers(*store, process)? else {
            bail!(store.daemon().ended_early())
        };
        say(store.name(), format_args!("answers after {:.1} s: {version}", since.elapsed().as_secs_f64()));
    }
    Ok(started.iter().map(|(store, ..)| store.name()).collect())
}

/// Whether the store runs already and answers; one that is just ending is waited for and does not.
fn is_up(store: &dyn Store) -> Result<bool> {
    let Some(process) = store.running()? else { return Ok(false) };
    if process.port != store.port() {
        bail!(
            "{} already runs on port {}: stop it first (`down`), or give that port with {}",
            store.name(),
            process.port,
            store.port_setting()
        );
    }
    let version = wait_until_it_answers(store, &process)?;
    if let Some(version) = &version {
        say(store.name(), format_args!("runs already: {version}"));
    }
    Ok(version.is_some())
}

/// Prints the addresses.
///
/// # Errors
/// When standard output is closed.
pub(crate) fn print_addresses(layout: &Layout) -> Result<()> {
    for store in stores(layout) {
        answer(format_args!("{:<11} {}", store.name(), store.url(store.port())))?;
    }
    Ok(())
}

/// Stops the stores that run; `names` limits it to some.
///
/// # Errors
/// When one cannot be stopped; the others are stopped nevertheless.
pub(crate) fn down(layout: &Layout, names: Option<&[&str]>) -> Result<()> {
    let _lock = lock(layout)?;
    let mut failed = None;
    for store in stores(layout) {
        if names.is_some_and(|names| !names.contains(&store.name())) {
            continue;
        }
        if let Err(e) = stop(store.as_ref()) {
            say(store.name(), format_args!("{e:#}"));
            failed = Some(e);
        }
    }
    failed.map_or(Ok(()), Err)
}

/// Runs the stores until Ctrl-C or SIGTERM, then stops those it started.
///
/// # Errors
/// When a store cannot be started or stopped, or ends by itself.
pub(crate) fn run(layout: &Layout) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("cannot start a runtime")?;
    // Listened to from here on, so that Ctrl-C during the start also ends in an orderly stop.
    let stop_requested = runtime.spawn(interruption());
    let before: Vec<&str> = running_names(layout)?;
    let result = up(layout).and_then(|_| {
        print_addresses(layout)?;
        say("stores", "run until Ctrl-C");
        loop {
            if stop_requested.is_finished() {
                return Ok(());
            }
            for store in stores(layout) {
                if store.running()?.is_none() {
                    bail!("{} has ended; its log is {}", store.name(), store.daemon().log_file().display());
                }
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    });
    let started: Vec<&str> =
        running_names(layout)?.into_iter().filter(|name| !before.contains(name)).collect();
    let stopped = down(layout, Some(&started));
    result.and(stopped)
}

async fn interruption() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without a handler the signals keep their usual effect.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn running_names(layout: &Layout) -> Result<Vec<&'static str>> {
    let mut names = Vec::new();
    for store in stores(layout) {
        if store.running()?.is_some() {
            names.push(store.name());
        }
    }
    Ok(names)
}

fn lock(layout: &Layout) -> Result<Lock> {
    Lock::take(&layout.data.join("lock"), "another start or stop of the stores")
}

fn require_free_port(store: &dyn Store) -> Result<()> {
    port::require_free(store.port(), store.port_setting())
        .with_context(|| format!("cannot start {}", store.name()))
}

/// Installs side by side: one mostly downloads while the other unpacks.
fn install_missing(layout: &Layout, stores: &[&dyn Store]) -> Result<()> {
    if stores.is_empty() {
        return Ok(());
    }
    // The tools may be shared by several data folders, whose own locks do not exclude each other.
    let _lock = Lock::take(&layout.tools.join("lock"), "another installation")?;
    let mut missing = Vec::new();
    for store in stores {
        if !store.is_installed()? {
            missing.push(*store);
        }
    }
    std::thread::scope(|scope| {
        let installations: Vec<_> =
            missing.iter().map(|store| (store.name(), scope.spawn(|| store.install()))).collect();
        let mut failed = None;
        for (name, installation) in installations {
            let result = installation.join().unwrap_or_else(|_| bail!("its installer panicked"));
            if let Err(e) = result.with_context(|| format!("cannot install {name}")) {
                failed = Some(e);
            }
        }
        failed.map_or(Ok(()), Err)
    })?;
    for store in missing {
        if !store.is_installed()? {
            bail!(
                "{} was installed, but is not complete: see the log in {}",
                store.name(),
                layout.tools.display()
            );
        }
    }
    Ok(())
}

/// Gives the version, or nothing when the process ended before it answered.
fn wait_until_it_answers(store: &dyn Store, process: &Running) -> Result<Option<String>> {
    let started = Instant::now();
    let mut next_word = started + Duration::from_secs(3);
    loop {
        let failure = match store.version(process.port) {
            Ok(version) => {
                store.prepare(process.port)?;
                return Ok(Some(version));
            }
            Err(e) => e,
        };
        if !process.identity.is_running()? {
            return Ok(None);
        }
        if started.elapsed() > START_LIMIT {
            bail!("{} does not answer within {} s: {failure:#}", store.name(), START_LIMIT.as_secs());
        }
        if Instant::now() >= next_word {
            say(store.name(), format_args!("waits for it to answer: {failure:#}"));
            next_word += Duration::from_secs(3);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn stop(store: &dyn Store) -> Result<()> {
    let Some(process) = store.running()? else {
        say(store.name(), "does not run");
        return store.daemon().forget();
    };
    say(store.name(), format_args!("stops (process {})", process.identity.pid));
    let started = Instant::now();
    store.daemon().stop(&process, &store.stop_signals())?;
    say(store.name(), format_args!("stopped after {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}
