//! The one seam that every protocol calls: a request's bytes and a decode function in, a receipt out.
//!
//! 1. admit: the request's bytes are taken from the budget of what may be under way; none left means
//!    [`Rejection::Overloaded`];
//! 2. decode, off the async threads when the request is large;
//! 3. keep the records that were refused as dead letters, before anything else, so that a failure here
//!    leaves nothing half-stored;
//! 4. hand the rows to [`crate::deliver`] and wait for the store's commit.
//!
//! Guaranteed: a [`Receipt`] is returned only after every accepted row has been committed by its store and every
//! rejected record is in `dead_letters`; a [`Rejection`] of a decoded request can be answered by sending it again.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, watch};

use crate::decode::{DecodeContext, DecodeError, DecodeLimits, Decoded};
use crate::deliver::{Delivery, dead_letters};
use crate::fault_point;
use crate::memory::{MemoryBudget, MemoryGrant};
use crate::observe::Metrics;
use crate::registry::{Snapshot, SnapshotCell, TableBatch, Tenant};
use crate::rejection::Rejection;

/// The header and metadata key by which callers ask for, and answers name, the level of acknowledgement.
pub const ACK_HEADER: &str = "tidewell-ack";

/// Most errors that a receipt lists one by one.
pub const MAX_LISTED_ERRORS: usize = 100;

/// Requests from this size on are decoded on a thread of their own, so that small ones need not wait behind them.
const DECODE_APART_FROM_BYTES: usize = 128 * 1024;

/// The protocol that a request came by; a label of the metrics and a column of `dead_letters`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// JSON, NDJSON or Arrow IPC over HTTP.
    Rest,
    /// `tidewell.v1.Ingest`.
    Grpc,
    /// OTLP over gRPC.
    OtlpGrpc,
    /// OTLP over HTTP, protobuf.
    OtlpHttpProtobuf,
    /// OTLP over HTTP, JSON.
    OtlpHttpJson,
    /// Arrow Flight.
    Flight,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 6] =
        [Self::Rest, Self::Grpc, Self::OtlpGrpc, Self::OtlpHttpProtobuf, Self::OtlpHttpJson, Self::Flight];

    /// The protocol's name in metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttpProtobuf => "otlp_http_protobuf",
            Self::OtlpHttpJson => "otlp_http_json",
            Self::Flight => "flight",
        }
    }
}

/// What an acknowledgement means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AckLevel {
    /// The store has committed the rows.
    Stored,
}

impl AckLevel {
    /// The level's name in headers and bodies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stored => "stored",
        }
    }
}

/// Who sends, and how.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The caller's name; a column of `dead_letters`.
    pub name: String,
    /// The tenant that the caller's credential belongs to.
    pub tenant: Tenant,
    /// The protocol of this request.
    pub protocol: Protocol,
}

impl Caller {
    /// A caller of the default tenant that did not name itself.
    pub fn anonymous(protocol: Protocol) -> Self {
        Self { name: "anonymous".to_owned(), tenant: Tenant::default(), protocol }
    }
}

/// What became of a request that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Records that are stored.
    pub accepted: usize,
    /// Records that were refused and kept as dead letters.
    pub rejected: usize,
    /// The first [`MAX_LISTED_ERRORS`] of the refused.
    pub errors: Vec<RecordError>,
    /// What the answer stands for.
    pub ack: AckLevel,
    /// What was stored otherwise than sent, or in spite of a doubt.
    pub warnings: Vec<String>,
}

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct RecordError {
    /// The record's place in the request, from 0.
    pub index: usize,
    /// The field at fault, empty for the record as a whole.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Limits of what is under way.
#[derive(Debug, Clone, Copy)]
pub struct IngestLimits {
    /// Bytes of requests and of their decoded rows under way at once, over all callers.
    pub in_flight_bytes: usize,
    /// Limits of one request.
    pub decode: DecodeLimits,
    /// How long an answer may wait for the store; shorter than the senders' own time-outs (5 s for a Collector).
    pub ack_timeout: Duration,
}

/// Whether requests are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The stores' tables are being prepared.
    Starting,
    /// Requests are taken.
    Ready,
    /// The gateway is ending.
    Stopping,
}

/// Takes requests in. Cheap to share; one per gateway.
#[derive(Debug)]
pub struct Ingest {
    tables: Arc<SnapshotCell>,
    delivery: Arc<Delivery>,
    memory: MemoryBudget,
    /// As many large requests are decoded at once as there are processors.
    decoders: Arc<Semaphore>,
    limits: IngestLimits,
    metrics: Arc<Metrics>,
    readiness: watch::Sender<Readiness>,
}

/// How a request treats its bad records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadRecords {
    /// Good records are stored, bad ones are kept as dead letters.
    #[default]
    KeepApart,
    /// One bad record refuses the request and nothing is stored or kept (`?strict`).
    RefuseAll,
}

