//! The one seam that every protocol calls: a request's bytes and a decode function in, a receipt out.
//!
//! 1. admit: the request's bytes are taken from the budget of what may be under way; none left means
//!    [`Rejection::Overloaded`];
//! 2. recognise a repetition ([`idempotency`]), which gets the first one's answer;
//! 3. decode, off the async threads when the request is large, and send records where the routes say;
//! 4. slow down or refuse when a log is nearly full ([`load`]);
//! 5. make the records that were refused durable as dead letters, before anything else, so that a failure here leaves
//!    nothing half-kept;
//! 6. make the rows durable in the log of their store ([`crate::deliver`]); where the sender asks for `stored`, wait for
//!    the store's commit as well, as long as an answer may take.
//!
//! From the fourth step on a request goes on by itself ([`submission`]): a sender that hangs up sends again, and what it
//! sent must be known by then.
//!
//! Guaranteed: a [`Receipt`] is returned only when every accepted row and every rejected record is durable, and names
//! the level that was reached; a [`Rejection`] of a decoded request can be answered by sending it again.

pub mod answer;
pub mod idempotency;
pub mod load;
mod options;
mod preview;
pub mod replay;
mod rights;
mod submission;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::{Semaphore, watch};

use crate::config::ProtocolFamily;
use crate::decode::{DecodeContext, DecodeError, DecodeLimits, Decoded, RejectedRecord, routing};
use crate::deliver::Delivery;
use crate::fault_point;
use crate::memory::{MemoryBudget, MemoryGrant};
use crate::observe::Metrics;
use crate::registry::{RouteRequest, Routes, Snapshot, SnapshotCell, TableBatch, Tenant};
use crate::rejection::Rejection;

use idempotency::{Begun, Idempotency};
use load::{LoadSignal, LogLoad};
pub use options::{
    ACK_HEADER, AckLevel, BadRecords, IdempotencyKey, InvalidKey, KEY_HEADERS, LOWEST_ACK, Payload,
    RequestOptions, SUPPRESSED_HEADER, TABLE_HEADER, UnknownAckLevel,
};
pub use preview::{Preview, PreviewTable};
pub use rights::{Rights, Scope, TablePattern};
use submission::Submission;

/// Most errors that a receipt lists one by one.
pub const MAX_LISTED_ERRORS: usize = 100;

/// Requests from this size on are decoded on a thread of their own, so that small ones need not wait behind them.
const DECODE_APART_FROM_BYTES: usize = 128 * 1024;

/// Requests from this size on are hashed on a thread of their own: what is hashed in a tenth of a millisecond.
const HASH_APART_FROM_BYTES: usize = 4 * 1024 * 1024;

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
    /// A dead letter that is sent again.
    Replay,
    /// Prometheus remote write.
    RemoteWrite,
    /// Vector's native protocol.
    Vector,
    /// Loki's push requests.
    Loki,
    /// InfluxDB's line protocol.
    InfluxDb,
    /// Elasticsearch's bulk requests.
    Elasticsearch,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 12] = [
        Self::Rest,
        Self::Grpc,
        Self::OtlpGrpc,
        Self::OtlpHttpProtobuf,
        Self::OtlpHttpJson,
        Self::Flight,
        Self::Replay,
        Self::RemoteWrite,
        Self::Vector,
        Self::Loki,
        Self::InfluxDb,
        Self::Elasticsearch,
    ];

    /// The protocol's name in metrics and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rest => "rest",
            Self::Grpc => "grpc",
            Self::OtlpGrpc => "otlp_grpc",
            Self::OtlpHttpProtobuf => "otlp_http_protobuf",
            Self::OtlpHttpJson => "otlp_http_json",
            Self::Flight => "flight",
            Self::Replay => "replay",
            Self::RemoteWrite => "remote_write",
            Self::Vector => "vector",
            Self::Loki => "loki",
            Self::InfluxDb => "influxdb",
            Self::Elasticsearch => "elasticsearch",
        }
    }

    /// The name of a protocol that a log keeps; `gateway` for rows of Tidewell's own, and for a protocol that only another
    /// version knows.
    pub(crate) fn known_name(name: &str) -> &'static str {
        Self::ALL.into_iter().map(Self::name).find(|known| *known == name).unwrap_or("gateway")
    }

    /// What settings call it.
    pub fn family(self) -> ProtocolFamily {
        match self {
            // A replay always has a key, so that it is never known by its body.
            Self::Rest | Self::Replay => ProtocolFamily::Rest,
            Self::Grpc => ProtocolFamily::Grpc,
            Self::OtlpGrpc | Self::OtlpHttpProtobuf | Self::OtlpHttpJson => ProtocolFamily::Otlp,
            Self::Flight => ProtocolFamily::Flight,
            Self::RemoteWrite => ProtocolFamily::RemoteWrite,
            Self::Vector => ProtocolFamily::Vector,
            Self::Loki => ProtocolFamily::Loki,
            Self::InfluxDb => ProtocolFamily::Influxdb,
            Self::Elasticsearch => ProtocolFamily::Elasticsearch,
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
    /// What it may do.
    pub rights: Arc<Rights>,
    /// The address that it calls from, where that is known; its share of the memory goes by that.
    pub peer: Option<IpAddr>,
    /// The protocol of this request.
    pub protocol: Protocol,
}

impl Caller {
    /// The gateway itself, or a test.
    pub fn own(name: &str, protocol: Protocol) -> Self {
        let rights = Arc::new(Rights::all());
        Self { name: name.to_owned(), tenant: Tenant::default(), rights, peer: None, protocol }
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
    /// Whether the request was recognised as a repetition: the rest is what its first answer said, and nothing was
    /// stored again.
    pub suppressed: bool,
}

/// One refused record.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RecordError {
    /// The record's place in the request, from 0.
    pub index: usize,
    /// The field at fault, empty for the record as a whole.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl RecordError {
    /// What a sender hears of a refused record.
    fn of(record: &RejectedRecord) -> Self {
        Self { index: record.index, field: record.error.field.clone(), reason: record.error.reason.clone() }
    }
}

/// Limits of what is under way.
#[derive(Debug, Clone, Copy)]
pub struct IngestLimits {
    /// Bytes of requests and of their decoded rows under way at once, over all callers.
    pub in_flight_bytes: usize,
    /// How much of these one caller may hold while others want some, in percent.
    pub caller_share_percent: u8,
    /// Limits of one request.
    pub decode: DecodeLimits,
    /// How long an answer may wait for the store; shorter than the senders' own time-outs (5 s for a Collector).
    pub ack_timeout: Duration,
    /// The level of acknowledgement of those who do not ask for one.
    pub ack: AckLevel,
}

/// Whether requests are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// The logs are being opened.
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
    load: Arc<LoadSignal>,
    /// As many large requests are decoded at once as there are processors.
    decoders: Arc<Semaphore>,
    limits: IngestLimits,
    idempotency: Idempotency,
    metrics: Arc<Metrics>,
    readiness: watch::Sender<Readiness>,
}

