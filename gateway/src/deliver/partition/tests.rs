//! Splitting by day: every row in exactly one part, and each part within one day.

use std::sync::Arc;

use arrow::array::AsArray;
use proptest::prelude::*;

use super::*;
use crate::decode::{DecodeContext, DecodeLimits, TableBuilder};
use crate::registry::{Snapshot, Tenant, builtin};

fn batch(table: &str, times: &[i64]) -> TableBatch {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    let now_nanos = 1_700_000_000_000_000_000;
    let context =
        DecodeContext { tables: &tables, tenant: &tenant, now_nanos, limits: DecodeLimits::default() };
    let mut builder = TableBuilder::new(Arc::clone(tables.table(&tenant, table).unwrap()), &context);
    for &time in times {
        builder.set_time(0, time).unwrap();
        if let Some(severity) = builder.column("severity_number") {
            builder.set_int(severity, 0).unwrap();
        }
        builder.end_row().unwrap();
    }
    builder.finish().unwrap().unwrap()
}

proptest! {
    #[test]
    fn parts_hold_one_day_each_and_all_rows_once(
        times in proptest::collection::vec(1_699_700_000_000_000_000_i64..1_700_000_000_000_000_000, 1..40),
    ) {
        let parts = split(&batch(builtin::LOGS_EVENTS, &times)).unwrap();
        let mut seen = vec![false; times.len()];
        for part in &parts {
            let column = part.batch.rows().column(0).as_primitive::<TimestampNanosecondType>();
            for row in 0..part.batch.len() {
                let place = part.rows.as_ref().map_or(row, |rows| usize::try_from(rows[row]).unwrap());
                prop_assert_eq!(column.value(row), times[place]);
                prop_assert_eq!(column.value(row).div_euclid(NANOS_PER_DAY), part.key.day.unwrap());
                prop_assert!(!std::mem::replace(&mut seen[place], true));
            }
        }
        prop_assert!(seen.into_iter().all(|seen| seen));
    }
}

#[test]
fn rows_for_timescale_stay_together() {
    let times = [1_699_700_000_000_000_000, 1_700_000_000_000_000_000];
    assert_eq!(split(&batch(builtin::METRICS_EVENTS, &times)).unwrap().len(), 1);
}
