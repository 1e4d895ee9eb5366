//! A feed takes the frames of one log to one store: it reads them in order, gathers their rows, and runs the lanes that
//! write them.
//!
//! What was appended a moment ago is still in memory; what is older, or more than memory may hold, is read from the disk.
//! At most `window_bytes` of rows are handed out at once, however far the store is behind.
//!
//! Guaranteed: every row of every durable frame is settled exactly once (committed by the store, or a durable dead
//! letter), across restarts; the log is told to release a frame only when that is so.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::claims::Claims;
use super::cold::ColdQueue;
use super::cut::{NO_LANE, PendingCut};
use super::frames::{Frames, Refusals};
use super::gather::{Gather, GatherKey, Piece};
use super::lane::Parked;
use super::{LogName, Recent, dead_letters};
use crate::ingest::Protocol;
use crate::observe::Metrics;
use crate::observe::accounts::Settled;
use crate::registry::{StoreKind, builtin};
use crate::store::Store;
use crate::wal::entry::{Compression, CutsEntry, DoneEntry, Entry, RequestEntry, Tier};
use crate::wal::{Definitions, Log};

/// How long to wait before a note is appended again that the log did not take.
pub(super) const NOTE_AGAIN: Duration = Duration::from_millis(500);

/// What a note weighs in the memory of the log.
const NOTE_BYTES: usize = 64;

/// The gateway is ending: what is not done stays in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stopped;

/// One log, its store, and what is between them.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) name: LogName,
    pub(super) log: Arc<Log<Recent>>,
    pub(super) definitions: Arc<Definitions>,
    pub(super) store: Arc<dyn Store>,
    pub(super) gather: Gather,
    pub(super) frames: Frames,
    /// Most bytes of rows that are handed out and not settled.
    pub(super) window_bytes: usize,
    pub(super) metrics: Arc<Metrics>,
    /// Where rows go that the store never takes; none for that log itself.
    pub(super) dead_letters: Option<Arc<Log<Recent>>>,
    /// Who delivers what several gateways got.
    pub(super) claims: Claims,
    /// Where rows go whose range has left Timescale; none for the log of ClickHouse.
    pub(super) cold: Option<ColdQueue>,
    /// Cuts of tables that ClickHouse does not know as the registry does, and when to try them again.
    pub(super) parked: Mutex<Vec<Parked>>,
    /// Whether a durable note is on its way after which frames are released.
    pub(super) releasing: AtomicBool,
    /// As many cuts are sent at once as the store is to have writers. There is a lane more, so that the plan of the next
    /// cut becomes durable meanwhile.
    pub(super) writers: Semaphore,
    /// The last committed cut of each lane.
    pub(super) lanes: Mutex<HashMap<u32, u64>>,
    pub(super) next_cut: AtomicU64,
    /// Notes of cuts that are lost: above 0 nothing is delivered until a person says so.
    pub(super) lost_notes: AtomicU32,
    /// Whether the store was asked how far it is.
    pub(super) progress: OnceCell<()>,
    /// Whether the store's tables are as this version needs them.
    pub(super) tables_prepared: watch::Receiver<bool>,
    /// Write what is due, then end.
    pub(super) drain: CancellationToken,
    /// End now.
    pub(super) halt: CancellationToken,
}

impl Feed {
    /// Waits until the store's tables are there.
    pub(super) async fn prepared(&self) -> Result<(), Stopped> {
        let mut prepared = self.tables_prepared.clone();
        tokio::select! {
            prepared = prepared.wait_for(|prepared| *prepared) => prepared.map(drop).map_err(|_| Stopped)?,
            () = self.drain.cancelled() => return Err(Stopped),
        }
        self.progress.get_or_try_init(|| self.look_at_progress()).await.map(drop)
    }

    /// A log that was put back from a copy knows less than the store does. Numbers that the store has seen must not be
    /// given out again: their rows would count as stored.
    async fn look_at_progress(&self) -> Result<(), Stopped> {
        loop {
            match self.unless_halted(self.store.progress(self.log.incarnation())).await? {
                Ok(progress) => {
                    let last = progress.into_values().max().unwrap_or(0);
                    if self.next_cut.fetch_max(last + 1, Ordering::Relaxed) <= last {
                        tracing::error!(
                            log = self.name.name(),
                            last,
                            "the store has cuts of this log that the log does not know: was the directory put back from a copy?"
                        );
                    }
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(log = self.name.name(), %error, "the store does not say how far it is, will ask again")
                }
            }
            self.pause(NOTE_AGAIN).await?;
        }
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.is_cancelled()
    }

    /// Waits until the feed is to end.
    pub(super) async fn draining(&self) {
        self.drain.cancelled().await;
    }

