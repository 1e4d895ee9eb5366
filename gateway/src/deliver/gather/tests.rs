//! Gathering alone: what is due when, and where cuts end.

use std::sync::Arc;

use super::*;
use crate::decode::{DecodeContext, DecodeLimits, TableBuilder};
use crate::registry::{Snapshot, TableDef, builtin};

const LIMITS: CutLimits =
    CutLimits { max_rows: 10, max_bytes: usize::MAX, max_age: Duration::from_millis(100) };

fn rows(count: usize) -> TableBatch {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    let now_nanos = 1_700_000_000_000_000_000;
    let context =
        DecodeContext { tables: &tables, tenant: &tenant, now_nanos, limits: DecodeLimits::default() };
    let table: Arc<TableDef> = Arc::clone(tables.table(&tenant, builtin::METRICS_EVENTS).unwrap());
    let mut builder = TableBuilder::new(table, &context);
    for _ in 0..count {
        builder.set_time(0, now_nanos).unwrap();
        builder.end_row().unwrap();
    }
    builder.finish().unwrap().unwrap()
}

fn push(gather: &Gather, table: &str, count: usize) {
    let key = GatherKey { tenant: Tenant::default(), table: Identifier::new(table).unwrap(), day: None };
    gather.push(
        key,
        Piece {
            position: Position(1),
            index: 0,
            start: 0,
            batch: rows(count),
            places: None,
            protocol: "rest",
        },
    );
}

fn due(gather: &Gather, all: bool) -> Option<Vec<usize>> {
    match gather.next(all) {
        Next::Due(due) => Some(due.pieces.iter().map(|piece| piece.batch.len()).collect()),
        Next::Later(_) | Next::Empty => None,
    }
}

#[tokio::test(start_paused = true)]
async fn rows_wait_for_their_age_and_no_longer() {
    let gather = Gather::new(LIMITS, 100);
    assert!(matches!(gather.next(false), Next::Empty));
    push(&gather, "a", 3);
    push(&gather, "a", 4);
    assert_eq!(due(&gather, false), None);
    tokio::time::advance(Duration::from_millis(101)).await;
    assert_eq!(due(&gather, false), Some(vec![3, 4]));
    assert!(matches!(gather.next(true), Next::Empty));
}

#[tokio::test(start_paused = true)]
async fn enough_rows_are_due_at_once_and_a_cut_holds_no_more_than_its_limit() {
    let gather = Gather::new(LIMITS, 100);
    for count in [6, 6, 3] {
        push(&gather, "a", count);
    }
    assert_eq!(due(&gather, false), Some(vec![6]), "6 + 6 rows exceed the limit of 10");
    assert_eq!(due(&gather, false), None, "9 rows are left and not old enough");
    push(&gather, "a", 30);
    assert_eq!(due(&gather, false), Some(vec![6, 3]));
    for _ in 0..3 {
        assert_eq!(due(&gather, false), Some(vec![10]), "a request larger than a cut is divided");
    }
}

#[tokio::test(start_paused = true)]
async fn tables_wait_apart_and_the_oldest_goes_first() {
    let gather = Gather::new(LIMITS, 100);
    push(&gather, "a", 1);
    tokio::time::advance(Duration::from_millis(50)).await;
    push(&gather, "b", 2);
    tokio::time::advance(Duration::from_millis(60)).await;
    assert_eq!(due(&gather, false), Some(vec![1]));
    assert_eq!(due(&gather, false), None);
    assert_eq!(due(&gather, true), Some(vec![2]), "at the end everything is due");
}

#[tokio::test(start_paused = true)]
async fn of_a_table_with_a_key_one_cut_is_under_way_at_a_time() {
    let gather = Gather::new(LIMITS, 100);
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    let table = Arc::clone(tables.table(&tenant, builtin::METRICS_METADATA).unwrap());
    let batch = TableBatch::new(
        Arc::clone(&table),
        arrow::record_batch::RecordBatch::new_empty(Arc::clone(table.arrow())),
    );
    let piece = Piece {
        position: Position(1),
        index: 0,
        start: 0,
        batch: batch.unwrap(),
        places: None,
        protocol: "rest",
    };
    let key = GatherKey { tenant, table: Identifier::new("keyed").unwrap(), day: None };
    gather.park(key.clone(), vec![piece.clone()], Instant::now());
    assert_eq!(due(&gather, true), Some(vec![0]));
    gather.park(key.clone(), Vec::new(), Instant::now());
    gather.park(key.clone(), vec![piece], Instant::now());
    assert_eq!(due(&gather, true), None, "the first cut is under way");
    gather.ended(&key);
    assert!(due(&gather, true).is_some());
}

#[tokio::test(start_paused = true)]
async fn parked_rows_wait_and_let_others_pass() {
    let gather = Gather::new(LIMITS, 100);
    push(&gather, "a", 1);
    let Next::Due(due_rows) = gather.next(true) else { panic!("a is due") };
    let until = Instant::now() + Duration::from_secs(5);
    gather.park(due_rows.key, due_rows.pieces, until);
    push(&gather, "b", 2);
    assert_eq!(due(&gather, true), Some(vec![2]));
    assert_eq!(due(&gather, true), None, "parked rows are not waited for at the end");
    assert!(matches!(gather.next(false), Next::Later(at) if at == until));
    tokio::time::advance(Duration::from_secs(6)).await;
    assert_eq!(due(&gather, false), Some(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_lane_is_left_for_other_tables_and_nothing_follows_a_cut_that_is_not_taken() {
    let gather = Gather::new(LIMITS, 3);
    for _ in 0..3 {
        push(&gather, "a", 10);
    }
    assert!(due(&gather, true).is_some() && due(&gather, true).is_some());
    assert_eq!(due(&gather, true), None, "two of three lanes write a");
    push(&gather, "b", 1);
    assert_eq!(due(&gather, true), Some(vec![1]));
    let key = GatherKey { tenant: Tenant::default(), table: Identifier::new("a").unwrap(), day: None };
    let block = gather.block(&key);
    gather.ended(&key);
    assert_eq!(due(&gather, true), None, "its store does not take a for now");
    drop(block);
    assert_eq!(due(&gather, true), Some(vec![10]));
}

#[tokio::test(start_paused = true)]
async fn a_table_that_never_runs_dry_lets_others_pass() {
    let gather = Gather::new(LIMITS, 100);
    push(&gather, "busy", 10);
    tokio::time::advance(Duration::from_millis(1)).await;
    push(&gather, "quiet", 10);
    tokio::time::advance(Duration::from_millis(1)).await;
    for _ in 0..3 {
        push(&gather, "busy", 10);
    }
    let tables: Vec<String> = std::iter::from_fn(|| match gather.next(false) {
        Next::Due(due) => Some(due.key.table.to_string()),
        Next::Later(_) | Next::Empty => None,
    })
    .collect();
    assert_eq!(tables, ["busy", "quiet", "busy", "busy", "busy"]);
}
