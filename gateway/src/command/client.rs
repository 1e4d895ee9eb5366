//! Requests to a running gateway: a method and a path in, JSON out.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::{CommandError, Files};
use crate::store::tls;

/// A bulk replay goes through thousands of letters.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Longest answer: ten thousand letters with reasons of 1 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Which running gateway to ask, and as whom.
#[derive(Debug, Clone, Args)]
pub(super) struct Whom {
    /// HTTP address of the gateway; by default that of the settings
    #[arg(long, value_name = "URL", env = "TIDEWELL_GATEWAY")]
    gateway: Option<String>,
    /// File with the key of a caller that may do this
    #[arg(long, value_name = "FILE", env = "TIDEWELL_KEY_FILE")]
    key_file: Option<PathBuf>,
    /// PEM file with the authorities of the gateway's certificate, where those of the system are not
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Which of its ports is asked where the settings say the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listener {
    /// The one for everybody.
    Everybody,
    /// The one for operators, if it has one of its own.
    Operators,
}

impl Whom {
    /// A client of this gateway.
    pub(super) fn connect(&self, listener: Listener, files: &Files) -> Result<Gateway, CommandError> {
        Gateway::new(&self.url(listener, files)?, self.key()?, self.ca_file.clone())
    }

    fn url(&self, listener: Listener, files: &Files) -> Result<String, CommandError> {
        if let Some(url) = &self.gateway {
            return Ok(url.clone());
        }
        let config = files.load()?.config;
        let scheme = if config.tls.certificate_file.is_some() { "https" } else { "http" };
        let operators = config.admin.listen.filter(|_| listener == Listener::Operators);
        Ok(format!("{scheme}://{}", operators.unwrap_or(config.http.listen)))
    }

    fn key(&self) -> Result<Option<String>, CommandError> {
        let Some(path) = &self.key_file else { return Ok(None) };
        let read = std::fs::read_to_string(path);
        let key = read.map_err(|error| CommandError::Key(format!("{}: {error}", path.display())))?;
        Ok(Some(key.trim().to_owned()))
    }
}

/// A gateway by its HTTP address. Not `Debug`: it holds a key.
pub(super) struct Gateway {
    url: String,
    /// The value of `authorization`.
    key: Option<HeaderValue>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Gateway {
    /// `url` is `http://HOST:PORT` or `https://HOST:PORT`; an authority of `ca_file` or of the system vouches for the latter.
    pub(super) fn new(
        url: &str,
        key: Option<String>,
        ca_file: Option<PathBuf>,
    ) -> Result<Self, CommandError> {
        let url = url.trim_end_matches('/').to_owned();
        let failed = |reason: &str| CommandError::Gateway { url: url.clone(), reason: reason.to_owned() };
        let tls = if url.starts_with("https:") {
            tls::client_config("--ca-file", ca_file.as_deref())
        } else {
            tls::trusting_nobody()
        };
        let tls = tls.map_err(|reason| failed(&reason))?;
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let key = key.map(|key| HeaderValue::from_str(&format!("Bearer {key}"))).transpose();
        let mut key = key.map_err(|_| failed("the key holds what a header cannot"))?;
        if let Some(key) = &mut key {
            key.set_sensitive(true);
        }
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self { url, key, client })
    }

    /// Asks, and returns the status and the JSON of the answer.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(String, Vec<u8>)>,
    ) -> Result<(StatusCode, Value), CommandError> {
        let (status, body) = self.exchange(method, path, body).await?;
        let json = serde_json::from_slice(&body)
            .map_err(|_| self.failed(format!("it answered {status} and no JSON: is it a gateway?")))?;
        Ok((status, json))
    }

    fn failed(&self, reason: String) -> CommandError {
        CommandError::Gateway { url: self.url.clone(), reason }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Option<(String, Vec<u8>)>,
    ) -> Result<(StatusCode, Bytes), CommandError> {
        let failed = |reason: String| self.failed(reason);
        let (content_type, body) = body.unwrap_or_default();
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header(http::header::AUTHORIZATION, key);
        }
        if !content_type.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, content_type);
        }
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| failed(error.to_string()))?;
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|error| failed(with_causes(&error)))?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await;
            let body = body.map_err(|error| failed(error.to_string()))?.to_bytes();
            Ok((status, body))
        };
        tokio::time::timeout(TIMEOUT, exchange)
            .await
            .map_err(|_| failed(format!("no answer within {} s", TIMEOUT.as_secs())))?
    }

    /// [`Gateway::ask`], where everything but a success is a failure of the command.
    pub(super) async fn succeed(
        &self,
        method: Method,
        path: &str,
        body: Option<(String, Vec<u8>)>,
    ) -> Result<Value, CommandError> {
        let (status, answer) = self.ask(method, path, body).await?;
        if status.is_success() {
            return Ok(answer);
        }
        Err(refused(&answer))
    }

    /// The text that a path gives.
    pub(super) async fn text(&self, path: &str) -> Result<String, CommandError> {
        let (status, body) = self.exchange(Method::GET, path, None).await?;
        if !status.is_success() {
            return Err(match serde_json::from_slice(&body) {
                Ok(answer) => refused(&answer),
                Err(_) => self.failed(format!("it answered {status} and no JSON: is it a gateway?")),
            });
        }
        String::from_utf8(body.into()).map_err(|error| self.failed(error.to_string()))
    }
}

/// What an answer that is no success says.
fn refused(answer: &Value) -> CommandError {
    let reason = match (&answer["error"]["message"], &answer["errors"][0]) {
        (Value::String(message), _) => message.clone(),
        (_, error) => format!(
            "refused again: {}: {}",
            error["field"].as_str().unwrap_or_default(),
            error["reason"].as_str().unwrap_or_default()
        ),
    };
    CommandError::Refused(reason)
}

/// A value as it may stand in an address (RFC 3986, unreserved characters).
pub(super) fn escaped(value: &str) -> String {
    value.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte))
            }
            other => text += &format!("%{other:02X}"),
        }
        text
    })
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text += &format!(": {inner}");
        cause = inner.source();
    }
    text
}
