//! Receivers: requests of one protocol each. A receiver bounds what it reads, hands the bytes and a decode function
//! to [`Ingest`](crate::ingest::Ingest), and words the answer. A new protocol is one file here, which exports its routes, and one decode
//! function.
//!
//! - [`listen`] has the sockets, and [`tls`] their encryption;
//! - [`auth`] tells who calls and lets in who may;
//! - [`body`] reads the bodies of all HTTP protocols, and nothing else does;
//! - [`http_routes`] and [`grpc_routes`] put the protocols together.

mod acks;
pub mod auth;
pub mod body;
mod calls;
pub mod connections;
pub mod elasticsearch;
pub mod flight;
pub mod grpc;
pub mod health;
pub mod http_answer;
pub mod influxdb;
mod intake;
pub mod letters;
pub mod listen;
pub mod loki;
pub mod media_type;
mod messages;
mod opened;
pub mod operation;
mod options;
pub mod otlp;
pub mod port_owner;
pub mod prometheus;
pub mod rest;
pub mod rows;
pub mod schema;
pub mod status;
pub mod tiering;
pub mod tls;
pub mod traces;
mod unary;
pub mod vector;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use bytes::Bytes;
use http::Extensions;
use tonic::Status;

use self::auth::{Authenticator, Door, Principal};
use self::body::BodyLimits;
use self::connections::Peer;
use crate::config::Config;
use crate::deliver::Delivery;
use crate::ingest::{Caller, Ingest, Protocol, Scope};
use crate::observe::health::{HeldLog, Report, UnwritableLog};
use crate::observe::{Health, LetterWatch, Metrics};
use crate::registry::{Registry, Tenant};
use crate::rejection::{Rejection, correct_tonic_code, word_of_code};
use crate::store::timescale::Timescale;
use crate::tier::Tiering;
use crate::tier::read::Reader;

/// What every receiver shares: the parts of one gateway. Cheap to clone.
pub type Shared = Arc<Gateway>;

/// The parts of one gateway, as [`crate::server`] put them together.
#[derive(Debug)]
pub struct Gateway {
    /// The settings.
    pub config: Config,
    /// Takes requests in.
    pub ingest: Ingest,
    /// Creates and changes tables.
    pub registry: Arc<Registry>,
    /// Feeds the stores.
    pub delivery: Arc<Delivery>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// Watches the stores.
    pub health: Arc<Health>,
    /// Watches the dead letters.
    pub letters: Arc<LetterWatch>,
    /// Reads rows, wherever they are.
    pub reader: Reader,
    /// Moves rows that have aged.
    pub tiering: Arc<Tiering>,
    /// The store in Postgres, whose connections are counted.
    pub timescale: Arc<Timescale>,
    /// Tells callers by their credentials.
    pub authenticator: Authenticator,
    /// Where the gateway listens.
    pub addresses: Addresses,
}

/// Where a gateway listens, with the ports that the system chose where the settings say 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// REST, OTLP over HTTP, registry, health and metrics.
    pub http: SocketAddr,
    /// OTLP over gRPC, `tidewell.v1.Ingest` and Arrow Flight.
    pub grpc: SocketAddr,
}

impl Gateway {
    /// The state of the gateway, its stores and its logs.
    pub fn report(&self) -> Report {
        let opening = self.delivery.is_opening();
        let feeds = self.delivery.status();
        let held = feeds.iter().filter(|feed| feed.lost_notes > 0).map(|feed| HeldLog {
            log: feed.log.name(),
            lost_notes: feed.lost_notes,
            consent: self.delivery.consent(feed.log).display().to_string(),
        });
        let held_logs = held.collect();
        let unwritable = feeds.into_iter().filter(|_| !opening).filter_map(|feed| {
            let reason = feed.files.unwritable?.to_string();
            Some(UnwritableLog { log: feed.log.name(), reason })
        });
        Report { held_logs, ..self.health.report(self.ingest.readiness(), unwritable.collect()) }
    }

    /// The limits of every request body, and the memory that all of them share, as the caller at `peer` sees it.
    pub fn body_limits(&self, peer: Option<IpAddr>) -> BodyLimits {
        BodyLimits {
            compressed: self.config.ingest.max_request_bytes,
            decompressed: self.config.ingest.max_request_bytes,
            timeout: Duration::from_secs(self.config.http.body_timeout_seconds),
            memory: self.ingest.memory_of(peer),
        }
    }

