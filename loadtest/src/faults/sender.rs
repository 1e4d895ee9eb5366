//! A sender: sends records one request after another and does not give one up until it knows what became of it.
//!
//! It retries as a Collector does, with the same key and bytes and growing waits, which are shorter than a Collector's
//! so that a test need not wait for them. What it was told goes on its [`Page`].

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio_util::sync::CancellationToken;

use super::client::{Address, Answer, Client, Request};
use super::encode::Protocol;
use super::ledger::{Fate, Level, Page, Sent};
use super::progress::Counters;
use super::record::{Identity, Kind, Run};

const FIRST_WAIT: Duration = Duration::from_millis(30);
const LONGEST_WAIT: Duration = Duration::from_millis(800);

/// How a sender sends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Manner {
    /// What is sent.
    pub(super) kind: Kind,
    /// Over which protocol.
    pub(super) protocol: Protocol,
    /// Whether requests carry keys.
    pub(super) keyed: bool,
    /// The level that is asked for.
    pub(super) level: Option<Level>,
    /// Most records of a usual request. One of thirty has twenty times as many.
    pub(super) batch: u32,
    /// Shortest time between two requests.
    pub(super) pause: Duration,
}

/// One sender.
#[derive(Debug)]
pub(super) struct Sender {
    /// Its number, one of its own in the run.
    pub(super) number: u32,
    /// How it sends.
    pub(super) manner: Manner,
    /// The run.
    pub(super) run: Run,
    /// The gateways that it may send to; it moves on to the next one when an attempt fails.
    pub(super) gateways: Vec<Address>,
    /// Seed of the sizes of its requests.
    pub(super) seed: u64,
}

/// When a sender stops.
#[derive(Debug, Clone, Default)]
pub(super) struct Stop {
    /// No new request is begun.
    pub(super) finish: CancellationToken,
    /// The request under way is given up.
    pub(super) give_up: CancellationToken,
}

impl Sender {
    /// Sends until it is stopped.
    pub(super) async fn run(self, stop: Stop, counters: &Counters) -> Page {
        let mut random = StdRng::seed_from_u64(self.seed ^ u64::from(self.number));
        let mut clients: Vec<Client> = self.clients();
        let mut page = Page { sender: self.number, kind: self.manner.kind, requests: Vec::new() };
        let mut first = 0;
        while !stop.finish.is_cancelled() {
            let usual = random.random_range(1..=self.manner.batch.max(1));
            let count = if random.random_range(0..30) == 0 { usual * 20 } else { usual };
            let next = Instant::now() + self.manner.pause;
            let sent = self.send(&mut clients, first, count, None, &stop, counters).await;
            first += u64::from(count);
            page.requests.push(sent);
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                () = stop.finish.cancelled() => {}
            }
        }
        page
    }

    /// Its connections, one for each gateway.
    pub(super) fn clients(&self) -> Vec<Client> {
        let Manner { kind, protocol, .. } = self.manner;
        self.gateways.iter().map(|&address| Client::new(protocol, kind, address)).collect()
    }

    /// Sends one request until its fate is known or the sender is told to give up.
    pub(super) async fn send(
        &self,
        clients: &mut [Client],
        first: u64,
        count: u32,
        poisoned: Option<u32>,
        stop: &Stop,
        counters: &Counters,
    ) -> Sent {
        let Manner { kind, protocol, keyed, level, .. } = self.manner;
        let records: Vec<_> = (0..count)
            .map(|place| {
                let identity = Identity { sender: self.number, sequence: first + u64::from(place) };
                self.run.record(kind, identity, poisoned == Some(place))
            })
            .collect();
        let body = Bytes::from(protocol.body(kind, self.run, &records));
        let key = keyed.then(|| format!("{}/{}/{first}", self.run.label(), self.number));
        let request = Request { body, key, level };
        let begin = Instant::now();
        let mut sent =
            Sent { first, count, keyed, uncertain: 0, poisoned, fate: Fate::Unknown, took: Duration::ZERO };
        let mut wait = FIRST_WAIT;
        let mut turn = 0;
        while !stop.give_up.is_cancelled() && !clients.is_empty() {
            let at = turn % clients.len();
            let Some(client) = clients.get_mut(at) else { break };
            match client.send(&request).await {
                Answer::Acknowledged { level, rejected } => {
                    // A gateway that does not say which level it gives gives its default.
                    let level = level.unwrap_or(Level::Durable);
                    sent.fate = Fate::Acknowledged { level, rejected };
                    break;
                }
                Answer::Refused { reason } => {
                    counters.refused(&reason);
                    sent.fate = Fate::Refused;
                    break;
                }
                Answer::TryAgain { reason, after } => {
                    counters.tried_again(&reason);
                    sent.uncertain += 1;
                    let pause = after.map_or(wait, |after| after.min(LONGEST_WAIT));
                    wait = (wait * 2).min(LONGEST_WAIT);
                    turn += 1;
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.give_up.cancelled() => {}
                    }
                }
            }
        }
        sent.took = begin.elapsed();
        counters.settled(kind, &sent);
        sent
    }
}
