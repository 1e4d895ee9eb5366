//! An HTTP proxy in front of ClickHouse that does to INSERTs what a network and a dying server do: each takes the next
//! fault of a plan, and passes when the plan is empty. Other requests always pass.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What happens to one INSERT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    Pass,
    /// It never arrives.
    LoseRequest,
    /// Half of it arrives, then the connection breaks.
    TearRequest,
    /// It is done, and nobody hears of it.
    LoseAnswer,
    /// It arrives twice, one after the other; the second answer is given.
    Duplicate,
    /// It arrives after this time, when the sender has long gone.
    Delay(Duration),
    /// It is done, and the answer begins with 200 and ends with an exception.
    FailAfterOk,
    /// It is done, and the answer says that a value does not fit.
    RefuseAfterwards,
    /// It never arrives, and the answer says that a value does not fit.
    Refuse,
    /// It never arrives; something in between answers.
    BadGateway,
}

/// A proxy with a plan.
pub(crate) struct ClickHouseProxy {
    address: SocketAddr,
    plan: Arc<Mutex<VecDeque<Fault>>>,
}

impl ClickHouseProxy {
    /// A proxy in front of the server at this URL.
    pub(crate) async fn start(url: &str) -> Self {
        Self::overruling(&[], url).await
    }

    /// A proxy that gives these settings other values in every request, as a user's profile might.
    pub(crate) async fn overruling(settings: &'static [(&'static str, &'static str)], url: &str) -> Self {
        let target = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let plan = Arc::new(Mutex::new(VecDeque::new()));
        let faults = Arc::clone(&plan);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, faults) = (target.clone(), Arc::clone(&faults));
                // A connection that breaks is what this is for.
                tokio::spawn(async move { drop(serve(client, &target, settings, &faults).await) });
            }
        });
        Self { address, plan }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What happens to the next INSERTs, in order.
    pub(crate) fn plan(&self, faults: impl IntoIterator<Item = Fault>) {
        self.plan.lock().extend(faults);
    }

    /// Whether every planned fault has happened.
    pub(crate) fn is_done(&self) -> bool {
        self.plan.lock().is_empty()
    }
}

async fn serve(
    mut client: TcpStream,
    target: &str,
    settings: &[(&str, &str)],
    faults: &Mutex<VecDeque<Fault>>,
) -> std::io::Result<()> {
    let Some(mut request) = read_request(&mut client).await? else { return Ok(()) };
    request.overrule(settings);
    let is_insert = request.head().contains("INSERT");
    let fault = if is_insert { faults.lock().pop_front() } else { None }.unwrap_or(Fault::Pass);
    let answer = match fault {
        Fault::Pass => pass(target, &request.bytes).await?,
        Fault::LoseRequest => return Ok(()),
        Fault::TearRequest => {
            let half = (request.head_bytes + request.bytes.len()) / 2;
            let mut server = TcpStream::connect(target).await?;
            return server.write_all(&request.bytes[..half]).await;
        }
        Fault::LoseAnswer => return pass(target, &request.bytes).await.map(drop),
        Fault::Duplicate => {
            pass(target, &request.bytes).await?;
            pass(target, &request.bytes).await?
        }
        Fault::Delay(time) => {
            tokio::time::sleep(time).await;
            pass(target, &request.bytes).await?
        }
        Fault::FailAfterOk => {
            pass(target, &request.bytes).await?;
            let text = "Code: 241. DB::Exception: Memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)\n";
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{text}").into_bytes()
        }
        Fault::RefuseAfterwards => {
            pass(target, &request.bytes).await?;
            refusal()
        }
        Fault::Refuse => refusal(),
        Fault::BadGateway => {
            b"HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n<html>no upstream</html>".to_vec()
        }
    };
    client.write_all(&answer).await?;
    client.shutdown().await
}

fn refusal() -> Vec<u8> {
    let text = "Code: 117. DB::Exception: Cannot parse. (INCORRECT_DATA) (version 26.5.1.1)\n";
    let head = "HTTP/1.1 400 Bad Request\r\nX-ClickHouse-Exception-Code: 117\r\nConnection: close\r\n\r\n";
    format!("{head}{text}").into_bytes()
}

struct Request {
    bytes: Vec<u8>,
    head_bytes: usize,
}

impl Request {
    /// Gives parameters of the first line other values.
    fn overrule(&mut self, settings: &[(&str, &str)]) {
        let head = self.head();
        let (line, rest) = head.split_once("\r\n").expect("a request line");
        let mut parameters: Vec<String> = line.split('&').map(str::to_owned).collect();
        for parameter in &mut parameters {
            let name = parameter.split('=').next().unwrap_or_default();
            if let Some((name, value)) = settings.iter().find(|setting| setting.0 == name) {
                let version = if parameter.ends_with(" HTTP/1.1") { " HTTP/1.1" } else { "" };
                *parameter = format!("{name}={value}{version}");
            }
        }
        let head = format!("{}\r\n{rest}", parameters.join("&"));
        self.bytes.splice(..self.head_bytes, head.bytes());
        self.head_bytes = head.len();
    }

    fn head(&self) -> String {
        String::from_utf8_lossy(&self.bytes[..self.head_bytes]).into_owned()
    }
}

/// One whole request; none when the client has nothing to say.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 * 1024];
    loop {
        let head_bytes = bytes.windows(4).position(|end| end == b"\r\n\r\n").map(|at| at + 4);
        if let Some(head_bytes) = head_bytes {
            let head = String::from_utf8_lossy(&bytes[..head_bytes]).to_ascii_lowercase();
            let length = head
                .split_once("content-length: ")
                .and_then(|(_, rest)| rest.split("\r\n").next()?.parse::<usize>().ok());
            let is_whole = match length {
                Some(length) => bytes.len() >= head_bytes + length,
                None if head.contains("transfer-encoding: chunked") => bytes.ends_with(b"0\r\n\r\n"),
                None => true,
            };
            if is_whole {
                return Ok(Some(Request { bytes, head_bytes }));
            }
        }
        let read = client.read(&mut piece).await?;
        if read == 0 {
            return Ok(None);
        }
        bytes.extend_from_slice(&piece[..read]);
    }
}

/// The server's answer to a request, on a connection of its own.
async fn pass(target: &str, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(target).await?;
    let first_line = request.windows(2).position(|end| end == b"\r\n").map_or(0, |at| at + 2);
    server.write_all(&request[..first_line]).await?;
    server.write_all(b"Connection: close\r\n").await?;
    server.write_all(&request[first_line..]).await?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await?;
    Ok(answer)
}
