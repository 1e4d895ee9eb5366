//! What the generator reports of gateways whose behaviour is known.

use std::sync::Arc;
use std::time::Duration;

use tidewell_loadtest::drive::{self, Driven};
use tidewell_loadtest::identity::RunId;
use tidewell_loadtest::pacing::{Load, Schedule};
use tidewell_loadtest::tally::Fate;
use tidewell_loadtest::telemetry::Shape;
use tidewell_loadtest::workload::{Pool, Protocol, Signal, Workload};

use crate::sink::{Deed, RECORDS, Script, Sink};

const PROTOCOLS: [Protocol; 3] = [Protocol::RestNdjson, Protocol::OtlpGrpc, Protocol::Flight];

async fn drive(script: Script, protocol: Protocol, load: Load, connections: usize) -> (Sink, Driven) {
    let sink = Sink::new(script);
    let target = sink.serve().await;
    let records = usize::try_from(RECORDS).unwrap();
    let workload = Workload { signal: Signal::Logs, protocol };
    let pool = Arc::new(Pool::new(workload, &Shape::default(), RunId::new(1), 2, records).unwrap());
    let schedule = Arc::new(Schedule::new(load, pool.records()));
    let connections = drive::connect(&target, protocol, &pool, connections).await.unwrap();
    (sink, drive::run(connections, pool, schedule).await.unwrap())
}

fn records(records: u64) -> Load {
    Load { rate: None, duration: Duration::from_secs(60), records: Some(records) }
}

/// Scenario: a closed loop of 30 requests over three connections, all accepted.
/// Guarantees: each is counted once, as acknowledged, with the level that the gateway names.
#[tokio::test]
async fn every_acknowledgement_is_counted() {
    for protocol in PROTOCOLS {
        let (sink, driven) = drive(|_| Deed::Accept, protocol, records(300), 3).await;
        assert_eq!((sink.requests(), driven.requests), (30, 30), "{protocol:?}");
        assert_eq!((driven.tally.accepted, driven.tally.failed_requests()), (300, 0), "{protocol:?}");
        assert_eq!(driven.tally.ledger(30), vec![Fate::Acknowledged(10); 30], "{protocol:?}");
        let level = if protocol == Protocol::OtlpGrpc { "" } else { "stored" };
        assert_eq!(driven.tally.levels.get(level), Some(&30), "{protocol:?}");
    }
}

/// Scenario: the gateway refuses one request, breaks the connection of another and answers a third too late.
/// Guarantees: each is a failure of its own kind and of unknown fate; the requests after them go on.
#[tokio::test]
async fn failures_are_told_apart_and_do_not_end_the_run() {
    let script: Script = |request| match request {
        2 => Deed::Refuse,
        4 => Deed::HangUp,
        6 => Deed::AcceptAfter(Duration::from_secs(4)),
        _ => Deed::Accept,
    };
    for (protocol, refused) in PROTOCOLS.into_iter().zip(["HTTP 503", "gRPC Unavailable", "gRPC Unavailable"])
    {
        let (_, driven) = drive(script, protocol, records(100), 1).await;
        let failures = &driven.tally.failures;
        assert_eq!(failures.get(refused), Some(&1), "{protocol:?}: {failures:?}");
        assert_eq!(failures.get("timeout"), Some(&1), "{protocol:?}: {failures:?}");
        assert_eq!(driven.tally.failed_requests(), 3, "{protocol:?}: {failures:?}");
        let ledger = driven.tally.ledger(driven.requests);
        let unknown: Vec<usize> = (0..10).filter(|&at| ledger[at] == Fate::Unknown).collect();
        assert_eq!(unknown, [2, 4, 6], "{protocol:?}");
    }
}

/// Scenario: an open loop of 100 requests a second for two seconds over two connections; the gateway hangs once for a
/// second and is otherwise immediate.
/// Guarantees: the pause shows in the latency of the requests that were due meanwhile, about a quarter of all, and
/// not in two only, as it would if latency counted from the time of sending.
#[tokio::test]
async fn a_pause_of_the_gateway_is_not_hidden() {
    let script: Script = |request| match request {
        20 | 21 => Deed::AcceptAfter(Duration::from_secs(1)),
        _ => Deed::Accept,
    };
    let load = Load { rate: Some(1_000), duration: Duration::from_secs(2), records: None };
    let (_, driven) = drive(script, Protocol::RestNdjson, load, 2).await;
    assert_eq!((driven.tally.acknowledged_requests, driven.unsent), (200, 0));
    let latency = driven.tally.latency();
    assert!(latency.p50_ms < 100.0, "{latency:?}");
    assert!(latency.p90_ms > 500.0, "{latency:?}");
    assert!(latency.max_ms > 950.0, "{latency:?}");
}

/// Scenario: an open loop at ten times the rate that the gateway can take.
/// Guarantees: the requests that could not be sent are reported; they are not in the counts of what was sent.
#[tokio::test]
async fn a_rate_that_is_not_reached_is_reported() {
    let script: Script = |_| Deed::AcceptAfter(Duration::from_millis(100));
    let load = Load { rate: Some(1_000), duration: Duration::from_secs(1), records: None };
    let (sink, driven) = drive(script, Protocol::RestNdjson, load, 1).await;
    assert_eq!(driven.requests + driven.unsent, 100);
    assert_eq!(sink.requests(), driven.requests);
    assert!(driven.unsent > 20, "{}", driven.unsent);
}
