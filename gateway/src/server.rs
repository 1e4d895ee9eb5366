//! The composition root: settings in, a running gateway out. Builds the parts and owns the order in which they start
//! and stop.
//!
//! Start: listeners first, so that a taken port is told at once and that whoever asks is told that the gateway is starting;
//! then the logs, with which requests are taken, tried again as long as their disk is away, read-only or full; at the same
//! time the tables of each store by itself, tried again until it is there, with which its log is delivered. Stop: readiness,
//! listeners, requests under way, what a store still takes, the logs; bounded by `shutdown.timeout_seconds`.

mod logs;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{AckSetting, Config};
use crate::decode::DecodeLimits;
use crate::deliver::OpenError;
use crate::ingest::idempotency::{Idempotency, IdempotencySettings};
use crate::ingest::{AckLevel, Ingest, IngestLimits, Readiness};
use crate::observe::{Health, LetterWatch, Metrics};
use crate::receive::auth::Authenticator;
use crate::receive::listen::{self, ListenError, Listener, Serving};
use crate::receive::{self, Addresses, Gateway, Shared};
use crate::registry::builtin::BuiltinError;
use crate::registry::{Registry, StoreKind};
use crate::reload::{self, ReadError, Reload};
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::{RegistryNotices, TableRegistry, Timescale};
use crate::store::{Store, StoreError, migrate};
use crate::tier::Tiering;
use crate::tier::read::Reader;

/// How long to wait before the tables are prepared again after a failure.
const PREPARE_AGAIN: Duration = Duration::from_secs(1);

/// How long a background task may take to notice that it shall end.
const BACKGROUND_END: Duration = Duration::from_secs(1);

