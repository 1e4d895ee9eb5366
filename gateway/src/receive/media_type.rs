//! What a REST body is: its content type, and its first bytes where that says nothing, in; a [`BodyFormat`] out.
//!
//! | content type | format |
//! |---|---|
//! | `application/json`, `text/json` | objects, or arrays of objects |
//! | `application/x-ndjson`, `application/ndjson`, `application/jsonl`, `application/x-jsonlines`, `application/jsonlines` | an object a line |
//! | `application/vnd.apache.arrow.stream` | an Arrow IPC stream |
//! | `text/plain` | a log message a line |
//! | none, `application/octet-stream`, `application/x-www-form-urlencoded` (what curl says by itself) | by the first byte |

use http::HeaderMap;
use http::header::CONTENT_TYPE;

use crate::decode::json::Framing;
use crate::rejection::Rejection;

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyFormat {
    /// JSON.
    Json(Framing),
    /// An Arrow IPC stream.
    Arrow,
    /// Lines of text.
    Text,
}

/// Every message of an Arrow IPC stream begins with these bytes.
const ARROW_CONTINUATION: &[u8] = &[0xff; 4];

impl BodyFormat {
    /// The format that `headers` name, or that `body` begins as.
    pub fn of(headers: &HeaderMap, body: &[u8]) -> Result<Self, Rejection> {
        let Some(value) = headers.get(CONTENT_TYPE) else {
            return Ok(Self::guess(body));
        };
        let text = value.to_str().unwrap_or_default();
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let format = match essence.as_str() {
            "application/json" | "text/json" => Self::Json(Framing::Json),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines" => Self::Json(Framing::Lines),
            "application/vnd.apache.arrow.stream" => Self::Arrow,
            "text/plain" => Self::Text,
            "application/octet-stream" | "application/x-www-form-urlencoded" => Self::guess(body),
            _ => {
                return Err(Rejection::UnsupportedMediaType(format!(
                    "content-type {text:?} is not supported: send application/json, application/x-ndjson or \
                     application/vnd.apache.arrow.stream"
                )));
            }
        };
        match parts.find_map(charset) {
            Some(charset) if format != Self::Arrow && !is_utf8(charset) => Err(
                Rejection::UnsupportedMediaType(format!("charset {charset:?} is not supported: send utf-8")),
            ),
            _ => Ok(format),
        }
    }

    /// The format's name; a part of what repetitions are recognised by, so that it stays as it is.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json(Framing::Json) => "json",
            Self::Json(Framing::Lines) => "ndjson",
            Self::Arrow => "arrow",
            Self::Text => "text",
        }
    }

    fn guess(body: &[u8]) -> Self {
        if body.starts_with(ARROW_CONTINUATION) { Self::Arrow } else { Self::Json(Framing::Json) }
    }
}

fn charset(parameter: &str) -> Option<&str> {
    let (name, value) = parameter.split_once('=')?;
    name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
}

fn is_utf8(charset: &str) -> bool {
    ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn format(content_type: &str, body: &[u8]) -> Result<BodyFormat, Rejection> {
        let mut headers = HeaderMap::new();
        if !content_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_bytes(content_type.as_bytes()).unwrap());
        }
        BodyFormat::of(&headers, body)
    }

    #[test]
    fn content_types_decide_and_first_bytes_where_they_do_not() {
        let json = BodyFormat::Json(Framing::Json);
        let lines = BodyFormat::Json(Framing::Lines);
        for (content_type, body, expected) in [
            ("application/json", "", json),
            ("Application/JSON; charset=UTF-8", "", json),
            ("application/json;charset=\"utf-8\"", "", json),
            ("application/x-ndjson", "[", lines),
            ("text/plain; charset=us-ascii", "{", BodyFormat::Text),
            ("", "{}", json),
            ("application/x-www-form-urlencoded", "{}", json),
            ("application/vnd.apache.arrow.stream", "", BodyFormat::Arrow),
        ] {
            assert_eq!(format(content_type, body.as_bytes()), Ok(expected), "{content_type}");
        }
        assert_eq!(format("", &[0xff, 0xff, 0xff, 0xff, 0x10]), Ok(BodyFormat::Arrow));
        for refused in [
            "application/xml",
            "application/json; charset=latin1",
            "json",
            "caf\u{e9}/x",
            "multipart/form-data",
        ] {
            assert!(matches!(format(refused, b"{}"), Err(Rejection::UnsupportedMediaType(_))), "{refused}");
        }
    }
}
