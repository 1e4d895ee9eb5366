//! The HTTP server in front of the engine.
//!
//! In: connections on one address. Out: the answers of a ClickHouse server. `/ping`, `/replicas_status` and `/`
//! answer at once; a POST, or a GET with parameters, is a query and runs on a thread of its own. Guaranteed: on
//! shutdown no new request is taken, and those that run may end.

use super::Server;
use super::answer::{Answer, Terms};
use super::exception::Exception;
use super::query::{self, Body};
use super::request::params::Params;
use super::request::{Request as QueryRequest, auth, header, multipart};
use super::wire::body::{BodyReader, forward};
use super::wire::decode::decoder;
use super::wire::flush::{Counted, Flushes};
use anyhow::Result;
use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Connections that are open at once; more wait to be accepted.
pub(super) const MAX_CONNECTIONS: usize = 1024;
/// Chunks of an answer that may wait for the network.
const CHUNKS: usize = 4;
/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(300);
/// How long running requests may take to end on shutdown.
const DRAIN: Duration = Duration::from_secs(10);
const SESSION_SWEEP: Duration = Duration::from_secs(1);

const NOT_FOUND: &str = "\n\nUse / or /ping for health checks.\nOr /replicas_status for more sophisticated health checks.\n\n\
    Send queries from your program with POST method or GET /?query=...\n";

type AnswerBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Serves until `stop` is ready.
pub(super) async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let graceful = GracefulShutdown::new();
    let mut sweep = tokio::time::interval(SESSION_SWEEP);
    tokio::pin!(stop);
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = Arc::clone(&connections).acquire_owned() => permit?,
        };
        let stream = tokio::select! {
            () = &mut stop => break,
            _ = sweep.tick() => {
                server.sessions.expire(Instant::now());
                continue;
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        stream.set_nodelay(true).ok();
        let server = Arc::clone(&server);
        let (stream, flushes) = Counted::new(stream);
        let service =
            hyper::service::service_fn(move |request| handle(Arc::clone(&server), request, flushes.clone()));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests still run after {DRAIN:?}: ending them");
    }
    Ok(())
}

async fn handle(
    server: Arc<Server>,
    request: Request<Incoming>,
    flushes: Flushes,
) -> Result<Response<AnswerBody>, Infallible> {
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let fixed = |status: StatusCode, text: String| {
        let mut response = Response::new(Full::from(text).map_err(|never| match never {}).boxed_unsync());
        *response.status_mut() = status;
        let kind = http::HeaderValue::from_static("text/html; charset=UTF-8");
        response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
        Ok(response)
    };
    match (request.uri().path(), request.uri().query()) {
        ("/ping" | "/replicas_status", _) | ("/", None) if is_read => {
            fixed(StatusCode::OK, "Ok.\n".to_owned())
        }
        ("/", Some(_)) if is_read => Ok(answer(server, request, flushes).await),
        _ if *request.method() == Method::POST => Ok(answer(server, request, flushes).await),
        (path, _) => fixed(StatusCode::NOT_FOUND, format!("There is no handle {path}{NOT_FOUND}")),
    }
}

/// Runs a query on a thread and sends its answer as it is written.
async fn answer(server: Arc<Server>, request: Request<Incoming>, flushes: Flushes) -> Response<AnswerBody> {
    let (head_sender, head) = oneshot::channel();
    let (chunk_sender, chunks) = mpsc::channel(CHUNKS);
    let (parts, body) = request.into_parts();
    let body = forward(body);
    tokio::task::spawn_blocking(move || {
        let answer = Answer::new(&server.identity, head_sender, chunk_sender);
        if let Err(error) = respond(&server, &parts, body, answer) {
            tracing::debug!(%error, "a client left before its answer was complete");
        }
    });
    let Ok(head) = head.await else {
        let body = Full::from("the request was dropped\n").map_err(|never| match never {}).boxed_unsync();
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        return response;
    };
    let frames = ReceiverStream::new(chunks).then(move |chunk| {
        let flushes = flushes.clone();
        async move {
            if chunk.is_err() {
                // The error cuts the connection; what was sent before it has to leave first.
                flushes.next().await;
            }
            chunk.map(Frame::data)
        }
    });
    head.map(|()| StreamBody::new(frames).boxed_unsync())
}

fn respond(server: &Server, parts: &Parts, body: BodyReader, mut answer: Answer<'_>) -> std::io::Result<()> {
    let mut params = Params::parse(parts.uri.query().unwrap_or_default());
    match read_request(parts, &mut params, body) {
        Ok((request, body)) => {
            let timezone = params.text("session_timezone").filter(|zone| !zone.is_empty());
            answer.agree(Terms {
                coding: request.answer_coding,
                framed: request.answer_framed,
                buffer_size: request.buffer_size,
                wait_end_of_query: request.wait_end_of_query,
                query_id: Some(request.query_id.clone()),
                timezone: timezone.unwrap_or_else(|| "UTC".to_owned()),
            });
            query::run(server, &request, body, answer)
        }
        Err(exception) => answer.fail(&exception),
    }
}

fn read_request(
    parts: &Parts,
    params: &mut Params,
    body: BodyReader,
) -> Result<(QueryRequest, Body), Exception> {
    auth::check(&parts.headers, params)?;
    let has_length =
        parts.headers.contains_key("content-length") || parts.headers.contains_key("transfer-encoding");
    if parts.method == Method::POST && !has_length {
        let message =
            "The Transfer-Encoding is not chunked and there is no Content-Length header for POST request";
        return Err(Exception::new(381, "HTTP_LENGTH_REQUIRED", message));
    }
    let boundary = header(&parts.headers, "Content-Type").and_then(|kind| multipart::boundary(&kind));
    let mut request = QueryRequest::new(parts, params, boundary.is_some())?;
    let unreadable = |error: std::io::Error| Exception::new(271, "CANNOT_DECOMPRESS", &error.to_string());
    let data = decoder(body, request.body_coding, request.body_framed).map_err(unreadable)?;
    let Some(boundary) = boundary else { return Ok((request, Body::Plain(data))) };
    let parts_of_form = multipart::read(data, &boundary)?;
    for part in parts_of_form.iter().filter(|part| !part.is_file) {
        params.push(part.name.clone(), part.data.clone());
    }
    request.adopt_form(params);
    Ok((request, Body::Form(parts_of_form, params.clone())))
}
