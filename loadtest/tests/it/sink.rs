//! Gateways that store nothing and behave as a test wants: requests in, scripted answers out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow_flight::PutResult;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tidewell_loadtest::send::Target;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Records of every request that the tests send.
pub(crate) const RECORDS: i64 = 10;

/// What a sink does with its n-th request, from 0.
pub(crate) type Script = fn(u64) -> Deed;

/// One answer.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Deed {
    /// Accept all records.
    Accept,
    /// Accept all records after this time.
    AcceptAfter(Duration),
    /// Refuse for now.
    Refuse,
    /// Close the connection without an answer.
    HangUp,
}

type Body = BoxBody<Bytes, &'static str>;
type SendError = mpsc::error::SendError<Result<Frame<Bytes>, &'static str>>;
type Answer = Result<Response<Body>, &'static str>;

/// The state of a sink.
#[derive(Clone)]
pub(crate) struct Sink {
    script: Script,
    requests: Arc<AtomicU64>,
}

impl Sink {
    pub(crate) fn new(script: Script) -> Self {
        Self { script, requests: Arc::new(AtomicU64::new(0)) }
    }

    /// Requests that came so far.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    async fn next(&self) -> Deed {
        let deed = (self.script)(self.requests.fetch_add(1, Ordering::Relaxed));
        if let Deed::AcceptAfter(delay) = deed {
            tokio::time::sleep(delay).await;
            return Deed::Accept;
        }
        deed
    }

    /// Serves REST with NDJSON, OTLP/gRPC and Arrow Flight `DoPut`, all by the same script.
    pub(crate) async fn serve(&self) -> Target {
        let (http, grpc) = (listen().await, listen().await);
        let target = Target {
            http: http.local_addr().unwrap(),
            grpc: grpc.local_addr().unwrap(),
            level: Some("stored".to_owned()),
            timeout: Duration::from_secs(2),
        };
        let sink = self.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = http.accept().await.unwrap();
                let sink = sink.clone();
                let service = service_fn(move |request| rest(sink.clone(), request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        let sink = self.clone();
        tokio::spawn(async move {
            loop {
                let (socket, _) = grpc.accept().await.unwrap();
                let sink = sink.clone();
                let service = service_fn(move |request| std::future::ready(rpc(sink.clone(), request)));
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(TokioIo::new(socket), service));
            }
        });
        target
    }
}

async fn listen() -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

async fn rest(sink: Sink, request: Request<Incoming>) -> Answer {
    let asked = request.headers()["tidewell-ack"].clone();
    let body = request.into_body().collect().await.map_err(|_| "no body")?.to_bytes();
    let records = body.iter().filter(|&&byte| byte == b'\n').count();
    let accepted = Bytes::from(format!(r#"{{"accepted":{records},"rejected":0}}"#));
    match sink.next().await {
        Deed::Refuse => {
            let refusal = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
            Ok(refusal.body(Empty::new().map_err(|never| match never {}).boxed()).unwrap())
        }
        Deed::HangUp => Err("hung up"),
        _ => {
            let body = Full::new(accepted).map_err(|never| match never {}).boxed();
            Ok(Response::builder().header("tidewell-ack", asked).body(body).unwrap())
        }
    }
}

fn rpc(sink: Sink, request: Request<Incoming>) -> Answer {
    let (frames, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        // The answer ends with the connection when the client has gone.
        let _ended = answer_messages(sink, request, &frames).await;
    });
    let body = StreamBody::new(ReceiverStream::new(receiver)).boxed();
    Ok(Response::builder().header("content-type", "application/grpc").body(body).unwrap())
}

type Frames = mpsc::Sender<Result<Frame<Bytes>, &'static str>>;

/// Messages of gRPC: a byte that says whether it is compressed, four of length, the message.
async fn answer_messages(sink: Sink, request: Request<Incoming>, frames: &Frames) -> Result<(), SendError> {
    let streaming = request.uri().path().ends_with("/DoPut");
    let mut body = request.into_body();
    let mut buffer = BytesMut::new();
    // The first message of a stream is its schema, which has no answer.
    let mut offset = if streaming { -1 } else { 0 };
    while let Some(Ok(frame)) = body.frame().await {
        buffer.put(frame.into_data().unwrap_or_default());
        while let Some(length) = buffer.get(1..5).map(|mut length| length.get_u32() as usize)
            && buffer.len() >= 5 + length
        {
            buffer.advance(5 + length);
            if offset >= 0 {
                match sink.next().await {
                    Deed::Refuse => return frames.send(Ok(Frame::trailers(status("14")))).await,
                    Deed::HangUp => return frames.send(Err("hung up")).await,
                    _ if streaming => frames.send(Ok(acknowledgement(offset))).await?,
                    // An OTLP response without a field: everything was accepted.
                    _ => frames.send(Ok(message(&[]))).await?,
                }
            }
            offset += 1;
        }
    }
    frames.send(Ok(Frame::trailers(status("0")))).await
}

fn status(code: &'static str) -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().unwrap(), code.parse().unwrap())])
}

fn message(encoded: &[u8]) -> Frame<Bytes> {
    let length = u32::try_from(encoded.len()).unwrap();
    Frame::data([&[0], length.to_be_bytes().as_slice(), encoded].concat().into())
}

/// As the gateway's are: the offset of the last batch of [`RECORDS`] records, and the counts of that batch.
fn acknowledgement(offset: i64) -> Frame<Bytes> {
    let json = format!(r#"{{"ack_up_to_offset":{offset},"accepted":{RECORDS},"rejected":0,"ack":"stored"}}"#);
    message(&PutResult { app_metadata: json.into() }.encode_to_vec())
}
