//! Keys of requests in `tidewell_idempotency`: which gateway, at which position of its log, was the first to take a
//! request that several may have got.
//!
//! A key holds together with the hash of its request's payload: another payload under the same key is another claim, so
//! that a sender with one fixed key loses nothing. The first claim stays for a day; a claim that is made again for the
//! same position, after an unknown outcome, is recognised as its own.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use deadpool_postgres::Object;
use parking_lot::Mutex;
use tokio_postgres::Client;

use super::error::{from_postgres, schema_error};
use crate::registry::Tenant;
use crate::store::StoreError;

/// Takes what nobody holds. In the order of the key, so that two gateways wait for each other instead of deadlocking.
const CLAIM: &str = "INSERT INTO tidewell_idempotency (tenant, caller, key, payload, log, position)
     SELECT tenant, caller, key, payload, $5, position
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $6::bigint[])
         AS claim (tenant, caller, key, payload, position)
     ORDER BY tenant, caller, key, payload, position
     ON CONFLICT DO NOTHING";
/// Who holds what was asked for.
const OWNERS: &str = "SELECT held.tenant, held.caller, held.key, held.payload, held.log, held.position
     FROM tidewell_idempotency held
     JOIN unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) AS claim (tenant, caller, key, payload)
     USING (tenant, caller, key, payload)";
/// Claims are kept for a day; those of a dead letter's replay until it is known how that ended, however long it takes.
const PRUNE: &str = "DELETE FROM tidewell_idempotency WHERE claimed_at < now() - interval '1 day'
     AND key NOT IN (SELECT 'dead-letter-' || id FROM tidewell_dead_letter_states WHERE state = 'replaying')";
/// How often the older ones are deleted.
const PRUNE_EVERY: Duration = Duration::from_secs(600);

/// Tenant, caller, key and hash of the payload of a claim.
type Key<'a> = (&'a str, &'a str, &'a str, &'a [u8]);
/// Log and position of the request that holds it.
type Place = (i64, i64);

/// The key of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The tenant that sent it.
    pub tenant: Tenant,
    /// Who sent it; keys of two callers never meet.
    pub caller: String,
    /// The key, as the caller gave it or as it was made of the body.
    pub key: String,
    /// The hash of the payload.
    pub payload: u128,
    /// Where the request is in its log.
    pub position: u64,
}

/// When old claims were deleted last.
#[derive(Debug, Default)]
pub(super) struct Pruning(Mutex<Option<Instant>>);

impl Pruning {
    fn is_due(&self) -> bool {
        let mut last = self.0.lock();
        let due = last.is_none_or(|last| last.elapsed() >= PRUNE_EVERY);
        if due {
            *last = Some(Instant::now());
        }
        due
    }
}

/// Claims each key for its position; true for those that are its own.
pub(super) async fn claim(
    client: &mut Object,
    log: u64,
    claims: &[Claim],
    pruning: &Pruning,
) -> Result<Vec<bool>, StoreError> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let log = bigint("log", log)?;
    let tenants: Vec<&str> = claims.iter().map(|claim| claim.tenant.as_str()).collect();
    let callers: Vec<&str> = claims.iter().map(|claim| claim.caller.as_str()).collect();
    let keys: Vec<&str> = claims.iter().map(|claim| claim.key.as_str()).collect();
    let payloads: Vec<Vec<u8>> = claims.iter().map(|claim| claim.payload.to_be_bytes().to_vec()).collect();
    let positions: Vec<i64> =
        claims.iter().map(|claim| bigint("position", claim.position)).collect::<Result<_, _>>()?;
    let statement = client.prepare_cached(CLAIM).await.map_err(|error| from_postgres(&error))?;
    client
        .execute(&statement, &[&tenants, &callers, &keys, &payloads, &log, &positions])
        .await
        .map_err(|error| from_postgres(&error))?;
    let statement = client.prepare_cached(OWNERS).await.map_err(|error| from_postgres(&error))?;
    let owners = client
        .query(&statement, &[&tenants, &callers, &keys, &payloads])
        .await
        .map_err(|error| from_postgres(&error))?;
    let owners: HashMap<Key<'_>, Place> = owners
        .iter()
        .map(|row| ((row.get(0), row.get(1), row.get(2), row.get(3)), (row.get(4), row.get(5))))
        .collect();
    if pruning.is_due() {
        prune(client).await;
    }
    let claimed = claims.iter().zip(&payloads).zip(positions).map(|((claim, payload), position)| {
        let key = (claim.tenant.as_str(), claim.caller.as_str(), claim.key.as_str(), payload.as_slice());
        // A row that was pruned between the two statements is nobody's.
        owners.get(&key).is_none_or(|owner| *owner == (log, position))
    });
    Ok(claimed.collect())
}

/// A failure is only logged: the claims are made.
async fn prune(client: &Client) {
    if let Err(error) = client.batch_execute(PRUNE).await {
        tracing::warn!(error = %from_postgres(&error), "old keys of requests could not be deleted");
    }
}

fn bigint(what: &str, value: u64) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| schema_error(format!("the {what}, {value}, does not fit into a bigint")))
}
