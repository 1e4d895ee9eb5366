//! Rows of registered tables: which value serves which column.

use arrow::datatypes::{Float64Type, Int32Type, Int64Type, TimestampNanosecondType};
use proptest::prelude::*;
use v1::value::Kind;
use v1::write_request::Records;

use super::*;

fn rows(table: &str, rows: Vec<std::collections::BTreeMap<String, v1::Value>>) -> Decoded {
    let rows = rows.into_iter().map(|values| v1::Row { values }).collect();
    decode(Records::Rows(v1::Rows { table: table.into(), rows }))
}

fn time() -> v1::Value {
    value(Kind::TimeUnixNano(NOW - 1))
}

fn list<const N: usize>(values: [v1::Value; N]) -> v1::Value {
    value(Kind::ListValue(v1::ListValue { values: values.into() }))
}

#[test]
fn values_of_every_type_reach_their_columns() {
    let labels = value(Kind::MapValue(v1::MapValue { fields: map([("k", int(1))]) }));
    let decoded = rows(
        "wide",
        vec![map([
            ("time", time()),
            ("value", int(3)),
            ("count", value(Kind::DoubleValue(4.0))),
            ("small", int(5)),
            ("flag", value(Kind::BoolValue(true))),
            ("note", string("n")),
            ("raw", value(Kind::BytesValue(vec![0, 255]))),
            ("id", string("67E5504410B1426F9247BB680E5FE0C8")),
            ("labels", labels),
            ("unknown", string("x")),
            ("doc", list([int(1), value(Kind::BytesValue(b"hi".to_vec()))])),
            ("doubles", list([int(1), value(Kind::DoubleValue(f64::NAN))])),
            ("bigints", list([int(1), int(i64::MIN)])),
            ("texts", list([string("a"), string("")])),
        ])],
    );
    assert_eq!(decoded.rejected, []);
    assert_eq!(number::<TimestampNanosecondType>(&decoded, "time"), Some(NOW - 1));
    assert_eq!(number::<Float64Type>(&decoded, "value"), Some(3.0));
    assert_eq!(number::<Int64Type>(&decoded, "count"), Some(4));
    assert_eq!(number::<Int32Type>(&decoded, "small"), Some(5));
    assert!(column(&decoded, "flag").as_boolean().value(0));
    assert_eq!(column(&decoded, "raw").as_binary::<i32>().value(0), [0, 255]);
    assert_eq!(text(&decoded, "id").as_deref(), Some("67e55044-10b1-426f-9247-bb680e5fe0c8"));
    assert_eq!(entries(&decoded, "labels"), [entry("k", "1", 1), entry("unknown", "x", 0)]);
    assert_eq!(text(&decoded, "doc").as_deref(), Some(r#"[1,{"$bytes":"aGk="}]"#));
    let bigints = column(&decoded, "bigints").as_list::<i32>().value(0);
    assert_eq!(bigints.as_primitive::<Int64Type>().values(), &[1, i64::MIN]);
    let texts = column(&decoded, "texts").as_list::<i32>().value(0);
    assert_eq!(texts.as_string::<i32>().iter().flatten().collect::<Vec<_>>(), ["a", ""]);
}

#[test]
fn times_may_be_text_and_null_is_nothing() {
    let row = map([("time", string("2023-11-14T22:13:19.000000001Z")), ("value", v1::Value::default())]);
    let decoded = rows("wide", vec![row]);
    assert_eq!(number::<TimestampNanosecondType>(&decoded, "time"), Some(1_699_999_999_000_000_001));
    assert_eq!(number::<Float64Type>(&decoded, "value"), None);
}

#[test]
fn a_value_that_does_not_fit_refuses_its_row_and_says_what_would() {
    let one = |name: &str, wrong: v1::Value| map([("time", time()), (name, wrong)]);
    let wrong = vec![
        one("value", string("1")),
        one("count", value(Kind::DoubleValue(1.5))),
        one("count", value(Kind::DoubleValue(9_223_372_036_854_775_808.0))),
        one("small", int(1 << 40)),
        one("flag", int(1)),
        one("note", int(1)),
        one("raw", string("x")),
        one("id", string("x")),
        one("labels", int(1)),
        one("doubles", list([string("x")])),
        one("bigints", list([v1::Value::default()])),
        one("texts", int(1)),
        one("time", int(1_700_000_000)),
        one("note", string("nul \0")),
        map([("value", int(1))]),
    ];
    let count = wrong.len();
    let decoded = rows("wide", wrong);
    assert_eq!((decoded.accepted, decoded.rejected.len()), (0, count));
    let fields: Vec<&str> = decoded.rejected.iter().map(|row| row.error.field.as_str()).collect();
    let wanted = "value count count small flag note raw id labels doubles bigints texts time note time";
    assert_eq!(fields, wanted.split(' ').collect::<Vec<_>>());
    assert!(decoded.rejected[0].error.reason.contains("double_value"), "{}", decoded.rejected[0].error);
}

#[test]
fn an_unknown_table_is_an_error_and_an_unknown_column_refuses_its_row() {
    let request = |table: &str| {
        let good = v1::Row { values: map([("time", time())]) };
        let bad = v1::Row { values: map([("time", time()), ("nowhere", int(1))]) };
        let records = Some(Records::Rows(v1::Rows { table: table.into(), rows: vec![bad, good] }));
        v1::WriteRequest { records, ..Default::default() }.encode_to_vec()
    };
    assert!(matches!(decode_bytes(&request("nothere")), Err(DecodeError::NoTable(_))));
    let decoded = decode_bytes(&request("bare")).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected[0].error.field.as_str()), (1, "nowhere"));
}

