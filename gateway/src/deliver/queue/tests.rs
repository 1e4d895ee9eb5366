//! The queue alone: what is due when, and where cuts end.

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

fn push(queue: &Queue, table: &str, count: usize) {
    let (reply, _) = oneshot::channel();
    let deadline = Instant::now() + Duration::from_secs(1);
    let key = QueueKey { tenant: Tenant::default(), table: table.to_owned(), day: 0 };
    let memory = Arc::new(crate::memory::MemoryBudget::new(0, 100).grant());
    queue.push(Submission { batch: rows(count), rows: None, deadline, reply, _memory: memory }, key);
}

fn due(queue: &Queue, all: bool) -> Option<Vec<usize>> {
    match queue.next(all) {
        Next::Due(due) => Some(due.submissions.iter().map(|one| one.batch.len()).collect()),
        Next::Later(_) | Next::Empty => None,
    }
}

#[tokio::test(start_paused = true)]
async fn rows_wait_for_their_age_and_no_longer() {
    let queue = Queue::new(LIMITS);
    assert!(matches!(queue.next(false), Next::Empty));
    push(&queue, "a", 3);
    push(&queue, "a", 4);
    assert_eq!(due(&queue, false), None);
    tokio::time::advance(Duration::from_millis(101)).await;
    assert_eq!(due(&queue, false), Some(vec![3, 4]));
    assert_eq!(queue.waiting_rows(), 0);
}

#[tokio::test(start_paused = true)]
async fn enough_rows_are_due_at_once_and_a_cut_holds_no_more_than_its_limit() {
    let queue = Queue::new(LIMITS);
    for count in [6, 6, 3] {
        push(&queue, "a", count);
    }
    assert_eq!(due(&queue, false), Some(vec![6]), "6 + 6 rows exceed the limit of 10");
    assert_eq!(due(&queue, false), None, "9 rows are left and not old enough");
    push(&queue, "a", 30);
    assert_eq!(due(&queue, false), Some(vec![6, 3]));
    assert_eq!(due(&queue, false), Some(vec![30]), "one request's rows are never torn apart");
}

#[tokio::test(start_paused = true)]
async fn tables_wait_apart_and_the_oldest_goes_first() {
    let queue = Queue::new(LIMITS);
    push(&queue, "a", 1);
    tokio::time::advance(Duration::from_millis(50)).await;
    push(&queue, "b", 2);
    tokio::time::advance(Duration::from_millis(60)).await;
    assert_eq!(due(&queue, false), Some(vec![1]));
    assert_eq!(due(&queue, false), None);
    assert_eq!(due(&queue, true), Some(vec![2]), "at the end everything is due");
}
