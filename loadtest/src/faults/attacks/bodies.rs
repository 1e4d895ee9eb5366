//! Bodies that become, claim or nest too much.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use arrow::array::{Int64Array, RecordBatch};
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What the compressed body becomes.
const BOMB_BYTES: usize = 512 << 20;
/// Levels of the nested bodies.
const LEVELS: usize = 10_000;
/// What the Arrow message claims to hold.
const CLAIMED_BYTES: i64 = 1 << 30;

/// A hostile request.
#[derive(Debug, Clone)]
pub(super) struct Hostile {
    pub(super) name: &'static str,
    path: &'static str,
    content_type: &'static str,
    encoding: Option<&'static str>,
    body: Bytes,
}

/// All of them.
pub(super) fn all() -> Result<Vec<Hostile>> {
    let plain = |name, path, content_type, body: Vec<u8>| Hostile {
        name,
        path,
        content_type,
        encoding: None,
        body: body.into(),
    };
    let bomb = |name, path, content_type| -> Result<Hostile> {
        Ok(Hostile { encoding: Some("gzip"), ..plain(name, path, content_type, bomb()?) })
    };
    Ok(vec![
        bomb("a compressed body of 512 MiB, OTLP", "/v1/logs", "application/x-protobuf")?,
        bomb("a compressed body of 512 MiB, REST", "/write/metrics", "application/json")?,
        plain("JSON that is nested too deeply", "/write/logs", "application/json", nested_json()),
        plain("OTLP JSON that is nested too deeply", "/v1/logs", "application/json", nested_json()),
        plain("an Arrow buffer of 1 GiB", "/write/logs", "application/vnd.apache.arrow.stream", claim()?),
        plain("random bytes", "/v1/metrics", "application/x-protobuf", vec![0xfb; 64 * 1024]),
    ])
}

/// Zeros that take a thousandth of their size.
fn bomb() -> Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![0; 1 << 20];
    for _ in 0..BOMB_BYTES >> 20 {
        encoder.write_all(&zeros)?;
    }
    Ok(encoder.finish()?)
}

fn nested_json() -> Vec<u8> {
    [b"[".repeat(LEVELS), b"]".repeat(LEVELS)].concat()
}

/// A stream of one batch, whose message says that its body is far longer than it is.
fn claim() -> Result<Vec<u8>> {
    let column = Arc::new(Int64Array::from(vec![1; 100]));
    let batch = RecordBatch::try_from_iter([("severity_number", column as _)])?;
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
    writer.write(&batch)?;
    writer.finish()?;
    let mut stream = writer.into_inner()?;
    // 800 bytes of values, with what stands before them padded to 64: the length in the message of the batch.
    for length in [832_i64, 896, 960] {
        let place = stream.windows(8).position(|eight| eight == length.to_le_bytes());
        if let Some(there) = place.and_then(|place| stream.get_mut(place..place + 8)) {
            there.copy_from_slice(&CLAIMED_BYTES.to_le_bytes());
            return Ok(stream);
        }
    }
    anyhow::bail!("the length of an Arrow message was not found")
}

/// Sends one after the other, over and over.
pub(super) async fn send_all(http: SocketAddr, bodies: Vec<Hostile>) {
    loop {
        for body in &bodies {
            // Whatever the answer is; what must be answered is asked for apart.
            let _answer = send(http, body).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Sends one and gives the status of its answer.
pub(super) async fn send(http: SocketAddr, hostile: &Hostile) -> Result<StatusCode> {
    let exchange = async {
        let socket = TcpStream::connect(http).await.context("no connection")?;
        let (mut sender, connection) = handshake(TokioIo::new(socket)).await?;
        // Ends with the sender; an error shows in the request that it broke.
        tokio::spawn(connection);
        let mut request = Request::post(hostile.path)
            .header(header::HOST, http.to_string())
            .header(header::CONTENT_TYPE, hostile.content_type);
        if let Some(encoding) = hostile.encoding {
            request = request.header(header::CONTENT_ENCODING, encoding);
        }
        let response = sender.send_request(request.body(Full::new(hostile.body.clone()))?).await?;
        let status = response.status();
        response.into_body().collect().await?;
        Ok(status)
    };
    tokio::time::timeout(Duration::from_secs(15), exchange).await.context("no answer in time")?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_bodies_are_small_themselves() {
        let all = all().unwrap();
        assert!(all.iter().all(|hostile| hostile.body.len() < 8 << 20));
        let claim = claim().unwrap();
        assert!(claim.len() < 4096);
        assert!(claim.windows(8).any(|eight| eight == CLAIMED_BYTES.to_le_bytes()));
    }
}
