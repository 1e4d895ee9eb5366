//! Everything that bouts share: the stores, a proxy in front of each, the seed, and where programs and files are.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use http::Uri;

use super::audit::Readers;
use super::gateway::{Gateway, Setup, free_address};
use super::proxy::{Passage, Proxy, Wire};
use super::record::{Kind, Run};
use super::stores::Stores;
use crate::audit::ClickHouse;

/// The database of both stores.
const DATABASE: &str = "tidewell";

/// What bouts share.
#[derive(Debug)]
pub(super) struct World {
    /// The stores.
    pub(super) stores: Stores,
    /// Between the gateways and Postgres.
    pub(super) postgres: Proxy,
    /// Between the gateways and ClickHouse.
    pub(super) clickhouse: Proxy,
    /// Reads the stores past the proxies.
    pub(super) readers: Readers,
    /// The seed of everything random.
    pub(super) seed: u64,
    /// Whether each fault is to happen often, or a few times.
    pub(super) full: bool,
    /// Steps that the gateways leave out.
    pub(super) broken: Option<String>,
    gateway: PathBuf,
    folder: PathBuf,
    bouts: AtomicU32,
}

impl World {
    /// Starts the stores and the proxies. `gateway` is the gateway's program, `folder` for whatever is written.
    pub(super) async fn begin(
        stores: Stores,
        gateway: PathBuf,
        folder: PathBuf,
        seed: u64,
        full: bool,
    ) -> Result<Self> {
        stores.up().await?;
        let postgres = Proxy::start(Wire::Postgres, stores.address(Kind::Metric)).await?;
        let clickhouse = Proxy::start(Wire::ClickHouse, stores.address(Kind::Log)).await?;
        let url: Uri = format!("http://{}", stores.address(Kind::Log)).parse()?;
        let readers = Readers {
            postgres: format!("postgres://tidewell@{}/{DATABASE}", stores.address(Kind::Metric)),
            clickhouse: ClickHouse {
                url,
                database: DATABASE.to_owned(),
                user: "default".to_owned(),
                password: String::new(),
            },
        };
        let bouts = AtomicU32::new(0);
        Ok(Self { stores, postgres, clickhouse, readers, seed, full, broken: None, gateway, folder, bouts })
    }

    /// The proxy in front of the store of these records.
    pub(super) fn proxy(&self, kind: Kind) -> &Proxy {
        match kind {
            Kind::Log => &self.clickhouse,
            Kind::Metric => &self.postgres,
        }
    }

    /// How often a fault is to happen.
    pub(super) fn times(&self, full: u32, ci: u32) -> u32 {
        if self.full { full } else { ci }
    }

    /// Takes back whatever was done to the network.
    pub(super) fn mend(&self) {
        for proxy in [&self.postgres, &self.clickhouse] {
            proxy.disarm();
            proxy.set(Passage::Open);
        }
    }

    /// A run of its own. Its first records are not older than a second.
    pub(super) fn new_run(&self) -> Result<Run> {
        let bout = self.bouts.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // Within one set of stores, runs of other processes differ by their second.
        let number = u32::try_from(now & 0x00ff_ffff)? << 8 | (bout & 0xff);
        Ok(Run { number, begin: i64::try_from(now)? * 1_000_000_000 })
    }

    /// A folder of this name for a bout, empty.
    pub(super) fn new_folder(&self, run: Run, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(run.label()).join(name);
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// A gateway that has not been started, with a log of its own, which reaches the stores through the proxies.
    ///
    /// Its waits are short, so that a test need not wait for them.
    pub(super) fn new_gateway(&self, run: Run, name: &str) -> Result<Gateway> {
        let folder = self.new_folder(run, name)?;
        let mut settings: BTreeMap<String, String> = [
            ("TIDEWELL_TIMESCALE_URL", format!("postgres://tidewell@{}/{DATABASE}", self.postgres.address)),
            ("TIDEWELL_TIMESCALE_STATEMENT_TIMEOUT_MS", "3000".to_owned()),
            ("TIDEWELL_TIMESCALE_CONNECT_TIMEOUT_MS", "1000".to_owned()),
            ("TIDEWELL_CLICKHOUSE_URL", format!("http://{}", self.clickhouse.address)),
            ("TIDEWELL_CLICKHOUSE_DATABASE", DATABASE.to_owned()),
            ("TIDEWELL_CLICKHOUSE_STATEMENT_TIMEOUT_MS", "3000".to_owned()),
            ("TIDEWELL_CLICKHOUSE_CONNECT_TIMEOUT_MS", "1000".to_owned()),
            ("TIDEWELL_LOG_LEVEL", "info".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(broken) = &self.broken {
            settings.insert("TIDEWELL_BROKEN".to_owned(), broken.clone());
        }
        let setup = Setup { program: self.gateway.clone(), address: free_address()?, folder, settings };
        Ok(Gateway::new(setup))
    }
}

/// Waits for something that is asked again and again until it is there.
pub(crate) async fn wait_for<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    patience: Duration,
    mut ask: impl FnMut() -> F,
) -> Result<T> {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        let late = tokio::time::Instant::now() >= deadline;
        match ask().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if late => bail!("{what}: not within {} s", patience.as_secs()),
            Err(error) if late => {
                return Err(error.context(format!("{what}: not within {} s", patience.as_secs())));
            }
            Ok(None) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
