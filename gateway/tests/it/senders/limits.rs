//! What clients can make a gateway hold, and for how long.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message as _;
use reqwest::Method;
use tidewell_gateway::config::Config;
use tidewell_proto::v1;
use tidewell_proto::v1::ingest_client::IngestClient;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::transport::Channel;
use tonic_types::StatusExt as _;
use tower::ServiceExt as _;

use super::own_logs;
use crate::harness::TestGateway;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The value of a gauge or counter in `/metrics`.
async fn metric(gateway: &TestGateway, name: &str) -> u64 {
    let text = gateway.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).parse().unwrap()
}

/// A connection from another address of this machine.
async fn connect_from(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    socket.connect(to).await.unwrap()
}

/// Waits until the other side closes; gives what it said before, and how long it took.
async fn closed(mut socket: TcpStream) -> (Vec<u8>, Duration) {
    let (begun, mut said) = (Instant::now(), Vec::new());
    let end = tokio::time::timeout(Duration::from_secs(10), socket.read_to_end(&mut said)).await;
    // A connection that is closed while bytes are under way is reset.
    drop(end.expect("the connection is closed"));
    (said, begun.elapsed())
}

/// Whether the other side keeps the connection open for a while.
async fn stays_open(socket: &mut TcpStream) -> bool {
    let read = tokio::time::timeout(Duration::from_millis(200), socket.read(&mut [0; 64])).await;
    !matches!(read, Ok(Ok(0) | Err(_)))
}

/// Scenario: connections on both ports that say nothing, half of what begins HTTP/2, or half of a header.
/// Guarantees: each is closed when its time is over.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_say_too_little_are_closed() {
    let gateway = TestGateway::start_with(|config| config.http.header_timeout_seconds = 1).await;
    let (http, grpc) = (gateway.server.http_address(), gateway.server.grpc_address());
    let mut waiting = Vec::new();
    for (address, said) in [
        (http, &b""[..]),
        (http, &HTTP2_PREFACE[..10]),
        (http, b"POST /write/logs HTTP/1.1\r\nhost: x\r\nx-slow: "),
        (grpc, b""),
        (grpc, &HTTP2_PREFACE[..23]),
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(said).await.unwrap();
        waiting.push(tokio::spawn(closed(socket)));
    }
    for closed in waiting {
        let (_, after) = closed.await.unwrap();
        assert!((Duration::from_millis(900)..Duration::from_secs(5)).contains(&after), "{after:?}");
    }
    gateway.stop().await;
}

/// Scenario: one address opens as many connections as there are places, another comes, the first goes on.
/// Guarantees: one more is closed at once and counted; when places are free again the first gets its share and no
/// more, and the other gets in.
#[tokio::test(flavor = "multi_thread")]
async fn connections_are_bounded_and_one_address_leaves_room() {
    let gateway = TestGateway::start_with(|config| {
        config.grpc.max_connections = 8;
        config.http.header_timeout_seconds = 60;
    })
    .await;
    let grpc = gateway.server.grpc_address();
    let mut of_first = Vec::new();
    for _ in 0..8 {
        of_first.push(connect_from([127, 0, 0, 1], grpc).await);
    }
    let (said, after) = closed(connect_from([127, 0, 0, 2], grpc).await).await;
    assert!(said.is_empty() && after < Duration::from_secs(2));
    of_first.truncate(5);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let mut of_second = connect_from([127, 0, 0, 2], grpc).await;
    assert!(stays_open(&mut of_second).await);
    closed(connect_from([127, 0, 0, 1], grpc).await).await;
    assert_eq!(metric(&gateway, "tidewell_connections_refused_total{listener=\"grpc\"}").await, 2);
    drop(of_first);
    gateway.stop().await;
}

/// A call whose client has sent the beginning of a message.
struct Begun {
    client: mpsc::Sender<Bytes>,
    status: tokio::task::JoinHandle<tonic::Status>,
}

