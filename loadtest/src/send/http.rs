//! HTTP/1.1 with a connection that is kept: bodies in, answers out.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::answer::{self, LEVEL_KEY};
use super::{Failure, Target};
use crate::tally::Answer;
use crate::workload::Protocol;

/// One connection and the request line and headers of all its requests.
#[derive(Debug)]
pub(super) struct HttpConnection {
    sender: SendRequest<Full<Bytes>>,
    head: http::request::Parts,
}

impl HttpConnection {
    pub(super) async fn open(target: &Target, path: &str, content_type: &str) -> Result<Self> {
        let address = target.http;
        let socket = TcpStream::connect(address).await;
        let socket = socket.with_context(|| format!("cannot connect to the gateway at http://{address}"))?;
        socket.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(socket)).await?;
        // Ends with the sender; an error shows in the request that it broke.
        tokio::spawn(connection);
        let mut request = Request::post(path)
            .header(header::HOST, address.to_string())
            .header(header::CONTENT_TYPE, content_type);
        if let Some(level) = &target.level {
            request = request.header(LEVEL_KEY, level);
        }
        let (head, ()) = request.body(())?.into_parts();
        Ok(Self { sender, head })
    }

    pub(super) async fn send(
        &mut self,
        body: Bytes,
        protocol: Protocol,
        records: u64,
    ) -> Result<Answer, Failure> {
        self.sender.ready().await.map_err(|_| Failure::broken("connection closed"))?;
        let request = Request::from_parts(self.head.clone(), Full::new(body));
        let response = self.sender.send_request(request).await;
        let (head, body) = response.map_err(|_| Failure::broken("connection closed"))?.into_parts();
        let body = body.collect().await.map_err(|_| Failure::broken("connection closed"))?.to_bytes();
        if head.status != http::StatusCode::OK {
            return Err(Failure::refused(format!("HTTP {}", head.status.as_u16())));
        }
        let level = head.headers.get(LEVEL_KEY).and_then(|level| level.to_str().ok()).unwrap_or_default();
        answer::read(protocol, &body, records, level.to_owned())
    }
}
