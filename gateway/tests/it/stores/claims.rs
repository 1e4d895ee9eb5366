//! Keys of requests that several gateways may have taken.

use tidewell_gateway::store::timescale::{Claim, Timescale};

use crate::harness::database::Databases;

fn claim(key: &str, payload: u128, position: u64) -> Claim {
    Claim {
        tenant: Default::default(),
        caller: "collector".to_owned(),
        key: key.to_owned(),
        payload,
        position,
    }
}

/// Scenario: two gateways claim the same hundred keys at once, in opposite orders; then each asks again.
/// Guarantees: each key is held by exactly one of them, at one position, and the answers do not change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_gateway_gets_a_key() {
    let databases = Databases::migrated().await;
    let config = databases.config().timescale;
    let (one, other) = (Timescale::new(&config).unwrap(), Timescale::new(&config).unwrap());
    let claims: Vec<Claim> = (0..100).map(|at| claim(&format!("key {at}"), 7, at)).collect();
    let reversed: Vec<Claim> = claims.iter().rev().cloned().collect();
    let (first, second) = tokio::join!(one.claim(1, &claims), other.claim(2, &reversed));
    let (first, second) = (first.unwrap(), second.unwrap());
    for (mine, theirs) in first.iter().zip(second.iter().rev()) {
        assert!(mine != theirs);
    }
    assert_eq!(one.claim(1, &claims).await.unwrap(), first);
    assert_eq!(other.claim(2, &reversed).await.unwrap(), second);
    let later: Vec<Claim> = (0..100).map(|at| claim(&format!("key {at}"), 7, at + 1_000)).collect();
    assert_eq!(one.claim(1, &later).await.unwrap(), [false; 100], "another position is a retry");
}

/// Scenario: keys that differ in tenant, caller or payload, twice the same one in one call, and none at all.
/// Guarantees: only what is equal in all of them is one key; of two the first position holds it.
#[tokio::test]
async fn a_key_is_its_callers_and_its_payloads() {
    let databases = Databases::migrated().await;
    let store = Timescale::new(&databases.config().timescale).unwrap();
    assert_eq!(store.claim(1, &[claim("k", 1, 1)]).await.unwrap(), [true]);
    let other_caller = Claim { caller: "vector".to_owned(), ..claim("k", 1, 2) };
    let other_tenant =
        Claim { tenant: tidewell_gateway::registry::Tenant::new("acme").unwrap(), ..claim("k", 1, 3) };
    let claims = [
        other_caller,
        other_tenant,
        claim("k", u128::MAX, 4),
        claim("k", 1, 5),
        claim("l", 1, 6),
        claim("l", 1, 7),
    ];
    assert_eq!(store.claim(1, &claims).await.unwrap(), [true, true, true, false, true, false]);
    assert!(store.claim(1, &[]).await.unwrap().is_empty());
}

/// Scenario: keys from two days and from an hour ago, then the first claim of a gateway.
/// Guarantees: the old one is free again, the young one is not.
#[tokio::test]
async fn keys_are_kept_for_a_day() {
    let databases = Databases::migrated().await;
    let config = databases.config().timescale;
    let store = Timescale::new(&config).unwrap();
    store.claim(1, &[claim("old", 1, 1), claim("young", 1, 2)]).await.unwrap();
    let age = "UPDATE tidewell_idempotency
        SET claimed_at = now() - CASE key WHEN 'old' THEN interval '2 days' ELSE interval '1 hour' END";
    databases.postgres().await.batch_execute(age).await.unwrap();
    let another = Timescale::new(&config).unwrap();
    another.claim(2, &[claim("new", 1, 1)]).await.unwrap();
    let claims = [claim("old", 1, 8), claim("young", 1, 9)];
    assert_eq!(another.claim(2, &claims).await.unwrap(), [true, false]);
}