/// Sends the first `sent` bytes of a `Write` of `length`.
async fn begin(channel: &Channel, length: u32, sent: usize) -> Begun {
    let (client, frames) = mpsc::channel::<Bytes>(1000);
    let frames = ReceiverStream::new(frames).map(|data| Ok::<_, tonic::Status>(Frame::data(data)));
    let request = http::Request::post("/tidewell.v1.Ingest/Write")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(StreamBody::new(frames)))
        .unwrap();
    let mut message = vec![0];
    message.extend_from_slice(&length.to_be_bytes());
    message.resize(sent, 0);
    for piece in message.chunks(16 * 1024) {
        client.send(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    let channel = channel.clone();
    let status = tokio::spawn(async move {
        let answer = channel.oneshot(request).await.unwrap();
        tonic::Status::from_header_map(answer.headers()).expect("a call that is refused has no body")
    });
    Begun { client, status }
}

/// Scenario: 40 calls send half a megabyte each of a message of one, where the budget is four, and then no more.
/// Guarantees: those for which there is no memory are refused as retryable at once, the gateway never holds more than its
/// budget, the others end when their time is over, and everything is given back.
#[tokio::test(flavor = "multi_thread")]
async fn grpc_bodies_are_paid_for_as_they_arrive_and_end_in_time() {
    let budget = 4 << 20;
    let gateway = TestGateway::start_with(|config: &mut Config| {
        config.ingest.in_flight_bytes = budget;
        config.ingest.caller_share_percent = 100;
        config.http.body_timeout_seconds = 2;
    })
    .await;
    let mut calls = Vec::new();
    for _ in 0..8 {
        // Several connections, so that their windows have room for all.
        let channel = gateway.channel().await;
        for _ in 0..5 {
            calls.push(begin(&channel, 1 << 20, 512 * 1024).await);
        }
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let held = metric(&gateway, "tidewell_in_flight_bytes").await;
    assert!((1 << 20..=4 << 20).contains(&held), "{held} bytes are held");

    let (mut overloaded, mut too_slow) = (0, 0);
    for Begun { client, status } in calls {
        let status = tokio::time::timeout(Duration::from_secs(10), status).await.expect("it ends").unwrap();
        drop(client);
        match status.code() {
            tonic::Code::Unavailable => {
                assert!(status.get_details_retry_info().is_some(), "{status:?}");
                overloaded += 1;
            }
            tonic::Code::DeadlineExceeded => too_slow += 1,
            _ => panic!("{status:?}"),
        }
    }
    assert!(overloaded > 0 && too_slow > 0, "{overloaded} refused, {too_slow} too slow");
    assert_eq!(metric(&gateway, "tidewell_in_flight_bytes").await, 0);
    for (result, count) in [("overloaded", overloaded), ("request_timeout", too_slow)] {
        let name = format!("tidewell_requests_total{{protocol=\"grpc\",result=\"{result}\"}}");
        assert_eq!(metric(&gateway, &name).await, count);
    }
    IngestClient::new(gateway.channel().await).write(own_logs("after", 1)).await.unwrap();
    gateway.stop().await;
}

/// A sender of its own address.
fn sender(from: [u8; 4]) -> reqwest::Client {
    reqwest::Client::builder().local_address(IpAddr::from(from)).build().unwrap()
}

/// Scenario: one sender has two large requests under way that arrive slowly, and so most of the memory; another wants
/// some; the first gives a part back and wants it again.
/// Guarantees: that part is left to the other; the first is told that it has its share.
#[tokio::test(flavor = "multi_thread")]
async fn one_sender_leaves_memory_for_others() {
    let gateway = TestGateway::start_with(|config| config.ingest.in_flight_bytes = 1 << 20).await;
    let (first, second) = (sender([127, 0, 0, 1]), sender([127, 0, 0, 2]));
    let url = gateway.url("/write/logs");
    let slow = || {
        let (client, body) = mpsc::channel::<Result<Bytes, std::io::Error>>(10);
        let request = first.post(&url).body(reqwest::Body::wrap_stream(ReceiverStream::new(body)));
        (client, tokio::spawn(request.send()))
    };
    let mut under_way = Vec::new();
    for _ in 0..2 {
        let (client, answer) = slow();
        client.send(Ok(vec![b' '; 450 * 1024].into())).await.unwrap();
        under_way.push((client, answer));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let record = serde_json::json!(
        vec!["m".repeat(30_000); 10]
            .into_iter()
            .map(|m| serde_json::json!({ "message": m }))
            .collect::<Vec<_>>()
    )
    .to_string();
    let send = |from: &reqwest::Client| from.post(&url).body(record.clone()).send();
    assert_eq!(send(&second).await.unwrap().status(), 429, "there is not enough");

    let (_, answer) = under_way.remove(0);
    answer.abort();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let refused = send(&first).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert!(refused.text().await.unwrap().contains("ingest.caller_share_percent"));
    assert_eq!(send(&second).await.unwrap().status(), 200);
    drop(under_way);
    gateway.stop().await;
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Scenario: an HTTP/2 client opens streams and resets them as fast as it can, on both ports; another sends headers of
/// 200 KiB.
/// Guarantees: the first is told ENHANCE_YOUR_CALM and closed, the headers are refused, and others are served.
#[tokio::test(flavor = "multi_thread")]
async fn http2_is_bounded_as_well() {
    let gateway = TestGateway::start().await;
    // POST http / by the static table of HPACK; CANCEL.
    let (request, cancel) = ([0x83, 0x86, 0x84], 8_u32.to_be_bytes());
    for address in [gateway.server.http_address(), gateway.server.grpc_address()] {
        let mut attack = [HTTP2_PREFACE, &frame(4, 0, 0, &[])].concat();
        for stream in (1..4001).step_by(2) {
            attack.extend(frame(1, 4, stream, &request));
            attack.extend(frame(3, 0, stream, &cancel));
        }
        let mut socket = TcpStream::connect(address).await.unwrap();
        // It may be closed before it has taken all.
        drop(socket.write_all(&attack).await);
        let (said, _) = closed(socket).await;
        let calm_down = [&[7, 0, 0, 0, 0, 0][..]].concat();
        assert!(said.windows(calm_down.len()).any(|bytes| bytes == calm_down), "a GOAWAY is in {said:02x?}");
    }
    let mut request = tonic::Request::new(own_logs("large", 1));
    for at in 0..20 {
        let name = tonic::metadata::MetadataKey::from_bytes(format!("x-{at}").as_bytes()).unwrap();
        request.metadata_mut().insert(name, "x".repeat(10_000).parse().unwrap());
    }
    let refused = IngestClient::new(gateway.channel().await).write(request).await;
    assert!(refused.is_err(), "200 KiB of headers are taken");
    IngestClient::new(gateway.channel().await).write(own_logs("small", 1)).await.unwrap();
    gateway.stop().await;
}

/// Scenario: in each protocol requests that are refused before their records are looked at.
/// Guarantees: each is counted once, under its protocol and the word for its refusal.
#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_counted() {
    let gateway = TestGateway::start_with(|config| config.ingest.max_request_bytes = 10_000).await;
    let large = vec![b' '; 20_000];
    for (path, method, content_type, body) in [
        ("/write/logs", Method::POST, "application/xml", &b"<x/>"[..]),
        ("/write/nowhere", Method::POST, "application/json", b"{}"),
        ("/write/logs", Method::POST, "application/json", &large),
        ("/write/logs", Method::DELETE, "application/json", b""),
        ("/v1/logs", Method::POST, "application/xml", b""),
        ("/v1/logs", Method::PUT, "application/json", b""),
        ("/v1/traces", Method::POST, "application/x-protobuf", &large),
    ] {
        let request = gateway.request(method, path).header("content-type", content_type);
        assert!(request.body(body.to_vec()).send().await.unwrap().status().is_client_error(), "{path}");
    }
    let mut own = IngestClient::new(gateway.channel().await);
    let mut otlp =
        opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient::new(
            gateway.channel().await,
        );
    let too_large = super::own_logs(&"x".repeat(20_000), 1);
    assert!(own.write(too_large.clone()).await.is_err());
    assert!(own.write(super::with_metadata(own_logs("x", 1), &[("tidewell-ack", "maybe")])).await.is_err());
    let item = tidewell_proto::v1::WriteStreamRequest { offset: None, batch: Some(too_large) };
    let mut answers = own.write_stream(tokio_stream::iter([item])).await.unwrap().into_inner();
    assert!(answers.message().await.is_err());
    let options = super::with_metadata(tokio_stream::iter([]), &[("idempotency-key", "k")]);
    assert!(own.write_stream(options).await.is_err());
    assert!(otlp.export(super::otlp_logs(&"x".repeat(20_000), 1)).await.is_err());
    let unknown = super::with_metadata(super::otlp_logs("x", 1), &[("tidewell-ack", "maybe")]);
    assert!(otlp.export(unknown).await.is_err());
    let mut flight = arrow_flight::flight_service_client::FlightServiceClient::new(gateway.channel().await);
    let mut messages = super::flight_messages(&[""]).await;
    messages[0].flight_descriptor = None;
    let mut answers = flight.do_put(tokio_stream::iter(messages)).await.unwrap().into_inner();
    assert!(answers.message().await.is_err());
    assert!(super::otlp_logs("x", 1).encoded_len() < 10_000, "it is the level that is refused");

    for (protocol, result, count) in [
        ("rest", "unsupported_media_type", 1),
        ("rest", "not_found", 1),
        ("rest", "too_large", 1),
        ("rest", "method_not_allowed", 1),
        ("otlp_http_protobuf", "unsupported_media_type", 1),
        ("otlp_http_json", "method_not_allowed", 1),
        ("otlp_http_protobuf", "too_large", 1),
        ("grpc", "too_large", 2),
        ("grpc", "malformed", 2),
        ("otlp_grpc", "too_large", 1),
        ("otlp_grpc", "malformed", 1),
        ("flight", "malformed", 1),
    ] {
        let name = format!("tidewell_requests_total{{protocol=\"{protocol}\",result=\"{result}\"}}");
        assert_eq!(metric(&gateway, &name).await, count, "{name}");
    }
    gateway.stop().await;
}

/// Scenario: no store answers, and metrics come until the log for Timescale has used its space on disk; then logs come.
/// Guarantees: metrics are refused as overload with a time to come again, in HTTP and gRPC; logs are taken as ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_log_refuses_what_is_for_its_store_alone() {
    let gateway = TestGateway::start_unready(|config| {
        config.timescale.url = tidewell_gateway::config::Secret::new("postgres://tidewell@127.0.0.1:1/none");
        config.clickhouse.url = "http://127.0.0.1:1".to_owned();
        config.ingest.ack = tidewell_gateway::config::AckSetting::Durable;
        config.wal.timescale_max_bytes = 8 << 20;
        config.wal.segment_bytes = 1 << 20;
        config.wal.compression = tidewell_gateway::config::WalCompression::None;
    })
    .await;
    // A megabyte, in labels that are as long as a label may be.
    let texts = || (0..31).map(|at| (format!("text{at}"), "x".repeat(32 * 1024)));
    let labels: serde_json::Map<String, serde_json::Value> =
        texts().map(|(name, text)| (name, text.into())).collect();
    let sample = serde_json::json!({"metric": "m", "value": 1, "labels": labels});
    let mut taken = 0;
    let refused = loop {
        let answer = gateway.post("/write/metrics", "application/json", sample.to_string()).await;
        match answer.status().as_u16() {
            200 => taken += 1,
            status => break (status, answer.headers().get("retry-after").cloned()),
        }
        assert!(taken < 50, "{taken} MB are in a log of 8 MB");
    };
    assert_eq!(refused.0, 429);
    assert!(refused.1.is_some_and(|after| after.to_str().unwrap().parse::<u64>().unwrap() >= 1));
    assert!(taken >= 3, "{taken} MB");
    let value = Some(v1::metric_sample::Value::DoubleValue(1.0));
    let labels = texts()
        .map(|(name, text)| (name, v1::Value { kind: Some(v1::value::Kind::StringValue(text)) }))
        .collect();
    let samples =
        vec![v1::MetricSample { metric: "m".to_owned(), value, labels, ..v1::MetricSample::default() }];
    let records = Some(v1::write_request::Records::Metrics(v1::MetricSamples { samples }));
    let request = v1::WriteRequest { records, ..v1::WriteRequest::default() };
    let status = IngestClient::new(gateway.channel().await).write(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status:?}");
    assert!(status.message().contains("timescale"), "{status:?}");
    assert!(status.get_details_retry_info().and_then(|info| info.retry_delay).is_some());
    assert_eq!(gateway.post("/write/logs", "application/json", r#"{"message":"m"}"#).await.status(), 200);
    gateway.stop().await;
}
