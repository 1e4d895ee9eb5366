//! A bout: load on a gateway of its own, faults by whoever holds it, and at the end the question whether all is well.
//!
//! [`Bout::finish`] is called when the faults have stopped. It takes back what was done to the network and starts what
//! does not run; then a fresh record has to arrive in both stores within ten seconds, every sender has to learn what
//! became of its last request, the gateway has to deliver all it holds, and the stores are audited.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::client::Address;
use super::encode::Protocol;
use super::gateway::Gateway;
use super::ledger::{Fate, Ledger, Level, Page};
use super::load::{Load, Strength};
use super::outcome::Outcome;
use super::progress::{Counters, summary};
use super::record::{Identity, Kind, Record, Run};
use super::sender::{Manner, Sender, Stop};
use super::verdict::{Verdict, judge};
use super::world::{World, wait_for};
use crate::scrape;

/// A fresh record has to be in both stores within this time after the last fault.
const LIVENESS: Duration = Duration::from_secs(10);

/// Senders have to learn the fate of their last requests within this time.
const SETTLING: Duration = Duration::from_secs(20);

/// The gateway has to deliver what it holds within this time.
const DRAINING: Duration = Duration::from_secs(30);

/// The first number of the senders of fresh records.
const FRESH: u32 = 1_000;

/// Load, and gateways that take it.
#[derive(Debug)]
pub(super) struct Bout<'w> {
    /// What it shares with other bouts.
    pub(super) world: &'w World,
    /// The run of its records.
    pub(super) run: Run,
    /// Its gateways; the first one gets the load.
    pub(super) gateways: Vec<Gateway>,
    load: Load,
    fresh: u32,
}

/// What is left when the load has ended: everything to be audited.
#[derive(Debug)]
pub(super) struct Settled<'w> {
    world: &'w World,
    run: Run,
    /// Its gateways, which run.
    pub(super) gateways: Vec<Gateway>,
    /// What was sent.
    pub(super) ledger: Ledger,
    recovered: Duration,
    notes: Vec<String>,
    failures: Vec<String>,
}

impl<'w> Bout<'w> {
    /// One gateway with these further settings under the usual load.
    pub(super) async fn begin(world: &'w World, settings: &[(&str, &str)]) -> Result<Self> {
        Self::begin_with(world, settings, Strength::default()).await
    }

    /// One gateway with these further settings under this load.
    pub(super) async fn begin_with(
        world: &'w World,
        settings: &[(&str, &str)],
        strength: Strength,
    ) -> Result<Self> {
        world.mend();
        world.stores.up().await?;
        let run = world.new_run()?;
        let mut gateway = world.new_gateway(run, "gateway")?;
        for (name, value) in settings {
            gateway.set(name, Some((*value).to_owned()));
        }
        gateway.start().await?;
        gateway.wait_until_ready().await?;
        Self::under_load(world, run, vec![gateway], None, strength).await
    }

    /// These gateways, which run, under this load; senders go to `addresses` instead of to the gateways' own.
    pub(super) async fn under_load(
        world: &'w World,
        run: Run,
        gateways: Vec<Gateway>,
        addresses: Option<Vec<Address>>,
        strength: Strength,
    ) -> Result<Self> {
        let own = || gateways.iter().map(|gateway| gateway.setup.address).collect();
        let addresses = addresses.unwrap_or_else(own);
        let load = Load::start(run, &addresses, strength, world.seed);
        let bout = Self { world, run, gateways, load, fresh: FRESH };
        bout.more(&Kind::ALL, 100).await.context("before any fault")?;
        Ok(bout)
    }

    /// The gateway that gets the load.
    pub(super) fn gateway(&mut self) -> Result<&mut Gateway> {
        self.gateways.first_mut().context("a bout has a gateway")
    }

    /// What senders were told so far.
    pub(super) fn counters(&self) -> &Counters {
        &self.load.counters
    }

    /// Waits until this many more records of each of these kinds are acknowledged.
    pub(super) async fn more(&self, kinds: &[Kind], records: u64) -> Result<()> {
        self.load.counters.more(kinds, records, Duration::from_secs(30)).await
    }

