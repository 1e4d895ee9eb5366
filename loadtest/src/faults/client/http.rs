//! HTTP/1.1 on a connection that is kept.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::response::Parts;
use http::{HeaderMap, Request as HttpRequest, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use prost::Message;
use tokio::net::TcpStream;

use super::{Answer, Exchanged, Request, rejected_by_rest};
use crate::faults::encode::Protocol;
use crate::faults::ledger::Level;
use crate::send::LEVEL_KEY;

/// A connection and the address on it.
#[derive(Debug)]
pub(super) struct Http {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    path: &'static str,
    content_type: &'static str,
}

impl Http {
    pub(super) async fn connect(address: SocketAddr, path: &'static str, protocol: Protocol) -> Result<Self> {
        let socket = TcpStream::connect(address).await.context("no connection")?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await.context("no connection")?;
        // Ends with the sender; an error shows in the request that it broke.
        tokio::spawn(connection);
        Ok(Self { sender, host: address.to_string(), path, content_type: protocol.content_type() })
    }

    pub(super) async fn exchange(&mut self, protocol: Protocol, request: &Request) -> Exchanged {
        match self.call(request).await {
            Ok((head, body)) => Exchanged { answer: conclude(protocol, &head, &body), keep: true },
            Err(error) => Exchanged::broken(format!("{error:#}")),
        }
    }

    async fn call(&mut self, request: &Request) -> Result<(Parts, Bytes)> {
        self.sender.ready().await.context("connection closed")?;
        let mut call = HttpRequest::post(self.path)
            .header(header::HOST, self.host.as_str())
            .header(header::CONTENT_TYPE, self.content_type);
        if let Some(key) = &request.key {
            call = call.header("idempotency-key", key);
        }
        if let Some(level) = request.level {
            call = call.header(LEVEL_KEY, level.name());
        }
        let call = call.body(Full::new(request.body.clone()))?;
        let response = self.sender.send_request(call).await.context("connection closed")?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.context("connection closed")?.to_bytes();
        Ok((head, body))
    }
}

fn conclude(protocol: Protocol, head: &Parts, body: &Bytes) -> Answer {
    let text = || {
        let body: String = String::from_utf8_lossy(body).chars().take(200).collect();
        format!("HTTP {}: {body}", head.status.as_u16())
    };
    match head.status.as_u16() {
        200 => match rejected(protocol, body) {
            Some(rejected) => Answer::Acknowledged { level: level(&head.headers), rejected },
            None => {
                Answer::TryAgain { reason: format!("an answer that cannot be read, {}", text()), after: None }
            }
        },
        429 | 502..=504 => Answer::TryAgain { reason: text(), after: retry_after(&head.headers) },
        _ if head.status == StatusCode::REQUEST_TIMEOUT => Answer::TryAgain { reason: text(), after: None },
        _ => Answer::Refused { reason: text() },
    }
}

fn rejected(protocol: Protocol, body: &Bytes) -> Option<u32> {
    if protocol == Protocol::Rest {
        return rejected_by_rest(body);
    }
    // The answers of all signals have this shape.
    let answer = ExportLogsServiceResponse::decode(body.as_ref()).ok()?;
    let rejected = answer.partial_success.map_or(0, |partial| partial.rejected_log_records);
    u32::try_from(rejected).ok()
}

fn level(headers: &HeaderMap) -> Option<Level> {
    Level::named(headers.get(LEVEL_KEY)?.to_str().ok()?)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &'static str) -> Answer {
        let mut response = http::Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).unwrap().into_parts();
        conclude(Protocol::Rest, &head, &Bytes::from_static(body.as_bytes()))
    }

    #[test]
    fn answers_mean_what_a_collector_makes_of_them() {
        let accepted = answer(200, &[(LEVEL_KEY, "durable")], r#"{"accepted":1,"rejected":2}"#);
        assert_eq!(accepted, Answer::Acknowledged { level: Some(Level::Durable), rejected: 2 });
        for status in [429, 502, 503, 504] {
            let again = answer(status, &[("retry-after", "3")], "");
            assert!(
                matches!(again, Answer::TryAgain { after: Some(after), .. } if after.as_secs() == 3),
                "{status}"
            );
        }
        for status in [400, 401, 404, 409, 413, 422, 500] {
            assert!(matches!(answer(status, &[], "no"), Answer::Refused { .. }), "{status}");
        }
        // What cannot be read as an acknowledgement is none.
        assert!(matches!(answer(200, &[], "<html>"), Answer::TryAgain { .. }));
    }
}
