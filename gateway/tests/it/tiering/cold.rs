//! Cold tables: rows of Timescale tables written to ClickHouse exactly once, read back, dropped by move and by age.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray as _;
use arrow::datatypes::{Int64Type, TimestampNanosecondType};
use arrow::record_batch::RecordBatch;
use futures::TryStreamExt as _;
use tidewell_gateway::registry::{TableBatch, TableDef};
use tidewell_gateway::store::Cut;
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::clickhouse::cold::{ColdRows, LATE};

use super::spans::{DAY, SECOND, spans, trace_id};
use super::{builtin_table, clickhouse, cut_of};
use crate::harness::database::Databases;
use crate::stores::sample;

/// Any time.
const EVER: std::ops::Range<i64> = i64::MIN..i64::MAX;

/// Cold rows by the value of a column of whole numbers, each as a batch of one row.
async fn read(
    store: &ClickHouse,
    table: &Arc<TableDef>,
    range: std::ops::Range<i64>,
    rows: ColdRows<'_>,
) -> BTreeMap<i64, RecordBatch> {
    let batches: Vec<RecordBatch> = store.read_cold(table, range, rows).unwrap().try_collect().await.unwrap();
    let id = table.column_index("id").unwrap();
    let mut found = BTreeMap::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let key = batch.column(id).as_primitive::<Int64Type>().value(row);
            assert!(found.insert(key, batch.slice(row, 1)).is_none(), "row {key} is there twice");
        }
    }
    found
}

/// Scenario: rows with every column type as one move, the same cut again after an unknown outcome, more rows that arrive
/// late, and a second move that is given up.
/// Guarantees: each row is stored once and reads back to the nanosecond and to the bit; rows are found by move, by what
/// does not count, and by time; what a move wrote can be dropped and nothing else goes with it.
#[tokio::test]
async fn every_type_reads_back_as_it_was_and_goes_by_move() {
    let databases = Databases::empty().await;
    let store = clickhouse(&databases).await;
    let table = sample::table("timescale", "every_type");
    store.prepare_cold(&table).await.unwrap();
    store.prepare_cold(&table).await.unwrap();

    let mut samples = sample::samples(300);
    for sample in &mut samples {
        // As `jsonb` orders them.
        sample.labels.sort_by_key(|(key, _, _)| (key.len(), key.clone()));
    }
    let batch = sample::batch(&table, &samples);
    let (moved, late) = (batch.slice(0, 200), batch.slice(200, 100));
    let cut = cut_of(5, moved.clone());
    store.write_cold(&cut, 5).await.unwrap();
    store.write_cold(&Cut { fresh: false, ..cut.clone() }, 5).await.unwrap();
    store.write_cold(&cut, 5).await.unwrap();
    store.write_cold(&sample::cut(late), LATE).await.unwrap();
    store.write_cold(&cut_of(6, moved), 6).await.unwrap();

    let found = read(&store, &table, EVER, ColdRows::AllBut(&[6])).await;
    assert_eq!(found.len(), 300);
    for (row, (_, stored)) in found.iter().enumerate() {
        assert_eq!(stored, &batch.rows().slice(row, 1), "row {row}");
    }
    assert_eq!(read(&store, &table, EVER, ColdRows::Of(LATE)).await.len(), 100);

    let mut times: Vec<i64> =
        batch.rows().column(0).as_primitive::<TimestampNanosecondType>().values().to_vec();
    times.sort_unstable();
    let (from, to) = (times[50], times[250]);
    let wanted = times.iter().filter(|&&time| from <= time && time < to).count();
    let between = read(&store, &table, from..to, ColdRows::AllBut(&[6])).await;
    assert_eq!(between.len(), wanted);

    let partitions = store.cold_partitions(&table).await.unwrap();
    let held: Vec<_> = partitions.iter().map(|partition| (partition.move_, partition.rows)).collect();
    assert_eq!(held, [(0, 100), (5, 200), (6, 200)]);
    assert!(partitions.iter().all(|partition| partition.day == 19_675 && partition.bytes > 0));

    store.drop_move(&table, 6).await.unwrap();
    store.drop_move(&table, 6).await.unwrap();
    assert!(store.drop_move(&table, LATE).await.is_err(), "late rows are of no move");
    assert_eq!(store.count_cold(&table, EVER, ColdRows::AllBut(&[])).await.unwrap(), 300);
    assert_eq!(store.count_cold(&table, EVER, ColdRows::Of(6)).await.unwrap(), 0);
}

