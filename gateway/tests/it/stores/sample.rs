//! Rows that hold every column type, with the values at which encoders go wrong, as a plain model.

use std::sync::Arc;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use tidewell_gateway::decode::{DecodeContext, DecodeLimits, TableBuilder};
use tidewell_gateway::registry::{Snapshot, TableBatch, TableDef, TableSpec, Tenant, ValueType};
use tidewell_gateway::store::Cut;

/// 2023-11-14T22:13:20Z.
pub(crate) const NOW: i64 = 1_700_000_000_000_000_000;

/// One row of [`table`].
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) id: i64,
    pub(crate) time: i64,
    pub(crate) millis: Option<i64>,
    pub(crate) micros: Option<i64>,
    pub(crate) nanos: Option<i64>,
    pub(crate) double: Option<f64>,
    pub(crate) integer: Option<i32>,
    pub(crate) boolean: Option<bool>,
    pub(crate) text: Option<String>,
    pub(crate) word: Option<String>,
    pub(crate) bytes: Option<Vec<u8>>,
    pub(crate) uuid: Option<uuid::Uuid>,
    pub(crate) json: Option<String>,
    pub(crate) doubles: Vec<f64>,
    pub(crate) integers: Vec<i64>,
    pub(crate) texts: Vec<String>,
    /// Key to canonical text and type; ordered, as the keys of a map are.
    pub(crate) labels: Vec<(String, String, ValueType)>,
}

/// A table with a column of every type.
pub(crate) fn table(store: &str, name: &str) -> Arc<TableDef> {
    let spec: TableSpec = serde_json::from_value(serde_json::json!({
        "table_name": name, "store": store, "accept_past_seconds": 200u64 * 366 * 86_400,
        "columns": [
            {"name": "time", "type": "timestamp_ns"}, {"name": "id", "type": "bigint"},
            {"name": "millis", "type": "timestamp_ms"}, {"name": "micros", "type": "timestamp"},
            {"name": "nanos", "type": "timestamp_ns"}, {"name": "double", "type": "double"},
            {"name": "integer", "type": "integer"}, {"name": "boolean", "type": "boolean"},
            {"name": "text", "type": "text"}, {"name": "word", "type": "low_cardinality_text"},
            {"name": "bytes", "type": "bytes"}, {"name": "uuid", "type": "uuid"},
            {"name": "json", "type": "jsonb"}, {"name": "doubles", "type": "double[]"},
            {"name": "integers", "type": "bigint[]"}, {"name": "texts", "type": "text[]"},
            {"name": "labels", "type": "attributes"},
        ],
    }))
    .expect("a table definition");
    Arc::new(TableDef::from_spec(Tenant::default(), spec, 1).expect("a valid table"))
}

/// Rows as [`Sample`]s say.
pub(crate) fn batch(table: &Arc<TableDef>, samples: &[Sample]) -> TableBatch {
    let mut rows = builder(table);
    for sample in samples {
        fill(&mut rows, sample);
        rows.end_row().expect("a row that fits");
    }
    rows.finish().expect("a batch").expect("rows")
}

/// The first cut of a log of its own.
pub(crate) fn cut(batch: TableBatch) -> Cut {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    Cut { log: random >> 1, lane: 0, number: 1, epoch: 0, previous: 0, fresh: true, rows: batch.into() }
}

/// A builder of rows of `table`.
pub(crate) fn builder(table: &Arc<TableDef>) -> TableBuilder {
    let (tables, tenant) = (Snapshot::default(), Tenant::default());
    let limits = DecodeLimits::default();
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits };
    TableBuilder::new(Arc::clone(table), &context)
}

fn fill(rows: &mut TableBuilder, sample: &Sample) {
    let at = |rows: &TableBuilder, name: &str| rows.column(name).expect("a column of the table");
    macro_rules! set {
        ($name:ident, $method:ident, $value:expr) => {
            if let Some(value) = $value {
                let column = at(rows, stringify!($name));
                rows.$method(column, value).expect("a value that fits");
            }
        };
    }
    set!(time, set_time, Some(sample.time));
    set!(id, set_int, Some(sample.id));
    set!(millis, set_time, sample.millis);
    set!(micros, set_time, sample.micros);
    set!(nanos, set_time, sample.nanos);
    set!(double, set_double, sample.double);
    set!(integer, set_int, sample.integer.map(i64::from));
    set!(boolean, set_bool, sample.boolean);
    set!(text, set_text, sample.text.as_deref());
    set!(word, set_text, sample.word.as_deref());
    set!(bytes, set_bytes, sample.bytes.as_deref());
    set!(uuid, set_text, sample.uuid.map(|uuid| uuid.to_string()).as_deref());
    set!(json, set_text, sample.json.as_deref());
    set!(doubles, set_doubles, Some(sample.doubles.iter().copied()));
    set!(integers, set_ints, Some(sample.integers.iter().copied()));
    set!(texts, set_texts, Some(sample.texts.iter().map(String::as_str)));
    let labels = at(rows, "labels");
    for (key, text, kind) in &sample.labels {
        rows.attributes(labels).expect("labels are attributes").push(key, text, *kind);
    }
}

