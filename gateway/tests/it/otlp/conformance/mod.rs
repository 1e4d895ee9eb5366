//! The rules of OTLP for a receiver, one check each, for any receiver that listens somewhere.
//!
//! Without more it checks a gateway of its own. `TIDEWELL_CONFORMANCE_HTTP=http://127.0.0.1:4318` and
//! `TIDEWELL_CONFORMANCE_GRPC=http://127.0.0.1:4317` name another receiver, so that peers can be compared:
//!
//! ```sh
//! TIDEWELL_CONFORMANCE_HTTP=.. TIDEWELL_CONFORMANCE_GRPC=.. cargo test -p tidewell-gateway --test it conformance -- --nocapture
//! ```
//!
//! What the rules say is from the OTLP specification 1.11 and `opentelemetry-proto`, where a rule names no other source.
//! What a receiver does when it is overloaded cannot be asked of a stranger: see `super::unavailable` and
//! `crate::senders::limits`.

mod grpc;
mod http;
mod json;
mod requests;
mod semantics;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::harness::TestGateway;

/// A receiver under test.
#[derive(Debug)]
struct Target {
    http: String,
    grpc: String,
    client: reqwest::Client,
}

/// What a check found: nothing, or what is wrong.
type Finding = Result<(), String>;

/// A rule and its check.
struct Rule {
    /// A name for reports.
    name: &'static str,
    /// What the specification says.
    says: &'static str,
    check: for<'t> fn(&'t Target) -> BoxFuture<'t, Finding>,
}

/// An error unless `condition` holds.
fn ensure(condition: bool, otherwise: impl FnOnce() -> String) -> Finding {
    if condition { Ok(()) } else { Err(otherwise()) }
}

/// Scenario: every rule of the suite is checked against one receiver.
/// Guarantees: all of them hold; a failure names the rules that do not, what they say and what was found instead.
#[tokio::test(flavor = "multi_thread")]
async fn every_rule_of_otlp_holds() {
    let variable = |name: &str| std::env::var(name).ok();
    let named = (variable("TIDEWELL_CONFORMANCE_HTTP"), variable("TIDEWELL_CONFORMANCE_GRPC"));
    let (gateway, http, grpc) = match named {
        (Some(http), Some(grpc)) => (None, http, grpc),
        _ => {
            let gateway = TestGateway::start().await;
            let grpc = format!("http://{}", gateway.server.grpc_address());
            let http = gateway.url("");
            (Some(gateway), http, grpc)
        }
    };
    let target = Target { http, grpc, client: reqwest::Client::new() };
    let mut failures = Vec::new();
    let rules = || [http::RULES, json::RULES, semantics::RULES, grpc::RULES].into_iter().flatten();
    for rule in rules() {
        let found = tokio::time::timeout(Duration::from_secs(60), (rule.check)(&target)).await;
        match found.unwrap_or_else(|_| Err("no answer within a minute".to_owned())) {
            Ok(()) => eprintln!("pass  {}", rule.name),
            Err(found) => {
                eprintln!("FAIL  {}: {found}", rule.name);
                failures.push(format!("{}\n  says:  {}\n  found: {found}", rule.name, rule.says));
            }
        }
    }
    eprintln!("{} rules, {} failed", rules().count(), failures.len());
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    if let Some(gateway) = gateway {
        gateway.stop().await;
    }
}