/// Scenario: rows of three days, of which those before the third are to go.
/// Guarantees: whole days go and no row of another day.
#[tokio::test]
async fn days_go_by_age() {
    let databases = Databases::empty().await;
    let store = clickhouse(&databases).await;
    let table = builtin_table("traces_spans");
    store.prepare_cold(&table).await.unwrap();
    for day in 0..3 {
        let batch = spans(&table, &[(1, DAY + day * 86_400 * SECOND)]);
        store
            .write_cold(&Cut { number: u64::try_from(day).unwrap() + 1, ..cut_of(9, batch) }, 9)
            .await
            .unwrap();
    }
    store.drop_cold_before(&table, DAY + (2 * 86_400 + 3_600) * SECOND, &[]).await.unwrap();
    let left = databases.clickhouse("SELECT toDate(time) FROM traces_spans_cold").await;
    assert_eq!(left, "2023-11-12");
}

/// Scenario: spans of three traces, one of which goes over midnight, written twice and late.
/// Guarantees: the table of trace ids says when each trace began and ended, by day, and once after merging.
#[tokio::test]
async fn a_cold_trace_is_found_by_its_id() {
    let databases = Databases::empty().await;
    let store = clickhouse(&databases).await;
    let table = builtin_table("traces_spans");
    store.prepare_cold(&table).await.unwrap();
    let night = DAY - SECOND;
    let days: [Vec<(u64, i64)>; 2] =
        [vec![(1, night), (1, night - SECOND)], vec![(1, DAY), (2, DAY + 5), (3, DAY + SECOND), (3, DAY)]];
    for (number, day) in (1..).zip(&days) {
        let cut = Cut { number, ..cut_of(3, spans(&table, day)) };
        store.write_cold(&cut, 3).await.unwrap();
        store.write_cold(&Cut { fresh: false, ..cut }, 3).await.unwrap();
    }
    store.write_cold(&sample::cut(spans(&table, &[(2, DAY + 7 * SECOND)])), LATE).await.unwrap();
    let ids = databases
        .clickhouse(
            "SELECT trace_id, day, start, end FROM traces_spans_trace_ids FINAL ORDER BY trace_id, day",
        )
        .await;
    let line = |trace, day, start, end| {
        format!(
            "{}\t2023-11-{day}\t2023-11-{day} {start}.000000\t2023-11-{day} {end}.000000",
            trace_id(trace)
        )
    };
    let wanted = [
        line(1, "09", "23:59:58", "23:59:59"),
        line(1, "10", "00:00:00", "00:00:00"),
        line(2, "10", "00:00:00", "00:00:07"),
        line(3, "10", "00:00:00", "00:00:01"),
    ];
    assert_eq!(ids, wanted.join("\n"));
}

/// Scenario: a table gets a column after it has cold rows; one of the same name with another partitioning is there.
/// Guarantees: the column is added, old rows have no value in it; a table that moves cannot be dropped from is refused.
#[tokio::test]
async fn a_cold_table_grows_with_its_table() {
    let databases = Databases::empty().await;
    let store = clickhouse(&databases).await;
    let table = sample::table("timescale", "grows");
    store.prepare_cold(&table).await.unwrap();
    store.write_cold(&cut_of(1, sample::batch(&table, &sample::samples(2))), 1).await.unwrap();
    let mut spec = table.spec.clone();
    let more = serde_json::json!({"name": "more", "type": "timestamp_ns"});
    spec.columns.push(serde_json::from_value(more).unwrap());
    let wider = Arc::new(TableDef::from_spec(table.tenant.clone(), spec, 2).unwrap());
    store.prepare_cold(&wider).await.unwrap();
    store.write_cold(&cut_of(2, sample::batch(&wider, &sample::samples(1))), 2).await.unwrap();
    let read: Vec<RecordBatch> =
        store.read_cold(&wider, EVER, ColdRows::Of(1)).unwrap().try_collect().await.unwrap();
    let batch = TableBatch::new(Arc::clone(&wider), read[0].clone()).unwrap();
    assert_eq!(batch.rows().column(wider.column_index("more").unwrap()).null_count(), 2);

    databases
        .clickhouse("CREATE TABLE other_cold (time DateTime64(6, 'UTC')) ENGINE = MergeTree ORDER BY time")
        .await;
    let refused = store.prepare_cold(&sample::table("timescale", "other")).await.unwrap_err().to_string();
    assert!(refused.contains("other_cold"), "{refused}");
}
