//! One INSERT over HTTP: a statement, its settings and a body in; that it is committed, or why nobody knows, out.
//!
//! Guaranteed: it counts as committed only when its answer is complete, has the status 200, no exception's code among
//! its headers and not one byte of body, since an exception may stand there in any words. The body of the request ends
//! like a whole one only if all of it was sent. Of an answer at most [`MAX_ANSWER_BYTES`] are read, redirects are not
//! followed, and an answer that was read to its end leaves its connection to the next INSERT.

mod body;

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::body::Body;
use super::client::Connector;
use super::error::{from_answer, timed_out, unavailable, with_causes};
use crate::store::StoreError;

/// Most bytes of an answer that are looked at: an exception's text is shorter.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Most characters of an answer that is no exception in what is said of it.
const QUOTED: usize = 200;
/// What is encoded in a parameter of the address: all but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The header that names an exception's code.
const EXCEPTION_CODE: &str = "x-clickhouse-exception-code";

/// Sends INSERTs to one database.
pub(super) struct Inserter {
    http: Client<Connector, Body>,
    /// Scheme, address and path.
    url: String,
    database: String,
    user: Option<HeaderValue>,
    password: Option<HeaderValue>,
    compressed: bool,
    timeout: Duration,
}

/// What there is to know of an answer.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    /// Of an exception, as a header says it.
    code: Option<u32>,
    /// The body, or the beginning of a long one.
    text: Vec<u8>,
    /// Why the body could not be read to its end.
    broken: Option<String>,
}

impl Inserter {
    /// For the database at `url`. The password goes in a header, as every request's does.
    pub(super) fn new(
        http: Client<Connector, Body>,
        url: &Uri,
        database: &str,
        (user, password): (&str, &str),
        compressed: bool,
        timeout: Duration,
    ) -> Result<Self, StoreError> {
        let authority = url.authority().map_or("", |authority| authority.as_str());
        Ok(Self {
            http,
            url: format!("{}://{authority}{}", url.scheme_str().unwrap_or("http"), url.path()),
            database: database.to_owned(),
            user: header("clickhouse.user", user)?,
            password: header("clickhouse.password", password)?.map(|mut password| {
                password.set_sensitive(true);
                password
            }),
            compressed,
            timeout,
        })
    }

    /// Sends the INSERT and waits until it is committed. The wait for an answer begins anew with every piece of the body
    /// that the server takes.
    pub(super) async fn insert<'s>(
        &self,
        statement: &'s str,
        settings: impl IntoIterator<Item = (&'s str, &'s str)>,
        body: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        let (body, mut sent) = Body::new(body, self.compressed);
        let request = self.request(statement, settings, body)?;
        let mut answer = std::pin::pin!(async {
            let response = self.http.request(request).await;
            Answer::read(response.map_err(|error| unavailable(with_causes(&error)))?).await
        });
        loop {
            tokio::select! {
                answer = &mut answer => return answer?.judge(sent.is_whole()),
                () = sent.progress() => {}
                () = tokio::time::sleep(self.timeout) => return Err(timed_out()),
            }
        }
    }

    fn request<'s>(
        &self,
        statement: &'s str,
        settings: impl IntoIterator<Item = (&'s str, &'s str)>,
        body: Body,
    ) -> Result<Request<Body>, StoreError> {
        let mut url = format!("{}?database={}", self.url, encoded(&self.database));
        let decompress = self.compressed.then_some(("decompress", "1"));
        for (name, value) in [("query", statement)].into_iter().chain(decompress).chain(settings) {
            url.push('&');
            url.push_str(&encoded(name));
            url.push('=');
            url.push_str(&encoded(value));
        }
        let mut request = Request::post(url)
            .header(USER_AGENT, concat!("tidewell/", env!("CARGO_PKG_VERSION")))
            .header(CONTENT_TYPE, "application/octet-stream");
        for (name, value) in [("x-clickhouse-user", &self.user), ("x-clickhouse-key", &self.password)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request.body(body).map_err(|error| unavailable(format!("an INSERT cannot be asked for: {error}")))
    }
}

fn header(setting: &str, value: &str) -> Result<Option<HeaderValue>, StoreError> {
    if value.is_empty() {
        return Ok(None);
    }
    // The error does not quote the value.
    let value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| unavailable(format!("{setting} has a character that no HTTP header can carry")))?;
    Ok(Some(value))
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

// === impl Answer ===

