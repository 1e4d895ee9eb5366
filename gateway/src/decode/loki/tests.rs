//! Push requests of both formats, read back from the rows; and requests that no client would send.

mod messages;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int32Type, TimestampNanosecondType};
use proptest::prelude::*;
use prost::Message as _;
use serde_json::json;

use self::messages::{PushRequest, Stream, entry};
use super::*;
use crate::decode::{DecodeContext, DecodeError, DecodeLimits, Decoded};
use crate::registry::{Snapshot, Tenant, builtin};

const NOW: i64 = 1_700_000_000_123_456_789;
const TRACE: &str = "0AF7651916CD43DD8448EB211C80319C";

type Push = fn(&[u8], &DecodeContext<'_>) -> Result<Decoded, DecodeError>;

fn decode_within(push: Push, body: &[u8], limits: DecodeLimits) -> Result<Decoded, DecodeError> {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    push(body, &DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits })
}

fn decode(push: Push, body: &[u8]) -> Decoded {
    decode_within(push, body, DecodeLimits::default()).unwrap()
}

fn column(decoded: &Decoded, name: &str) -> arrow::array::ArrayRef {
    let [batch] = decoded.batches.as_slice() else { panic!("{} batches", decoded.batches.len()) };
    std::sync::Arc::clone(batch.rows().column_by_name(name).unwrap())
}

fn texts(decoded: &Decoded, name: &str) -> Vec<String> {
    column(decoded, name).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

fn labels(decoded: &Decoded, row: usize) -> Vec<(String, String)> {
    let row = column(decoded, "labels").as_map().value(row);
    let keys = row.column(0).as_string::<i32>();
    let values = row.column(1).as_struct();
    let values = values.column(0).as_string::<i32>();
    (0..row.len()).map(|at| (keys.value(at).to_owned(), values.value(at).to_owned())).collect()
}

fn protobuf() -> Vec<u8> {
    let labels = r#"{app="web", host="h1", level="warning", path="/a\"b"}"#.to_owned();
    let entries = vec![
        entry(NOW - 1, "one", &[("trace_id", TRACE), ("app", "other"), ("bad_id", "x")]),
        entry(NOW, "two\n", &[]),
    ];
    let bare = Stream { labels: "{}".to_owned(), entries: vec![entry(NOW, "", &[])], hash: 7 };
    PushRequest { streams: vec![Stream { labels, entries, hash: 0 }, bare] }.encode_to_vec()
}

fn in_json() -> Vec<u8> {
    json!({"streams": [
        {"stream": {"app": "web", "host": "h1", "level": "warning", "path": "/a\"b"}, "values": [
            [(NOW - 1).to_string(), "one", {"trace_id": TRACE, "app": "other", "bad_id": "x"}],
            [NOW.to_string(), "two\n"],
        ]},
        {"stream": {}, "values": [[NOW.to_string(), ""]]},
    ]})
    .to_string()
    .into_bytes()
}

#[test]
fn both_formats_read_back_alike() {
    for (push, body) in [(push_protobuf as Push, protobuf()), (push_json, in_json())] {
        let decoded = decode(push, &body);
        assert_eq!((decoded.accepted, &decoded.rejected), (3, &Vec::new()));
        assert_eq!(texts(&decoded, "message"), ["one", "two\n", ""]);
        assert_eq!(texts(&decoded, "app"), ["web", "web", ""]);
        assert_eq!(texts(&decoded, "host"), ["h1", "h1", ""]);
        assert_eq!(texts(&decoded, "level"), ["warn", "warn", ""]);
        assert_eq!(texts(&decoded, "severity_text"), ["warning", "warning", ""]);
        let numbers = column(&decoded, "severity_number");
        assert_eq!(numbers.as_primitive::<Int32Type>().values(), &[13, 13, 0]);
        assert_eq!(texts(&decoded, "trace_id"), [TRACE.to_ascii_lowercase(), String::new(), String::new()]);
        let times = column(&decoded, "timestamp");
        assert_eq!(times.as_primitive::<TimestampNanosecondType>().values(), &[NOW - 1, NOW, NOW]);
        let wanted = [
            ("app", "web"),
            ("host", "h1"),
            ("level", "warning"),
            ("path", "/a\"b"),
            ("trace_id", TRACE),
            ("app_extracted", "other"),
            ("bad_id", "x"),
        ];
        let mut found = labels(&decoded, 0);
        let mut wanted = wanted.map(|(name, value)| (name.to_owned(), value.to_owned()));
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted);
        assert_eq!(labels(&decoded, 2), []);
    }
}

