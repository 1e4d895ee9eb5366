//! What `/metrics` says of this moment rather than counts: the parts of the gateway in, a registry of gauges out. It is
//! made anew for each scrape, so that no part has to know that it is watched.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::health::Report;
use super::process::{self, Process};
use crate::deliver::FeedStatus;

/// The values at one moment.
#[derive(Debug, Clone)]
pub struct Moment<'r> {
    /// The state of the gateway and its stores.
    pub health: &'r Report,
    /// The logs and what they feed.
    pub feeds: &'r [FeedStatus],
    /// Bytes of requests and of their rows under way.
    pub in_flight_bytes: usize,
    /// Most of them (`ingest.in_flight_bytes`).
    pub in_flight_limit_bytes: usize,
    /// Connections to Postgres that write rows.
    pub pool: deadpool_postgres::Status,
    /// Tables that are known.
    pub tables: usize,
    /// Dead letters that wait, once they were counted.
    pub waiting_letters: Option<u64>,
    /// Requests whose repetitions are recognised.
    pub idempotency_keys: usize,
    /// Requests that were forgotten before their time, since there were too many.
    pub forgotten_keys: u64,
    /// When the certificate of the listeners expires, in seconds since 1970; none without TLS.
    pub certificate_expires: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabels {
    store: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LogLabels {
    log: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConnectionLabels {
    store: &'static str,
    state: &'static str,
}

type Number = Gauge<u64, AtomicU64>;
type Real = Gauge<f64, AtomicU64>;

/// The gauges of this moment.
pub fn registry(moment: &Moment<'_>) -> Registry {
    let mut all = Registry::default();
    let tidewell = all.sub_registry_with_prefix("tidewell");

    number(tidewell, "ready", "1 when writes are taken", usize::from(moment.health.status.is_ready()));
    let up = Family::<StoreLabels, Number>::default();
    let probe = Family::<StoreLabels, Real>::default();
    for store in &moment.health.stores {
        let labels = StoreLabels { store: store.store };
        if let Some(is_up) = store.up {
            up.get_or_create(&labels).set(u64::from(is_up));
            probe.get_or_create(&labels).set(store.probe_ms / 1000.0);
        }
    }
    tidewell.register("store_up", "1 when the store answered the last probe", up);
    tidewell.register("store_probe_duration_seconds", "Time of the last probe", probe);

    logs(tidewell, moment.feeds);
    number(tidewell, "in_flight_bytes", "Bytes of requests and their rows under way", moment.in_flight_bytes);
    number(
        tidewell,
        "in_flight_limit_bytes",
        "Most bytes that may be under way (ingest.in_flight_bytes)",
        moment.in_flight_limit_bytes,
    );

    let connections = Family::<ConnectionLabels, Number>::default();
    let pool = &moment.pool;
    for (state, number) in [("in_use", pool.size.saturating_sub(pool.available)), ("idle", pool.available)] {
        connections.get_or_create(&ConnectionLabels { store: "timescale", state }).set(number as u64);
    }
    tidewell.register("pool_connections", "Open connections that write rows", connections);
    let of_timescale = |value: usize| {
        let family = Family::<StoreLabels, Number>::default();
        family.get_or_create(&StoreLabels { store: "timescale" }).set(value as u64);
        family
    };
    tidewell.register("pool_limit", "Most connections that write rows", of_timescale(pool.max_size));
    tidewell.register("pool_waiting", "Tasks that wait for a connection", of_timescale(pool.waiting));
    number(tidewell, "tables", "Tables that are known", moment.tables);
    if let Some(waiting) = moment.waiting_letters {
        let waiting = usize::try_from(waiting).unwrap_or(usize::MAX);
        number(tidewell, "dead_letters_waiting", "Dead letters neither replayed nor discarded", waiting);
    }
    number(
        tidewell,
        "idempotency_keys",
        "Requests whose repetitions are recognised (idempotency.max_keys)",
        moment.idempotency_keys,
    );
    let forgotten: Counter = Counter::default();
    forgotten.inc_by(moment.forgotten_keys);
    tidewell.register(
        "idempotency_keys_forgotten",
        "Requests forgotten before idempotency.window_seconds had passed, since there were too many",
        forgotten,
    );

    if let Some(expires) = moment.certificate_expires {
        number(
            tidewell,
            "certificate_expires_timestamp_seconds",
            "When the certificate of both ports expires, seconds since 1970",
            usize::try_from(expires).unwrap_or(usize::MAX),
        );
    }
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    number(tidewell, "processors", "Processors that the process may use", processors);
    if let Some(limit) = process::memory_limit() {
        number(
            tidewell,
            "memory_limit_bytes",
            "Most memory of the process: its control group's limit, or the machine's memory",
            usize::try_from(limit).unwrap_or(usize::MAX),
        );
    }
    if let Some(process) = Process::now() {
        process.register(&mut all);
    }
    all
}

/// The logs: what is in them, what they take, and what became of their disk.
fn logs(registry: &mut Registry, feeds: &[FeedStatus]) {
    type Value = fn(&FeedStatus) -> u64;
    type Time = fn(&FeedStatus) -> Duration;
    let values: [(&str, &str, Value); 12] = [
        ("queue_rows", "Rows read from a log that are not settled", |feed| feed.waiting_rows as u64),
        ("log_frames_waiting", "Frames that are durable and not settled", |feed| feed.waiting_frames),
        ("log_bytes", "Bytes of a log on disk, the retained tail included", |feed| feed.files.used_bytes),
        ("log_waiting_bytes", "Bytes of files with frames that are not settled", |feed| {
            feed.files.needed_bytes
        }),
        ("log_limit_bytes", "Most bytes of a log (wal.*_max_bytes)", |feed| feed.files.max_bytes),
        ("log_window_bytes", "Most bytes of rows of a log in memory (wal.window_bytes)", |feed| {
            feed.window_bytes as u64
        }),
        ("log_segments", "Files of a log", |feed| feed.files.segments as u64),
        ("log_synced_position", "The last durable frame", |feed| feed.files.synced.0),
        ("log_released_position", "Frames before this one are settled", |feed| feed.files.released.0),
        ("log_quarantined_bytes", "Bytes of a log that could not be read and were put aside", |feed| {
            feed.files.quarantined_bytes
        }),
        ("log_lost_notes", "Notes of cuts lost to damage: above 0 nothing of a log is delivered", |feed| {
            u64::from(feed.lost_notes)
        }),
        ("log_writable", "1 when a log takes frames", |feed| u64::from(feed.files.unwritable.is_none())),
    ];
    for (name, help, value) in values {
        let family = Family::<LogLabels, Number>::default();
        for feed in feeds {
            family.get_or_create(&LogLabels { log: feed.log.name() }).set(value(feed));
        }
        registry.register(name, help, family);
    }
    let counts: [(&str, &str, Value); 3] = [
        ("log_syncs", "Times that a log was synced", |feed| feed.files.syncs),
        ("log_failures", "Writes and syncs of a log that failed", |feed| feed.files.failures),
        ("log_refused", "Requests refused because a log was full", |feed| feed.files.refused),
    ];
    for (name, help, count) in counts {
        let family = Family::<LogLabels, Counter>::default();
        for feed in feeds {
            family.get_or_create(&LogLabels { log: feed.log.name() }).inc_by(count(feed));
        }
        registry.register(name, help, family);
    }
    let seconds: [(&str, &str, Time); 2] = [
        ("log_sync_duration_seconds", "How long the last sync of a log took", |feed| feed.files.last_sync),
        (
            "log_lag_seconds",
            "How long the oldest rows of a log have been on their way to their store",
            |feed| feed.lag,
        ),
    ];
    for (name, help, value) in seconds {
        let family = Family::<LogLabels, Real>::default();
        for feed in feeds {
            family.get_or_create(&LogLabels { log: feed.log.name() }).set(value(feed).as_secs_f64());
        }
        registry.register(name, help, family);
    }
}

fn number(registry: &mut Registry, name: &str, help: &str, value: usize) {
    let gauge = Number::default();
    gauge.set(value as u64);
    registry.register(name, help, gauge);
}
