//! A server that ends with its test.

use crate::http::{Response, exchange};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

const START: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
    pub(crate) folder: PathBuf,
    /// Kept until the end of the test.
    own_folder: Option<tempfile::TempDir>,
}

impl Server {
    /// Starts a server with an empty data folder.
    pub(crate) fn start() -> Server {
        Server::start_with(&[])
    }

    /// Starts a server with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let mut server = Server::start_in(&path, arguments);
        server.own_folder = Some(folder);
        server
    }

    /// Starts a server on a data folder that outlives it.
    pub(crate) fn start_in(folder: &Path, arguments: &[&str]) -> Server {
        let port = free_port();
        let mut child = command(folder, port).args(arguments).spawn().unwrap();
        let started = Instant::now();
        while exchange(port, b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").is_none() {
            assert!(child.try_wait().unwrap().is_none(), "the server ended: is the engine installed?");
            assert!(started.elapsed() < START, "the server did not start in {START:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        Server { child, port, folder: folder.to_owned(), own_folder: None }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn get(&self, target: &str) -> Response {
        self.send("GET", target, &[], b"")
    }

    pub(crate) fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Response {
        self.send("POST", target, &[], body.as_ref())
    }

    pub(crate) fn send(&self, method: &str, target: &str, headers: &[&str], body: &[u8]) -> Response {
        let mut request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        if method == "POST" {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        for header in headers {
            request += &format!("{header}\r\n");
        }
        self.raw(&[request.as_bytes(), b"\r\n", body].concat())
    }

    /// Sends bytes as they are and reads until the server closes the connection.
    pub(crate) fn raw(&self, request: &[u8]) -> Response {
        exchange(self.port, request).unwrap()
    }

    /// Runs `sql` and returns its result, which is expected to be there.
    pub(crate) fn query(&self, sql: &str) -> String {
        let response = self.post("/", sql);
        assert_eq!(response.status, 200, "{sql}: {}", response.text());
        response.text().trim_end_matches('\n').to_owned()
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the server as an operator does.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.ask_to_stop();
        self.child.wait().unwrap()
    }

    /// Sends SIGTERM and does not wait.
    pub(crate) fn ask_to_stop(&self) {
        assert!(Command::new("kill").arg(self.child.id().to_string()).status().unwrap().success());
    }

    /// Bytes of memory that are neither shared nor files.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone when the test ended it.
        drop(self.child.kill());
        drop(self.child.wait());
        drop(self.own_folder.take());
    }
}

/// The program with its arguments.
pub(crate) fn command(folder: &Path, port: u16) -> Command {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidewell-embedded"));
    // A `clickhouse` on the PATH must not take the place of what is tested here.
    command.args(["clickhouse", "--listen", &format!("127.0.0.1:{port}")]).env("PATH", "/nonexistent");
    command.arg("--path").arg(folder).arg("--tools").arg(tools).stdin(Stdio::null());
    command
}

pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
