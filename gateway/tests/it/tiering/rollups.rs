//! Rollups: aggregates of cold rows, compared with the same computed from the rows, through all that changes them.

use std::sync::Arc;

use serde_json::json;
use tidewell_gateway::registry::{TableBatch, TableDef, Tenant, ValueType};
use tidewell_gateway::store::Cut;
use tidewell_gateway::store::Store as _;
use tidewell_gateway::store::clickhouse::cold::LATE;
use tidewell_gateway::tier::rollup::{Refreshed, refresh};

use super::spans::{DAY, SECOND};
use super::{Tiers, cut_of};
use crate::stores::sample;

const DAY_NANOS: i64 = 86_400 * SECOND;

/// A table of measurements with rollups; `extra` goes to its policy.
fn table(extra: &serde_json::Value) -> Arc<TableDef> {
    let mut policy = json!({
        "cool_after_seconds": 86_400,
        "rollups": [
            {"name": "hour", "every": "hour", "by": ["app", "labels.region"]},
            {"name": "day", "every": "day", "by": ["app"], "keep_seconds": 1_000_000_000},
        ],
    });
    policy.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    let spec = json!({
        "table_name": "measured", "kind": "metrics", "tiering": policy,
        "columns": [
            {"name": "time", "type": "timestamp"}, {"name": "app", "type": "text", "nullable": false},
            {"name": "value", "type": "double"}, {"name": "labels", "type": "attributes"}],
    });
    Arc::new(TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap())
}

/// Rows of a day: one every ten minutes, each a little different, NULL in every tenth.
fn day(table: &Arc<TableDef>, day: i64, count: i64) -> TableBatch {
    let mut rows = sample::builder(table);
    for n in 0..count {
        rows.set_time(0, DAY + day * DAY_NANOS + n * 600 * SECOND % DAY_NANOS).unwrap();
        rows.set_text(1, &format!("app{}", n % 3)).unwrap();
        if n % 10 != 9 {
            rows.set_double(2, (n * 7 % 101) as f64 - 20.0).unwrap();
        }
        rows.attributes(3).unwrap().push("region", &format!("r{}", n % 2), ValueType::String);
        rows.end_row().unwrap();
    }
    rows.finish().unwrap().unwrap()
}

/// Asserts that both rollups say what the rows of the days before `end` say.
async fn agree(tiers: &Tiers, end: i64, abandoned: &str) {
    let aggregates = "count(), ifNull(sum(value), 0), min(value), max(value), argMax(value, time)";
    let visible = format!(
        "time < fromUnixTimestamp64Nano(toInt64({end}), 'UTC') AND tidewell_move NOT IN ({abandoned})"
    );
    let from_rows = format!(
        "SELECT toStartOfHour(time) AS t, app, labels['region'] AS r, {aggregates} FROM measured_cold \
         WHERE {visible} GROUP BY t, app, r ORDER BY t, app, r"
    );
    let from_rollup = "SELECT time, app, `labels.region`, count, sum, min, max, last FROM measured_rollup_hour \
                       ORDER BY time, app, `labels.region`";
    let (rows, rollup) =
        (tiers.databases.clickhouse(&from_rows).await, tiers.databases.clickhouse(from_rollup).await);
    assert_eq!(rollup, rows.replace(".000000\t", "\t"));
    let from_rows = format!(
        "SELECT toDate(time) AS t, app, {aggregates}, quantileTDigest(value) FROM measured_cold \
         WHERE {visible} GROUP BY t, app ORDER BY t, app"
    );
    let from_rollup = "SELECT toDate(time) AS t, app, sum(count), sum(sum), min(min), max(max), any(last), \
                       quantileTDigestMerge(sketch) FROM measured_rollup_day GROUP BY t, app ORDER BY t, app";
    let (rows, rollup) =
        (tiers.databases.clickhouse(&from_rows).await, tiers.databases.clickhouse(from_rollup).await);
    assert_eq!(rollup, rows);
}

