//! Delivery as a whole on a real disk, against stores in memory: what is appended in, what each store was given out.

mod damage;
mod every_order;
mod regressed;
mod store;
mod unreadable;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::config::{ClickHouseConfig, TimescaleConfig};
use crate::decode::{DecodeContext, DecodeLimits, TableBuilder};
use crate::registry::{Snapshot, TableDef, Tenant};
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::Timescale;
use crate::wal::LogOptions;
use crate::wal::entry::Compression;
use store::TestStore;

/// A gateway's delivery that can end and begin again on the same directory.
struct Gateway {
    directory: tempfile::TempDir,
    timescale: Arc<TestStore>,
    clickhouse: Arc<TestStore>,
    log: LogOptions,
}

impl Gateway {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            timescale: TestStore::new(StoreKind::Timescale),
            clickhouse: TestStore::new(StoreKind::ClickHouse),
            log: LogOptions {
                segment_bytes: 1 << 20,
                max_bytes: 64 << 20,
                retain_age: Duration::from_secs(600),
                retain_bytes: 64 << 20,
                recent_bytes: 1 << 20,
            },
        }
    }

    /// Begins to deliver.
    fn start(&self) -> Arc<Delivery> {
        self.try_to_start().unwrap()
    }

    fn try_to_start(&self) -> Result<Arc<Delivery>, OpenError> {
        let lanes = |store: &Arc<TestStore>| LaneOptions {
            store: Arc::clone(store) as _,
            limits: CutLimits { max_rows: 1000, max_bytes: 1 << 20, max_age: Duration::from_millis(1) },
            writers: 2,
            max_log_bytes: self.log.max_bytes,
        };
        let options = DeliveryOptions {
            directory: self.directory.path().to_owned(),
            timescale: lanes(&self.timescale),
            claims: Arc::new(Timescale::new(&TimescaleConfig::default()).unwrap()),
            clickhouse: lanes(&self.clickhouse),
            cold: Arc::new(ClickHouse::new(&ClickHouseConfig::default()).unwrap()),
            max_dead_letter_bytes: self.log.max_bytes,
            log: self.log,
            compression: Compression::None,
            window_bytes: 1 << 20,
        };
        let delivery = Delivery::new(options, &Arc::new(Metrics::new()));
        delivery.open(|_| {})?;
        delivery.tables_prepared(StoreKind::Timescale);
        delivery.tables_prepared(StoreKind::ClickHouse);
        Ok(delivery)
    }
}

/// A table of a time and a number.
fn table(name: &str, store: StoreKind) -> Arc<TableDef> {
    let spec = serde_json::json!({
        "table_name": name, "store": store.name(),
        "columns": [{"name": "time", "type": "timestamp_ns"}, {"name": "n", "type": "bigint"}],
    });
    Arc::new(TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap())
}

/// Makes rows with these numbers durable.
async fn append(delivery: &Delivery, table: &Arc<TableDef>, numbers: &[i64]) -> Position {
    let (tables, tenant, limits) = (Snapshot::default(), Tenant::default(), DecodeLimits::default());
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 0, limits };
    let mut rows = TableBuilder::new(Arc::clone(table), &context);
    for number in numbers {
        rows.set_time(0, 0).unwrap();
        rows.set_int(1, *number).unwrap();
        rows.end_row().unwrap();
    }
    let request = RequestEntry {
        tenant,
        protocol: "rest".to_owned(),
        caller: String::new(),
        records: u32::try_from(numbers.len()).unwrap(),
        key: None,
        batches: vec![rows.finish().unwrap().unwrap()],
    };
    let encoded = delivery.encode(LogName::of(table.store()), request).unwrap();
    delivery.append(encoded).await.unwrap()
}

/// Waits until something holds, ten seconds at most.
async fn eventually(holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come about");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
