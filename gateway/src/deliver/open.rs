//! Opening: the directory of the logs in, running feeds out.
//!
//! Each log is locked, repaired and read once, all at the same time; what was under way when the gateway ended goes on
//! where it stood. All of this needs no store.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::claims::Claims;
use super::cold::{ColdLane, ColdQueue, ColdWork};
use super::feed::Feed;
use super::frames::Frames;
use super::gather::Gather;
use super::hold;
use super::lane::{Lane, key_of};
use super::resume::Resume;
use super::{CutLimits, Delivery, LogName, Recent};
use crate::observe::Metrics;
use crate::registry::StoreKind;
use crate::store::Store;
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::Timescale;
use crate::wal::entry::{Compression, RequestHeader, Tier};
use crate::wal::{Definitions, Disk, LocalDisk, Log, LogError, LogOptions, Position};

/// Lanes that dead letters are written by.
const DEAD_LETTER_LANES: usize = 1;

/// How one store is fed.
#[derive(Debug, Clone)]
pub struct LaneOptions {
    /// The store.
    pub store: Arc<dyn Store>,
    /// When waiting rows become a cut.
    pub limits: CutLimits,
    /// Cuts that are written at once.
    pub writers: usize,
    /// Most bytes of its log.
    pub max_log_bytes: u64,
}

/// What delivery is made of.
#[derive(Debug)]
pub struct DeliveryOptions {
    /// The directory of the logs.
    pub directory: PathBuf,
    /// Timescale and how it is fed.
    pub timescale: LaneOptions,
    /// Where gateways agree on who delivers a request that several of them got.
    pub claims: Arc<Timescale>,
    /// ClickHouse and how it is fed.
    pub clickhouse: LaneOptions,
    /// Where rows of Timescale go whose range has left it.
    pub cold: Arc<ClickHouse>,
    /// Most bytes of the log of dead letters.
    pub max_dead_letter_bytes: u64,
    /// Sizes and ages that all logs share; `max_bytes` is that of each.
    pub log: LogOptions,
    /// How rows are packed in the logs.
    pub compression: Compression,
    /// Most bytes of rows of one log that are on their way to its store.
    pub window_bytes: usize,
}

/// A request that a log still has.
#[derive(Debug)]
pub struct RestoredRequest {
    /// Its log.
    pub log: LogName,
    /// Its frame.
    pub position: Position,
    /// When it was appended.
    pub appended_at: SystemTime,
    /// Who sent it, and the key that it came with.
    pub header: RequestHeader,
}

/// Why the logs cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The directory cannot be made.
    #[error("the directory of the logs (wal.directory), {}, cannot be used: {source}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the file system says.
        source: io::Error,
    },
    /// A log cannot be opened.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl OpenError {
    /// Whether the logs can be opened later as they are: the disk is away, read-only or full. A directory that belongs to
    /// another gateway or another version stays so until somebody acts.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Directory { .. } | Self::Log(LogError::Io { .. }))
    }

    /// The error with what the file system says.
    fn with_cause(&self) -> String {
        match self {
            Self::Log(error @ LogError::Io { source, .. }) => format!("{error}: {source}"),
            other => other.to_string(),
        }
    }
}

/// A log that was opened, and what is left to do of it.
struct Opened {
    log: Arc<Log<Recent>>,
    resume: Resume,
}

impl Delivery {
    /// What delivers with these options, as soon as its logs are open.
    pub fn new(options: DeliveryOptions, metrics: &Arc<Metrics>) -> Arc<Self> {
        let definitions = Definitions::new(Arc::new(LocalDisk), &options.directory.join("definitions"));
        Arc::new(Self {
            feeds: OnceLock::new(),
            unopened: Mutex::default(),
            definitions: Arc::new(definitions),
            metrics: Arc::clone(metrics),
            tasks: Mutex::default(),
            prepared: [watch::Sender::new(false), watch::Sender::new(false)],
            drain: CancellationToken::new(),
            halt: CancellationToken::new(),
            options,
        })
    }

