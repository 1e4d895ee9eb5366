//! The reader of a feed: frames in order, out of memory or from the disk; their rows into the gathering.
//!
//! Frames that were there before a restart may be settled in part: [`Resume`] knows what is left of them. A frame that
//! cannot be decoded stays in the log, holds up no other, and is looked at again until it can be.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinError;
use tokio::time::Instant;

use super::Recent;
use super::cut::parts_of;
use super::feed::{Feed, Stopped, bytes_of, rows_of};
use super::frames::{Frames, UNDECODED};
use super::gather::{GatherKey, Piece};
use super::resume::Resume;
use crate::observe::accounts::Settled;
use crate::wal::entry::{Entry, EntryError, RequestEntry};
use crate::wal::{Definitions, DefinitionsError, LogError, LogReader, Position};

/// Bytes of frames that are read from the disk in one go.
const CHUNK_BYTES: usize = 4 * 1024 * 1024;

/// Frames that are taken from memory in one go.
const MAX_RECENT: usize = 1024;

/// How often frames that could not be decoded are looked at again.
const LOOK_AGAIN: Duration = if cfg!(test) { Duration::from_millis(50) } else { Duration::from_secs(5) };

/// Frames that cannot be decoded: the definition of a table is missing or damaged.
#[derive(Debug)]
struct Undecoded {
    positions: BTreeSet<Position>,
    look_at: Instant,
}

/// What one go on the disk brought.
struct Chunk {
    reader: LogReader,
    /// A frame that cannot be decoded is none.
    frames: Vec<(Position, Option<RequestEntry>)>,
    /// Where to go on.
    next: Position,
}

impl Feed {
    /// Hands out the rows of all frames from where `resume` says, until the feed ends.
    pub(super) async fn read(self: Arc<Self>, resume: Resume) {
        match self.read_on(resume).await {
            Ok(()) | Err(Stopped) => {
                tracing::debug!(log = self.name.name(), "what is not handed out stays in the log")
            }
        }
    }

    async fn read_on(self: &Arc<Self>, mut resume: Resume) -> Result<(), Stopped> {
        let mut synced = self.log.watch_synced();
        let mut next = resume.from;
        // Kept while the disk is read: a new reader looks for its place.
        let mut reader = None;
        let mut undecoded = Undecoded { positions: BTreeSet::new(), look_at: Instant::now() };
        loop {
            self.has_room().await?;
            if !undecoded.positions.is_empty() && undecoded.look_at <= Instant::now() {
                self.look_again(&mut undecoded, &mut resume).await?;
            }
            let recent = self.take_recent(next);
            if !recent.is_empty() {
                next = self.hand_out_recent(recent, &mut resume).await?;
                continue;
            }
            if next <= *synced.borrow_and_update() {
                next = self.read_chunk(next, &mut reader, &mut resume, &mut undecoded).await?;
                continue;
            }
            tokio::select! {
                changed = synced.changed() => changed.map_err(|_| Stopped)?,
                () = tokio::time::sleep_until(undecoded.look_at), if !undecoded.positions.is_empty() => {}
                () = self.draining() => return Err(Stopped),
            }
        }
    }

    /// Hands out the rows of frames that can be decoded by now.
    async fn look_again(
        self: &Arc<Self>,
        undecoded: &mut Undecoded,
        resume: &mut Resume,
    ) -> Result<(), Stopped> {
        for position in undecoded.positions.clone() {
            self.has_room().await?;
            let (log, definitions) = (Arc::clone(&self.log), Arc::clone(&self.definitions));
            let read = tokio::task::spawn_blocking(move || {
                let frame = log.reader(position).next()?.filter(|frame| frame.position == position);
                let decoded = frame.map(|frame| Entry::decode(frame.kind, &frame.body, &definitions));
                Ok::<_, LogError>(decoded)
            });
            match read.await {
                Ok(Ok(Some(Ok(Entry::Request(request))))) => {
                    let elsewhere = self.claimed_elsewhere([(position, &request)].into_iter()).await?;
                    self.hand_out(position, &request, resume, &elsewhere, Frames::replace);
                    undecoded.positions.remove(&position);
                }
                // Its table may be mended while that of the others is not.
                outcome => tracing::debug!(%position, ?outcome, "a frame still cannot be decoded"),
            }
        }
        undecoded.look_at = Instant::now() + LOOK_AGAIN;
        Ok(())
    }

