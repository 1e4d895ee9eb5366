//! Requests as Filebeat, Fluent Bit, Logstash and Vector send them, and some that nobody would.

use arrow::array::{Array, AsArray};
use proptest::prelude::*;

use super::*;
use crate::decode::DecodeLimits;
use crate::registry::{Snapshot, Tenant, builtin};

const NOW: i64 = 1_750_000_000_000_000_000;

fn decode_within(body: &[u8], index: &str, limits: DecodeLimits) -> Result<Decoded, DecodeError> {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    bulk(body, index, &DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits })
}

fn decode(body: &str) -> Decoded {
    decode_within(body.as_bytes(), "of-address", DecodeLimits::default()).unwrap()
}

fn texts(decoded: &Decoded, name: &str) -> Vec<String> {
    let [batch] = decoded.batches.as_slice() else { panic!("{} batches", decoded.batches.len()) };
    let column = batch.rows().column_by_name(name).unwrap();
    column.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

/// The label of the index of each row.
fn indexes(decoded: &Decoded) -> Vec<String> {
    let labels = decoded.batches[0].rows().column_by_name("labels").unwrap();
    let labels = labels.as_map();
    (0..labels.len())
        .map(|row| {
            let row = labels.value(row);
            let keys = row.column(0).as_string::<i32>();
            let values = row.column(1).as_struct();
            let values = values.column(0).as_string::<i32>();
            let at = (0..keys.len()).find(|&at| keys.value(at) == "_index").unwrap();
            values.value(at).to_owned()
        })
        .collect()
}

const BEATS: &str = concat!(
    r#"{"create":{"_index":"filebeat-8.1","_id":"a b","pipeline":null}}"#,
    "\n",
    r#"{"@timestamp":"2024-05-01T12:30:00.123Z","message":"GET /","host":{"name":"web-1"},"log":{"level":"warning"},"service":{"name":"shop"}}"#,
    "\r\n\n",
    r#"{"index":{}}"#,
    "\n",
    r#" { "log" : "x" } "#,
    "\n",
    r#"{"create":{}}"#,
    "\n",
    r#"{}"#,
    "\n",
);

#[test]
fn documents_become_rows() {
    let decoded = decode(BEATS);
    assert_eq!((decoded.accepted, &decoded.rejected), (3, &Vec::new()));
    assert_eq!(texts(&decoded, "message"), ["GET /", "x", ""]);
    assert_eq!(texts(&decoded, "host"), ["web-1", "", ""]);
    assert_eq!(texts(&decoded, "app"), ["shop", "", ""]);
    assert_eq!(texts(&decoded, "level"), ["warn", "", ""]);
    assert_eq!(indexes(&decoded), ["filebeat-8.1", "of-address", "of-address"]);
    let requested = requested(BEATS.as_bytes(), "of-address", 10).unwrap();
    let first = Requested { action: "create", index: "filebeat-8.1".to_owned(), id: Some("a b".to_owned()) };
    assert_eq!((requested.len(), &requested[0]), (3, &first));
    assert_eq!((requested[1].action, requested[1].index.as_str()), ("index", "of-address"));
}

#[test]
fn bad_items_are_refused_alone_and_kept_as_requests() {
    let good = "{\"create\":{}}\n{\"message\":\"good\"}\n";
    for (bad, field) in [
        ("{\"delete\":{\"_id\":\"1\"}}\n", "action"),
        ("{\"update\":{\"_id\":\"1\"}}\n{\"doc\":{}}\n", "action"),
        ("{\"create\":{}}\n{\"message\":tru}\n", ""),
        ("{\"create\":{}}\n[1]\n", ""),
        ("{\"create\":{}}\n{\"@timestamp\":\"never\"}\n", "@timestamp"),
    ] {
        let decoded = decode(&format!("{good}{bad}{good}"));
        assert_eq!((decoded.accepted, decoded.rejected.len()), (2, 1), "{bad}");
        let rejected = &decoded.rejected[0];
        assert_eq!(
            (rejected.index, rejected.error.field.as_str(), rejected.content_type),
            (1, field, KEPT),
            "{bad}"
        );
        let again = decode_within(&rejected.payload, "", DecodeLimits::default()).unwrap();
        assert_eq!((again.accepted, &again.rejected[0].error), (0, &rejected.error), "{bad}");
    }
}

#[test]
fn a_line_that_is_no_action_refuses_the_request() {
    for (body, reason) in [
        ("{\"message\":\"x\"}\n{}\n", "line [1]: "),
        ("{\"create\":{}}\n{}\nnonsense\n", "line [3]: "),
        ("{\"create\":{}}\n", "line [1]: no document follows"),
        ("{\"create\":{}}\n\n{}\n", "line [1]: no document follows"),
        ("{\"create\":{\"_index\":7}}\n{}\n", "_index is a number"),
        ("{\"create\":7}\n{}\n", "line [1]: "),
        ("{\"create\":{},\"index\":{}}\n{}\n", "2 members"),
    ] {
        let error = decode_within(body.as_bytes(), "", DecodeLimits::default()).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(requested(body.as_bytes(), "", 10).unwrap_err(), error);
    }
    assert_eq!(decode("\n\n").accepted, 0);
}

#[test]
fn requests_over_the_limits_are_refused() {
    let body = "{\"create\":{}}\n{\"message\":\"x\"}\n".repeat(3);
    for limits in [
        DecodeLimits { records: 2, ..DecodeLimits::default() },
        DecodeLimits { decoded_bytes: 100, ..DecodeLimits::default() },
    ] {
        let error = decode_within(body.as_bytes(), &"i".repeat(200), limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge(_)), "{error}");
    }
    assert!(matches!(requested(body.as_bytes(), "", 2), Err(DecodeError::TooLarge(_))));
}

#[test]
fn the_corpus_is_decoded_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/elasticsearch");
    let mut accepted = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let body = std::fs::read(file.unwrap().path()).unwrap();
        match decode_within(&body, "i", DecodeLimits::default()) {
            Ok(decoded) => accepted += decoded.accepted,
            Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{error}"),
        }
    }
    assert!(accepted > 3, "{accepted} good items");
}

proptest! {
    #[test]
    fn no_text_panics(body in "[{}\":,a1\n]{0,60}", at: usize, byte: u8) {
        let mut damaged = BEATS.as_bytes().to_vec();
        let place = at % damaged.len();
        damaged[place] = byte;
        for body in [body.as_bytes(), &damaged] {
            let decoded = decode_within(body, "i", DecodeLimits::default());
            let items = requested(body, "i", 1000);
            prop_assert_eq!(decoded.is_ok(), items.is_ok());
            if let (Ok(decoded), Ok(items)) = (decoded, items) {
                prop_assert_eq!(decoded.accepted + decoded.rejected.len(), items.len());
            }
        }
    }
}