    /// Waits, unless the feed is to end.
    pub(super) async fn pause(&self, time: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(time) => Ok(()),
            () = self.drain.cancelled() => Err(Stopped),
        }
    }

    /// Gives a write the time to end that a stopping gateway has.
    pub(super) async fn unless_halted<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            done = work => Ok(done),
            () = self.halt.cancelled() => Err(Stopped),
        }
    }

    /// Waits for what may be given up at any time.
    pub(super) async fn unless_drained<T>(&self, work: impl Future<Output = T>) -> Result<T, Stopped> {
        tokio::select! {
            done = work => Ok(done),
            () = self.drain.cancelled() => Err(Stopped),
        }
    }

    /// A cut of these rows, with a number of its own.
    pub(super) fn new_cut(&self, lane: u32, key: GatherKey, pieces: Vec<Piece>) -> PendingCut {
        let (number, previous) = (self.next_number(), self.previous(lane));
        PendingCut { tier: Tier::Hot, number, lane, epoch: 0, previous, key, pieces }
    }

    /// The number of the next cut.
    pub(super) fn next_number(&self) -> u64 {
        self.next_cut.fetch_add(1, Ordering::Relaxed)
    }

    /// The lane's last committed cut, 0 for none.
    pub(super) fn previous(&self, lane: u32) -> u64 {
        self.lanes.lock().get(&lane).copied().unwrap_or(0)
    }

    /// The store has committed a cut of the lane.
    pub(super) fn committed(&self, lane: u32, cut: u64) {
        let mut lanes = self.lanes.lock();
        let last = lanes.entry(lane).or_default();
        *last = (*last).max(cut);
    }

    /// The lane's last cut is another one than was known.
    pub(super) fn set_previous(&self, lane: u32, cut: u64) {
        self.lanes.lock().insert(lane, cut);
    }

    /// Makes durable which cuts there are. The log may be full or its disk broken for a while: there is nothing better to
    /// do than to wait for it.
    pub(super) async fn note(&self, cuts: CutsEntry) -> Result<(), Stopped> {
        let body = self.encode(&Entry::Cuts(cuts));
        loop {
            let note = Some((Arc::new(Recent::Note), NOTE_BYTES));
            match self.unless_halted(self.log.append(Entry::CUTS, body.clone(), note)).await? {
                // Once more, elsewhere on the disk, and before anything that follows from it.
                Ok(_) => {
                    self.append_body_lazily(Entry::CUTS_AGAIN, body);
                    return Ok(());
                }
                Err(error) => {
                    tracing::warn!(%error, "the log does not take the plan of a cut, will try again")
                }
            }
            self.pause(NOTE_AGAIN).await?;
        }
    }

    /// Notes that rows need not be sent: their store has them, or another gateway delivers them. In order with everything
    /// else, so that a restart does not bring an old value back, and in one note, so that it is all or nothing.
    pub(super) fn note_needless(self: &Arc<Self>, rows: Vec<(GatherKey, Vec<Piece>)>, settled: Settled) {
        let cuts: Vec<PendingCut> =
            rows.into_iter().map(|(key, pieces)| self.new_cut(NO_LANE, key, pieces)).collect();
        let created = cuts.iter().map(PendingCut::plan).collect();
        let body = self.encode(&Entry::Cuts(CutsEntry { retired: Vec::new(), created }));
        self.append_body_lazily(Entry::CUTS, body.clone());
        self.append_body_lazily(Entry::CUTS_AGAIN, body);
        for cut in &cuts {
            for piece in &cut.pieces {
                self.frames.settle(piece.position, piece.batch.len(), Refusals::default());
                self.account_as(piece, piece.batch.len(), settled);
            }
            self.note_done(cut.number);
        }
    }

    /// Notes that a cut is settled. The log lets go of its frames once that is durable: a start that found the plan and
    /// neither its rows nor this note would wait for them for ever.
    pub(super) fn note_done(self: &Arc<Self>, cut: u64) {
        let low_water = self.frames.low_water();
        self.append_lazily(&Entry::Done(DoneEntry { cuts: vec![cut], low_water }));
        if self.releasing.swap(true, Ordering::AcqRel) {
            return;
        }
        let feed = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                let low_water = feed.frames.low_water();
                let body = feed.encode(&Entry::Done(DoneEntry { cuts: Vec::new(), low_water }));
                let note = Some((Arc::new(Recent::Note), NOTE_BYTES));
                // Behind every note before it: when this one is durable, those are.
                let durable = feed.log.append(Entry::DONE, body, note).await.is_ok();
                feed.releasing.store(false, Ordering::Release);
                if durable {
                    feed.log.release(low_water);
                }
                let more = durable && feed.frames.low_water() > low_water;
                if !more || feed.releasing.swap(true, Ordering::AcqRel) {
                    return;
                }
            }
        });
    }

    fn append_lazily(&self, entry: &Entry) {
        self.append_body_lazily(entry.kind(), self.encode(entry));
    }

    fn append_body_lazily(&self, kind: u8, body: Vec<bytes::Bytes>) {
        self.log.append_lazily(kind, body, Some((Arc::new(Recent::Note), NOTE_BYTES)));
    }

    /// Makes durable that delivery goes on without `count` notes of cuts that are lost.
    pub(super) async fn give_up_notes(&self, count: u32) -> Result<(), Stopped> {
        let body = self.encode(&Entry::CutsAgain(CutsEntry::default()));
        for _ in 0..count {
            while let Err(error) =
                self.unless_halted(self.log.append(Entry::CUTS_AGAIN, body.clone(), None)).await?
            {
                tracing::warn!(%error, "the log does not take a note, will try again");
                self.pause(NOTE_AGAIN).await?;
            }
        }
        Ok(())
    }

    /// The body of a note. Its lists are far shorter than the format allows.
    fn encode(&self, entry: &Entry) -> Vec<bytes::Bytes> {
        entry.encode(&self.definitions, Compression::None).unwrap_or_else(|error| {
            tracing::error!(log = self.name.name(), %error, "a note of delivery cannot be encoded");
            Vec::new()
        })
    }

    /// Accounts for the rows of a settled piece.
    pub(super) fn account(&self, piece: &Piece, refused: &Refusals) {
        self.account_as(piece, refused.count, Settled::DeadLettered);
        self.account_as(piece, piece.batch.len().saturating_sub(refused.count), Settled::Stored);
    }

    fn account_as(&self, piece: &Piece, rows: usize, settled: Settled) {
        let table = piece.batch.table().name().as_str();
        self.metrics.rows().settled(piece.protocol, table, rows, settled);
    }

    /// Rows of this piece are on their way again.
    pub(super) fn restored(&self, piece: &Piece) {
        let table = piece.batch.table().name().as_str();
        self.metrics.rows().restored(piece.protocol, table, piece.batch.len());
    }

    /// Whether rows that the store never takes can be kept elsewhere: those of `dead_letters` cannot.
    pub(super) fn may_keep_dead_letters(&self) -> bool {
        self.dead_letters.is_some()
    }

    /// Makes dead letters of the rows of a cut durable, however long that takes.
    pub(super) async fn keep(&self, cut: &PendingCut, reason: &str) -> Result<(), Stopped> {
        let Some(log) = &self.dead_letters else { return Ok(()) };
        for piece in &cut.pieces {
            let letters = match dead_letters::of_piece(self.log.incarnation(), piece, reason) {
                Ok(letters) => letters,
                Err(error) => {
                    tracing::error!(table = %cut.key.table, %error, "rows that their store refuses cannot be kept: they stay in the log");
                    self.halt.cancelled().await;
                    return Err(Stopped);
                }
            };
            let entry = Entry::Request(RequestEntry {
                tenant: cut.key.tenant.clone(),
                protocol: String::new(),
                caller: String::new(),
                records: 0,
                key: None,
                batches: vec![letters],
            });
            let body = loop {
                match entry.encode(&self.definitions, Compression::None) {
                    Ok(body) => break body,
                    Err(error) => tracing::warn!(%error, "a dead letter cannot be written, will try again"),
                }
                self.pause(NOTE_AGAIN).await?;
            };
            loop {
                match self.unless_halted(log.append(Entry::REQUEST, body.clone(), None)).await? {
                    Ok(_) => break,
                    Err(error) => tracing::warn!(%error, "a dead letter is not durable yet, will try again"),
                }
                self.pause(NOTE_AGAIN).await?;
            }
            let protocol = Protocol::known_name("");
            self.metrics.rows().accepted(protocol, builtin::DEAD_LETTERS, piece.batch.len());
            self.metrics.refused_by_store(piece.batch.table(), piece.batch.len());
        }
        Ok(())
    }

    /// The lane's last cut in the store, when that is older than the last one that was committed there.
    pub(super) async fn regressed(&self, lane: u32) -> Option<u64> {
        let previous = self.previous(lane);
        if previous == 0 || self.is_draining() || self.store.kind() != StoreKind::Timescale {
            return None;
        }
        let progress = self.unless_halted(self.store.progress(self.log.incarnation())).await.ok()?.ok()?;
        let at = progress.get(&lane).copied().unwrap_or(0);
        (at < previous).then_some(at)
    }

    /// Frames that are durable and not settled.
    pub(super) fn waiting_frames(&self) -> u64 {
        self.log.synced().next().0.saturating_sub(self.frames.low_water().0)
    }
}

/// The rows of a frame.
pub(super) fn rows_of(frame: &RequestEntry) -> usize {
    frame.batches.iter().map(crate::registry::TableBatch::len).sum()
}

/// The bytes that the rows of a frame take.
pub(super) fn bytes_of(frame: &RequestEntry) -> usize {
    frame.batches.iter().map(crate::registry::TableBatch::memory_bytes).sum()
}
