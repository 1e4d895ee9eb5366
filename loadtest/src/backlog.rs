//! What a gateway has acknowledged and not yet delivered: its metrics in, the time until nothing is left out.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::scrape;

/// How often the gateway is asked.
const EVERY: Duration = Duration::from_millis(20);

/// Waits until the gateway has delivered all that it holds. An error when it has not within `patience`; false when it does
/// not say.
pub async fn drained(http: SocketAddr, patience: Duration) -> Result<bool> {
    let begin = Instant::now();
    loop {
        // A gateway that is gone or silent is found out by what it does not acknowledge.
        let Ok(scrape) = scrape::scrape(http).await else { return Ok(false) };
        match scrape.frames_waiting() {
            None => return Ok(false),
            Some(waiting) if waiting < 0.5 => return Ok(true),
            Some(waiting) if begin.elapsed() > patience => {
                bail!("{waiting} frames are not delivered after {patience:?}")
            }
            Some(_) => tokio::time::sleep(EVERY).await,
        }
    }
}
