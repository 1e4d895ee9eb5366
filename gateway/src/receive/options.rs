//! What a request asks for beside its records: HTTP headers or gRPC metadata in, [`RequestOptions`] out, and the same
//! keys in the answer.
//!
//! | key | request | answer |
//! |---|---|---|
//! | `tidewell-ack` | the level asked for: `durable` or `stored` | the level given |
//! | `idempotency-key`, `tidewell-idempotency-key` | a name for the request, 1 to 255 printable bytes | |
//! | `tidewell-table` | what routes may ask for, see [`crate::registry::route`] | |
//! | `tidewell-suppressed` | | `true`: a repetition, of which nothing was stored again |
//!
//! What cannot be understood refuses the request: a sender that asks for more than it gets would find out too late.

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::ingest::{
    ACK_HEADER, AckLevel, IdempotencyKey, KEY_HEADERS, Receipt, RequestOptions, SUPPRESSED_HEADER,
    TABLE_HEADER,
};
use crate::rejection::Rejection;

/// Reads the options of one request.
pub(super) fn of_request(headers: &HeaderMap) -> Result<RequestOptions, Rejection> {
    let table =
        only_value(headers, TABLE_HEADER)?.map(|value| String::from_utf8_lossy(value.as_bytes()).into());
    Ok(RequestOptions { ack: ack(headers)?, key: key(headers)?, table, ..RequestOptions::default() })
}

/// Reads the options of a call with many batches. Each has a name of its own or none; `in_batch` says where.
pub(super) fn of_stream(headers: &HeaderMap, in_batch: &str) -> Result<RequestOptions, Rejection> {
    let options = of_request(headers)?;
    match options.key {
        None => Ok(options),
        Some(_) => Err(Rejection::Malformed(format!(
            "{} names one request, and a stream has many: name each batch in {in_batch}",
            KEY_HEADERS[0]
        ))),
    }
}

/// Says in the headers or metadata of an answer what became of its request.
pub(super) fn describe(receipt: &Receipt, headers: &mut HeaderMap) {
    name_ack(receipt.ack, headers);
    if receipt.suppressed {
        headers.insert(SUPPRESSED_HEADER, HeaderValue::from_static("true"));
    }
}

/// Names the level that an answer gives.
pub(super) fn name_ack(level: AckLevel, headers: &mut HeaderMap) {
    headers.insert(ACK_HEADER, HeaderValue::from_static(level.name()));
}

/// The level that a field or header named `name` asks for.
pub(super) fn parse_ack(name: &str, value: &str) -> Result<AckLevel, Rejection> {
    value.parse().map_err(|error| Rejection::Malformed(format!("{name}: {error}")))
}

/// The name that a field or header named `name` gives to a request.
pub(super) fn parse_key(name: &str, value: &[u8]) -> Result<IdempotencyKey, Rejection> {
    IdempotencyKey::new(value).map_err(|error| Rejection::Malformed(format!("{name}: {error}")))
}

fn ack(headers: &HeaderMap) -> Result<Option<AckLevel>, Rejection> {
    match only_value(headers, ACK_HEADER)? {
        None => Ok(None),
        Some(value) => parse_ack(ACK_HEADER, &String::from_utf8_lossy(value.as_bytes())).map(Some),
    }
}

fn key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Rejection> {
    let mut key = None;
    for name in KEY_HEADERS {
        let Some(value) = only_value(headers, name)? else { continue };
        let found = parse_key(name, value.as_bytes())?;
        if key.as_ref().is_some_and(|key| *key != found) {
            return Err(Rejection::Malformed(format!(
                "{} and {} give the request two names: leave one out",
                KEY_HEADERS[0], KEY_HEADERS[1]
            )));
        }
        key = Some(found);
    }
    Ok(key)
}

fn only_value<'h>(headers: &'h HeaderMap, name: &'static str) -> Result<Option<&'h HeaderValue>, Rejection> {
    let mut values = headers.get_all(HeaderName::from_static(name)).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Rejection::Malformed(format!("{name} is given more than once"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn options_are_read_from_headers() {
        let options =
            of_request(&headers(&[("tidewell-ack", "stored"), ("idempotency-key", "k 1")])).unwrap();
        assert_eq!(options.ack, Some(AckLevel::Stored));
        assert_eq!(options.key.unwrap().as_str(), "k 1");
        assert_eq!(of_request(&HeaderMap::new()).unwrap(), RequestOptions::default());
        let twice = headers(&[("idempotency-key", "k"), ("tidewell-idempotency-key", "k")]);
        assert_eq!(of_request(&twice).unwrap().key.unwrap().as_str(), "k");
    }

    #[test]
    fn what_cannot_be_understood_is_refused_by_name() {
        for (pairs, reason) in [
            (&[("tidewell-ack", "maybe")][..], "tidewell-ack: \"maybe\""),
            (
                &[("tidewell-ack", "stored"), ("tidewell-ack", "stored")],
                "tidewell-ack is given more than once",
            ),
            (&[("idempotency-key", "")], "idempotency-key: an idempotency key has 1 to 255"),
            (&[("tidewell-idempotency-key", "a\tb")], "tidewell-idempotency-key: "),
            (&[("idempotency-key", "a"), ("tidewell-idempotency-key", "b")], "two names"),
            (&[("idempotency-key", "a"), ("idempotency-key", "a")], "more than once"),
        ] {
            let rejection = of_request(&headers(pairs)).unwrap_err();
            assert!(matches!(rejection, Rejection::Malformed(_)));
            assert!(rejection.to_string().contains(reason), "{rejection}");
        }
        let rejection =
            of_stream(&headers(&[("idempotency-key", "a")]), "batch.idempotency_key").unwrap_err();
        assert!(rejection.to_string().contains("batch.idempotency_key"), "{rejection}");
        assert_eq!(
            of_stream(&headers(&[("tidewell-ack", "stored")]), "").unwrap().ack,
            Some(AckLevel::Stored)
        );
    }
}
