//! TimescaleDB: rows written by COPY and read back, cuts sent twice, tables that change.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tidewell_gateway::config::TimescaleConfig;
use tidewell_gateway::registry::ValueType;
use tidewell_gateway::store::timescale::Timescale;
use tidewell_gateway::store::{NextStep, Store as _, StoreError};

use super::sample::{self, Sample, cut};
use crate::harness::database::Databases;

fn nanos(time: SystemTime) -> i64 {
    let signed = |duration: Duration| i64::try_from(duration.as_nanos()).expect("a time in range");
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => signed(after),
        Err(before) => -signed(before.duration()),
    }
}

/// The type and the canonical text of a value in `jsonb`, read as the documentation of the value types says.
/// `text` is the bare text of a string and JSON otherwise.
fn value_of(kind: &str, text: &str) -> (ValueType, String) {
    let kind = match kind {
        "null" => return (ValueType::Empty, String::new()),
        "boolean" => ValueType::Bool,
        "string" => ValueType::String,
        "array" => ValueType::Array,
        "number" if text.parse::<i64>().is_ok() => ValueType::Int,
        "number" => ValueType::Double,
        _ => {
            let object = parse(text);
            return match (object.get("$bytes"), object.get("$double")) {
                (Some(Value::String(bytes)), _) => (ValueType::Bytes, bytes.clone()),
                (_, Some(Value::String(double))) => (ValueType::Double, double.clone()),
                _ => (ValueType::Map, text.to_owned()),
            };
        }
    };
    (kind, text.to_owned())
}

