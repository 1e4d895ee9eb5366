//! `grpc.health.v1`: whether requests are taken, asked for once or followed.
//!
//! A service is serving while the gateway is [`Readiness::Ready`], which does not depend on the stores being up later
//! on. The empty name asks for the gateway as a whole.

use futures::stream::{BoxStream, StreamExt as _};
use tokio::sync::watch;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::Shared;
use crate::ingest::Readiness;

/// The service; `names` are those of the services that can be asked for.
pub fn service(shared: Shared, names: &'static [&'static str]) -> HealthServer<HealthService> {
    HealthServer::new(HealthService { shared, names })
}

/// Answers the calls of `grpc.health.v1.Health`.
#[derive(Debug)]
pub struct HealthService {
    shared: Shared,
    names: &'static [&'static str],
}

impl HealthService {
    fn knows(&self, name: &str) -> bool {
        name.is_empty() || self.names.contains(&name)
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        if !self.knows(&name) {
            return Err(Status::not_found(format!("there is no service {name:?}")));
        }
        Ok(Response::new(answer(status(self.shared.ingest.readiness()))))
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !self.knows(&request.into_inner().service) {
            // The protocol's answer to an unknown name, which may become known later: not an error, no end.
            let unknown = futures::stream::once(async { Ok(answer(ServingStatus::ServiceUnknown)) });
            return Ok(Response::new(unknown.chain(futures::stream::pending()).boxed()));
        }
        let changes = futures::stream::unfold(Some((self.shared.ingest.watch_readiness(), true)), next);
        Ok(Response::new(changes.boxed()))
    }
}

/// What is followed, and whether its present state is still to be told. None after the end was told: a call that went
/// on would hold up the shutdown.
type Followed = Option<(watch::Receiver<Readiness>, bool)>;

async fn next(followed: Followed) -> Option<(Result<HealthCheckResponse, Status>, Followed)> {
    let (mut readiness, untold) = followed?;
    if !untold {
        readiness.changed().await.ok()?;
    }
    let now = *readiness.borrow_and_update();
    let followed = (now != Readiness::Stopping).then_some((readiness, false));
    Some((Ok(answer(status(now))), followed))
}

fn status(readiness: Readiness) -> ServingStatus {
    match readiness {
        Readiness::Ready => ServingStatus::Serving,
        Readiness::Starting | Readiness::Stopping => ServingStatus::NotServing,
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}
