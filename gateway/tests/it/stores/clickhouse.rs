//! ClickHouse: rows written as Arrow streams and read back, cuts sent twice, tables that change.

use std::sync::Arc;

use serde_json::Value;
use tidewell_gateway::config::{ClickHouseConfig, Compression};
use tidewell_gateway::registry::{TableBatch, TableDef, ValueType};
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::{Cut, NextStep, Store as _, StoreError};

use super::sample::{self, Sample, cut};
use crate::harness::database::Databases;

/// Everything as text, so that no reader of numbers stands between the store and the comparison.
const READ: &str = "
SELECT toUnixTimestamp64Nano(time)::String AS time, toUnixTimestamp64Nano(millis)::Nullable(String) AS millis,
    toUnixTimestamp64Nano(micros)::Nullable(String) AS micros, toUnixTimestamp64Nano(nanos)::Nullable(String) AS nanos,
    if(double IS NULL, NULL, toString(reinterpretAsUInt64(assumeNotNull(double)))) AS double,
    integer::Nullable(String) AS integer, boolean::Nullable(String) AS boolean, hex(text) AS text, word,
    hex(bytes) AS bytes, uuid::Nullable(String) AS uuid, json,
    arrayMap(x -> toString(reinterpretAsUInt64(x)), doubles) AS doubles,
    arrayMap(x -> toString(x), integers) AS integers, arrayMap(x -> hex(x), texts) AS texts,
    arrayMap((k, v) -> (hex(k), hex(v), labels_types[k]), labels.k, labels.v) AS labels
FROM every_type ORDER BY id FORMAT JSONEachRow";

async fn store(databases: &Databases) -> ClickHouse {
    store_with(databases, Compression::Lz4).await
}

async fn store_with(databases: &Databases, compression: Compression) -> ClickHouse {
    let config = ClickHouseConfig { compression, ..databases.config().clickhouse };
    let store = ClickHouse::new(&config).unwrap();
    store.create_database().await.unwrap();
    store
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect()
}

fn bits(value: f64) -> String {
    value.to_bits().to_string()
}

/// What [`READ`] says of a row that was stored as it was sent.
fn wanted(sample: &Sample) -> Value {
    let labels: Vec<Value> = sample
        .labels
        .iter()
        .map(|(key, text, kind)| {
            let kind = if *kind == ValueType::String { "" } else { kind.name() };
            serde_json::json!([hex(key), hex(text), kind])
        })
        .collect();
    serde_json::json!({
        "time": sample.time.to_string(),
        "millis": sample.millis.map(|time| time.to_string()),
        "micros": sample.micros.map(|time| time.to_string()),
        "nanos": sample.nanos.map(|time| time.to_string()),
        "double": sample.double.map(bits),
        "integer": sample.integer.map(|value| value.to_string()),
        "boolean": sample.boolean.map(|value| value.to_string()),
        "text": sample.text.as_ref().map(hex),
        "word": sample.word,
        "bytes": sample.bytes.as_ref().map(hex),
        "uuid": sample.uuid.map(|uuid| uuid.to_string()),
        "json": sample.json,
        "doubles": sample.doubles.iter().copied().map(bits).collect::<Vec<_>>(),
        "integers": sample.integers.iter().map(i64::to_string).collect::<Vec<_>>(),
        "texts": sample.texts.iter().map(hex).collect::<Vec<_>>(),
        "labels": labels,
    })
}

/// Scenario: rows with every column type and the values at which encoders go wrong, as a whole batch and as a
/// slice of one, compressed and not.
/// Guarantees: every value reads back as it was, to the nanosecond and to the bit, and types of labels
/// survive.
#[tokio::test]
async fn every_type_reads_back_as_it_was() {
    for compression in [Compression::Lz4, Compression::None] {
        let databases = Databases::empty().await;
        let store = store_with(&databases, compression).await;
        let table = sample::table("clickhouse", "every_type");
        store.prepare(&table).await.unwrap();
        let samples = sample::samples(300);
        let batch = sample::batch(&table, &samples);
        store.write(&cut(batch.slice(0, 100))).await.unwrap();
        store.write(&cut(batch.slice(100, 200))).await.unwrap();
        let read = databases.clickhouse(READ).await;
        let rows: Vec<&str> = read.lines().collect();
        assert_eq!(rows.len(), samples.len());
        for (row, sample) in rows.into_iter().zip(&samples) {
            assert_eq!(serde_json::from_str::<Value>(row).unwrap(), wanted(sample), "{sample:?}");
        }
    }
}

async fn parts(databases: &Databases, table: &str) -> String {
    let query = format!(
        "SELECT count(), sum(rows) FROM system.parts WHERE database = '{}' AND table = '{table}' AND active",
        databases.name()
    );
    databases.clickhouse(&query).await
}