proptest! {
    /// Labels of any shape become the same canonical text as a plain writer gives over the generated messages.
    #[test]
    fn labels_read_back(labels in prop::collection::btree_map("[a-z$]{0,4}", any_value(3), 0..6)) {
        let fields = labels.clone();
        let values = map([("time", time()), ("labels", value(Kind::MapValue(v1::MapValue { fields })))]);
        let decoded = rows("wide", vec![values]);
        prop_assert_eq!(&decoded.rejected, &[]);
        let wanted: Vec<_> = labels.iter().map(|(key, value)| {
            let (text, code) = plain_text(value);
            entry(key, &text, code)
        }).collect();
        prop_assert_eq!(entries(&decoded, "labels"), wanted);
    }
}

fn any_value(depth: u32) -> impl Strategy<Value = v1::Value> {
    let leaf = prop_oneof![
        Just(v1::Value::default()),
        "[a-z\"\\\\\u{e9}]{0,4}".prop_map(|text| string(&text)),
        any::<i64>().prop_map(int),
        any::<bool>().prop_map(|flag| value(Kind::BoolValue(flag))),
        prop::collection::vec(any::<u8>(), 0..4).prop_map(|bytes| value(Kind::BytesValue(bytes))),
    ];
    leaf.prop_recursive(depth, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|values| value(Kind::ListValue(v1::ListValue { values }))),
            prop::collection::btree_map("[a-z$]{0,4}", inner, 0..4)
                .prop_map(|fields| value(Kind::MapValue(v1::MapValue { fields }))),
        ]
    })
}

/// The reference: canonical text and type code, by way of `serde_json`.
fn plain_text(given: &v1::Value) -> (String, u8) {
    match &given.kind {
        None => (String::new(), 7),
        Some(Kind::StringValue(text)) => (text.clone(), 0),
        Some(Kind::IntValue(number)) => (number.to_string(), 1),
        Some(Kind::BoolValue(flag)) => (flag.to_string(), 3),
        Some(Kind::BytesValue(bytes)) => (base64(bytes), 4),
        Some(Kind::ListValue(_)) => (json(given).to_string(), 5),
        Some(Kind::MapValue(_)) => (json(given).to_string(), 6),
        other => panic!("{other:?} is not generated"),
    }
}

fn json(given: &v1::Value) -> serde_json::Value {
    match &given.kind {
        None => serde_json::Value::Null,
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::IntValue(number)) => (*number).into(),
        Some(Kind::BoolValue(flag)) => (*flag).into(),
        Some(Kind::BytesValue(bytes)) => serde_json::json!({"$bytes": base64(bytes)}),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect(),
        Some(Kind::MapValue(map)) => {
            let escaped = |key: &String| if key.starts_with('$') { format!("${key}") } else { key.clone() };
            map.fields.iter().map(|(key, value)| (escaped(key), json(value))).collect()
        }
        other => panic!("{other:?} is not generated"),
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
