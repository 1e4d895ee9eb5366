//! Requests to a running gateway: a method and a path in, JSON out.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::command::CommandError;

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

    /// Asks, and returns the status and the JSON of the answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(String, Vec<u8>)>,
    ) -> Result<(StatusCode, Value), CommandError> {
        let failed = |reason: String| CommandError::Gateway { url: self.url.clone(), reason };
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
            let json = serde_json::from_slice(&body)
                .map_err(|_| failed(format!("it answered {status} and no JSON: is it a gateway?")))?;
            Ok((status, json))
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
        let reason = match (&answer["error"]["message"], &answer["errors"][0]) {
            (Value::String(message), _) => message.clone(),
            (_, error) => format!(
                "refused again: {}: {}",
                error["field"].as_str().unwrap_or_default(),
                error["reason"].as_str().unwrap_or_default()
            ),
        };
        Err(CommandError::Refused(reason))
    }
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
