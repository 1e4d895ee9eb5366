//! Whether the gateway is alive and whether it can take writes: the state of its parts in, `/healthz` and `/readyz` out.
//!
//! | state | `/readyz` | why |
//! |---|---|---|
//! | `ready` | 200 | the logs take writes and all stores answer |
//! | `degraded` | 200 | a store does not answer: what is meant for it is durable and waits in its log |
//! | `unavailable` | 503 | a log cannot be opened or written (its disk failed, is full, read-only or gone): writes are refused |
//! | `starting` | 503 | the logs are being opened |
//! | `stopping` | 503 | the gateway finishes what it accepted and ends |
//!
//! A store that is down does not make a gateway unready: all gateways behind one address share it, and each takes writes
//! without it. `/healthz` is 200 as long as the process answers at all; restarting it would not bring a disk back.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use futures::future::join_all;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::ingest::Readiness;
use crate::store::Store;

/// How often the stores are asked.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// A store that answers later than this does not answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// How often an outage that goes on is logged.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// What is known of the stores. One per gateway.
#[derive(Debug)]
pub struct Health {
    stores: Vec<Probed>,
    started: Instant,
}

#[derive(Debug)]
struct Probed {
    store: Arc<dyn Store>,
    last: Mutex<Last>,
}

/// The outcome of the last probe.
#[derive(Debug)]
struct Last {
    /// None before the first probe.
    up: Option<bool>,
    since: SystemTime,
    took: Duration,
    error: Option<String>,
    logged: Instant,
}

/// The state of the gateway as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Everything answers.
    Ready,
    /// A store does not answer.
    Degraded,
    /// A log cannot be written.
    Unavailable,
    /// The logs are being opened.
    Starting,
    /// The gateway is ending.
    Stopping,
}

/// What `/readyz` answers.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Always `tidewell`: tells the gateway from whatever else may listen on its port.
    pub service: &'static str,
    /// The running version.
    pub version: &'static str,
    /// The state as a whole.
    pub status: Status,
    /// For how long the gateway has been running, in seconds.
    pub uptime_seconds: u64,
    /// The stores.
    pub stores: Vec<StoreReport>,
    /// Logs that cannot be written, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unwritable_logs: Vec<UnwritableLog>,
    /// Logs that take writes and are not delivered, until a person says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub held_logs: Vec<HeldLog>,
}

/// A log that has lost to damage which of its rows were sent in which cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldLog {
    /// The log's name.
    pub log: &'static str,
    /// How many notes of cuts are lost.
    pub lost_notes: u32,
    /// The file to create for it to be delivered all the same.
    pub consent: String,
}

/// A log that cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnwritableLog {
    /// The log's name.
    pub log: &'static str,
    /// What its disk says.
    pub reason: String,
}

/// What is known of one store.
#[derive(Debug, Clone, Serialize)]
pub struct StoreReport {
    /// `timescale` or `clickhouse`.
    pub store: &'static str,
    /// Whether it answered the last probe; null before the first.
    pub up: Option<bool>,
    /// Since when, RFC 3339.
    pub since: String,
    /// How long the last probe took, in milliseconds.
    pub probe_ms: f64,
    /// What went wrong with the last probe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Status {
    /// Whether writes are taken.
    pub fn is_ready(self) -> bool {
        matches!(self, Self::Ready | Self::Degraded)
    }
}

impl Health {
    /// The health of a gateway with these stores, of which nothing is known yet.
    pub fn new(stores: impl IntoIterator<Item = Arc<dyn Store>>) -> Self {
        let probed = |store| {
            let last = Last {
                up: None,
                since: SystemTime::now(),
                took: Duration::ZERO,
                error: None,
                logged: Instant::now(),
            };
            Probed { store, last: Mutex::new(last) }
        };
        Self { stores: stores.into_iter().map(probed).collect(), started: Instant::now() }
    }

    /// Asks the stores every few seconds until `stop`.
    pub async fn watch(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = self.probe() => {}
                () = stop.cancelled() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(PROBE_EVERY) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Asks all stores once, at the same time.
    pub async fn probe(&self) {
        join_all(self.stores.iter().map(Probed::probe)).await;
    }

    /// What is known right now.
    pub fn report(&self, readiness: Readiness, unwritable_logs: Vec<UnwritableLog>) -> Report {
        let stores: Vec<StoreReport> = self.stores.iter().map(Probed::report).collect();
        let down = stores.iter().filter(|store| store.up == Some(false)).count();
        let status = match readiness {
            Readiness::Stopping => Status::Stopping,
            Readiness::Starting | Readiness::Ready if !unwritable_logs.is_empty() => Status::Unavailable,
            Readiness::Starting => Status::Starting,
            Readiness::Ready if down == 0 => Status::Ready,
            Readiness::Ready => Status::Degraded,
        };
        Report {
            service: "tidewell",
            version: env!("CARGO_PKG_VERSION"),
            status,
            uptime_seconds: self.started.elapsed().as_secs(),
            stores,
            unwritable_logs,
            held_logs: Vec::new(),
        }
    }
}

impl Probed {
    async fn probe(&self) {
        let started = Instant::now();
        let outcome = match tokio::time::timeout(PROBE_TIMEOUT, self.store.ping()).await {
            Ok(outcome) => outcome.map_err(|error| error.to_string()),
            Err(_) => Err(format!("no answer within {} s", PROBE_TIMEOUT.as_secs())),
        };
        self.note(outcome.err(), started.elapsed(), Instant::now());
    }