/// Scenario: a large cut, then the same cut again, then the same rows as a cut of their own.
/// Guarantees: one cut is one part; the same cut is stored once; equal rows of another cut are not taken for
/// a retry.
#[tokio::test]
async fn a_cut_is_one_part_and_is_stored_once() {
    let databases = Databases::empty().await;
    let store = store(&databases).await;
    let spec = serde_json::from_value(serde_json::json!({
        "table_name": "once", "store": "clickhouse",
        "columns": [{"name": "time", "type": "timestamp"}, {"name": "id", "type": "bigint"}],
    }));
    let table = Arc::new(TableDef::from_spec(Default::default(), spec.unwrap(), 1).unwrap());
    store.prepare(&table).await.unwrap();
    let mut rows = sample::builder(&table);
    for id in 0..1_200_000 {
        rows.set_time(0, sample::NOW).unwrap();
        rows.set_int(1, id).unwrap();
        rows.end_row().unwrap();
    }
    let large = rows.finish().unwrap().unwrap();
    assert!(large.len() > 1_048_449, "more than a block of ClickHouse's default size");

    let first = cut(large.clone());
    store.write(&first).await.unwrap();
    assert_eq!(parts(&databases, "once").await, "1\t1200000");
    let again = Cut { fresh: false, ..first.clone() };
    store.write(&again).await.unwrap();
    store.write(&first).await.unwrap();
    assert_eq!(databases.clickhouse("SELECT count() FROM once").await, "1200000");
    store.write(&cut(large)).await.unwrap();
    assert_eq!(databases.clickhouse("SELECT count() FROM once").await, "2400000");
}

/// Scenario: rows of 1925, 1969 and 2200.
/// Guarantees: each day's cut is one part, and a query by time finds the rows.
#[tokio::test]
async fn rows_far_from_now_are_found_by_time() {
    let databases = Databases::empty().await;
    let store = store(&databases).await;
    let table = sample::table("clickhouse", "far");
    store.prepare(&table).await.unwrap();
    let day = 86_400_000_000_000i64;
    for (time, from, to) in [
        (-45 * 365 * day, "1924-01-01", "1926-01-01"),
        (-day, "1969-12-30", "1970-01-01"),
        (230 * 365 * day + 60 * day, "2199-01-01", "2201-01-01"),
    ] {
        let mut sample = sample::samples(1).remove(0);
        sample.time = sample::NOW;
        let batch = sample::batch(&table, &[sample]);
        let columns = batch.rows().columns().to_vec();
        let times = arrow::array::TimestampNanosecondArray::from(vec![time]).with_timezone("UTC");
        let columns = std::iter::once(Arc::new(times) as _).chain(columns.into_iter().skip(1)).collect();
        let rows = arrow::array::RecordBatch::try_new(Arc::clone(table.arrow()), columns).unwrap();
        store.write(&cut(TableBatch::new(Arc::clone(&table), rows).unwrap())).await.unwrap();
        let query = format!("SELECT count() FROM far WHERE time >= '{from}' AND time < '{to}'");
        assert_eq!(databases.clickhouse(&query).await, "1", "{from}");
    }
    assert_eq!(parts(&databases, "far").await, "3\t3");
}

/// Scenario: ten gateways prepare one new table at once; then it gets two more columns while the old
/// definition is still in use.
/// Guarantees: all succeed; rows of both definitions are stored; a column of another type is refused by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_made_once_and_grows_without_losing_rows() {
    let databases = Databases::empty().await;
    let store = Arc::new(store(&databases).await);
    let table = sample::table("clickhouse", "grows");
    let all = (0..10).map(|_| {
        let (store, table) = (Arc::clone(&store), Arc::clone(&table));
        tokio::spawn(async move { store.prepare(&table).await })
    });
    for prepared in futures::future::join_all(all).await {
        prepared.unwrap().unwrap();
    }
    store.write(&cut(sample::batch(&table, &sample::samples(3)))).await.unwrap();

    let mut spec = table.spec.clone();
    for (name, kind) in [("more", "timestamp_ns"), ("tags", "attributes")] {
        spec.columns.push(serde_json::from_value(serde_json::json!({"name": name, "type": kind})).unwrap());
    }
    let wider = Arc::new(TableDef::from_spec(table.tenant.clone(), spec, 2).unwrap());
    store.prepare(&wider).await.unwrap();
    store.prepare(&wider).await.unwrap();
    store.write(&cut(sample::batch(&table, &sample::samples(2)))).await.unwrap();
    store.write(&cut(sample::batch(&wider, &sample::samples(1)))).await.unwrap();
    let query =
        "SELECT countIf(more IS NULL AND empty(tags) AND empty(tags_types) AND empty(tags.k)) FROM grows";
    assert_eq!(databases.clickhouse(query).await, "6");

    let settings = format!(
        "SELECT engine_full FROM system.tables WHERE database = '{}' AND name = 'bare'",
        databases.name()
    );
    databases
        .clickhouse("CREATE TABLE bare (time DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY time")
        .await;
    let bare = serde_json::json!({
        "table_name": "bare", "store": "clickhouse", "columns": [{"name": "time", "type": "timestamp"}],
    });
    let bare = TableDef::from_spec(Default::default(), serde_json::from_value(bare).unwrap(), 1).unwrap();
    store.prepare(&bare).await.unwrap();
    assert!(databases.clickhouse(&settings).await.contains("non_replicated_deduplication_window = 10000"));
    let provenance = databases.clickhouse("SHOW CREATE TABLE bare").await;
    for line in [
        "`tidewell_log` UInt64",
        "`tidewell_cut` UInt64",
        "INDEX tidewell_cut_minmax tidewell_cut TYPE minmax",
    ] {
        assert!(provenance.contains(line), "{line} in {provenance}");
    }

    databases.clickhouse("CREATE TABLE other (time String) ENGINE = MergeTree ORDER BY time").await;
    let other = store.prepare(&sample::table("clickhouse", "other")).await.unwrap_err();
    assert!(matches!(&other, StoreError::Schema { .. }) && other.to_string().contains("\"time\""), "{other}");
}