    /// Opens the logs and starts to deliver. Blocks on the disk; needs a runtime. `restored` sees every request that a
    /// log still has; those of an attempt that failed come again at the next.
    pub fn open(&self, restored: impl FnMut(RestoredRequest) + Send) -> Result<(), OpenError> {
        self.try_to_open(restored)
            .inspect_err(|error| *self.unopened.lock() = Some(Arc::from(error.with_cause())))
    }

    fn try_to_open(&self, restored: impl FnMut(RestoredRequest) + Send) -> Result<(), OpenError> {
        let disk: Arc<dyn Disk> = Arc::new(LocalDisk);
        let options = &self.options;
        let directory = &options.directory;
        std::fs::create_dir_all(directory)
            .map_err(|source| OpenError::Directory { path: directory.clone(), source })?;
        let restored = Mutex::new(restored);
        let open = |name, max_bytes| {
            let options = LogOptions { max_bytes, ..options.log };
            open_log(&disk, directory, name, options, &mut |request| (*restored.lock())(request))
        };
        let (letters, timescale, clickhouse) = std::thread::scope(|scope| {
            let letters = scope.spawn(|| open(LogName::DeadLetters, options.max_dead_letter_bytes));
            let timescale = scope.spawn(|| open(LogName::Timescale, options.timescale.max_log_bytes));
            let clickhouse = open(LogName::ClickHouse, options.clickhouse.max_log_bytes);
            (joined(letters), joined(timescale), clickhouse)
        });
        let (letters, timescale, clickhouse) = (letters?, timescale?, clickhouse?);

        let parts = Parts {
            directory,
            metrics: &self.metrics,
            definitions: &self.definitions,
            drain: &self.drain,
            halt: &self.halt,
            prepared: &self.prepared,
            window_bytes: options.window_bytes,
            claims: &options.claims,
            cold: &options.cold,
        };
        let keep = Some(Arc::clone(&letters.log));
        let letters_lane = LaneOptions {
            store: Arc::clone(&options.timescale.store),
            writers: DEAD_LETTER_LANES,
            ..options.timescale.clone()
        };
        let mut tasks = Vec::new();
        let feeds = [
            parts.start(LogName::Timescale, timescale, &options.timescale, keep.clone(), &mut tasks),
            parts.start(LogName::ClickHouse, clickhouse, &options.clickhouse, keep, &mut tasks),
            parts.start(LogName::DeadLetters, letters, &letters_lane, None, &mut tasks),
        ];
        if self.feeds.set(feeds).is_err() {
            // Their directories are locked by whoever opened them first.
            tracing::error!("the logs were opened twice");
        }
        *self.tasks.lock() = tasks;
        Ok(())
    }
}

/// What a thread returned; its panic is this thread's.
fn joined<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn open_log(
    disk: &Arc<dyn Disk>,
    directory: &Path,
    name: LogName,
    options: LogOptions,
    restored: &mut dyn FnMut(RestoredRequest),
) -> Result<Opened, OpenError> {
    let started = std::time::Instant::now();
    let (log, recovery) = Log::open(Arc::clone(disk), &directory.join(name.name()), name.name(), options)?;
    let resume = Resume::scan(
        name.name(),
        log.reader(log.oldest()),
        (log.oldest(), recovery.last),
        |position, appended_at, header| {
            restored(RestoredRequest { log: name, position, appended_at, header });
        },
    )?;
    tracing::info!(
        log = name.name(), frames = recovery.last.next().0 - log.oldest().0, cuts_under_way = resume.cuts.len(),
        elapsed = ?started.elapsed(), "log opened"
    );
    Ok(Opened { log, resume })
}