impl Ingest {
    /// An ingest that publishes to `delivery`.
    pub fn new(
        tables: Arc<SnapshotCell>,
        delivery: Arc<Delivery>,
        limits: IngestLimits,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (readiness, _) = watch::channel(Readiness::Starting);
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            tables,
            delivery,
            memory: MemoryBudget::new(limits.in_flight_bytes),
            decoders: Arc::new(Semaphore::new(processors)),
            limits,
            metrics,
            readiness,
        }
    }

    /// Whether requests are taken.
    pub fn readiness(&self) -> Readiness {
        *self.readiness.borrow()
    }

    /// Follows [`Ingest::readiness`].
    pub fn watch_readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// Begins or ends to take requests.
    pub fn set_readiness(&self, readiness: Readiness) {
        self.readiness.send_replace(readiness);
    }

    /// Waits until requests are taken.
    pub async fn ready(&self) {
        // The sender lives as long as `self`, so the wait ends only with the state itself.
        drop(self.readiness.subscribe().wait_for(|readiness| *readiness == Readiness::Ready).await);
    }

    /// What requests under way share. A receiver that buffers a request's bytes holds a grant until it hands them over.
    pub fn memory(&self) -> &MemoryBudget {
        &self.memory
    }

    /// The limits of one request.
    pub fn decode_limits(&self) -> DecodeLimits {
        self.limits.decode
    }

    /// The tables right now.
    pub fn tables(&self) -> Snapshot {
        self.tables.load()
    }

    /// Receives one request of `size` bytes: admits it, decodes it with `decode`, stores it.
    pub async fn receive<F>(&self, caller: &Caller, size: usize, decode: F) -> Result<Receipt, Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        self.receive_with(caller, size, BadRecords::KeepApart, decode).await
    }

    /// [`Ingest::receive`], with a say in what a bad record does to its neighbours.
    pub async fn receive_with<F>(
        &self,
        caller: &Caller,
        size: usize,
        bad_records: BadRecords,
        decode: F,
    ) -> Result<Receipt, Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        let started = std::time::Instant::now();
        // Decoding counts as well: the sender's own time-out does not wait for it.
        let deadline = tokio::time::Instant::now() + self.limits.ack_timeout;
        let result = self.receive_inner(caller, size, bad_records, deadline, decode).await;
        self.metrics.request(caller.protocol, &result, size, started.elapsed());
        result
    }

    async fn receive_inner<F>(
        &self,
        caller: &Caller,
        size: usize,
        bad_records: BadRecords,
        deadline: tokio::time::Instant,
        decode: F,
    ) -> Result<Receipt, Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        match self.readiness() {
            Readiness::Ready => {}
            Readiness::Starting => {
                return Err(Rejection::unavailable("the gateway is starting: its stores are not ready yet"));
            }
            Readiness::Stopping => return Err(Rejection::unavailable("the gateway is shutting down")),
        }
        let body_memory = self.admit(size)?;
        let (decoded, memory) = self.decode(caller, body_memory, decode).await?;
        let received = self.metrics.received(caller.protocol, &decoded);
        if bad_records == BadRecords::RefuseAll && !decoded.rejected.is_empty() {
            return Ok(Receipt { accepted: 0, ..receipt(decoded, &[]) });
        }
        let receipt = self.submit(caller, decoded, &Arc::new(memory), deadline).await?;
        received.accepted(receipt.rejected);
        Ok(receipt)
    }

    /// Stores decoded rows: dead letters first, then each table's rows; waits for all commits.
    async fn submit(
        &self,
        caller: &Caller,
        mut decoded: Decoded,
        memory: &Arc<MemoryGrant>,
        deadline: tokio::time::Instant,
    ) -> Result<Receipt, Rejection> {
        if !decoded.rejected.is_empty() {
            let letters = dead_letters::batch(&self.tables(), caller, &decoded.rejected, now())?;
            self.delivery.store(vec![letters], memory, deadline).await.map_err(Rejection::from)?;
            self.metrics.dead_lettered(&decoded.rejected);
        }
        let batches = std::mem::take(&mut decoded.batches);
        let refused = self.delivery.store(batches, memory, deadline).await.map_err(Rejection::from)?;
        Ok(receipt(decoded, &refused))
    }

    fn admit(&self, bytes: usize) -> Result<MemoryGrant, Rejection> {
        let mut grant = self.memory.grant();
        grant.resize(bytes)?;
        Ok(grant)
    }

    /// Decodes, and exchanges the memory of the request's bytes for that of its rows. The grant is part of the work, so
    /// that a sender who hangs up does not free what is still in use; and no more requests are decoded at once
    /// than there are processors, since their rows are paid for only when their size is known.
    async fn decode<F>(
        &self,
        caller: &Caller,
        mut memory: MemoryGrant,
        decode: F,
    ) -> Result<(Decoded, MemoryGrant), Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        let tables = self.tables();
        let tenant = caller.tenant.clone();
        let limits = self.limits.decode;
        let apart = memory.bytes() >= DECODE_APART_FROM_BYTES;
        let run = move || {
            let decoded =
                decode(&DecodeContext { tables: &tables, tenant: &tenant, now_nanos: now(), limits })?;
            let rows: usize = decoded.batches.iter().map(TableBatch::memory_bytes).sum();
            let refused: usize = decoded.rejected.iter().map(|record| record.payload.len()).sum();
            memory.resize(rows + refused)?;
            Ok::<_, Rejection>((decoded, memory))
        };
        if !apart {
            return run();
        }
        let turn = Arc::clone(&self.decoders).acquire_owned().await;
        let run = move || {
            let _turn = turn;
            run()
        };
        tokio::task::spawn_blocking(run)
            .await
            .map_err(|error| Rejection::Internal(format!("decoding ended early: {error}")))?
    }
}

/// The time in nanoseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX).saturating_add(fault_point::clock_offset_nanos())
}

fn receipt(decoded: Decoded, refused_by_store: &[RecordError]) -> Receipt {
    let mut errors: Vec<RecordError> = decoded
        .rejected
        .iter()
        .map(|rejected| RecordError {
            index: rejected.index,
            field: rejected.error.field.clone(),
            reason: rejected.error.reason.clone(),
        })
        .chain(refused_by_store.iter().cloned())
        .collect();
    let rejected = errors.len();
    errors.truncate(MAX_LISTED_ERRORS);
    Receipt {
        accepted: decoded.accepted.saturating_sub(refused_by_store.len()),
        rejected,
        errors,
        ack: AckLevel::Stored,
        warnings: decoded.warnings,
    }
}
