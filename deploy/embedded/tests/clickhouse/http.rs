//! A client that shows what is on the wire: whether a body was complete, and its bytes as they were sent.

use std::io::{Read, Write};
use std::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Whether the body has its end: the last chunk, or as many bytes as were announced.
    pub(crate) complete: bool,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends `request` and reads until the server closes the connection; `None` when there is no server.
pub(crate) fn exchange(port: u16, request: &[u8]) -> Option<Response> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let mut sender = stream.try_clone().unwrap();
    let request = request.to_vec();
    // The server may answer before it has read everything.
    let sending = std::thread::spawn(move || drop(sender.write_all(&request)));
    let mut bytes = Vec::new();
    // A connection that is cut ends what was received.
    drop(stream.read_to_end(&mut bytes));
    sending.join().unwrap();
    Some(parse(&bytes))
}

/// Percent-encodes a parameter.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

pub(crate) fn parse(bytes: &[u8]) -> Response {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a response has a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut response = Response { status, headers, body: bytes[end + 4..].to_vec(), complete: false };
    if response.header("Transfer-Encoding") == Some("chunked") {
        (response.body, response.complete) = unchunk(&response.body);
    } else {
        let length = response.header("Content-Length").map(|length| length.parse::<usize>().unwrap());
        response.complete = length.is_none_or(|length| length == response.body.len());
    }
    response
}

fn unchunk(mut bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = bytes.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..line]).unwrap(), 16).unwrap();
        let data = &bytes[line + 2..];
        if size == 0 {
            return (body, true);
        }
        body.extend_from_slice(&data[..size.min(data.len())]);
        match data.get(size + 2..) {
            Some(rest) => bytes = rest,
            None => break,
        }
    }
    (body, false)
}