/// Scenario: days become cold one by one; rows arrive late for a day that was rolled up; a move is abandoned and redone;
/// nothing happens.
/// Guarantees: the rollups always say what the rows say; only days that changed are computed; days that are not wholly cold
/// are not.
#[tokio::test]
async fn rollups_follow_late_rows_and_redone_moves() {
    let tiers = Tiers::migrated().await;
    let table = table(&json!({}));
    tiers.timescale.prepare(&table).await.unwrap();
    let refreshed = async || refresh(&tiers.clickhouse, &table).await.unwrap();
    assert_eq!(refreshed().await, Refreshed::default(), "nothing is published");

    for at in 0..3 {
        let move_ = u64::try_from(at).unwrap() + 1;
        tiers.clickhouse.prepare_cold(&table).await.unwrap();
        tiers.clickhouse.write_cold(&cut_of(move_, day(&table, at, 144)), move_).await.unwrap();
    }
    tiers.publish(&table, 1, Some(DAY + 2 * DAY_NANOS + 3_600 * SECOND), &[]).await;
    assert_eq!(refreshed().await.days, 4, "two rollups of the two days that are wholly cold");
    agree(&tiers, DAY + 2 * DAY_NANOS, "99").await;
    assert_eq!(refreshed().await, Refreshed::default());

    let late = day(&table, 1, 20);
    tiers.clickhouse.write_cold(&sample::cut(late), LATE).await.unwrap();
    assert_eq!(refreshed().await.days, 2, "the day with late rows alone");
    agree(&tiers, DAY + 2 * DAY_NANOS, "99").await;

    // The first day is copied again under another number, since the first copy came to nothing.
    tiers.clickhouse.write_cold(&cut_of(9, day(&table, 0, 150)), 9).await.unwrap();
    tiers.publish(&table, 2, Some(DAY + 3 * DAY_NANOS), &[1]).await;
    assert_eq!(refreshed().await.days, 4, "the redone day and the one that is new");
    agree(&tiers, DAY + 3 * DAY_NANOS, "1").await;
    tiers.clickhouse.drop_move(&table, 1).await.unwrap();
    assert_eq!(refreshed().await, Refreshed::default(), "what did not count is gone");
    agree(&tiers, DAY + 3 * DAY_NANOS, "1").await;

    // An attempt that died before its note.
    tiers
        .databases
        .clickhouse(
            "INSERT INTO measured_rollup_hour_data SELECT * REPLACE (1 AS version) FROM measured_rollup_hour_data",
        )
        .await;
    agree(&tiers, DAY + 3 * DAY_NANOS, "1").await;
    assert!(refreshed().await.dropped > 0);
    let versions = "SELECT count() FROM measured_rollup_hour_data WHERE version = 1";
    assert_eq!(tiers.databases.clickhouse(versions).await, "0");
}

/// Scenario: cold rows go by age; then the rollup's own age is reached; a rollup is defined otherwise under its name.
/// Guarantees: the rollup outlives its rows and goes by its own; what it means cannot change under one name.
#[tokio::test]
async fn rollups_have_an_age_of_their_own() {
    let tiers = Tiers::migrated().await;
    let kept = table(&json!({}));
    tiers.timescale.prepare(&kept).await.unwrap();
    tiers.clickhouse.prepare_cold(&kept).await.unwrap();
    tiers.clickhouse.write_cold(&cut_of(1, day(&kept, 0, 144)), 1).await.unwrap();
    tiers.clickhouse.write_cold(&Cut { number: 2, ..cut_of(1, day(&kept, 1, 144)) }, 1).await.unwrap();
    tiers.publish(&kept, 1, Some(DAY + 2 * DAY_NANOS), &[]).await;
    assert_eq!(refresh(&tiers.clickhouse, &kept).await.unwrap().days, 4);

    // From now on rows are older than they are kept: some of a day go before the others.
    let going = table(&json!({"keep_cold_seconds": 172_800}));
    tiers
        .databases
        .clickhouse("ALTER TABLE measured_cold DELETE WHERE value > 0 SETTINGS mutations_sync = 2")
        .await;
    tiers.clickhouse.drop_cold_before(&going, DAY + DAY_NANOS, &[]).await.unwrap();
    assert_eq!(refresh(&tiers.clickhouse, &going).await.unwrap(), Refreshed::default());
    let rows = "SELECT sum(count) FROM measured_rollup_hour";
    assert_eq!(tiers.databases.clickhouse(rows).await, "288");

    let old = table(&json!({"keep_cold_seconds": 172_800, "rollups": [
        {"name": "hour", "every": "hour", "by": ["app", "labels.region"], "keep_seconds": 86_400},
    ]}));
    assert_eq!(refresh(&tiers.clickhouse, &old).await.unwrap().dropped, 2);
    assert_eq!(tiers.databases.clickhouse(rows).await, "0");

    let other = table(&json!({"rollups": [{"name": "hour", "every": "hour", "by": ["app"]}]}));
    let refused = refresh(&tiers.clickhouse, &other).await.unwrap_err().to_string();
    assert!(refused.contains("another name"), "{refused}");
}