/// What all feeds share.
struct Parts<'a> {
    directory: &'a Path,
    metrics: &'a Arc<Metrics>,
    definitions: &'a Arc<Definitions>,
    drain: &'a CancellationToken,
    halt: &'a CancellationToken,
    prepared: &'a [watch::Sender<bool>; 2],
    window_bytes: usize,
    claims: &'a Arc<Timescale>,
    cold: &'a Arc<ClickHouse>,
}

impl Parts<'_> {
    fn start(
        &self,
        name: LogName,
        opened: Opened,
        options: &LaneOptions,
        dead_letters: Option<Arc<Log<Recent>>>,
        tasks: &mut Vec<tokio::task::JoinHandle<()>>,
    ) -> Arc<Feed> {
        let Opened { log, mut resume } = opened;
        // What is settled may go from the first moment, should its space be needed.
        log.release(resume.from);
        let store = Arc::clone(&options.store);
        let cold = (store.kind() == StoreKind::Timescale).then(ColdQueue::default);
        let held = resume.lost_notes();
        let feed = Arc::new(Feed {
            name,
            log,
            definitions: Arc::clone(self.definitions),
            tables_prepared: self.prepared[store.kind() as usize].subscribe(),
            store,
            gather: Gather::new(options.limits, options.writers.max(1) + 1),
            frames: Frames::new(resume.from),
            window_bytes: self.window_bytes,
            metrics: Arc::clone(self.metrics),
            dead_letters,
            claims: Claims::new(Arc::clone(self.claims)),
            cold,
            parked: Mutex::default(),
            releasing: AtomicBool::new(false),
            writers: Semaphore::new(options.writers.max(1)),
            lanes: Mutex::new(std::mem::take(&mut resume.lanes)),
            progress: OnceCell::new(),
            next_cut: AtomicU64::new(resume.next_cut()),
            lost_notes: AtomicU32::new(held),
            drain: self.drain.clone(),
            halt: self.halt.clone(),
        });
        let lanes = u32::try_from(options.writers.max(1)).unwrap_or(u32::MAX).saturating_add(1);
        let mut pending: Vec<Vec<_>> = (0..lanes).map(|_| Vec::new()).collect();
        let mut pending_cold = Vec::new();
        for plan in std::mem::take(&mut resume.cuts).into_values() {
            // Nothing of a damaged frame is delivered any more, and nobody may wait for it.
            for source in plan.sources.iter().filter(|source| resume.is_open(source.position)) {
                feed.frames.add(source.position, usize::try_from(source.count).unwrap_or(usize::MAX));
            }
            if plan.tier == Tier::Cold {
                pending_cold.push(ColdWork { plan, fresh: false, settles: true });
                continue;
            }
            feed.gather.hold(key_of(&plan));
            pending[usize::try_from(plan.lane % lanes).unwrap_or(0)].push(plan);
        }
        let (released, hold) = watch::channel(held == 0);
        for (number, pending) in (0..lanes).zip(pending) {
            let lane = Lane { feed: Arc::clone(&feed), number };
            tasks.push(tokio::spawn(after(hold.clone(), lane.run(pending))));
        }
        if let Some(queue) = &feed.cold {
            queue.push(pending_cold);
            let lane = ColdLane { feed: Arc::clone(&feed), store: Arc::clone(self.cold) };
            let run = lane.run(self.prepared[StoreKind::ClickHouse as usize].subscribe());
            tasks.push(tokio::spawn(after(hold.clone(), run)));
        }
        tasks.push(tokio::spawn(after(hold, Arc::clone(&feed).read(resume))));
        if held > 0 {
            let directory = self.directory.join(name.name());
            tasks.push(tokio::spawn(hold::until_told(Arc::clone(&feed), directory, held, released)));
        }
        feed
    }
}

/// Runs a task of delivery once it may begin, and not at all when the gateway ends before.
async fn after(mut hold: watch::Receiver<bool>, task: impl Future<Output = ()>) {
    if hold.wait_for(|released| *released).await.is_ok() {
        task.await;
    }
}