/// Scenario: no table, a value that is none of its type, no server.
/// Guarantees: each is the kind of error that makes delivery do the right thing, and nothing is half-written.
#[tokio::test]
async fn errors_say_what_to_do_next() {
    let databases = Databases::empty().await;
    let store = store(&databases).await;
    let table = sample::table("clickhouse", "errors");
    let good = cut(sample::batch(&table, &sample::samples(2)));
    let missing = store.write(&good).await.unwrap_err();
    assert!(matches!(missing, StoreError::Schema { .. }), "{missing}");

    store.prepare(&table).await.unwrap();
    let batch = sample::batch(&table, &sample::samples(3));
    let at = table.column_index("uuid").unwrap();
    let mut columns = batch.rows().columns().to_vec();
    columns[at] = Arc::new(arrow::array::StringArray::from(vec![None, Some("no uuid"), None]));
    let rows = arrow::array::RecordBatch::try_new(Arc::clone(table.arrow()), columns).unwrap();
    let refused = store.write(&cut(TableBatch::new(Arc::clone(&table), rows).unwrap())).await.unwrap_err();
    assert_eq!(refused.next(), NextStep::Split, "{refused}");
    assert_eq!(databases.clickhouse("SELECT count() FROM errors").await, "0");
    store.write(&good).await.unwrap();

    let gone = ClickHouseConfig { url: "http://127.0.0.1:1".to_owned(), ..ClickHouseConfig::default() };
    let down = ClickHouse::new(&gone).unwrap();
    assert!(matches!(down.write(&good).await, Err(StoreError::Unavailable { .. })));
    assert!(down.ping().await.is_err());
}

/// Scenario: the first write to a server, which tries it out, and a scratch table that an interrupted try left behind.
/// Guarantees: the server passes, and no scratch table stays, but for a young one that may still be in use.
#[tokio::test]
async fn a_server_is_tried_out_before_the_first_write_and_nothing_stays_of_it() {
    let databases = Databases::empty().await;
    let store = store(&databases).await;
    let young = "CREATE TABLE tidewell_probe_young (n UInt8) ENGINE = MergeTree ORDER BY n";
    databases.clickhouse(young).await;
    store.look_at_server().await.unwrap();
    assert_eq!(databases.clickhouse("SHOW TABLES").await, "tidewell_probe_young");
}

/// Scenario: two rows with one key in a table with a key.
/// Guarantees: after merging, the later one is there.
#[tokio::test]
async fn a_keyed_row_is_replaced_by_the_last_one() {
    let databases = Databases::empty().await;
    let store = store(&databases).await;
    let spec = serde_json::from_value(serde_json::json!({
        "table_name": "keyed", "store": "clickhouse", "key": ["k"],
        "columns": [{"name": "k", "type": "text", "nullable": false}, {"name": "v", "type": "bigint"}],
    }));
    let table = Arc::new(TableDef::from_spec(Default::default(), spec.unwrap(), 1).unwrap());
    store.prepare(&table).await.unwrap();
    for value in [1, 2] {
        let mut rows = sample::builder(&table);
        rows.set_text(0, "a").unwrap();
        rows.set_int(1, value).unwrap();
        rows.end_row().unwrap();
        store.write(&cut(rows.finish().unwrap().unwrap())).await.unwrap();
    }
    assert_eq!(databases.clickhouse("SELECT k, v FROM keyed FINAL").await, "a\t2");
}