impl Answer {
    async fn read(response: Response<Incoming>) -> Result<Self, StoreError> {
        let (head, mut body) = response.into_parts();
        let code = head.headers.get(EXCEPTION_CODE).map(|code| {
            // A code that cannot be read is an exception nevertheless.
            code.to_str().ok().and_then(|code| code.trim().parse().ok()).unwrap_or_default()
        });
        let mut answer = Self { status: head.status, code, text: Vec::new(), broken: None };
        while let Some(frame) = body.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(piece)) => {
                    let room = MAX_ANSWER_BYTES - answer.text.len();
                    answer.text.extend_from_slice(piece.get(..room).unwrap_or(&piece));
                }
                // Trailers.
                Ok(Err(_)) => {}
                Err(error) => answer.broken = Some(with_causes(&error)),
            }
            if answer.broken.is_some() || answer.text.len() >= MAX_ANSWER_BYTES {
                break;
            }
        }
        Ok(answer)
    }

    /// What it means for an INSERT of which the server could see the end, if `whole`.
    fn judge(self, whole: bool) -> Result<(), StoreError> {
        let text = String::from_utf8_lossy(&self.text);
        let says_nothing = self.text.is_empty() && self.code.is_none();
        if self.status != StatusCode::OK || !says_nothing {
            let quoted = text.chars().take(QUOTED).collect::<String>();
            return Err(from_answer(self.code, &text).unwrap_or_else(|| {
                unavailable(format!("it answered an INSERT with {}: {quoted}", self.status))
            }));
        }
        match self.broken {
            Some(reason) => Err(unavailable(format!("its answer broke off: {reason}"))),
            None if !whole => Err(unavailable("it answered before it had all rows")),
            None => Ok(()),
        }
    }
}

// === impl Inserter ===

impl std::fmt::Debug for Inserter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inserter")
            .field("url", &self.url)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ClickHouseConfig;
    use crate::store::clickhouse::client::connector;

    fn answer(status: u16, code: Option<u32>, text: &str) -> Answer {
        let status = StatusCode::from_u16(status).unwrap();
        Answer { status, code, text: text.as_bytes().to_vec(), broken: None }
    }

    #[test]
    fn only_silence_is_success() {
        assert!(answer(200, None, "").judge(true).is_ok());
        assert!(answer(200, None, "").judge(false).is_err(), "it cannot know how many rows there are");
        assert!(answer(200, None, "\n").judge(true).is_err());
        assert!(answer(204, None, "").judge(true).is_err());
        assert!(answer(200, Some(0), "").judge(true).is_err());
        let broken = Answer { broken: Some("reset".to_owned()), ..answer(200, None, "") };
        assert!(broken.judge(true).is_err());
    }

    #[test]
    fn an_exception_is_told_by_its_header_or_its_text() {
        let text = "Code: 252. DB::Exception: Too many parts. (TOO_MANY_PARTS) (version 26.5.1.1)\n";
        for busy in [answer(500, None, text), answer(200, None, text), answer(500, Some(252), "")] {
            let error = busy.judge(true).unwrap_err();
            assert!(matches!(error, StoreError::Busy { .. }), "{error}");
        }
        let error = answer(404, Some(60), "no such table").judge(true).unwrap_err();
        assert!(matches!(error, StoreError::Schema { .. }), "{error}");
        let error = answer(500, Some(0), "words").judge(true).unwrap_err();
        assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    }

    #[test]
    fn what_was_half_read_is_classified_all_the_same() {
        let half = Answer { broken: Some("reset".to_owned()), ..answer(500, None, "Code: 241. DB::Exc") };
        let error = half.judge(true).unwrap_err();
        assert!(matches!(error, StoreError::Busy { .. }), "{error}");
    }

    #[test]
    fn values_of_the_address_are_encoded_and_a_password_is_not_shown() {
        let url = Uri::from_static("http://ch.example:8123/path?x=1");
        let client = || {
            let connector = connector(&ClickHouseConfig::default(), &url).unwrap();
            Client::builder(hyper_util::rt::TokioExecutor::new()).build(connector)
        };
        let inserter =
            Inserter::new(client(), &url, "d", ("me", "s3cret"), true, Duration::from_secs(1)).unwrap();
        let (body, _) = Body::new([], true);
        let request = inserter.request("INSERT INTO `t` (`a&b`)", [("log_comment", "1+2")], body).unwrap();
        assert_eq!(
            request.uri().to_string(),
            "http://ch.example:8123/path?database=d&query=INSERT%20INTO%20%60t%60%20%28%60a%26b%60%29\
             &decompress=1&log_comment=1%2B2"
        );
        assert_eq!(request.headers()["x-clickhouse-key"], "s3cret");
        assert!(!format!("{inserter:?} {request:?}").contains("s3cret"));
        let error = Inserter::new(client(), &url, "d", ("me", "s3\ncret"), true, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("clickhouse.password") && !error.to_string().contains("cret"));
    }
}