    /// Waits until no record of these kinds has been acknowledged for a while, though they are sent.
    pub(super) async fn until_refused(&self, kinds: &[Kind], patience: Duration) -> Result<()> {
        let counters = self.counters();
        let deadline = Instant::now() + patience;
        loop {
            let before: u64 = kinds.iter().map(|&kind| counters.acknowledged(kind)).sum();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            if kinds.iter().map(|&kind| counters.acknowledged(kind)).sum::<u64>() == before {
                return Ok(());
            }
            if Instant::now() >= deadline {
                bail!("records are acknowledged even after {} s", patience.as_secs());
            }
        }
    }

    /// Sends one record of its own and waits until it is in its store.
    pub(super) async fn fresh_arrives(&mut self, kind: Kind, patience: Duration) -> Result<()> {
        let sender = self.fresh_sender(kind)?;
        let identity = Identity { sender: sender.number, sequence: 0 };
        let counters = Counters::default();
        let stop = Stop::default();
        let begin = Instant::now();
        let mut clients = sender.clients();
        let sent = sender.send(&mut clients, 0, 1, None, &stop, &counters);
        let sent = tokio::time::timeout(patience, sent).await;
        let sent = sent.with_context(|| {
            format!("a fresh record for {} is not taken: {}", kind.store(), summary(&counters.retries()))
        })?;
        self.load.extra.push(Page { sender: sender.number, kind, requests: vec![sent] });
        let left = patience.saturating_sub(begin.elapsed());
        wait_for(&format!("a fresh record in {}", kind.store()), left, || async {
            let copies = self.world.readers.copies(self.run, kind, identity).await?;
            Ok((copies > 0).then_some(()))
        })
        .await
    }

    /// Sends one request of this many records, of which one is poisoned, and waits for its acknowledgement.
    pub(super) async fn send_poisoned(&mut self, kind: Kind, records: u32) -> Result<()> {
        let sender = self.fresh_sender(kind)?;
        let counters = Counters::default();
        let mut clients = sender.clients();
        let poisoned = Some(records / 3);
        let stop = Stop::default();
        let sent = sender.send(&mut clients, 0, records, poisoned, &stop, &counters);
        let sent = tokio::time::timeout(SETTLING, sent).await;
        let sent = sent
            .with_context(|| format!("a poisoned request is not taken: {}", summary(&counters.retries())))?;
        if !matches!(sent.fate, Fate::Acknowledged { .. }) {
            bail!("a poisoned request is refused: {}", summary(&counters.refusals()));
        }
        self.load.extra.push(Page { sender: sender.number, kind, requests: vec![sent] });
        Ok(())
    }

    fn fresh_sender(&mut self, kind: Kind) -> Result<Sender> {
        let number = self.fresh;
        self.fresh += 1;
        let gateways = vec![self.gateway()?.setup.address];
        let manner = Manner {
            kind,
            protocol: Protocol::OtlpHttp,
            keyed: true,
            level: None,
            batch: 1,
            pause: Duration::ZERO,
        };
        Ok(Sender { number, manner, run: self.run, gateways, seed: 0 })
    }

    /// The faults have stopped: settles everything and audits.
    pub(super) async fn finish(self, runs: u32) -> Result<Outcome> {
        self.settle().await?.audit(runs).await
    }

