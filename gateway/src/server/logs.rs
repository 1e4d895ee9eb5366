//! The logs of a gateway: settings in, open logs out, however long their disk takes.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::StartError;
use crate::config::{Config, WalCompression};
use crate::deliver::{CutLimits, Delivery, DeliveryOptions, LaneOptions, RestoredRequest};
use crate::ingest::IdempotencyKey;
use crate::ingest::answer::Answer;
use crate::ingest::idempotency::{Idempotency, Identity};
use crate::observe::Metrics;
use crate::receive::Shared;
use crate::store::Store;
use crate::store::clickhouse::ClickHouse;
use crate::store::timescale::Timescale;
use crate::wal::LogOptions;
use crate::wal::entry::{Compression, KeyScope, RequestHeader};

/// How long to wait before logs that could not be opened are tried again.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// What delivers by the settings, its logs not open yet.
pub(super) fn delivery(
    config: &Config,
    timescale: &Arc<Timescale>,
    clickhouse: Arc<ClickHouse>,
    metrics: &Arc<Metrics>,
) -> Arc<Delivery> {
    let wal = &config.wal;
    let options = DeliveryOptions {
        directory: wal.directory.clone(),
        timescale: lanes(Arc::clone(timescale) as _, &config.timescale.batch, wal.timescale_max_bytes),
        claims: Arc::clone(timescale),
        cold: Arc::clone(&clickhouse),
        clickhouse: lanes(clickhouse, &config.clickhouse.batch, wal.clickhouse_max_bytes),
        max_dead_letter_bytes: wal.dead_letters_max_bytes,
        log: LogOptions {
            segment_bytes: wal.segment_bytes,
            max_bytes: wal.timescale_max_bytes,
            retain_age: Duration::from_secs(wal.retain_seconds),
            retain_bytes: wal.retain_bytes,
            recent_bytes: wal.window_bytes / 2,
        },
        compression: match wal.compression {
            WalCompression::None => Compression::None,
            WalCompression::Lz4 => Compression::Lz4,
        },
        window_bytes: wal.window_bytes,
    };
    Delivery::new(options, metrics)
}

/// Opens the logs, on a thread that may wait for the disk.
pub(super) async fn open(delivery: &Arc<Delivery>, idempotency: &Idempotency) -> Result<(), StartError> {
    let (delivery, idempotency) = (Arc::clone(delivery), idempotency.clone());
    let open = move || delivery.open(|request| restore(&idempotency, request));
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(opened.map_err(std::io::Error::other)??)
}

/// Opens the logs, as often as it takes, and lets requests in.
pub(super) async fn open_later(shared: Shared, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(OPEN_AGAIN) => {}
            () = stop.cancelled() => return,
        }
        match open(&shared.delivery, shared.ingest.idempotency()).await {
            Ok(()) => {
                tracing::info!("the logs are open");
                shared.registry.reload_saved().await;
                return shared.ingest.take_requests();
            }
            Err(error) => tracing::debug!(%error, "the logs cannot be opened yet"),
        }
    }
}

/// Makes a request known again by the key that its log kept.
fn restore(idempotency: &Idempotency, request: RestoredRequest) {
    let RequestHeader { tenant, caller, key: Some(key), .. } = request.header else { return };
    let name = match key.scope {
        KeyScope::Body => None,
        KeyScope::Given => IdempotencyKey::new(key.key.as_bytes()).ok(),
    };
    if key.scope == KeyScope::Given && name.is_none() {
        return;
    }
    let identity = Identity::new(&tenant, &caller, name, key.payload);
    if !key.is_last {
        // Should the request have been completed, that is known or will be by its last frame.
        let frame = (request.log, request.position);
        let _restored = idempotency.restore_frame(&identity, frame, request.appended_at);
        return;
    }
    match Answer::from_json(&key.answer) {
        Ok(answer) => {
            // A repetition among what is restored was known by the first one.
            let _restored = idempotency.restore(&identity, answer, request.appended_at);
        }
        Err(error) => {
            tracing::warn!(position = %request.position, %error, "a request of the log is not recognised again")
        }
    }
}

fn lanes(store: Arc<dyn Store>, batch: &crate::config::BatchConfig, max_log_bytes: u64) -> LaneOptions {
    let max_age = Duration::from_millis(batch.max_age_ms);
    let limits = CutLimits { max_rows: batch.max_rows, max_bytes: batch.max_bytes, max_age };
    LaneOptions { store, limits, writers: batch.writers, max_log_bytes }
}