/// A gateway that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A port is taken.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener's socket is unusable.
    #[error("a listener could not be started: {0}")]
    Socket(#[from] std::io::Error),
    /// A store's settings are unusable.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The logs cannot be opened.
    #[error(transparent)]
    Logs(#[from] OpenError),
    /// Certificates, keys or callers cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A mistake in our own sources.
    #[error(transparent)]
    Builtin(#[from] BuiltinError),
}

/// A running gateway.
#[derive(Debug)]
pub struct Server {
    shared: Shared,
    http: Listener,
    grpc: Listener,
    admin: Option<Listener>,
    reloads: Vec<Arc<dyn Reload>>,
    background: Vec<JoinHandle<()>>,
    stop_listening: CancellationToken,
    stop_background: CancellationToken,
}

impl Server {
    /// Starts a gateway. It serves, and answers writes with a retryable refusal, while it reads its logs, and returns when
    /// they are open or their disk is away; [`Server::ready`] waits for the stores. May be dropped before it is done: what
    /// it has spawned ends with the runtime.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let http = listen::bind("http.listen", config.http.listen).await?;
        let grpc = listen::bind("grpc.listen", config.grpc.listen).await?;
        let admin = match config.admin.listen {
            Some(address) => Some(listen::bind("admin.listen", address).await?),
            None => None,
        };

        let authenticator = Authenticator::new(&config.auth)?;
        let [http_tls, grpc_tls] = tls(&config)?;
        let mut reloads = authenticator.reloads();
        reloads.extend([&http_tls, &grpc_tls].into_iter().flatten().map(|tls| Arc::clone(tls) as _));

        let timescale = Arc::new(Timescale::new(&config.timescale)?);
        let clickhouse = Arc::new(ClickHouse::new(&config.clickhouse)?);
        let metrics = Arc::new(Metrics::new());
        let addresses = Addresses { http: http.local_addr()?, grpc: grpc.local_addr()? };
        let stores: [Arc<dyn Store>; 2] = [Arc::clone(&timescale) as _, Arc::clone(&clickhouse) as _];
        let health = Arc::new(Health::new(stores.clone()));
        let idempotency = Idempotency::new(idempotency_settings(&config));
        let delivery = logs::delivery(&config, &timescale, Arc::clone(&clickhouse), &metrics);
        let rows = TableRegistry::new(timescale.ddl_pool().clone());
        let registry = Arc::new(Registry::new(rows, stores, Some(&config.wal.directory))?);
        let stop_background = CancellationToken::new();
        let tiering = Arc::new(Tiering::new(
            &config,
            Arc::clone(&timescale),
            Arc::clone(&clickhouse),
            Arc::clone(registry.cell()),
            Arc::clone(&metrics),
            stop_background.clone(),
        )?);
        let limits = ingest_limits(&config);
        let ingest = Ingest::new(
            Arc::clone(registry.cell()),
            Arc::clone(&delivery),
            limits,
            idempotency,
            Arc::clone(&metrics),
        );
        let letters = Arc::new(LetterWatch::new(timescale.letters(), &config.dead_letters));
        let shared: Shared = Arc::new(Gateway {
            config,
            ingest,
            registry,
            delivery,
            metrics,
            health,
            letters,
            reader: Reader::new(Arc::clone(&timescale), clickhouse),
            tiering,
            timescale,
            authenticator,
            addresses,
        });

        let stop_listening = CancellationToken::new();
        let background = vec![
            tokio::spawn(prepare_tables(Arc::clone(&shared), StoreKind::Timescale, stop_background.clone())),
            tokio::spawn(prepare_tables(Arc::clone(&shared), StoreKind::ClickHouse, stop_background.clone())),
            tokio::spawn(follow_registry(Arc::clone(&shared), stop_background.clone())),
            tokio::spawn(watch_stores(Arc::clone(&shared), stop_background.clone())),
            tokio::spawn(watch_letters(Arc::clone(&shared), stop_background.clone())),
            tokio::spawn(reload::follow(reloads.clone(), stop_background.clone())),
            tokio::spawn(move_ranges(Arc::clone(&shared), stop_background.clone())),
        ];
        let [http_serving, grpc_serving] = serving(&shared.config, http_tls, grpc_tls);
        let serve = |socket, routes, serving| {
            listen::serve(socket, routes, serving, Arc::clone(&shared.metrics), stop_listening.clone())
        };
        let admin_serving = Serving { name: "admin", ..http_serving.clone() };
        let http = serve(http, receive::http_routes(Arc::clone(&shared)), http_serving)?;
        let grpc = serve(grpc, receive::grpc_routes(Arc::clone(&shared)), grpc_serving)?;
        let admin =
            admin.map(|admin| serve(admin, receive::admin_routes(Arc::clone(&shared)), admin_serving));
        let admin = admin.transpose()?;
        tracing::info!(http = %http.address, grpc = %grpc.address, "listening");
        if let Some(admin) = &admin {
            tracing::info!(admin = %admin.address, "listening for operators");
        }
        let mut server =
            Self { shared, http, grpc, admin, reloads, background, stop_listening, stop_background };
        match server.open_logs().await {
            Ok(()) => Ok(server),
            Err(error) => {
                server.stop().await;
                Err(error)
            }
        }
    }

    /// Opens the logs, which takes as long as they are; while their disk is away, it is tried again beside everything else.
    async fn open_logs(&mut self) -> Result<(), StartError> {
        match logs::open(&self.shared.delivery, self.shared.ingest.idempotency()).await {
            Ok(()) => {
                self.shared.ingest.take_requests();
                Ok(())
            }
            Err(StartError::Logs(error)) if error.may_pass() => {
                tracing::error!(%error, "the logs cannot be opened: writes are refused until they can");
                let open = logs::open_later(Arc::clone(&self.shared), self.stop_background.clone());
                self.background.push(tokio::spawn(open));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Where HTTP is served.
    pub fn http_address(&self) -> SocketAddr {
        self.http.address
    }

    /// Where gRPC is served.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.address
    }

    /// Where operators are served, if that is an address of its own.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    /// Reads certificates, keys and callers again that have changed, without waiting for the next look at them.
    pub async fn reload(&self) {
        reload::now(&self.reloads).await;
    }

    /// The parts of the gateway.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Waits until requests are taken and the tables of both stores are there.
    pub async fn ready(&self) {
        self.shared.ingest.ready().await;
        self.shared.delivery.all_prepared().await;
    }

    /// Finishes what was accepted and ends; bounded by `shutdown.timeout_seconds`.
    pub async fn stop(self) {
        let limit = Duration::from_secs(self.shared.config.shutdown.timeout_seconds);
        tracing::info!(?limit, "stopping: finishing requests under way");
        self.shared.ingest.set_readiness(Readiness::Stopping);
        self.stop_listening.cancel();
        let admin = async {
            if let Some(admin) = self.admin {
                admin.ended().await;
            }
        };
        let listeners = async { tokio::join!(self.http.ended(), self.grpc.ended(), admin) };
        if tokio::time::timeout(limit / 2, listeners).await.is_err() {
            tracing::warn!("requests are still under way: their senders get no answer and send again");
        }
        self.shared.delivery.stop(limit / 4).await;
        self.stop_background.cancel();
        for mut task in self.background {
            match tokio::time::timeout(BACKGROUND_END, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a background task ended early"),
                // It waits for a store; it has nothing to finish.
                Err(_) => task.abort(),
            }
        }
        tracing::info!("stopped");
    }
}

/// The encryption of the two listeners: HTTP, gRPC.
fn tls(config: &Config) -> Result<[listen::Tls; 2], ReadError> {
    let of = |protocols| Ok(receive::tls::server_config(&config.tls, protocols)?.map(Arc::new));
    Ok([of(&[b"h2", b"http/1.1"])?, of(&[b"h2"])?])
}

/// How the two listeners serve: HTTP, gRPC.
fn serving(config: &Config, http_tls: listen::Tls, grpc_tls: listen::Tls) -> [Serving; 2] {
    let http = Serving {
        name: "http",
        http1: true,
        tls: http_tls,
        header_timeout: Duration::from_secs(config.http.header_timeout_seconds),
        max_connections: config.http.max_connections,
        caller_share_percent: config.ingest.caller_share_percent,
        max_concurrent_streams: config.http.max_concurrent_streams,
    };
    let grpc = Serving {
        name: "grpc",
        http1: false,
        tls: grpc_tls,
        max_connections: config.grpc.max_connections,
        max_concurrent_streams: config.grpc.max_concurrent_streams,
        ..http.clone()
    };
    [http, grpc]
}

fn ingest_limits(config: &Config) -> IngestLimits {
    IngestLimits {
        in_flight_bytes: config.ingest.in_flight_bytes,
        caller_share_percent: config.ingest.caller_share_percent,
        decode: DecodeLimits {
            records: config.ingest.max_request_records,
            depth: config.ingest.max_depth,
            decoded_bytes: config.ingest.max_decoded_bytes,
        },
        ack_timeout: Duration::from_millis(config.ingest.ack_timeout_ms),
        ack: match config.ingest.ack {
            AckSetting::Durable => AckLevel::Durable,
            AckSetting::Stored => AckLevel::Stored,
        },
    }
}

fn idempotency_settings(config: &Config) -> IdempotencySettings {
    IdempotencySettings {
        window: Duration::from_secs(config.idempotency.window_seconds),
        max_keys: config.idempotency.max_keys,
        identical_bodies: config.idempotency.identical_bodies.clone(),
    }
}

/// Brings a store to the schema of this version, as often as it takes, and lets its log be delivered.
async fn prepare_tables(shared: Shared, store: StoreKind, stop: CancellationToken) {
    loop {
        let prepared = async {
            match store {
                StoreKind::Timescale => {
                    migrate::timescale(&shared.config).await.map_err(|error| error.to_string())?;
                    shared.registry.refresh().await.map_err(|error| error.to_string())
                }
                StoreKind::ClickHouse => {
                    migrate::clickhouse(&shared.config).await.map(drop).map_err(|error| error.to_string())
                }
            }
        };
        let prepared = tokio::select! {
            prepared = prepared => prepared,
            () = stop.cancelled() => return,
        };
        match prepared {
            Ok(()) => break,
            Err(error) => {
                tracing::warn!(store = store.name(), %error, "the store's tables are not ready, will try again");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(PREPARE_AGAIN) => {}
            () = stop.cancelled() => return,
        }
    }
    tracing::info!(store = store.name(), "the store's tables are ready");
    shared.delivery.tables_prepared(store);
}

async fn follow_registry(shared: Shared, stop: CancellationToken) {
    tokio::select! {
        () = shared.delivery.prepared(StoreKind::Timescale) => {}
        () = stop.cancelled() => return,
    }
    shared.registry.follow(RegistryNotices::new(&shared.config.timescale), stop).await;
}

async fn watch_stores(shared: Shared, stop: CancellationToken) {
    shared.health.watch(stop).await;
}

async fn watch_letters(shared: Shared, stop: CancellationToken) {
    tokio::select! {
        () = shared.delivery.prepared(StoreKind::Timescale) => {}
        () = stop.cancelled() => return,
    }
    shared.letters.watch(&shared.metrics, stop).await;
}

/// Moves rows that have aged, as soon as both stores have their tables; a gateway that does not move them tells at least how
/// far the others are.
async fn move_ranges(shared: Shared, stop: CancellationToken) {
    tokio::select! {
        () = shared.delivery.all_prepared() => {}
        () = stop.cancelled() => return,
    }
    if shared.config.tiering.enabled {
        shared.tiering.run().await;
    } else {
        shared.tiering.watch().await;
    }
}