    /// Counts a request that was refused before [`Ingest::receive`] had it, which counts the others, and says when to
    /// come again.
    pub fn refuse(&self, protocol: Protocol, rejection: Rejection, begun: Instant) -> Rejection {
        let rejection = self.ingest.load().pace(rejection);
        self.metrics.refused(protocol, rejection.code(), begun.elapsed());
        rejection
    }

    /// Counts a message that could not be received, and gives the status to end its stream with.
    pub fn refuse_status(&self, protocol: Protocol, status: &Status, begun: Instant) -> Status {
        let code = correct_tonic_code(status.code());
        self.metrics.refused(protocol, word_of_code(code), begun.elapsed());
        Status::with_details(code, status.message(), Bytes::copy_from_slice(status.details()))
    }
}

/// Who sent a request, once it has passed a door of [`auth`]. One that has passed none is from nobody and may do nothing.
fn caller_of(extensions: &Extensions, protocol: Protocol) -> Caller {
    let peer = Peer::of(extensions);
    match Principal::of(extensions) {
        Some(Principal { name, tenant, rights }) => {
            let (name, tenant, rights) = (name.to_string(), tenant.clone(), Arc::clone(rights));
            Caller { name, tenant, rights, peer, protocol }
        }
        None => Caller {
            name: "nobody".to_owned(),
            tenant: Tenant::default(),
            rights: Arc::default(),
            peer,
            protocol,
        },
    }
}

/// Addresses and their door.
type Doors = Vec<(Router<Shared>, Door)>;

/// All addresses of the HTTP port, each behind its door.
pub fn http_routes(shared: Shared) -> Router {
    let mut doors = vec![
        (rest::routes(), rest::DOOR),
        (otlp::http::routes(), otlp::http::DOOR),
        (prometheus::routes(), prometheus::DOOR),
        (loki::routes(), loki::DOOR),
        (influxdb::routes(), influxdb::DOOR),
        (elasticsearch::routes(), elasticsearch::DOOR),
        (schema::routes(), own_door(Some(Scope::Read), Some(Scope::Register))),
        (rows::routes(), own_door(Some(Scope::Read), Some(Scope::Read))),
        (traces::routes(), own_door(Some(Scope::Read), Some(Scope::Read))),
    ];
    if shared.config.admin.listen.is_none() {
        doors.extend(administration());
    }
    behind(doors, &shared)
}

/// All addresses of the port for operators, where it is one of its own.
pub fn admin_routes(shared: Shared) -> Router {
    behind(administration(), &shared)
}

fn administration() -> Doors {
    vec![
        (letters::routes(), own_door(Some(Scope::Admin), Some(Scope::Admin))),
        (operation::routes(), own_door(Some(Scope::Observe), Some(Scope::Observe))),
        (tiering::routes(), own_door(Some(Scope::Observe), Some(Scope::Admin))),
        (status::routes(), status::DOOR),
    ]
}

fn own_door(look: Option<Scope>, change: Option<Scope>) -> Door {
    Door { look, change, word: auth::own }
}

fn behind(mut doors: Doors, shared: &Shared) -> Router {
    doors.push((operation::probes(), own_door(None, None)));
    doors.push((Router::new().fallback(http_answer::not_found), own_door(None, None)));
    let guarded = doors.into_iter().map(|(routes, door)| auth::guarded(routes, shared, door));
    guarded.fold(Router::new(), Router::merge).with_state(Shared::clone(shared))
}

/// The names that `grpc.health.v1` answers to.
const GRPC_SERVICES: &[&str] = &[
    grpc::SERVICE,
    flight::SERVICE,
    otlp::grpc::SERVICES[0],
    otlp::grpc::SERVICES[1],
    otlp::grpc::SERVICES[2],
    vector::SERVICE,
];

/// All services of the gRPC port, with server reflection of those that are described.
pub fn grpc_routes(shared: Shared) -> Router {
    let mut routes = tonic::service::Routes::builder();
    otlp::grpc::add_services(&mut routes, &shared);
    routes
        .add_service(vector::service(&shared))
        .add_service(health::service(Shared::clone(&shared), GRPC_SERVICES))
        .add_service(grpc::service(Shared::clone(&shared)))
        .add_service(flight::service(Shared::clone(&shared)));
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tidewell_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            routes.add_service(v1).add_service(v1alpha);
        }
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "server reflection is off: the descriptors cannot be read");
        }
    }
    let router = routes.routes().into_axum_router();
    router
        .layer(axum::middleware::from_fn_with_state(Shared::clone(&shared), auth::pass_call))
        .layer(axum::middleware::from_fn_with_state(shared, calls::pass))
}