/// Scenario: rows with every column type and the values at which encoders go wrong.
/// Guarantees: every value reads back as it was, to the nanosecond and to the bit.
#[tokio::test]
async fn every_type_reads_back_as_it_was() {
    let databases = Databases::migrated().await;
    let store = Timescale::new(&databases.config().timescale).unwrap();
    let table = sample::table("timescale", "every_type");
    store.prepare(&table).await.unwrap();
    let samples = sample::samples(400);
    store.write(&cut(sample::batch(&table, &samples))).await.unwrap();

    let client = databases.postgres().await;
    let rows = client.query("SELECT * FROM every_type ORDER BY id", &[]).await.unwrap();
    let labels = client
        .query(
            "SELECT id, key, jsonb_typeof(value), value #>> '{}' FROM every_type, jsonb_each(labels)
             ORDER BY id, key COLLATE \"C\"",
            &[],
        )
        .await
        .unwrap();
    assert_eq!(rows.len(), samples.len());
    for (row, sample) in rows.iter().zip(&samples) {
        let time = |name: &str| row.get::<_, Option<SystemTime>>(name).map(nanos);
        let rest = |name: &str| i64::from(row.get::<_, Option<i16>>(name).unwrap_or(0));
        assert_eq!(time("time").unwrap() + rest("time_nanos"), sample.time);
        assert_eq!(time("millis"), sample.millis);
        assert_eq!(time("micros"), sample.micros);
        assert_eq!(time("nanos").map(|time| time + rest("nanos_nanos")), sample.nanos);
        let bits = |value: f64| value.to_bits();
        assert_eq!(row.get::<_, Option<f64>>("double").map(bits), sample.double.map(bits));
        assert_eq!(row.get::<_, Option<i32>>("integer"), sample.integer);
        assert_eq!(row.get::<_, Option<bool>>("boolean"), sample.boolean);
        assert_eq!(row.get::<_, Option<String>>("text"), sample.text);
        assert_eq!(row.get::<_, Option<String>>("word"), sample.word);
        assert_eq!(row.get::<_, Option<Vec<u8>>>("bytes"), sample.bytes);
        assert_eq!(row.get::<_, Option<Value>>("json"), sample.json.as_deref().map(parse));
        let doubles: Vec<u64> = row.get::<_, Vec<f64>>("doubles").into_iter().map(bits).collect();
        assert_eq!(doubles, sample.doubles.iter().copied().map(bits).collect::<Vec<_>>());
        assert_eq!(row.get::<_, Vec<i64>>("integers"), sample.integers);
        assert_eq!(row.get::<_, Vec<String>>("texts"), sample.texts);
        let read = labels.iter().filter(|label| label.get::<_, i64>(0) == sample.id).map(|label| {
            let raw = label.get::<_, Option<String>>(3).unwrap_or_default();
            (label.get::<_, String>(1), value_of(label.get(2), &raw))
        });
        assert_labels(read.collect(), sample);
    }
    let uuids = client.query("SELECT uuid::text FROM every_type ORDER BY id", &[]).await.unwrap();
    for (row, sample) in uuids.iter().zip(&samples) {
        assert_eq!(row.get::<_, Option<String>>(0), sample.uuid.map(|uuid| uuid.to_string()));
    }
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn assert_labels(read: Vec<(String, (ValueType, String))>, sample: &Sample) {
    assert_eq!(read.len(), sample.labels.len());
    for ((key, (kind, text)), (sent_key, sent_text, sent_kind)) in read.iter().zip(&sample.labels) {
        assert_eq!((key, kind), (sent_key, sent_kind));
        match kind {
            ValueType::Double => {
                let bits = |text: &str| text.parse::<f64>().unwrap().to_bits();
                assert_eq!(bits(text), bits(sent_text), "{text} {sent_text}");
            }
            ValueType::Array | ValueType::Map => assert_eq!(parse(text), parse(sent_text)),
            _ => assert_eq!(text, sent_text),
        }
    }
}

/// Scenario: a cut is sent again after it was committed, and twice at the same time.
/// Guarantees: its rows are there once, and both attempts succeed.
#[tokio::test]
async fn a_cut_that_is_sent_again_is_stored_once() {
    let databases = Databases::migrated().await;
    let store = Arc::new(Timescale::new(&databases.config().timescale).unwrap());
    let table = sample::table("timescale", "again");
    store.prepare(&table).await.unwrap();
    for _ in 0..5 {
        let cut =
            tidewell_gateway::store::Cut { fresh: false, ..cut(sample::batch(&table, &sample::samples(50))) };
        let (first, second) = tokio::join!(store.write(&cut), store.write(&cut));
        first.unwrap();
        second.unwrap();
        store.write(&cut).await.unwrap();
    }
    assert_eq!(databases.postgres_value("SELECT count(*) FROM again").await.as_deref(), Some("250"));
}

/// Scenario: ten gateways prepare the same new table at once; then the table gets two more columns.
/// Guarantees: all ten succeed and there is one hypertable; the old rows stay and read as NULL and empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_made_once_and_grows_without_losing_rows() {
    let databases = Databases::migrated().await;
    let table = sample::table("timescale", "grows");
    let all = (0..10).map(|_| {
        let (config, table) = (databases.config().timescale, Arc::clone(&table));
        tokio::spawn(async move { Timescale::new(&config).unwrap().prepare(&table).await })
    });
    for prepared in futures::future::join_all(all).await {
        prepared.unwrap().unwrap();
    }
    let store = Timescale::new(&databases.config().timescale).unwrap();
    store.write(&cut(sample::batch(&table, &sample::samples(3)))).await.unwrap();

    let mut spec = table.spec.clone();
    for (name, kind) in [("more", "timestamp_ns"), ("tags", "attributes")] {
        spec.columns.push(serde_json::from_value(serde_json::json!({"name": name, "type": kind})).unwrap());
    }
    let wider = tidewell_gateway::registry::TableDef::from_spec(table.tenant.clone(), spec, 2).unwrap();
    store.prepare(&wider).await.unwrap();
    store.prepare(&wider).await.unwrap();
    store.write(&cut(sample::batch(&table, &sample::samples(2)))).await.unwrap();
    store.write(&cut(sample::batch(&Arc::new(wider), &sample::samples(1)))).await.unwrap();
    let query =
        "SELECT count(*) FILTER (WHERE more IS NULL AND more_nanos IS NULL AND tags = '{}') FROM grows";
    assert_eq!(databases.postgres_value(query).await.as_deref(), Some("6"));
    let hypertables =
        "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_name = 'grows'";
    assert_eq!(databases.postgres_value(hypertables).await.as_deref(), Some("1"));
}