    /// Records an outcome and logs what changed.
    fn note(&self, error: Option<String>, took: Duration, now: Instant) {
        let store = self.store.kind().name();
        let up = error.is_none();
        let mut last = self.last.lock();
        let changed = last.up != Some(up);
        let reminder = !up && now.duration_since(last.logged) >= REMIND_EVERY;
        let lasted = last.since.elapsed().unwrap_or_default().as_secs();
        match (&error, last.up) {
            (Some(error), _) if changed => tracing::warn!(store, %error, "a store does not answer"),
            (Some(error), _) if reminder => {
                tracing::warn!(store, %error, seconds = lasted, "a store still does not answer");
            }
            (None, Some(false)) => tracing::info!(store, seconds = lasted, "a store answers again"),
            _ => {}
        }
        if changed || reminder {
            last.logged = now;
        }
        if changed {
            last.since = SystemTime::now();
        }
        last.up = Some(up);
        last.took = took;
        last.error = error;
    }

    fn report(&self) -> StoreReport {
        let last = self.last.lock();
        StoreReport {
            store: self.store.kind().name(),
            up: last.up,
            since: DateTime::<Utc>::from(last.since).to_rfc3339_opts(SecondsFormat::Secs, true),
            probe_ms: (last.took.as_secs_f64() * 1e5).round() / 100.0,
            error: last.error.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::registry::{StoreKind, TableDef};
    use crate::store::read::{ReadQuery, RowStream};
    use crate::store::{Cut, StoreError, TableChange, Work};

    /// Answers probes as told, and nothing else.
    #[derive(Debug)]
    struct Answering(StoreKind, Mutex<Result<(), StoreError>>);

    #[async_trait]
    impl Store for Answering {
        fn kind(&self) -> StoreKind {
            self.0
        }
        fn ddl(&self, _: &TableDef) -> Vec<String> {
            Vec::new()
        }
        async fn plan(&self, _: &TableChange<'_>) -> Result<Vec<Work>, StoreError> {
            Ok(Vec::new())
        }
        async fn change(&self, _: &TableChange<'_>) -> Result<(), StoreError> {
            Ok(())
        }
        async fn write(&self, _: &Cut) -> Result<(), StoreError> {
            Ok(())
        }
        async fn read(&self, _: ReadQuery) -> Result<RowStream, StoreError> {
            Ok(Box::pin(futures::stream::empty()))
        }
        async fn ping(&self) -> Result<(), StoreError> {
            self.1.lock().clone()
        }
    }

    fn down() -> Result<(), StoreError> {
        Err(StoreError::Unavailable { store: "clickhouse", reason: "connection refused".to_owned() })
    }

    #[tokio::test]
    async fn stores_that_are_down_degrade_and_a_log_that_is_not_writable_makes_unready() {
        let timescale = Arc::new(Answering(StoreKind::Timescale, Mutex::new(Ok(()))));
        let clickhouse = Arc::new(Answering(StoreKind::ClickHouse, Mutex::new(Ok(()))));
        let health = Health::new([Arc::clone(&timescale) as Arc<dyn Store>, Arc::clone(&clickhouse) as _]);
        assert_eq!(health.report(Readiness::Starting, Vec::new()).status, Status::Starting);
        assert_eq!(health.report(Readiness::Starting, Vec::new()).stores[0].up, None);
        health.probe().await;
        assert_eq!(health.report(Readiness::Ready, Vec::new()).status, Status::Ready);
        *clickhouse.1.lock() = down();
        health.probe().await;
        let report = health.report(Readiness::Ready, Vec::new());
        assert_eq!(report.status, Status::Degraded);
        assert!(report.status.is_ready());
        assert_eq!(
            report.stores[1].error.as_deref(),
            Some("clickhouse is not available: connection refused")
        );
        *timescale.1.lock() = down();
        health.probe().await;
        assert_eq!(health.report(Readiness::Ready, Vec::new()).status, Status::Degraded);
        let broken = vec![UnwritableLog { log: "timescale", reason: "read-only".to_owned() }];
        assert_eq!(health.report(Readiness::Ready, broken.clone()).status, Status::Unavailable);
        assert_eq!(health.report(Readiness::Starting, broken.clone()).status, Status::Unavailable);
        assert!(!health.report(Readiness::Ready, broken).status.is_ready());
        assert_eq!(health.report(Readiness::Stopping, Vec::new()).status, Status::Stopping);
        *timescale.1.lock() = Ok(());
        *clickhouse.1.lock() = Ok(());
        health.probe().await;
        let report = health.report(Readiness::Ready, Vec::new());
        assert_eq!((report.status, report.stores[1].error.clone()), (Status::Ready, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_does_not_answer_at_all_is_down() {
        #[derive(Debug)]
        struct Silent;
        #[async_trait]
        impl Store for Silent {
            fn kind(&self) -> StoreKind {
                StoreKind::Timescale
            }
            fn ddl(&self, _: &TableDef) -> Vec<String> {
                Vec::new()
            }
            async fn plan(&self, _: &TableChange<'_>) -> Result<Vec<Work>, StoreError> {
                Ok(Vec::new())
            }
            async fn change(&self, _: &TableChange<'_>) -> Result<(), StoreError> {
                Ok(())
            }
            async fn write(&self, _: &Cut) -> Result<(), StoreError> {
                Ok(())
            }
            async fn read(&self, _: ReadQuery) -> Result<RowStream, StoreError> {
                Ok(Box::pin(futures::stream::empty()))
            }
            async fn ping(&self) -> Result<(), StoreError> {
                std::future::pending().await
            }
        }
        let health = Health::new([Arc::new(Silent) as Arc<dyn Store>]);
        health.probe().await;
        let report = health.report(Readiness::Ready, Vec::new());
        assert_eq!(report.stores[0].error.as_deref(), Some("no answer within 3 s"));
        assert_eq!(report.status, Status::Degraded);
    }
}
