//! Arrow Flight: record batches of any schema in ([`put`]), rows of a table out ([`get`]), and what a client needs to
//! know of either ([`actions`], [`descriptor`]).
//!
//! | call | does |
//! |---|---|
//! | `DoPut` | writes batches to the table that the descriptor names, acknowledged batch by batch |
//! | `DoGet` | reads the rows that a ticket asks for |
//! | `GetFlightInfo` | gives the schema and the ticket for a descriptor |
//! | `GetSchema` | gives the schema of the table that a descriptor names |
//! | `ListFlights` | gives all tables |
//! | `DoAction` | `schema.register`, `healthcheck` |
//!
//! Messages have `ingest.max_request_bytes` before and after decompression. Refusals are worded by [`Rejection`] alone.

mod actions;
mod descriptor;
mod get;
mod put;
mod put_ack;

use std::sync::Arc;

use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::flight_service_server::{FlightService, FlightServiceServer};
use arrow_flight::{
    Action, ActionType, Criteria, Empty, FlightData, FlightDescriptor, FlightEndpoint, FlightInfo,
    HandshakeRequest, HandshakeResponse, PollInfo, PutResult, Result as ActionResult, SchemaAsIpc,
    SchemaResult, Ticket,
};
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status, Streaming};

use self::descriptor::Query;
use self::put::Put;
use super::acks::acknowledge;
use super::{Shared, caller_of, options};
use crate::ingest::{Caller, LOWEST_ACK, Protocol};
use crate::registry::TableDef;
use crate::rejection::Rejection;

/// The name of the service.
pub const SERVICE: &str = "arrow.flight.protocol.FlightService";

/// The service.
pub fn service(shared: Shared) -> FlightServiceServer<Flight> {
    let limit = shared.config.ingest.max_request_bytes;
    FlightServiceServer::new(Flight { shared })
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(limit)
}

/// Answers the calls of `arrow.flight.protocol.FlightService`.
#[derive(Debug)]
pub struct Flight {
    shared: Shared,
}

/// A stream of answers.
type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl Flight {
    /// The query of a descriptor, with its table.
    fn query(
        &self,
        caller: &Caller,
        descriptor: &FlightDescriptor,
    ) -> Result<(Query, Arc<TableDef>), Status> {
        let query = Query::of_descriptor(descriptor).and_then(|query| {
            let table = query.table(&self.shared, caller)?;
            Ok((query, table))
        });
        query.map_err(|rejection| rejection.to_status())
    }
}

#[tonic::async_trait]
impl FlightService for Flight {
    type HandshakeStream = Answers<HandshakeResponse>;
    type ListFlightsStream = Answers<FlightInfo>;
    type DoGetStream = Answers<FlightData>;
    type DoPutStream = Answers<PutResult>;
    type DoActionStream = Answers<ActionResult>;
    type ListActionsStream = Answers<ActionType>;
    type DoExchangeStream = Answers<FlightData>;

    async fn do_put(
        &self,
        request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoPutStream>, Status> {
        let options =
            options::of_stream(request.metadata().as_ref(), "app_metadata {\"idempotency_key\":..}")
                .map_err(|rejection| rejection.to_status())?;
        let caller = caller_of(request.extensions(), Protocol::Flight);
        let source = Put::new(Shared::clone(&self.shared), caller, options, request.into_inner());
        let acks = acknowledge(source, self.shared.ingest.watch_readiness());
        let mut response = Response::new(acks.map_ok(put_ack::put_results()).boxed());
        options::name_ack(LOWEST_ACK, response.metadata_mut().as_mut());
        Ok(response)
    }

    async fn do_get(&self, request: Request<Ticket>) -> Result<Response<Self::DoGetStream>, Status> {
        let caller = caller_of(request.extensions(), Protocol::Flight);
        let query = Query::of_ticket(&request.into_inner().ticket);
        let query = query.map_err(|rejection| rejection.to_status())?;
        let rows = get::rows(&self.shared, &caller, &query).await;
        rows.map(Response::new).map_err(|rejection| rejection.to_status())
    }

    async fn get_flight_info(
        &self,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = caller_of(request.extensions(), Protocol::Flight);
        let descriptor = request.into_inner();
        let (query, table) = self.query(&caller, &descriptor)?;
        let info = flight_info(&table, descriptor, &query);
        info.map(Response::new).map_err(|rejection| rejection.to_status())
    }

    async fn get_schema(&self, request: Request<FlightDescriptor>) -> Result<Response<SchemaResult>, Status> {
        let caller = caller_of(request.extensions(), Protocol::Flight);
        let (_, table) = self.query(&caller, &request.into_inner())?;
        let schema = SchemaResult::try_from(SchemaAsIpc::new(table.arrow(), &IpcWriteOptions::default()));
        schema.map(Response::new).map_err(|error| internal(&error).to_status())
    }

    async fn list_flights(
        &self,
        request: Request<Criteria>,
    ) -> Result<Response<Self::ListFlightsStream>, Status> {
        let caller = caller_of(request.extensions(), Protocol::Flight);
        let tables = self.shared.ingest.tables().tables(&caller.tenant);
        let infos = caller.rights.visible(tables).map(|table| {
            let name = table.name().to_string();
            let info = flight_info(&table, FlightDescriptor::new_path(vec![name.clone()]), &Query::all(name));
            info.map_err(|rejection| rejection.to_status())
        });
        Ok(Response::new(futures::stream::iter(infos.collect::<Vec<_>>()).boxed()))
    }

    async fn list_actions(
        &self,
        _request: Request<Empty>,
    ) -> Result<Response<Self::ListActionsStream>, Status> {
        Ok(Response::new(futures::stream::iter(actions::all().map(Ok)).boxed()))
    }

    async fn do_action(&self, request: Request<Action>) -> Result<Response<Self::DoActionStream>, Status> {
        let caller = caller_of(request.extensions(), Protocol::Flight);
        let result = actions::run(&self.shared, &caller, &request.into_inner()).await;
        let result = result.map_err(|rejection| rejection.to_status())?;
        Ok(Response::new(futures::stream::once(async { Ok(result) }).boxed()))
    }

    async fn handshake(
        &self,
        _request: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Self::HandshakeStream>, Status> {
        Err(Status::unimplemented("there is nothing to agree on: call without a handshake"))
    }

    async fn poll_flight_info(
        &self,
        _request: Request<FlightDescriptor>,
    ) -> Result<Response<PollInfo>, Status> {
        Err(Status::unimplemented("queries are not run ahead: use GetFlightInfo and DoGet"))
    }

    async fn do_exchange(
        &self,
        _request: Request<Streaming<FlightData>>,
    ) -> Result<Response<Self::DoExchangeStream>, Status> {
        Err(Status::unimplemented("use DoPut to write and DoGet to read"))
    }
}

/// What a client needs to read `query`: its schema, and one ticket to be used on this same connection.
fn flight_info(
    table: &TableDef,
    descriptor: FlightDescriptor,
    query: &Query,
) -> Result<FlightInfo, Rejection> {
    let ticket = Ticket::new(query.to_ticket());
    let info = FlightInfo::new().try_with_schema(table.arrow()).map_err(|error| internal(&error))?;
    Ok(info.with_descriptor(descriptor).with_endpoint(FlightEndpoint::new().with_ticket(ticket)))
}

fn internal(error: &impl std::fmt::Display) -> Rejection {
    Rejection::Internal(format!("an Arrow message could not be written: {error}"))
}
