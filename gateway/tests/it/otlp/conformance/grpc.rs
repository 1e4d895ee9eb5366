//! OTLP/gRPC: codes, encodings, sizes.

use bytes::Bytes;
use futures::future::join_all;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tidewell_proto::RawMessage;
use tonic::codec::CompressionEncoding;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::requests::{logs, record, span, spans};
use super::{Finding, Rule, Target, ensure};

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const METRICS: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
const TRACES: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// The codes upon which a client sends again, but for `RESOURCE_EXHAUSTED` with `RetryInfo`.
const RETRYABLE: [Code; 6] = [
    Code::Cancelled,
    Code::DeadlineExceeded,
    Code::Aborted,
    Code::OutOfRange,
    Code::Unavailable,
    Code::DataLoss,
];

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "grpc_empty_request",
        says: "an empty request is a success, of which partial_success is not set",
        check: |target| Box::pin(empty_request(target)),
    },
    Rule {
        name: "grpc_malformed_message",
        says: "what cannot be read gets a code upon which a client does not send again",
        check: |target| Box::pin(malformed(target)),
    },
    Rule {
        name: "grpc_too_large",
        says: "over the limit of 64 MiB is RESOURCE_EXHAUSTED without RetryInfo",
        check: |target| Box::pin(too_large(target)),
    },
    Rule {
        name: "grpc_too_large_after_decompression",
        says: "over the limit of 64 MiB after decompression is RESOURCE_EXHAUSTED without RetryInfo",
        check: |target| Box::pin(bomb(target)),
    },
    Rule {
        name: "grpc_up_to_the_limit",
        says: "a message of less than 64 MiB is taken: gRPC's own default of 4 MiB loses batches",
        check: |target| Box::pin(large(target)),
    },
    Rule {
        name: "grpc_gzip",
        says: "a server must take gzip, which is a Collector's default",
        check: |target| Box::pin(encoded(target, CompressionEncoding::Gzip)),
    },
    Rule {
        name: "grpc_zstd",
        says: "a Collector's exporter may be told to send zstd",
        check: |target| Box::pin(encoded(target, CompressionEncoding::Zstd)),
    },
    Rule {
        name: "grpc_unknown_method",
        says: "a method that does not exist is UNIMPLEMENTED",
        check: |target| Box::pin(unknown_method(target)),
    },
    Rule {
        name: "grpc_concurrent_calls",
        says: "a server takes concurrent unary calls of one connection",
        check: |target| Box::pin(concurrent(target)),
    },
    Rule {
        name: "grpc_response_within_4_mib",
        says: "a response has at most 4 MiB: its error_message is cut",
        check: |target| Box::pin(bounded_response(target)),
    },
];

async fn channel(target: &Target) -> Result<Channel, String> {
    let endpoint = Channel::from_shared(target.grpc.clone()).map_err(|error| error.to_string())?;
    endpoint.connect().await.map_err(|error| format!("no connection: {error}"))
}

async fn call(
    channel: Channel,
    method: &'static str,
    encoding: Option<CompressionEncoding>,
    body: Vec<u8>,
) -> Result<Bytes, Status> {
    let mut client = tonic::client::Grpc::new(channel);
    if let Some(encoding) = encoding {
        // Some answer in the encoding of the request.
        client = client.send_compressed(encoding).accept_compressed(encoding);
    }
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let codec = tonic_prost::ProstCodec::<RawMessage, RawMessage>::default();
    let path = http::uri::PathAndQuery::from_static(method);
    let answer = client.unary(Request::new(RawMessage(body.into())), path, codec).await?;
    Ok(answer.into_inner().0)
}

async fn empty_request(target: &Target) -> Finding {
    for method in [LOGS, METRICS, TRACES] {
        let answer = call(channel(target).await?, method, None, Vec::new()).await;
        let body = answer.map_err(|status| format!("{method}: {status}"))?;
        ensure(body.is_empty(), || format!("{method}: partial_success is set: {body:?}"))?;
    }
    Ok(())
}

async fn malformed(target: &Target) -> Finding {
    for method in [LOGS, METRICS, TRACES] {
        match call(channel(target).await?, method, None, vec![0x0a, 0xff, 1]).await {
            Ok(_) => return Err(format!("{method}: accepted")),
            Err(status) => {
                ensure(!RETRYABLE.contains(&status.code()), || format!("{method}: {status}"))?;
            }
        }
    }
    Ok(())
}

fn check_exhausted(answer: Result<Bytes, Status>) -> Finding {
    let Err(status) = answer else { return Err("accepted".to_owned()) };
    let told_to_retry = status.get_error_details().retry_info().is_some();
    ensure(status.code() == Code::ResourceExhausted && !told_to_retry, || status.to_string())
}

/// A request with one log record of so many bytes.
fn of_size(bytes: usize) -> Vec<u8> {
    let mut record = record();
    record.event_name = "x".repeat(bytes);
    logs(vec![record]).encode_to_vec()
}

async fn too_large(target: &Target) -> Finding {
    check_exhausted(call(channel(target).await?, LOGS, None, of_size(66 << 20)).await)
}

async fn bomb(target: &Target) -> Finding {
    check_exhausted(
        call(channel(target).await?, LOGS, Some(CompressionEncoding::Gzip), of_size(80 << 20)).await,
    )
}

async fn large(target: &Target) -> Finding {
    let record = record();
    let body = logs(vec![record; 100_000]).encode_to_vec();
    ensure(body.len() > 8 << 20, || format!("the request has {} bytes only", body.len()))?;
    call(channel(target).await?, LOGS, None, body).await.map(drop).map_err(|status| status.to_string())
}

async fn encoded(target: &Target, encoding: CompressionEncoding) -> Finding {
    let body = logs(vec![record()]).encode_to_vec();
    let answer = call(channel(target).await?, LOGS, Some(encoding), body).await;
    answer.map(drop).map_err(|status| status.to_string())
}

async fn unknown_method(target: &Target) -> Finding {
    const OTHER: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Other";
    match call(channel(target).await?, OTHER, None, Vec::new()).await {
        Err(status) if status.code() == Code::Unimplemented => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

async fn concurrent(target: &Target) -> Finding {
    let channel = channel(target).await?;
    let calls = (0..50).map(|_| call(channel.clone(), LOGS, None, logs(vec![record()]).encode_to_vec()));
    for answer in join_all(calls).await {
        answer.map_err(|status| status.to_string())?;
    }
    Ok(())
}

async fn bounded_response(target: &Target) -> Finding {
    let bad = Span { trace_id: vec![1; 3], name: "n".repeat(1000), ..span() };
    match call(channel(target).await?, TRACES, None, spans(vec![bad; 5000]).encode_to_vec()).await {
        Ok(body) => ensure(body.len() < 4 << 20, || format!("{} bytes", body.len())),
        Err(status) => ensure(status.message().len() < 4 << 20, || "a long status".to_owned()),
    }
}
