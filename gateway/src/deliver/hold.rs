//! Delivery that is held: a log whose notes of cuts are lost to damage in, a person's word, then delivery, out.
//!
//! Rows of a cut whose plan is lost look like rows that were never sent. Some of them may be in the store: sending them
//! would double them. The log takes frames meanwhile, and nothing of it is sent until somebody creates the file
//! [`CONSENT`] in its directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::feed::{Feed, Stopped};

/// The file that lets delivery go on: rows of lost notes may be doubled by it. It is removed when that is durable.
pub(super) const CONSENT: &str = "deliver-without-lost-notes";

/// How often the file is looked for.
const LOOK_EVERY: Duration = if cfg!(test) { Duration::from_millis(20) } else { Duration::from_secs(1) };

/// How often it is said what delivery waits for.
const REMIND_EVERY: Duration = Duration::from_secs(60);

/// Waits for the file in `directory`, then gives `count` notes up and says so to `released`.
pub(super) async fn until_told(
    feed: Arc<Feed>,
    directory: PathBuf,
    count: u32,
    released: watch::Sender<bool>,
) {
    match wait(&feed, &directory.join(CONSENT), count).await {
        Ok(()) => drop(released.send_replace(true)),
        Err(Stopped) => tracing::debug!(log = feed.name.name(), "nobody let the log be delivered"),
    }
}

async fn wait(feed: &Feed, consent: &Path, count: u32) -> Result<(), Stopped> {
    let mut remind_at = Instant::now();
    while !tokio::fs::try_exists(consent).await.unwrap_or(false) {
        if remind_at <= Instant::now() {
            tracing::error!(
                log = feed.name.name(),
                lost_notes = count,
                consent = %consent.display(),
                "the log is damaged where it says which rows were sent in which cut: nothing of it is delivered, since rows \
                 might be doubled; bring the damaged segment back, or create the file to deliver all the same"
            );
            remind_at = Instant::now() + REMIND_EVERY;
        }
        feed.pause(LOOK_EVERY).await?;
    }
    feed.give_up_notes(count).await?;
    feed.lost_notes.store(0, Ordering::Relaxed);
    if let Err(error) = tokio::fs::remove_file(consent).await {
        tracing::warn!(%error, consent = %consent.display(), "the file cannot be removed: remove it");
    }
    tracing::warn!(log = feed.name.name(), lost_notes = count, "delivered all the same: rows may be doubled");
    Ok(())
}
