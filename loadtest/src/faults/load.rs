//! The load of a bout: senders of both kinds over all protocols, with and without keys, at both levels.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use super::client::Address;
use super::encode::Protocol;
use super::ledger::{Ledger, Level, Page};
use super::progress::Counters;
use super::record::{Kind, Run};
use super::sender::{Manner, Sender, Stop};

/// How much is sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Strength {
    /// Most records of a usual request.
    pub(super) batch: u32,
    /// Shortest time between two requests of a sender.
    pub(super) pause: Duration,
    /// Whether senders without keys take part.
    pub(super) unkeyed: bool,
    /// Whether senders that ask for `stored` take part.
    pub(super) stored: bool,
    /// Whether every sender may turn to any gateway, or only to the first one.
    pub(super) roam: bool,
}

impl Default for Strength {
    fn default() -> Self {
        Self { batch: 12, pause: Duration::from_millis(25), unkeyed: true, stored: true, roam: false }
    }
}

/// Senders at work.
#[derive(Debug)]
pub(super) struct Load {
    /// What they were told so far.
    pub(super) counters: Arc<Counters>,
    /// What was sent besides.
    pub(super) extra: Vec<Page>,
    stop: Stop,
    senders: JoinSet<Page>,
}

/// The manners of a load: for both kinds every protocol with keys, REST and OTLP without, and one that asks for more.
fn manners(strength: Strength) -> Vec<Manner> {
    let mut manners = Vec::new();
    for kind in Kind::ALL {
        let manner = |protocol, keyed, level| Manner {
            kind,
            protocol,
            keyed,
            level,
            batch: strength.batch,
            pause: strength.pause,
        };
        manners.extend(Protocol::ALL.map(|protocol| manner(protocol, true, None)));
        if strength.unkeyed {
            manners.push(manner(Protocol::Rest, false, None));
            manners.push(manner(Protocol::OtlpHttp, false, None));
        }
        if strength.stored {
            manners.push(manner(Protocol::OtlpGrpc, true, Some(Level::Stored)));
        }
    }
    manners
}

impl Load {
    /// Starts the senders.
    pub(super) fn start(run: Run, gateways: &[Address], strength: Strength, seed: u64) -> Self {
        let counters = Arc::new(Counters::default());
        let stop = Stop::default();
        let mut senders = JoinSet::new();
        for (number, manner) in (0..).zip(manners(strength)) {
            let gateways = if strength.roam { gateways } else { gateways.get(..1).unwrap_or_default() };
            let sender = Sender { number, manner, run, gateways: gateways.to_vec(), seed };
            let (stop, counters) = (stop.clone(), Arc::clone(&counters));
            senders.spawn(async move { sender.run(stop, &counters).await });
        }
        Self { counters, extra: Vec::new(), stop, senders }
    }

    /// Lets every sender finish its request, at most for this long, and gives what they know.
    pub(super) async fn finish(mut self, patience: Duration) -> Result<Ledger> {
        self.stop.finish.cancel();
        let give_up = self.stop.give_up.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(patience).await;
            give_up.cancel();
        });
        let mut ledger = Ledger { pages: self.extra };
        while let Some(page) = self.senders.join_next().await {
            ledger.pages.push(page.context("a sender ended early")?);
        }
        timer.abort();
        ledger.pages.sort_by_key(|page| page.sender);
        Ok(ledger)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_has_both_kinds_over_every_protocol_with_keys_and_without() {
        let all = manners(Strength::default());
        for kind in Kind::ALL {
            let of_kind: Vec<_> = all.iter().filter(|manner| manner.kind == kind).collect();
            for protocol in Protocol::ALL {
                assert!(of_kind.iter().any(|manner| manner.protocol == protocol && manner.keyed));
            }
            assert_eq!(of_kind.iter().filter(|manner| !manner.keyed).count(), 2);
            assert_eq!(of_kind.iter().filter(|manner| manner.level.is_some()).count(), 1);
        }
        let keyed = manners(Strength { unkeyed: false, stored: false, ..Strength::default() });
        assert!(keyed.len() == 6 && keyed.iter().all(|manner| manner.keyed));
    }
}
