//! Requests to a running gateway: a method and a path in, JSON out.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use super::{CommandError, Files};

/// A bulk replay goes through thousands of letters.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Longest answer: ten thousand letters with reasons of 1 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// A gateway by its HTTP address.
#[derive(Debug)]
pub(super) struct Gateway {
    url: String,
}

impl Gateway {
    /// `url` is `http://HOST:PORT`.
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned() }
    }

    /// The gateway that is named, or the one of the settings.
    pub(super) fn named(url: Option<&str>, files: &Files) -> Result<Self, CommandError> {
        match url {
            Some(url) => Ok(Self::new(url)),
            None => Ok(Self::new(&format!("http://{}", files.load()?.config.http.listen))),
        }
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
        if !content_type.is_empty() {
            request = request.header(http::header::CONTENT_TYPE, content_type);
        }
        let request =
            request.body(Full::new(Bytes::from(body))).map_err(|error| failed(error.to_string()))?;
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let exchange = async {
            let answer = client.request(request).await.map_err(|error| failed(with_causes(&error)))?;
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