    /// Frames that are still in memory, from `next` on, as many as a window takes.
    fn take_recent(&self, next: Position) -> Vec<(Position, Arc<Recent>)> {
        let (mut frames, mut at, mut bytes) = (Vec::new(), next, self.frames.bytes());
        while bytes < self.window_bytes && frames.len() < MAX_RECENT {
            let Some(recent) = self.log.recent(at) else { break };
            if let Recent::Rows(frame) = &*recent {
                bytes += bytes_of(frame);
            }
            frames.push((at, recent));
            at = at.next();
        }
        frames
    }

    async fn hand_out_recent(
        self: &Arc<Self>,
        recent: Vec<(Position, Arc<Recent>)>,
        resume: &mut Resume,
    ) -> Result<Position, Stopped> {
        let requests = recent.iter().filter_map(|(position, recent)| match &**recent {
            Recent::Rows(frame) => Some((*position, frame)),
            Recent::Note => None,
        });
        let elsewhere = self.claimed_elsewhere(requests).await?;
        let mut next = Position(0);
        for (position, recent) in recent {
            next = position.next();
            match &*recent {
                Recent::Rows(frame) => {
                    self.hand_out(position, frame, resume, &elsewhere, Frames::hand_out);
                }
                Recent::Note => self.frames.skip_to(next),
            }
        }
        Ok(next)
    }

    /// Waits until more rows may be handed out.
    async fn has_room(&self) -> Result<(), Stopped> {
        tokio::select! {
            () = self.frames.completed_until(|bytes| bytes < self.window_bytes) => Ok(()),
            () = self.draining() => Err(Stopped),
        }
    }

    /// Reads some frames from the disk. Returns where to go on.
    async fn read_chunk(
        self: &Arc<Self>,
        from: Position,
        kept: &mut Option<LogReader>,
        resume: &mut Resume,
        undecoded: &mut Undecoded,
    ) -> Result<Position, Stopped> {
        let reader = kept.take().filter(|reader| reader.position() == from);
        let reader = reader.unwrap_or_else(|| self.log.reader(from));
        let definitions = Arc::clone(&self.definitions);
        let room = self.window_bytes.saturating_sub(self.frames.bytes());
        let read = tokio::task::spawn_blocking(move || read_frames(reader, from, room, &definitions));
        match flatten(read.await) {
            Ok(chunk) => {
                let mut at = from;
                let requests =
                    chunk.frames.iter().filter_map(|(position, frame)| Some((*position, frame.as_ref()?)));
                let elsewhere = self.claimed_elsewhere(requests).await?;
                for (position, frame) in &chunk.frames {
                    if *position > at {
                        self.frames.skip_to(*position);
                    }
                    match frame {
                        Some(frame) => self.hand_out(*position, frame, resume, &elsewhere, Frames::hand_out),
                        None if resume.is_settled(*position) => self.frames.skip_to(position.next()),
                        None => {
                            self.frames.hand_out(*position, UNDECODED, 0);
                            undecoded.positions.insert(*position);
                        }
                    }
                    at = position.next();
                }
                if chunk.next > at {
                    self.frames.skip_to(chunk.next);
                }
                *kept = Some(chunk.reader);
                Ok(chunk.next)
            }
            Err(error) => {
                tracing::error!(log = self.name.name(), %error, "the log cannot be read, will try again");
                self.pause(Duration::from_secs(1)).await?;
                Ok(from)
            }
        }
    }

