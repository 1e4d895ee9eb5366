//! Requests to a running gateway: a method and a path in, JSON out.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::command::CommandError;
use crate::store::tls;

/// A bulk replay goes through thousands of letters.
const TIMEOUT: Duration = Duration::from_secs(300);

/// Longest answer: ten thousand letters with reasons of 1 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024 * 1024;

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
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(String, Vec<u8>)>,
    ) -> Result<(StatusCode, Value), CommandError> {
        let failed = |reason: String| CommandError::Gateway { url: self.url.clone(), reason };
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