impl Ingest {
    /// An ingest that publishes to `delivery`.
    pub fn new(
        tables: Arc<SnapshotCell>,
        delivery: Arc<Delivery>,
        limits: IngestLimits,
        idempotency: Idempotency,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (readiness, _) = watch::channel(Readiness::Starting);
        let memory = MemoryBudget::new(limits.in_flight_bytes, limits.caller_share_percent);
        let logs = Arc::clone(&delivery);
        let logs = move |log, bytes| {
            let (share, fits) = logs.load_before(log, bytes);
            LogLoad { share, fits, lag: logs.lag(log) }
        };
        let processors = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            tables,
            delivery,
            load: Arc::new(LoadSignal::new(memory.clone(), logs)),
            memory,
            decoders: Arc::new(Semaphore::new(processors)),
            limits,
            idempotency,
            metrics,
            readiness,
        }
    }

    /// The load of the gateway.
    pub fn load(&self) -> &Arc<LoadSignal> {
        &self.load
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

    /// Begins to take requests, unless the gateway is ending already.
    pub fn take_requests(&self) {
        self.readiness.send_if_modified(|readiness| {
            let begins = *readiness == Readiness::Starting;
            if begins {
                *readiness = Readiness::Ready;
            }
            begins
        });
    }

    /// An error with the reason while no requests are taken.
    pub fn check_ready(&self) -> Result<(), Rejection> {
        match self.readiness() {
            Readiness::Ready => Ok(()),
            Readiness::Starting => Err(Rejection::unavailable(
                "the gateway is starting: its logs are not open yet, /readyz says why",
            )),
            Readiness::Stopping => Err(Rejection::unavailable("the gateway is shutting down")),
        }
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

    /// [`Ingest::memory`] as the caller at `peer` sees it.
    pub fn memory_of(&self, peer: Option<IpAddr>) -> MemoryBudget {
        peer.map_or_else(|| self.memory.clone(), |peer| self.memory.of_caller(peer))
    }

    /// The limits of one request.
    pub fn decode_limits(&self) -> DecodeLimits {
        self.limits.decode
    }

    /// The requests that are known.
    pub fn idempotency(&self) -> &Idempotency {
        &self.idempotency
    }

    /// The tables right now.
    pub fn tables(&self) -> Snapshot {
        self.tables.load()
    }

    /// Receives one request: admits it, decodes it with `decode`, stores it. `payload` is the request as it was sent.
    pub async fn receive<F>(
        &self,
        caller: &Caller,
        options: RequestOptions,
        payload: Payload,
        decode: F,
    ) -> Result<Receipt, Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        let size = payload.len();
        let started = std::time::Instant::now();
        // Decoding counts as well: the sender's own time-out does not wait for it.
        let deadline = tokio::time::Instant::now() + self.limits.ack_timeout;
        let result = self.receive_inner(caller, options, payload, deadline, decode).await;
        let result = result.map_err(|rejection| self.load.pace(rejection));
        self.metrics.request(caller.protocol, &result, size, started.elapsed());
        result
    }

    async fn receive_inner<F>(
        &self,
        caller: &Caller,
        options: RequestOptions,
        payload: Payload,
        deadline: tokio::time::Instant,
        decode: F,
    ) -> Result<Receipt, Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        self.check_ready()?;
        let body_memory = self.admit(caller, payload.len())?;
        let guard = match self.begin(caller, &options, &payload, deadline).await? {
            Some(Begun::Repetition(receipt)) => {
                self.metrics.suppressed(caller.protocol, &receipt);
                return Ok(receipt);
            }
            Some(Begun::New(guard)) => Some(guard),
            None => None,
        };
        // From here on the decoder alone holds the bytes: their memory is exchanged for that of the rows.
        drop(payload);
        let (decoded, memory) = self.decode(caller, &options, body_memory, decode).await?;
        caller.rights.require_decoded(&decoded)?;
        let submission = Submission {
            tables: self.tables(),
            delivery: Arc::clone(&self.delivery),
            load: Arc::clone(&self.load),
            metrics: Arc::clone(&self.metrics),
            caller: caller.clone(),
            bad_records: options.bad_records,
            ack: options.ack.unwrap_or(self.limits.ack),
            decoded,
            memory,
            deadline,
            guard,
        };
        tokio::spawn(submission.run())
            .await
            .map_err(|error| Rejection::Internal(format!("storing ended early: {error}")))?
    }

    /// Begins a request that is recognised by something; none when it is not.
    async fn begin(
        &self,
        caller: &Caller,
        options: &RequestOptions,
        payload: &Payload,
        deadline: tokio::time::Instant,
    ) -> Result<Option<Begun>, Rejection> {
        let identity = if payload.len() < HASH_APART_FROM_BYTES {
            self.idempotency.identify(caller, options, payload)
        } else {
            let (idempotency, caller) = (self.idempotency.clone(), caller.clone());
            let (options, payload) = (options.clone(), payload.clone());
            tokio::task::spawn_blocking(move || idempotency.identify(&caller, &options, &payload))
                .await
                .map_err(|error| Rejection::Internal(format!("hashing ended early: {error}")))?
        };
        match identity {
            Some(identity) => self.idempotency.begin_or_wait(&identity, deadline).await.map(Some),
            None => Ok(None),
        }
    }

    fn admit(&self, caller: &Caller, bytes: usize) -> Result<MemoryGrant, Rejection> {
        let mut grant = self.memory_of(caller.peer).grant();
        grant.resize(bytes)?;
        Ok(grant)
    }

    /// Decodes, and exchanges the memory of the request's bytes for that of its rows. The grant is part of the work, so
    /// that a sender who hangs up does not free what is still in use; and no more requests are decoded at once
    /// than there are processors, since their rows are paid for only when their size is known.
    async fn decode<F>(
        &self,
        caller: &Caller,
        options: &RequestOptions,
        mut memory: MemoryGrant,
        decode: F,
    ) -> Result<(Decoded, MemoryGrant), Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        let tables = self.tables();
        let tenant = caller.tenant.clone();
        let limits = self.limits.decode;
        let routing = tables.routes(&tenant).map(|routes| Routing::new(routes, caller, options));
        let apart = memory.bytes() >= DECODE_APART_FROM_BYTES;
        let run = move || {
            let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: now(), limits };
            let decoded = decode(&context)?;
            let decoded = match &routing {
                Some(routing) => routing.apply(decoded, &context)?,
                None => decoded,
            };
            let decoded = with_label_warnings(decoded);
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

/// The routes of a request, and what it says of all its records.
struct Routing {
    routes: Arc<Routes>,
    caller: String,
    header: Option<Box<str>>,
}

impl Routing {
    fn new(routes: &Arc<Routes>, caller: &Caller, options: &RequestOptions) -> Self {
        Self { routes: Arc::clone(routes), caller: caller.name.clone(), header: options.table.clone() }
    }

    fn apply(&self, decoded: Decoded, context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
        let request = RouteRequest { caller: &self.caller, header: self.header.as_deref() };
        routing::route(decoded, &self.routes, request, context)
    }
}

/// Tells the sender what was done to labels to keep the limits of their tables.
fn with_label_warnings(mut decoded: Decoded) -> Decoded {
    let changed = decoded.batches.iter().filter(|batch| !batch.label_changes().is_none());
    let told = changed.map(|batch| batch.label_changes().sentence(batch.table().name().as_str()));
    decoded.warnings.extend(told.collect::<Vec<_>>());
    decoded
}

/// The time in nanoseconds since 1970.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX).saturating_add(fault_point::clock_offset_nanos())
}