    /// Gives the rows of a frame to the gathering, without those that a cut holds already, and without those of a request
    /// that another gateway delivers. `count` tells the frames of them.
    fn hand_out(
        self: &Arc<Self>,
        position: Position,
        frame: &RequestEntry,
        resume: &mut Resume,
        elsewhere: &HashSet<Position>,
        count: fn(&Frames, Position, usize, usize),
    ) {
        if resume.is_settled(position) {
            self.frames.skip_to(position.next());
            return;
        }
        let held = resume.take_held(position);
        let mut pieces: Vec<(GatherKey, Piece)> = Vec::with_capacity(frame.batches.len());
        // Rows that cannot be read are never settled, which keeps their frame in the log.
        let mut unreadable = 0;
        for batch in 0..u16::try_from(frame.batches.len()).unwrap_or(u16::MAX) {
            match parts_of(frame, position, batch) {
                Ok(parts) => pieces.extend(parts.flat_map(|(key, piece)| {
                    let left = held.left_of(&key, piece);
                    left.into_iter().map(move |piece| (key.clone(), piece)).collect::<Vec<_>>()
                })),
                Err(error) => {
                    tracing::error!(%position, %error, "rows of a frame cannot be read: they stay in the log");
                    unreadable +=
                        frame.batches.get(usize::from(batch)).map_or(1, crate::registry::TableBatch::len);
                }
            }
        }
        let rows = pieces.iter().map(|(_, piece)| piece.batch.len()).sum();
        let bytes = if rows == rows_of(frame) {
            bytes_of(frame)
        } else {
            pieces.iter().map(|(_, piece)| piece.batch.memory_bytes()).sum()
        };
        count(&self.frames, position, rows + unreadable, bytes);
        let is_elsewhere = elsewhere.contains(&position) && held.is_empty();
        if is_elsewhere {
            self.metrics.claimed_elsewhere(self.name, rows);
        }
        let is_old = resume.is_old(position);
        if is_old {
            pieces.iter().for_each(|(_, piece)| self.restored(piece));
        }
        if is_elsewhere {
            self.note_needless(
                pieces.into_iter().map(|(key, piece)| (key, vec![piece])).collect(),
                Settled::Suppressed,
            );
            return;
        }
        for (key, piece) in pieces {
            self.gather.push(key, piece);
        }
    }
}

fn read_frames(
    mut reader: LogReader,
    from: Position,
    room: usize,
    definitions: &Definitions,
) -> Result<Chunk, Unread> {
    let (mut frames, mut bytes, mut next) = (Vec::new(), 0, from);
    // Rows may take far more than their packed form did.
    while bytes < CHUNK_BYTES.min(room.max(1)) {
        let Some(frame) = reader.next()? else {
            // What could not be read is in quarantine, and behind the reader.
            next = next.max(reader.position());
            break;
        };
        next = frame.position.next();
        if frame.kind != Entry::REQUEST {
            continue;
        }
        bytes += frame.body.len();
        let packed = frame.body.len();
        match Entry::decode(frame.kind, &frame.body, definitions) {
            Ok(Entry::Request(request)) => {
                bytes += bytes_of(&request).saturating_sub(packed);
                frames.push((frame.position, Some(request)));
            }
            Ok(_) => {}
            // Too many open files, a disk that is away: nothing is wrong with the frame.
            Err(EntryError::Definitions(error @ DefinitionsError::Io { .. })) => return Err(error.into()),
            Err(error) => {
                tracing::error!(position = %frame.position, %error, "a frame cannot be decoded: it stays in the log and is looked at again");
                frames.push((frame.position, None));
            }
        }
    }
    Ok(Chunk { reader, frames, next })
}

/// Why frames cannot be read now.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// The log's disk refuses.
    #[error(transparent)]
    Log(#[from] LogError),
    /// That of the definitions does.
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
}

fn flatten(read: Result<Result<Chunk, Unread>, JoinError>) -> Result<Chunk, String> {
    read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}