fn bad_json() -> Vec<(serde_json::Value, &'static str)> {
    let stream = |values: serde_json::Value| json!({"stream": {"a": "b"}, "values": values});
    vec![
        (stream(json!([["x", "line"]])), "timestamp"),
        (stream(json!([["9223372036854775807", "line"]])), "timestamp"),
        (stream(json!([[NOW.to_string(), 7]])), "line"),
        (stream(json!([[NOW.to_string()]])), "values"),
        (stream(json!(["x"])), "values"),
        (stream(json!([[NOW.to_string(), "l", {"a": 1}]])), "structured metadata"),
        (stream(json!([[NOW.to_string(), "l", []]])), "structured metadata"),
        (stream(json!("x")), "values"),
        (json!({"stream": {"a": 1}, "values": [[NOW.to_string(), "l"]]}), "stream"),
        (json!({"labels": "{}", "entries": []}), "values"),
        (json!(7), "streams"),
    ]
}

#[test]
fn bad_entries_are_refused_alone_and_kept_in_requests_of_their_own() {
    let good = json!({"stream": {}, "values": [[NOW.to_string(), "good"]]});
    for (bad, field) in bad_json() {
        let body = json!({"streams": [good, bad, good]}).to_string();
        let decoded = decode(push_json, body.as_bytes());
        assert_eq!((decoded.accepted, decoded.rejected.len()), (2, 1), "{bad}");
        let rejected = &decoded.rejected[0];
        assert_eq!((rejected.error.field.as_str(), rejected.index), (field, 1), "{bad}");
        let again = decode(push_json, &rejected.payload);
        assert_eq!((again.accepted, &again.rejected[0].error), (0, &rejected.error), "{bad}");
        assert_eq!(rejected.content_type, KEPT_JSON);
    }
    let good = || Stream { labels: "{}".to_owned(), entries: vec![entry(NOW, "good", &[])], hash: 0 };
    let far = entry(i64::MAX, "far", &[]);
    for bad in [Stream { labels: "{a=1}".to_owned(), ..good() }, Stream { entries: vec![far], ..good() }] {
        let decoded =
            decode(push_protobuf, &PushRequest { streams: vec![good(), bad, good()] }.encode_to_vec());
        assert_eq!((decoded.accepted, decoded.rejected.len()), (2, 1));
        let rejected = &decoded.rejected[0];
        let again = decode(push_protobuf, &rejected.payload);
        assert_eq!((again.accepted, &again.rejected[0].error), (0, &rejected.error));
        assert_eq!(rejected.content_type, KEPT_PROTOBUF);
    }
}

#[test]
fn requests_that_cannot_be_read_are_refused_whole() {
    for body in [&b""[..], b"[]", b"{}", b"{\"streams\":7}", b"{\"streams\":[", b"\xff"] {
        let result = decode_within(push_json, body, DecodeLimits::default());
        assert!(matches!(result, Err(DecodeError::Malformed(_))), "{body:?}");
    }
    let result = decode_within(push_protobuf, &[0x0a, 9], DecodeLimits::default());
    assert!(matches!(result, Err(DecodeError::Malformed(_))));
    let limits = DecodeLimits { records: 2, ..DecodeLimits::default() };
    assert!(matches!(decode_within(push_json, &in_json(), limits), Err(DecodeError::TooLarge(_))));
    assert!(matches!(decode_within(push_protobuf, &protobuf(), limits), Err(DecodeError::TooLarge(_))));
}

#[test]
fn labels_that_many_entries_share_do_not_take_more_than_the_limit() {
    let labels = format!("{{a=\"{}\"}}", "x".repeat(30_000));
    let entries = vec![entry(NOW, "l", &[]); 1000];
    let body = PushRequest { streams: vec![Stream { labels, entries, hash: 0 }] }.encode_to_vec();
    let limits = DecodeLimits { decoded_bytes: 1 << 20, ..DecodeLimits::default() };
    assert!(matches!(decode_within(push_protobuf, &body, limits), Err(DecodeError::TooLarge(_))));
}

#[test]
fn the_corpus_is_decoded_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/loki");
    let mut accepted = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let body = std::fs::read(file.unwrap().path()).unwrap();
        for push in [push_json as Push, push_protobuf] {
            match decode_within(push, &body, DecodeLimits::default()) {
                Ok(decoded) => accepted += decoded.accepted,
                Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{error}"),
            }
        }
    }
    assert!(accepted > 5, "{accepted} good entries");
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200), at: usize, byte: u8) {
        let mut damaged = protobuf();
        let place = at % damaged.len();
        damaged[place] = byte;
        for (push, body) in [(push_protobuf as Push, &body), (push_json, &body), (push_protobuf, &damaged)] {
            if let Err(DecodeError::Internal(reason)) = decode_within(push, body, DecodeLimits::default()) {
                prop_assert!(false, "{}", reason);
            }
        }
    }
}