    /// The faults have stopped: everything goes back to normal, a fresh record arrives, the load ends.
    pub(super) async fn settle(mut self) -> Result<Settled<'w>> {
        self.world.mend();
        self.world.stores.up().await?;
        for gateway in &mut self.gateways {
            if gateway.pid().is_err() || gateway.ended()?.is_some() {
                gateway.start().await?;
            }
        }
        let begin = Instant::now();
        let mut failures = Vec::new();
        for kind in Kind::ALL {
            let left = LIVENESS.saturating_sub(begin.elapsed()).max(Duration::from_millis(100));
            if let Err(error) = self.fresh_arrives(kind, left).await {
                failures.push(format!("{error:#}"));
            }
        }
        let recovered = begin.elapsed();
        let mut settled = self.rest().await?;
        settled.recovered = recovered;
        failures.append(&mut settled.failures);
        settled.failures = failures;
        Ok(settled)
    }

    /// The load ends, whatever state the stores are in.
    pub(super) async fn rest(self) -> Result<Settled<'w>> {
        let mut failures = Vec::new();
        let Self { world, run, gateways, load, .. } = self;
        let counters = std::sync::Arc::clone(&load.counters);
        let ledger = load.finish(SETTLING).await?;
        let unknown = ledger.requests().filter(|sent| sent.fate == Fate::Unknown).count();
        if unknown > 0 {
            let answers = summary(&counters.retries());
            failures
                .push(format!("{unknown} requests got no answer within {} s: {answers}", SETTLING.as_secs()));
        }
        if !counters.refusals().is_empty() {
            failures.push(format!("requests were refused for good: {}", summary(&counters.refusals())));
        }
        let notes = vec![format!(
            "{} requests, {} as durable and {} as stored; tried again: {}",
            ledger.requests().count(),
            ledger.acknowledged_at(Level::Durable),
            ledger.acknowledged_at(Level::Stored),
            summary(&counters.retries())
        )];
        Ok(Settled { world, run, gateways, ledger, recovered: Duration::ZERO, notes, failures })
    }
}

impl Settled<'_> {
    /// A record of the run.
    pub(super) fn record(&self, kind: Kind, identity: Identity) -> Record {
        self.run.record(kind, identity, false)
    }

    /// Waits until the gateways have delivered everything, holds the stores against the ledger and stops the gateways.
    pub(super) async fn audit(mut self, runs: u32) -> Result<Outcome> {
        let verdict = self.verdict().await?;
        self.conclude(runs, verdict).await
    }

    /// Waits until the gateways have delivered everything and holds the stores against the ledger.
    pub(super) async fn verdict(&mut self) -> Result<Verdict> {
        for gateway in &mut self.gateways {
            let http = gateway.setup.address.http;
            let drained = wait_for("the gateway delivers what it holds", DRAINING, || async {
                // While it reads its logs it knows of nothing that is in them.
                if !scrape::is_ready(http).await {
                    bail!("it is not ready")
                }
                let left = gateway.scrape().await?.undelivered()?;
                if left > 0.0 {
                    bail!("{left} are left")
                }
                Ok(Some(()))
            });
            if let Err(error) = drained.await {
                self.failures.push(format!("{error:#}"));
            }
            let scrape = gateway.scrape().await?;
            self.failures.extend(scrape.imbalances());
            let limit = scrape.memory_limit().context("the gateway names no limit of its memory")?;
            let peak = gateway.peak_bytes();
            if peak as f64 > limit {
                self.failures.push(format!(
                    "the gateway took {} MiB of memory, and its settings allow {:.0}",
                    peak >> 20,
                    limit / f64::from(1 << 20)
                ));
            }
            self.notes.push(format!("{} MiB of memory", peak >> 20));
        }
        let rows = self.world.readers.rows(self.run).await?;
        let verdict = judge(self.run, &self.ledger, &rows);
        if verdict.lost == 0 {
            return Ok(verdict);
        }
        // Nothing may be missing when the gateway says that it holds nothing. Whether it comes later tells a wrong
        // gauge from a loss.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let later = judge(self.run, &self.ledger, &self.world.readers.rows(self.run).await?);
        if later.lost < verdict.lost {
            let late = verdict.lost - later.lost;
            self.failures.push(format!("{late} records came after the gateway said that it holds nothing"));
        }
        Ok(later)
    }

    /// Stops the gateways and puts the outcome together.
    pub(super) async fn conclude(mut self, runs: u32, verdict: Verdict) -> Result<Outcome> {
        for gateway in &mut self.gateways {
            if let Err(error) = gateway.stop().await {
                self.failures.push(format!("{error:#}"));
            }
        }
        let mut outcome = Outcome::new(runs, verdict, self.recovered);
        self.notes.append(&mut outcome.notes);
        outcome.notes = self.notes;
        outcome.failures.append(&mut self.failures);
        Ok(outcome)
    }
}
