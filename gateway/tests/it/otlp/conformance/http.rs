//! OTLP/HTTP: methods, content types, encodings, sizes, errors.

use std::io::Write as _;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message as _;
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::requests::{JSON, PATHS, PROTOBUF, content_type, logs, record};
use super::{Finding, Rule, Target, ensure};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "http_empty_request",
        says: "an empty request is a success, of which partial_success is not set",
        check: |target| Box::pin(empty_request(target)),
    },
    Rule {
        name: "http_full_success",
        says: "a full success is 200 with a response whose partial_success is not set",
        check: |target| Box::pin(full_success(target)),
    },
    Rule {
        name: "http_answer_has_the_content_type_of_the_request",
        says: "the answer's content type is the request's; a Collector compares it by the letter",
        check: |target| Box::pin(answers_content_type(target)),
    },
    Rule {
        name: "http_content_type_with_parameters",
        says: "content types may have parameters (RFC 9110, 8.3)",
        check: |target| Box::pin(parameters(target)),
    },
    Rule {
        name: "http_other_content_types",
        says: "a content type other than OTLP's two is 415",
        check: |target| Box::pin(other_content_types(target)),
    },
    Rule {
        name: "http_other_methods",
        says: "a method other than POST is 405",
        check: |target| Box::pin(other_methods(target)),
    },
    Rule {
        name: "http_malformed_body",
        says: "what cannot be read is 400 with a google.rpc.Status in the request's format",
        check: |target| Box::pin(malformed(target)),
    },
    Rule {
        name: "http_gzip",
        says: "a server must take gzip",
        check: |target| Box::pin(encoded(target, "gzip")),
    },
    Rule {
        name: "http_other_encodings",
        says: "a Collector's exporter may be told to send zstd, deflate, zlib, snappy, x-snappy-framed and lz4",
        check: |target| Box::pin(other_encodings(target)),
    },
    Rule {
        name: "http_unknown_encoding",
        says: "an unknown content encoding is a client's error that is not retried, 400 or 415",
        check: |target| Box::pin(unknown_encoding(target)),
    },
    Rule {
        name: "http_too_large",
        says: "over the limit of 64 MiB before decompression is 413",
        check: |target| Box::pin(too_large(target)),
    },
    Rule {
        name: "http_too_large_after_decompression",
        says: "over the limit of 64 MiB after decompression is 413",
        check: |target| Box::pin(bomb(target)),
    },
    Rule {
        name: "http_unknown_fields",
        says: "fields that a receiver does not know are ignored",
        check: |target| Box::pin(unknown_fields(target)),
    },
    Rule {
        name: "http_keep_alive",
        says: "a connection serves further requests, those after an error included (SHOULD)",
        check: |target| Box::pin(keep_alive(target)),
    },
];

async fn empty_request(target: &Target) -> Finding {
    for path in PATHS {
        let answer = target.post(path, PROTOBUF, "", Vec::new()).await?;
        ensure(answer.status() == 200, || format!("{path}: {}", answer.status()))?;
        let body = answer.bytes().await.unwrap_or_default();
        ensure(body.is_empty(), || format!("{path}: partial_success is set: {body:?}"))?;
        let answer = target.post(path, JSON, "", b"{}".to_vec()).await?;
        let body: serde_json::Value = answer.json().await.map_err(|error| format!("{path}: {error}"))?;
        ensure(body.get("partialSuccess").is_none(), || format!("{path}: {body}"))?;
    }
    Ok(())
}

async fn full_success(target: &Target) -> Finding {
    let answer = target.post("/v1/logs", PROTOBUF, "", logs(vec![record()]).encode_to_vec()).await?;
    ensure(answer.status() == 200, || answer.status().to_string())?;
    let response = ExportLogsServiceResponse::decode(answer.bytes().await.unwrap_or_default());
    let response = response.map_err(|error| error.to_string())?;
    ensure(response.partial_success.is_none(), || format!("{response:?}"))
}

async fn answers_content_type(target: &Target) -> Finding {
    for path in PATHS {
        for (format, body) in [(PROTOBUF, &b""[..]), (JSON, b"{}")] {
            for body in [body, b"\xff\xff"] {
                let answer = target.post(path, format, "", body.to_vec()).await?;
                let found = content_type(&answer);
                ensure(found == format, || {
                    format!("{path}: {format} is answered {found:?} ({})", answer.status())
                })?;
            }
        }
    }
    Ok(())
}

async fn parameters(target: &Target) -> Finding {
    for value in ["application/json; charset=utf-8", "Application/JSON"] {
        let answer = target.post("/v1/logs", value, "", b"{}".to_vec()).await?;
        ensure(answer.status() == 200, || format!("{value}: {}", answer.status()))?;
    }
    Ok(())
}

async fn other_content_types(target: &Target) -> Finding {
    for value in ["text/plain", "application/xml", ""] {
        let answer = target.post("/v1/traces", value, "", Vec::new()).await?;
        ensure(answer.status() == 415, || format!("{value:?}: {}", answer.status()))?;
    }
    Ok(())
}

