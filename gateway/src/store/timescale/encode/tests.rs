//! The encoder against `tokio_postgres`, whose `ToSql` writes the same format.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use arrow::array::RecordBatch;
use proptest::prelude::*;
use tokio_postgres::types::{Json, ToSql, Type};

use super::*;
use crate::decode::{DecodeContext, DecodeLimits, TableBuilder};
use crate::registry::{Snapshot, TableDef, TableSpec, Tenant};

/// A batch of one column named `v`, filled by `fill`, and a time column, which is always there.
fn batch(kind: &str, fill: impl FnOnce(&mut TableBuilder, usize)) -> TableBatch {
    let spec: TableSpec = serde_json::from_value(serde_json::json!({
        "table_name": "t", "time_column": "time", "label_column": (kind == "attributes").then_some("v"),
        "accept_past_seconds": 10_000_000_000u64, "accept_future_seconds": 10_000_000_000u64,
        "columns": [{"name": "v", "type": kind}, {"name": "time", "type": "timestamp"}],
    }))
    .unwrap();
    let table = Arc::new(TableDef::from_spec(Tenant::default(), spec, 1).unwrap());
    let (tables, tenant, limits) = (Snapshot::default(), Tenant::default(), DecodeLimits::default());
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 0, limits };
    let mut rows = TableBuilder::new(table, &context);
    rows.set_time(1, 0).unwrap();
    fill(&mut rows, 0);
    rows.end_row().unwrap();
    rows.finish().unwrap().unwrap()
}

/// What the encoder makes of field `field` in row 0, its length in front.
fn encoded(batch: &TableBatch, field: usize) -> Vec<u8> {
    let mut out = BytesMut::new();
    CopyEncoder::new(batch).value(field, 0, &mut out).unwrap();
    out.to_vec()
}

/// What `tokio_postgres` makes of a value, its length in front.
fn reference<T: ToSql + Sync>(value: &T, kind: &Type) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    value.to_sql(kind, &mut bytes).unwrap();
    let mut out = i32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(&bytes);
    out
}

fn number(nanos: i64) -> Vec<u8> {
    encoded(&batch("timestamp_ns", |rows, at| rows.set_time(at, nanos).unwrap()), 1)
}

proptest! {
    #[test]
    fn scalars_are_as_the_reference_writes_them(
        integer in any::<i64>(), small in any::<i32>(), double in any::<f64>(), boolean in any::<bool>(),
        text in "[^\u{0}]{0,40}", bytes in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let one = |kind: &str, fill: &dyn Fn(&mut TableBuilder, usize)| encoded(&batch(kind, fill), 0);
        prop_assert_eq!(
            one("bigint", &|rows, at| rows.set_int(at, integer).unwrap()),
            reference(&integer, &Type::INT8)
        );
        prop_assert_eq!(
            one("integer", &|rows, at| rows.set_int(at, i64::from(small)).unwrap()),
            reference(&small, &Type::INT4)
        );
        prop_assert_eq!(
            one("double", &|rows, at| rows.set_double(at, double).unwrap()),
            reference(&double, &Type::FLOAT8)
        );
        prop_assert_eq!(
            one("boolean", &|rows, at| rows.set_bool(at, boolean).unwrap()),
            reference(&boolean, &Type::BOOL)
        );
        prop_assert_eq!(
            one("text", &|rows, at| rows.set_text(at, &text).unwrap()),
            reference(&text, &Type::TEXT)
        );
        prop_assert_eq!(
            one("bytes", &|rows, at| rows.set_bytes(at, &bytes).unwrap()),
            reference(&bytes, &Type::BYTEA)
        );
    }

    #[test]
    fn times_are_as_the_reference_writes_them(micros in -2_208_988_800_000_000i64..9_223_372_036_000_000) {
        let offset = Duration::from_micros(micros.unsigned_abs());
        let time = if micros < 0 { UNIX_EPOCH - offset } else { UNIX_EPOCH + offset };
        for kind in ["timestamp_ms", "timestamp", "timestamp_ns"] {
            let ours = encoded(&batch(kind, |rows, at| rows.set_time(at, micros * 1_000).unwrap()), 0);
            prop_assert_eq!(ours, reference(&time, &Type::TIMESTAMPTZ));
        }
    }

    #[test]
    fn microseconds_are_rounded_down_and_the_rest_is_kept(
        micros in -2_208_988_800_000_000i64..9_223_372_035_000_000, rest in 0i64..1_000,
    ) {
        let nanos = micros * 1_000 + rest;
        let whole = encoded(&batch("timestamp_ns", |rows, at| rows.set_time(at, micros * 1_000).unwrap()), 0);
        prop_assert_eq!(encoded(&batch("timestamp_ns", |rows, at| rows.set_time(at, nanos).unwrap()), 0), whole);
        let kept = if rest == 0 { None } else { Some(i16::try_from(rest).unwrap()) };
        let kept = kept.map_or(NULL.to_be_bytes().to_vec(), |rest| reference(&rest, &Type::INT2));
        prop_assert_eq!(number(nanos), kept);
    }

    #[test]
    fn arrays_are_as_the_reference_writes_them(
        doubles in proptest::collection::vec(any::<f64>(), 1..9),
        integers in proptest::collection::vec(any::<i64>(), 1..9),
        texts in proptest::collection::vec("[^\u{0}]{0,9}", 1..9),
    ) {
        let ours = encoded(&batch("double[]", |rows, at| rows.set_doubles(at, doubles.clone()).unwrap()), 0);
        prop_assert_eq!(ours, reference(&doubles, &Type::FLOAT8_ARRAY));
        let ours = encoded(&batch("bigint[]", |rows, at| rows.set_ints(at, integers.clone()).unwrap()), 0);
        prop_assert_eq!(ours, reference(&integers, &Type::INT8_ARRAY));
        let ours = encoded(&batch("text[]", |rows, at| {
            rows.set_texts(at, texts.iter().map(String::as_str)).unwrap();
        }), 0);
        prop_assert_eq!(ours, reference(&texts, &Type::TEXT_ARRAY));
    }

    #[test]
    fn attributes_are_one_json_object(
        strings in proptest::collection::btree_map("[^\u{0}]{0,9}", "[^\u{0}]{0,9}", 0..6), integer in any::<i64>(),
    ) {
        let ours = encoded(&batch("attributes", |rows, at| {
            let labels = rows.attributes(at).unwrap();
            for (key, value) in &strings {
                labels.push_str(key, value);
            }
            labels.push_int("integer, which is no other key", integer);
        }), 0);
        let mut wanted = serde_json::to_value(&strings).unwrap();
        wanted["integer, which is no other key"] = integer.into();
        prop_assert_eq!(ours[4], 1, "the version of jsonb");
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&ours[5..]).unwrap(), wanted);
    }
}