/// `count` rows with ids from 0, different ones at each run.
pub(crate) fn samples(count: usize) -> Vec<Sample> {
    let mut runner = TestRunner::default();
    let rows = vec(sample(), count).new_tree(&mut runner).expect("rows").current();
    rows.into_iter().zip(0..).map(|(row, id)| Sample { id, ..row }).collect()
}

/// From 1900 to 2262, what both stores hold; biased to the ends, to 1970 and to 2000.
fn any_time() -> impl Strategy<Value = i64> {
    use tidewell_gateway::decode::rules::{MAX_TIME_NANOS, MIN_TIME_NANOS};
    prop_oneof![
        MIN_TIME_NANOS..=MAX_TIME_NANOS,
        Just(MIN_TIME_NANOS),
        Just(MAX_TIME_NANOS),
        -2_000i64..2_000,
        946_684_800_000_000_000i64 - 2_000..946_684_800_000_000_000i64 + 2_000,
    ]
}

fn any_double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>(),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(f64::NEG_INFINITY),
        Just(-0.0),
        Just(f64::MIN_POSITIVE / 2.0),
        Just(f64::MAX),
        Just(1e17),
    ]
}

fn any_integer() -> impl Strategy<Value = i64> {
    prop_oneof![any::<i64>(), Just(i64::MIN), Just(i64::MAX), Just(0)]
}

/// Any text without NUL, which Postgres cannot hold.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof!["[^\u{0}]{0,12}", Just(String::new()), "[\"\\\\\n\t\u{1}\u{7f}\u{1f980}$]{1,6}"]
}

fn any_label() -> impl Strategy<Value = (String, ValueType)> {
    prop_oneof![
        any_text().prop_map(|text| (text, ValueType::String)),
        any_integer().prop_map(|value| (value.to_string(), ValueType::Int)),
        any_double().prop_map(|value| {
            let mut text = String::new();
            tidewell_gateway::registry::attributes::write_double(&mut text, value);
            (text, ValueType::Double)
        }),
        any::<bool>().prop_map(|value| (value.to_string(), ValueType::Bool)),
        Just(("AAEC/w==".to_owned(), ValueType::Bytes)),
        Just((r#"[1,"a",{"$bytes":"aGk="},null]"#.to_owned(), ValueType::Array)),
        Just((r#"{"k":1.5,"$$x":true}"#.to_owned(), ValueType::Map)),
        Just((String::new(), ValueType::Empty)),
    ]
}

fn sample() -> impl Strategy<Value = Sample> {
    let times = (
        NOW - 3_000_000_000..NOW,
        option::of(any_time().prop_map(|time| time - time.rem_euclid(1_000_000))),
        option::of(any_time().prop_map(|time| time - time.rem_euclid(1_000))),
        option::of(any_time()),
    );
    let scalars = (
        option::of(any_double()),
        option::of(any::<i32>()),
        option::of(any::<bool>()),
        option::of(any_text()),
        option::of("[a-c]{0,2}"),
        option::of(vec(any::<u8>(), 0..20)),
        option::of(any::<u128>().prop_map(uuid::Uuid::from_u128)),
        option::of(prop_oneof![
            Just("null".to_owned()),
            Just("[]".to_owned()),
            Just(r#"{"a":[1,2.5,"x\n"]}"#.to_owned())
        ]),
    );
    let lists = (vec(any_double(), 0..4), vec(any_integer(), 0..4), vec(any_text(), 0..4));
    let labels = btree_map(any_text(), any_label(), 0..6);
    (times, scalars, lists, labels).prop_map(|(times, scalars, lists, labels)| Sample {
        id: 0,
        time: times.0,
        millis: times.1.filter(|time| *time >= -2_208_988_800_000_000_000),
        micros: times.2.filter(|time| *time >= -2_208_988_800_000_000_000),
        nanos: times.3,
        double: scalars.0,
        integer: scalars.1,
        boolean: scalars.2,
        text: scalars.3,
        word: scalars.4,
        bytes: scalars.5,
        uuid: scalars.6,
        json: scalars.7,
        doubles: lists.0,
        integers: lists.1,
        texts: lists.2,
        labels: labels.into_iter().map(|(key, (text, kind))| (key, text, kind)).collect(),
    })
}