/// Scenario: the same metadata again and again, then a change, then two rows of one key in one batch.
/// Guarantees: unchanged rows cost no write, a change replaces the row, and of two the last one stays.
#[tokio::test]
async fn a_keyed_row_is_replaced_by_the_last_one_and_not_rewritten_for_nothing() {
    let databases = Databases::migrated().await;
    let store = Timescale::new(&databases.config().timescale).unwrap();
    let tables = tidewell_gateway::registry::builtin::tables(&Default::default()).unwrap();
    let table =
        Arc::new(tables.into_iter().find(|table| table.name().as_str() == "metrics_metadata").unwrap());
    let rows = |descriptions: &[(&str, &str)], updated_at: i64| {
        let mut rows = sample::builder(&table);
        let at = |name: &str| table.column_index(name).unwrap();
        for (metric, description) in descriptions {
            for (column, value) in
                [("metric", *metric), ("type", "sum"), ("unit", "1"), ("temporality", "delta")]
            {
                rows.set_text(at(column), value).unwrap();
            }
            rows.set_bool(at("monotonic"), true).unwrap();
            rows.set_text(at("description"), description).unwrap();
            rows.set_time(at("updated_at"), updated_at).unwrap();
            rows.end_row().unwrap();
        }
        cut(rows.finish().unwrap().unwrap())
    };
    let state = "SELECT string_agg(metric || '=' || description || '@' || xmin, ' ' ORDER BY metric) FROM metrics_metadata";

    store.write(&rows(&[("a", "one"), ("b", "one"), ("a", "two")], sample::NOW)).await.unwrap();
    let first = databases.postgres_value(state).await.unwrap();
    assert!(first.starts_with("a=two@") && first.contains(" b=one@"), "{first}");

    store.write(&rows(&[("a", "two"), ("b", "one")], sample::NOW + 1_000)).await.unwrap();
    assert_eq!(databases.postgres_value(state).await.unwrap(), first, "nothing was written");

    store.write(&rows(&[("a", "two"), ("b", "new")], sample::NOW + 2_000)).await.unwrap();
    let changed = databases.postgres_value(state).await.unwrap();
    assert!(changed.contains(" b=new@"), "{changed}");
    assert_eq!(changed.split(' ').next(), first.split(' ').next(), "a is as it was");
}

/// Scenario: what goes wrong at the store: no table, another type, a bad value, no server.
/// Guarantees: each is the kind of error that makes delivery do the right thing, and nothing is half-written.
#[tokio::test]
async fn errors_say_what_to_do_next() {
    let databases = Databases::migrated().await;
    let store = Timescale::new(&databases.config().timescale).unwrap();
    let table = sample::table("timescale", "errors");
    let good = cut(sample::batch(&table, &sample::samples(2)));
    let missing = store.write(&good).await.unwrap_err();
    assert!(matches!(missing, StoreError::Schema { .. }), "{missing}");

    store.prepare(&table).await.unwrap();
    let mut bad = sample::samples(3);
    bad[1].json = Some("{not json".to_owned());
    let refused = store.write(&cut(sample::batch(&table, &bad))).await.unwrap_err();
    assert_eq!(refused.next(), NextStep::Split, "{refused}");
    assert_eq!(databases.postgres_value("SELECT count(*) FROM errors").await.as_deref(), Some("0"));
    store.write(&good).await.unwrap();

    databases.postgres().await.batch_execute("CREATE TABLE other (time text, labels jsonb)").await.unwrap();
    let other = store.prepare(&sample::table("timescale", "other")).await.unwrap_err();
    assert!(other.to_string().contains("\"time\""), "{other}");

    let gone = TimescaleConfig {
        url: tidewell_gateway::config::Secret::new("postgres://tidewell@127.0.0.1:1/tidewell"),
        ..TimescaleConfig::default()
    };
    let down = Timescale::new(&gone).unwrap();
    assert!(matches!(down.write(&good).await, Err(StoreError::Unavailable { .. })));
    assert!(down.ping().await.is_err());
}

/// Scenario: the database has no timescaledb extension.
/// Guarantees: preparing a table says so and names the way out.
#[tokio::test]
async fn a_missing_extension_is_named() {
    let databases = Databases::empty().await;
    databases.postgres().await.batch_execute("DROP EXTENSION IF EXISTS timescaledb").await.unwrap();
    let store = Timescale::new(&databases.config().timescale).unwrap();
    let error = store.prepare(&sample::table("timescale", "plain")).await.unwrap_err();
    assert!(matches!(&error, StoreError::Schema { .. }), "{error}");
    assert!(error.to_string().contains("CREATE EXTENSION timescaledb"), "{error}");
}
