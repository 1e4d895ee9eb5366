//! The tables that show both tiers as one: what they show, what Postgres is asked, and that nobody sees a swap.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tidewell_gateway::registry::{TableDef, ValueType};
use tidewell_gateway::store::clickhouse::cold::LATE;
use tidewell_gateway::store::{Store as _, StoreError};
use tidewell_gateway::tier::generation::Generation;
use tidewell_gateway::tier::publish::published;

use super::spans::{DAY, SECOND, spans, trace_id};
use super::{Tiers, builtin_table, cut_of};
use crate::harness::database::Databases;
use crate::harness::postgres_statements::PostgresStatements;
use crate::stores::sample::{self, Sample};

const DAY_NANOS: i64 = 86_400 * SECOND;

/// Samples whose JSON is as Postgres writes it, and whose labels have one text on both sides. Those whose text depends
/// on the side are nested values, doubles with an exponent and, in `labels.json`, control characters.
fn samples(count: usize) -> Vec<Sample> {
    let mut samples = sample::samples(count);
    for sample in &mut samples {
        sample.json = sample.json.as_ref().map(|_| r#"{"a": [1, 2.5, "x\n"]}"#.to_owned());
        let one_text = |text: &str, kind: ValueType| match kind {
            ValueType::Array | ValueType::Map => false,
            ValueType::Double => !text.contains('e') && text.len() < 12 || matches!(text, "NaN" | "-0.0"),
            _ => true,
        };
        let plain = |text: &str| !text.chars().any(char::is_control);
        sample.labels.retain(|(key, text, kind)| plain(key) && plain(text) && one_text(text, *kind));
    }
    samples
}

/// Scenario: rows with every column type, read through the combined table while they are hot, and again when they are
/// cold; and every function that ClickHouse reads subcolumns for.
/// Guarantees: who reads sees the same values on both sides, NULLs, nanoseconds and labels included, and counts and
/// lengths are right.
#[tokio::test]
async fn a_row_is_the_same_on_both_sides() {
    let tiers = Tiers::migrated().await;
    let table = sample::table("timescale", "every_type");
    tiers.timescale.prepare(&table).await.unwrap();
    let batch = sample::batch(&table, &samples(200));
    tiers.timescale.write(&sample::cut(batch.clone())).await.unwrap();

    let query = "SELECT *, labels, labels['a'] FROM every_type_all ORDER BY id \
                 FORMAT JSONEachRow SETTINGS output_format_json_quote_denormals = 1";
    let counts = "SELECT count(), count(millis), count(text), countIf(double IS NULL), countIf(word IS NOT NULL), \
                  countIf(empty(text)), sum(length(text)), countIf(length(doubles) = 2), countIf(empty(texts)), \
                  countIf(notEmpty(`labels.k`)), countIf(length(labels) > 2), count(time_nanos), count(boolean), \
                  countIf(boolean), countIf(uuid IS NULL), uniqExact(time) FROM every_type_all";
    tiers.publish(&table, 1, None, &[]).await;
    let hot = tiers.databases.clickhouse(query).await;
    let hot_counts = tiers.databases.clickhouse(counts).await;
    assert_eq!(hot.lines().count(), 200);
    let postgres = "SELECT format(E'%s\\t%s\\t%s', count(*), count(millis), count(text)) FROM every_type";
    let wanted = tiers.databases.postgres_value(postgres).await.unwrap();
    assert!(hot_counts.starts_with(&wanted), "{hot_counts} instead of {wanted}");

    tiers.clickhouse.write_cold(&cut_of(1, batch), 1).await.unwrap();
    tiers.publish(&table, 2, Some(sample::NOW + DAY_NANOS), &[]).await;
    let cold = tiers.databases.clickhouse(query).await;
    for (hot, cold) in hot.lines().zip(cold.lines()) {
        assert_eq!(hot, cold);
    }
    assert_eq!(cold.lines().count(), 200);
    assert_eq!(tiers.databases.clickhouse(counts).await, hot_counts);
}

/// Scenario: spans of three days, the first of which is cold; queries of the combined table by trace id, by time, by
/// app and by label.
/// Guarantees: Postgres is asked for nothing but what the filter names, and for nothing of the cold days; the answers have
/// the rows of both tiers; labels are compared in Postgres where their JSON is; no definition holds a password.
#[tokio::test]
async fn filters_reach_postgres() {
    let databases = Databases::migrated().await;
    let url = databases.config().timescale.url.reveal().parse::<http::Uri>().unwrap();
    let proxy =
        PostgresStatements::start(url.authority().unwrap().as_str().rsplit('@').next().unwrap().into()).await;
    let tiers = Tiers::of(databases, |config| {
        config.clickhouse.timescale.address = proxy.address.to_string();
        config.clickhouse.timescale.user = "tidewell".to_owned();
        config.clickhouse.timescale.password = tidewell_gateway::config::Secret::new("hunter2");
    });
    let table = builtin_table("traces_spans");
    let day = |day: i64| -> Vec<(u64, i64)> {
        (0..60).map(|n| (n % 20, DAY + day * DAY_NANOS + i64::try_from(n).unwrap() * SECOND)).collect()
    };
    tiers.clickhouse.prepare_cold(&table).await.unwrap();
    tiers.clickhouse.write_cold(&cut_of(1, spans(&table, &day(0))), 1).await.unwrap();
    for hot in [1, 2] {
        tiers.timescale.write(&sample::cut(spans(&table, &day(hot)))).await.unwrap();
    }
    tiers.publish(&table, 1, Some(DAY + DAY_NANOS), &[]).await;

    let ask = async |condition: &str| {
        let before = proxy.take();
        assert!(before.iter().all(|copy| copy.contains("tidewell_session")), "{before:?}");
        let query =
            format!("SELECT count(), uniqExact(span_id, time) FROM traces_spans_all WHERE {condition}");
        let answer = tiers.databases.clickhouse(&query).await;
        let copies = proxy.take();
        assert_eq!(copies.len(), 1, "{copies:?}");
        let (_, asked) = copies[0].split_once("FROM \"traces_spans_hot_g1\"").unwrap();
        (answer, asked.trim_end_matches(") TO STDOUT").trim().to_owned())
    };
    let trace = trace_id(7);
    let (answer, asked) = ask(&format!("trace_id = '{trace}'")).await;
    assert_eq!(asked, format!("WHERE \"trace_id\" = '{trace}'"));
    assert_eq!(answer, "9\t9");

    let (answer, asked) = ask("time >= '2023-11-10 00:00:30' AND time < '2023-11-11 00:00:30'").await;
    assert_eq!(asked, "WHERE (\"time\" >= '2023-11-10 00:00:30') AND (\"time\" < '2023-11-11 00:00:30')");
    assert_eq!(answer, "60\t60");

    let (answer, asked) = ask("app = 'app1' AND name IN ('GET /0', 'GET /1')").await;
    assert_eq!(asked, "WHERE (\"app\" = 'app1') AND (\"name\" IN ('GET /0', 'GET /1'))");
    assert_eq!(answer, "63\t63");

    // By label: ClickHouse filters what the rest of the condition lets through ..
    let (answer, asked) = ask("labels['code'] = '3' AND app = 'app1'").await;
    assert_eq!(asked, "WHERE \"app\" = 'app1'");
    assert_eq!(answer, "18\t18");
    // .. and Postgres does where the label's JSON is asked for.
    let (answer, asked) = ask("labels['code'] = '3' AND labels.json LIKE '%\"code\": 3%'").await;
    assert_eq!(asked, "WHERE \"labels.json\" LIKE '%\"code\": 3%'");
    assert_eq!(answer, "27\t27");

    let definitions = "SELECT arrayStringConcat(groupArray(create_table_query)) FROM system.tables \
                       WHERE database = currentDatabase()";
    let definitions = tiers.databases.clickhouse(definitions).await;
    assert!(definitions.contains("PostgreSQL") && !definitions.contains("hunter2"), "{definitions}");
    let explained = tiers
        .databases
        .clickhouse("EXPLAIN indexes = 1 SELECT count() FROM traces_spans_all WHERE time >= '2023-11-11'")
        .await;
    assert!(explained.contains("Parts: 0/1"), "the cold side reads nothing of hot days: {explained}");
}

/// Scenario: spans of three days, the first of which is cold, are asked for under the names of the Collector's exporter.
/// Guarantees: both tiers answer, and Postgres is asked for nothing but what the filters name.
#[tokio::test]
async fn spans_of_both_tiers_are_found_under_the_names_of_others() {
    let databases = Databases::migrated().await;
    let url = databases.config().timescale.url.reveal().parse::<http::Uri>().unwrap();
    let proxy =
        PostgresStatements::start(url.authority().unwrap().as_str().rsplit('@').next().unwrap().into()).await;
    let tiers = Tiers::of(databases, |config| {
        config.clickhouse.timescale.address = proxy.address.to_string();
    });
    let table = builtin_table("traces_spans");
    let day = |day: i64| -> Vec<(u64, i64)> {
        (0..20).map(|n| (n, DAY + day * DAY_NANOS + i64::try_from(n).unwrap() * SECOND)).collect()
    };
    tiers.clickhouse.prepare_cold(&table).await.unwrap();
    tiers.clickhouse.write_cold(&cut_of(1, spans(&table, &day(0))), 1).await.unwrap();
    tiers.timescale.write(&sample::cut(spans(&table, &day(1)))).await.unwrap();
    tiers.publish(&table, 1, Some(DAY + DAY_NANOS), &[]).await;
    let ask = async |columns: &str, condition: &str| {
        drop(proxy.take());
        let query = format!("SELECT {columns} FROM otel_traces WHERE {condition}");
        let (found, copies) = (tiers.databases.clickhouse(&query).await, proxy.take());
        let (_, asked) = copies[0].split_once("FROM \"traces_spans_hot_g1\"").unwrap();
        (found, asked.trim_end_matches(") TO STDOUT").trim().to_owned())
    };
    let trace = trace_id(7);
    let columns =
        "count(), any(SpanName), any(SpanAttributes['region']), uniqExact(Timestamp), any(StatusCode)";
    let (found, asked) = ask(columns, &format!("TraceId = '{trace}'")).await;
    assert_eq!(found, "2\tGET /1\teu\t2\tOk");
    assert_eq!(asked, format!("WHERE \"TraceId\" = '{trace}'"));
    let (found, asked) =
        ask("count()", "Timestamp >= '2023-11-10 00:00:10' AND ServiceName = 'app1' AND SpanKind = 'Server'")
            .await;
    assert_eq!(found, "15");
    assert_eq!(
        asked,
        "WHERE (\"Timestamp\" >= '2023-11-10 00:00:10') AND (\"ServiceName\" = 'app1') AND (\"SpanKind\" = 'Server')"
    );
}

/// Scenario: six days of rows move to the cold table day by day; each day is copied, sometimes by an attempt that is
/// given up first, then published; late rows arrive for days that are closed. Readers count all the while.
/// Guarantees: every answer has every row exactly once; generations that nobody reads can be dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_see_every_row_exactly_once_through_every_swap() {
    const DAYS: i64 = 6;
    const ROWS: usize = 200;
    let tiers = Tiers::migrated().await;
    let table = builtin_table("traces_spans");
    let day = |day: i64| -> Vec<(u64, i64)> {
        (0..ROWS).map(|n| (n as u64, DAY + day * DAY_NANOS + i64::try_from(n).unwrap() * SECOND)).collect()
    };
    for at in 0..DAYS {
        tiers.timescale.write(&sample::cut(spans(&table, &day(at)))).await.unwrap();
    }
    tiers.publish(&table, 1, None, &[]).await;
    let tiers = Arc::new(tiers);
    let (stop, reads) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let late = Arc::new(AtomicUsize::new(0));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (tiers, stop, reads, late) =
                (Arc::clone(&tiers), Arc::clone(&stop), Arc::clone(&reads), Arc::clone(&late));
            tokio::spawn(async move {
                let all = ROWS * usize::try_from(DAYS).unwrap();
                let query = "SELECT count(), uniqExact(time, span_id) FROM traces_spans_all";
                while !stop.load(Ordering::SeqCst) {
                    let least = all + late.load(Ordering::SeqCst);
                    let answer = tiers.databases.clickhouse(query).await;
                    let most = all + late.load(Ordering::SeqCst) + 1;
                    let (rows, different) = answer.split_once('\t').unwrap();
                    assert_eq!(rows, different, "a row is there twice");
                    let rows: usize = rows.parse().unwrap();
                    assert!((least..=most).contains(&rows), "{rows} rows, not {least} to {most}");
                    reads.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();

    let mut abandoned = Vec::new();
    for at in 0..DAYS {
        let number = u64::try_from(at).unwrap() + 2;
        if at % 2 == 0 {
            // An attempt that comes to nothing, of which some rows are there.
            let attempt = 100 + number;
            let half = spans(&table, &day(at)[..ROWS / 2]);
            tiers.clickhouse.write_cold(&cut_of(attempt, half), attempt).await.unwrap();
            abandoned.push(attempt);
        }
        tiers.clickhouse.write_cold(&cut_of(number, spans(&table, &day(at))), number).await.unwrap();
        let late_row = spans(&table, &[(900, DAY + at * DAY_NANOS + 3 * SECOND + 1 + at * 1_000)]);
        tiers.clickhouse.write_cold(&sample::cut(late_row), LATE).await.unwrap();
        late.fetch_add(1, Ordering::SeqCst);
        tiers.publish(&table, number, Some(DAY + (at + 1) * DAY_NANOS), &abandoned).await;
        tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    }
    stop.store(true, Ordering::SeqCst);
    for reader in readers {
        reader.await.unwrap();
    }
    assert!(reads.load(Ordering::SeqCst) > 10, "readers read all the while");

    let in_force = published(&tiers.clickhouse, &table).await.unwrap().unwrap();
    let wanted = Generation { number: 7, cutoff: Some(DAY + DAYS * DAY_NANOS), abandoned };
    assert_eq!(in_force, wanted);
    tiers.publisher.retire(&table, 7).await.unwrap();
    let left = tiers.databases.clickhouse("SHOW TABLES LIKE 'traces_spans%'").await;
    assert_eq!(
        left,
        "traces_spans_all\ntraces_spans_cold\ntraces_spans_cold_g7\ntraces_spans_hot_g7\ntraces_spans_trace_ids"
    );
    let views = "SELECT string_agg(viewname, ' ') FROM pg_views WHERE viewname LIKE 'traces_spans%'";
    assert_eq!(tiers.databases.postgres_value(views).await.unwrap(), "traces_spans_hot_g7");
}

/// Scenario: somebody's own table has the name of a combined table; Postgres is not where the settings say; its sessions
/// are in another time zone.
/// Guarantees: nothing of anybody is replaced, readers keep what they have, and the error names the way out.
#[tokio::test]
async fn what_cannot_be_published_is_refused_and_changes_nothing() {
    let tiers = Tiers::migrated().await;
    let table = sample::table("timescale", "mine");
    tiers.timescale.prepare(&table).await.unwrap();
    let refused = async |tiers: &Tiers, table: &TableDef| {
        let refused =
            tiers.publisher.publish(table, &Generation { number: 1, ..Generation::default() }).await;
        refused.unwrap_err()
    };
    tiers.databases.clickhouse("CREATE TABLE mine_all (n UInt8) ENGINE = MergeTree ORDER BY n").await;
    let foreign = refused(&tiers, &table).await;
    assert!(
        matches!(&foreign, StoreError::Schema { .. }) && foreign.to_string().contains("mine_all"),
        "{foreign}"
    );

    let spans = builtin_table("traces_spans");
    let elsewhere = Tiers::of(Databases::migrated().await, |config| {
        config.clickhouse.timescale.address = "127.0.0.1:1".to_owned();
    });
    let unreached = refused(&elsewhere, &spans).await;
    assert!(unreached.to_string().contains("clickhouse.timescale.address"), "{unreached}");
    assert_eq!(elsewhere.databases.clickhouse("EXISTS TABLE traces_spans_all").await, "0");

    let zone = format!("ALTER DATABASE {} SET timezone = 'Asia/Tokyo'", tiers.databases.name());
    tiers.databases.postgres().await.batch_execute(&zone).await.unwrap();
    let zoned = refused(&tiers, &spans).await;
    assert!(zoned.to_string().contains("Asia/Tokyo"), "{zoned}");
}