async fn other_methods(target: &Target) -> Finding {
    for path in PATHS {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let request = target.client.request(method.clone(), format!("{}{path}", target.http));
            let answer =
                request.header("content-type", JSON).send().await.map_err(|error| error.to_string())?;
            ensure(answer.status() == 405, || format!("{method} {path}: {}", answer.status()))?;
        }
    }
    Ok(())
}

async fn malformed(target: &Target) -> Finding {
    for path in PATHS {
        let answer = target.post(path, PROTOBUF, "", vec![0x0a, 0xff, 0x01]).await?;
        ensure(answer.status() == 400, || format!("{path}: {}", answer.status()))?;
        let status = tonic_types::Status::decode(answer.bytes().await.unwrap_or_default());
        let status = status.map_err(|error| format!("{path}: the body is no Status: {error}"))?;
        ensure(!status.message.is_empty(), || format!("{path}: {status:?}"))?;
        let answer = target.post(path, JSON, "", b"{\"resource".to_vec()).await?;
        ensure(answer.status() == 400, || format!("{path}: JSON: {}", answer.status()))?;
        let status: serde_json::Value = answer.json().await.map_err(|error| format!("{path}: {error}"))?;
        ensure(status["message"].is_string(), || format!("{path}: {status}"))?;
    }
    Ok(())
}

fn encode(encoding: &str, plain: &[u8]) -> Vec<u8> {
    match encoding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory")
        }
        "deflate" | "zlib" => {
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory")
        }
        "zstd" => zstd::encode_all(plain, 1).expect("memory"),
        "snappy" => snap::raw::Encoder::new().compress_vec(plain).expect("memory"),
        "x-snappy-framed" => {
            let mut encoder = snap::write::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).expect("memory");
            encoder.into_inner().expect("memory")
        }
        _ => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(plain).expect("memory");
            encoder.finish().expect("memory")
        }
    }
}

async fn encoded(target: &Target, encoding: &str) -> Finding {
    let body = encode(encoding, &logs(vec![record()]).encode_to_vec());
    let answer = target.post("/v1/logs", PROTOBUF, encoding, body).await?;
    ensure(answer.status() == 200, || format!("{encoding}: {}", answer.status()))
}

async fn other_encodings(target: &Target) -> Finding {
    for encoding in ["zstd", "deflate", "zlib", "snappy", "x-snappy-framed", "lz4"] {
        encoded(target, encoding).await?;
    }
    Ok(())
}

async fn unknown_encoding(target: &Target) -> Finding {
    let answer = target.post("/v1/logs", PROTOBUF, "br", vec![1]).await?;
    let status = answer.status().as_u16();
    ensure(matches!(status, 400 | 415), || status.to_string())
}

/// Says how long the body is and waits for the answer before it sends it: a receiver that answers and closes while a body is on
/// its way may break the connection before the answer is read.
async fn too_large(target: &Target) -> Finding {
    let text = |error: std::io::Error| error.to_string();
    let authority = target.http.trim_start_matches("http://");
    let mut socket = TcpStream::connect(authority).await.map_err(text)?;
    let length = 65 << 20;
    let head = format!(
        "POST /v1/logs HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {PROTOBUF}\r\ncontent-length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.map_err(text)?;
    let mut answer = [0; 12];
    let early = tokio::time::timeout(Duration::from_secs(3), socket.read_exact(&mut answer)).await;
    if early.is_err() {
        socket.write_all(&vec![0; length]).await.map_err(text)?;
        socket.read_exact(&mut answer).await.map_err(text)?;
    }
    ensure(answer == *b"HTTP/1.1 413", || String::from_utf8_lossy(&answer).into_owned())
}

async fn bomb(target: &Target) -> Finding {
    let answer = target.post("/v1/logs", PROTOBUF, "zstd", encode("zstd", &vec![0; 80 << 20])).await?;
    ensure(answer.status() == 413, || answer.status().to_string())
}

async fn unknown_fields(target: &Target) -> Finding {
    let mut body = logs(vec![record()]).encode_to_vec();
    // Field 100, a text.
    body.extend_from_slice(&[0xa2, 0x06, 1, b'x']);
    let answer = target.post("/v1/logs", PROTOBUF, "", body).await?;
    ensure(answer.status() == 200, || format!("protobuf: {}", answer.status()))?;
    let body = br#"{"newField":{"a":[1,null]},"resourceLogs":[{"new":1,"scopeLogs":[{"logRecords":[]}]}]}"#;
    let answer = target.post("/v1/logs", JSON, "", body.to_vec()).await?;
    ensure(answer.status() == 200, || format!("JSON: {}", answer.status()))
}

async fn keep_alive(target: &Target) -> Finding {
    for body in [&b"{}"[..], b"[", b"{}"] {
        let answer = target.post("/v1/logs", JSON, "", body.to_vec()).await?;
        let closes = answer.headers().get("connection").is_some_and(|value| value == "close");
        ensure(!closes, || "the connection is closed".to_owned())?;
    }
    Ok(())
}
