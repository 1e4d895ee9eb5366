//! A query request: what its URL, headers and form say, apart from the query text and the data.

pub(crate) mod auth;
pub(crate) mod multipart;
pub(crate) mod params;

use super::engine::session::Settings;
use super::exception::Exception;
use super::wire::compression::Coding;
use http::{HeaderMap, Method, request::Parts};
use params::Params;
use std::time::Duration;

/// Parameters of the URL that are neither settings nor query parameters.
const RESERVED: [&str; 22] = [
    "query",
    "compress",
    "decompress",
    "user",
    "password",
    "quota_key",
    "query_id",
    "stacktrace",
    "role",
    "buffer_size",
    "wait_end_of_query",
    "session_id",
    "session_timeout",
    "session_check",
    "close_session",
    "client_protocol_version",
    "database",
    "default_format",
    "enable_http_compression",
    "max_query_size",
    "log_comment",
    "http_response_buffer_size",
];

/// In a form with files, parameters that end like this describe the files.
const FILE_SUFFIXES: [&str; 3] = ["_format", "_types", "_structure"];

/// The server's default limit for the text of a query.
const MAX_QUERY_SIZE: usize = 262_144;
/// Bytes of a result that are held back so that an early error still gets a status of its own.
const RESPONSE_BUFFER: usize = 1 << 20;
const MAX_SESSION_TIMEOUT: u64 = 3600;
const SESSION_TIMEOUT: u64 = 60;

/// What a request asks for.
#[derive(Debug)]
pub(crate) struct Request {
    /// The beginning of the query text: the rest is the body.
    pub(crate) query: Vec<u8>,
    /// Anything but POST may not change data.
    pub(crate) read_only: bool,
    pub(crate) database: Option<Vec<u8>>,
    pub(crate) default_format: Option<String>,
    pub(crate) query_id: String,
    pub(crate) session: Option<SessionRequest>,
    pub(crate) settings: Settings,
    /// The values of `{name:Type}`, by `param_name`.
    pub(crate) parameters: Settings,
    pub(crate) max_query_size: usize,
    /// The coding of the body, and whether it is in ClickHouse's own framing besides.
    pub(crate) body_coding: Coding,
    pub(crate) body_framed: bool,
    /// The same for the answer.
    pub(crate) answer_coding: Coding,
    pub(crate) answer_framed: bool,
    /// How much of the result is held back before the status is sent; the whole of it when `wait_end_of_query`.
    pub(crate) buffer_size: usize,
    pub(crate) wait_end_of_query: bool,
    /// The revision of the Native format that the client reads and writes.
    pub(crate) client_revision: u64,
}

/// A session that outlives the request.
#[derive(Debug)]
pub(crate) struct SessionRequest {
    pub(crate) id: String,
    pub(crate) timeout: Duration,
    /// Whether the session has to exist.
    pub(crate) must_exist: bool,
    /// Whether it ends with this request.
    pub(crate) close: bool,
}

impl Request {
    /// Reads a request whose URL parameters are `params`. `has_form` says that the body is a form whose files, if
    /// any, are described by further parameters.
    pub(crate) fn new(parts: &Parts, params: &Params, has_form: bool) -> Result<Request, Exception> {
        let header = |name: &str| header(&parts.headers, name);
        let text =
            |name: &str, key: &str| header(name).or_else(|| params.text(key)).filter(|v| !v.is_empty());
        let query_id = params.text("query_id").or_else(|| header("X-ClickHouse-Query-Id"));
        let query_id =
            query_id.filter(|id| !id.is_empty()).unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let read_only = parts.method != Method::POST;
        let (settings, parameters) = settings(params, has_form, &query_id);
        let compresses = params.flag("enable_http_compression")?.unwrap_or(true);
        let accepted = header("Accept-Encoding").filter(|_| compresses).unwrap_or_default();
        let buffer_size = params.number("buffer_size")?.or(params.number("http_response_buffer_size")?);
        Ok(Request {
            query: query(params),
            read_only,
            database: text("X-ClickHouse-Database", "database").map(String::into_bytes),
            default_format: text("X-ClickHouse-Format", "default_format"),
            query_id,
            session: session(params)?,
            settings,
            parameters,
            max_query_size: params.number("max_query_size")?.unwrap_or(MAX_QUERY_SIZE),
            body_coding: Coding::of_content(&header("Content-Encoding").unwrap_or_default())?,
            body_framed: params.flag("decompress")?.unwrap_or(false),
            answer_coding: Coding::of_answer(&accepted),
            answer_framed: params.flag("compress")?.unwrap_or(false),
            buffer_size: buffer_size.unwrap_or(RESPONSE_BUFFER).max(RESPONSE_BUFFER),
            wait_end_of_query: params.flag("wait_end_of_query")?.unwrap_or(false),
            client_revision: params.number("client_protocol_version")?.unwrap_or(0),
        })
    }
}

impl Request {
    /// The revision that a result in `format` has to be converted to.
    pub(crate) fn native_revision(&self, format: &str) -> Option<u64> {
        (self.client_revision > 0 && format.eq_ignore_ascii_case("Native")).then_some(self.client_revision)
    }

    /// Takes the query and what parametrises it from a form, whose fields `params` has by now.
    pub(crate) fn adopt_form(&mut self, params: &Params) {
        self.query = query(params);
        (self.settings, self.parameters) = settings(params, true, &self.query_id);
    }
}

/// All parts of the query text, in the order in which they were given.
fn query(params: &Params) -> Vec<u8> {
    params.iter().filter(|(name, _)| name == "query").flat_map(|(_, value)| value.iter().copied()).collect()
}

/// The header `name`, when it is text.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Settings, and the values of query parameters.
fn settings(params: &Params, has_form: bool, query_id: &str) -> (Settings, Settings) {
    let mut settings = Settings::new();
    let mut parameters = Settings::new();
    for (name, value) in params.iter() {
        let describes_file = has_form && FILE_SUFFIXES.iter().any(|suffix| name.ends_with(suffix));
        if name.starts_with("param_") {
            parameters.push((name.clone(), value.clone()));
        } else if !(name.is_empty() || describes_file || RESERVED.contains(&name.as_str())) {
            settings.push((name.clone(), value.clone()));
        }
    }
    for name in ["max_query_size", "http_response_buffer_size"] {
        settings.extend(params.get(name).map(|value| (name.to_owned(), value.to_vec())));
    }
    let comment = params.get("log_comment").filter(|_| params.get("query_id").is_none());
    let comment = comment.map_or_else(|| query_id.as_bytes().to_vec(), <[u8]>::to_vec);
    settings.push((super::sql::rewrite::QUERY_ID_SETTING.to_owned(), comment));
    (settings, parameters)
}

fn session(params: &Params) -> Result<Option<SessionRequest>, Exception> {
    let Some(id) = params.text("session_id") else { return Ok(None) };
    let given = params.text("session_timeout");
    let invalid = |message: String| Exception::new(374, "INVALID_SESSION_TIMEOUT", &message);
    let timeout = match &given {
        None => SESSION_TIMEOUT,
        Some(text) => text.parse().map_err(|_| invalid(format!("Invalid session timeout: '{text}'")))?,
    };
    if timeout > MAX_SESSION_TIMEOUT {
        let message =
            format!("Session timeout '{timeout}' is larger than max_session_timeout: {MAX_SESSION_TIMEOUT}");
        return Err(invalid(message));
    }
    Ok(Some(SessionRequest {
        id,
        timeout: Duration::from_secs(timeout),
        must_exist: params.text("session_check").as_deref() == Some("1"),
        close: params.flag("close_session")?.unwrap_or(false),
    }))
}