#[test]
fn json_and_uuids_are_as_the_reference_writes_them() {
    let ours = encoded(&batch("jsonb", |rows, at| rows.set_text(at, r#"{"a":[1,null]}"#).unwrap()), 0);
    assert_eq!(ours, reference(&Json(serde_json::json!({"a": [1, null]})), &Type::JSONB));
    let uuid = uuid::Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    let ours = encoded(&batch("uuid", |rows, at| rows.set_text(at, &uuid.to_string()).unwrap()), 0);
    assert_eq!(ours[..4], 16i32.to_be_bytes());
    assert_eq!(&ours[4..], uuid.as_bytes());
}

#[test]
fn null_and_empty_are_different() {
    for kind in ["timestamp_ns", "double", "bigint", "integer", "boolean", "text", "bytes", "uuid", "jsonb"] {
        assert_eq!(encoded(&batch(kind, |_, _| {}), 0), (-1i32).to_be_bytes(), "{kind}");
    }
    assert_eq!(encoded(&batch("text", |rows, at| rows.set_text(at, "").unwrap()), 0), 0i32.to_be_bytes());
    assert_eq!(encoded(&batch("attributes", |_, _| {}), 0), b"\0\0\0\x03\x01{}");
    let empty = reference(&Vec::<i64>::new(), &Type::INT8_ARRAY);
    let ours = encoded(&batch("bigint[]", |_, _| {}), 0);
    assert_eq!(ours.len(), 4 + 12, "no dimension at all, as Postgres itself writes an empty array");
    assert!(empty.len() > ours.len(), "the reference writes one dimension of no elements");
}

#[test]
fn a_malformed_uuid_names_column_and_row() {
    let batch = batch("uuid", |rows, at| rows.set_text(at, "not one").unwrap());
    let error = CopyEncoder::new(&batch).value(0, 0, &mut BytesMut::new()).unwrap_err();
    assert!(error.to_string().starts_with("column \"v\", row 0: "), "{error}");
}

#[test]
fn a_slice_is_encoded_as_its_rows_are() {
    let rows = batch("attributes", |rows, at| rows.attributes(at).unwrap().push_str("k", "v"));
    let twice = TableBatch::concat(Arc::clone(rows.table()), &[rows.clone(), rows.clone()]).unwrap();
    let mut whole = BytesMut::new();
    CopyEncoder::new(&rows).row(0, &mut whole).unwrap();
    let mut second = BytesMut::new();
    CopyEncoder::new(&twice.slice(1, 1)).row(0, &mut second).unwrap();
    assert_eq!(whole, second);
    let columns: &RecordBatch = twice.rows();
    assert_eq!(columns.num_rows(), 2);
}
