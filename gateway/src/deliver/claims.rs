//! Requests that several gateways got: a sender that does not get an answer may send the same request, under the same key,
//! to another gateway. Before rows are gathered, the keys of their requests are claimed in Postgres, which the gateways
//! share; what another one claimed first is not delivered here.
//!
//! Guaranteed while Postgres is up: of requests with one key and one payload, whatever gateways got them, one is
//! delivered. While it is down, rows for ClickHouse are not held back for it: a request that two gateways got is then
//! there twice.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::LogName;
use super::feed::{Feed, NOTE_AGAIN, Stopped};
use crate::registry::StoreKind;
use crate::store::timescale::{Claim, Timescale};
use crate::wal::Position;
use crate::wal::entry::{KeyScope, RequestEntry};

/// How long rows for ClickHouse wait for Postgres.
const PATIENCE: Duration = Duration::from_secs(1);

/// After that long Postgres is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// Claims the keys of one log's requests.
#[derive(Debug)]
pub(super) struct Claims {
    timescale: Arc<Timescale>,
    /// Set while Postgres does not answer.
    silent_until: Mutex<Option<Instant>>,
}

impl Claims {
    pub(super) fn new(timescale: Arc<Timescale>) -> Self {
        Self { timescale, silent_until: Mutex::default() }
    }

    /// Whether Postgres is worth asking.
    fn may_answer(&self) -> bool {
        self.silent_until.lock().is_none_or(|until| until <= Instant::now())
    }

    fn answered(&self, answered: bool) {
        *self.silent_until.lock() = (!answered).then(|| Instant::now() + ASK_AGAIN);
    }
}

impl Feed {
    /// Which of these requests another gateway delivers.
    pub(super) async fn claimed_elsewhere<'f>(
        &self,
        frames: impl Iterator<Item = (Position, &'f RequestEntry)>,
    ) -> Result<HashSet<Position>, Stopped> {
        let claims: Vec<Claim> =
            frames.filter_map(|(position, frame)| claim(self.name, position, frame)).collect();
        if claims.is_empty() {
            return Ok(HashSet::new());
        }
        loop {
            let hurried = self.store.kind() == StoreKind::ClickHouse;
            if hurried && !self.claims.may_answer() {
                return Ok(HashSet::new());
            }
            let ask = self.claims.timescale.claim(self.log.incarnation(), &claims);
            let patience = if hurried { PATIENCE } else { Duration::MAX };
            let answer = self.unless_drained(tokio::time::timeout(patience, ask)).await?;
            self.claims.answered(matches!(answer, Ok(Ok(_))));
            match answer {
                Ok(Ok(ours)) => {
                    let of_others = claims.iter().zip(ours).filter(|(_, ours)| !ours);
                    return Ok(of_others.map(|(claim, _)| Position(claim.position)).collect());
                }
                Ok(Err(error)) => {
                    tracing::warn!(log = self.name.name(), %error, "keys of requests cannot be claimed")
                }
                Err(_) => tracing::warn!(
                    log = self.name.name(),
                    "keys of requests cannot be claimed: no answer in time"
                ),
            }
            if hurried {
                return Ok(HashSet::new());
            }
            self.pause(NOTE_AGAIN).await?;
        }
    }
}

/// The claim of a frame of a request that came under a key of its sender's choice. What is recognised by its body is so
/// within one gateway only: there is one such request for every request.
///
/// The last frame claims the key itself, one before it the key and the name of its log, parted by what no key has: so a
/// request that has frames in several logs claims each of them.
fn claim(log: LogName, position: Position, frame: &RequestEntry) -> Option<Claim> {
    let key = frame.key.as_ref().filter(|key| key.scope == KeyScope::Given)?;
    let claimed = match key.is_last {
        true => key.key.clone(),
        false => format!("{}\n{}", key.key, log.name()),
    };
    Some(Claim {
        tenant: frame.tenant.clone(),
        caller: frame.caller.clone(),
        key: claimed,
        payload: key.payload,
        position: position.0,
    })
}
