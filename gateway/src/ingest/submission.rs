//! A decoded request on its way into the logs: rows and refused records in, a receipt out.
//!
//! Guaranteed: the receipt comes when every row and every refused record is durable, and the request is known by its
//! identity from that moment on, whether its sender still waits or not.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::answer::Answer;
use super::idempotency::{DurableFrame, Guard, Identity, KeyScope};
use super::load::LoadSignal;
use super::{AckLevel, BadRecords, Caller, MAX_LISTED_ERRORS, Receipt, RecordError, now};
use crate::decode::Decoded;
use crate::deliver::{Delivery, Encoded, LogName, dead_letters};
use crate::memory::MemoryGrant;
use crate::observe::Metrics;
use crate::registry::{Snapshot, TableBatch};
use crate::rejection::Rejection;
use crate::wal::entry::{self, RequestEntry, StoredKey};

/// One decoded request.
pub(super) struct Submission {
    pub(super) tables: Snapshot,
    pub(super) delivery: Arc<Delivery>,
    pub(super) load: Arc<LoadSignal>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) caller: Caller,
    pub(super) bad_records: BadRecords,
    pub(super) ack: AckLevel,
    pub(super) decoded: Decoded,
    /// Held until the rows are durable, so that what waits for the disk is on the account of those who sent it.
    pub(super) memory: MemoryGrant,
    pub(super) deadline: Instant,
    /// Held while it is under way, when repetitions of it are recognised.
    pub(super) guard: Option<Guard>,
}

impl Submission {
    /// Makes everything durable, dead letters first, and waits for the stores if the answer is to say so.
    pub(super) async fn run(mut self) -> Result<Receipt, Rejection> {
        let received = self.metrics.received(self.caller.protocol, &self.decoded);
        if self.bad_records == BadRecords::RefuseAll && !self.decoded.rejected.is_empty() {
            return Ok(Receipt { accepted: 0, ..receipt(&self.decoded, self.ack) });
        }
        let batches = std::mem::take(&mut self.decoded.batches);
        let receipt = receipt(&self.decoded, AckLevel::Durable);
        let frames = self.frames(batches, &receipt)?;
        self.load.before_append(frames.iter().map(|(log, frame)| (*log, frame.body_bytes()))).await?;
        let mut guard = self.guard.take();
        let appended = self.append(frames, guard.as_mut()).await?;
        drop(self.memory);
        received.accepted(receipt.rejected);
        // Nothing was kept of a request without records, so that nothing can be kept twice.
        if let Some(guard) = guard.filter(|_| receipt.accepted + receipt.rejected > 0) {
            guard.complete(Answer::of(&receipt));
        }
        match self.ack {
            AckLevel::Durable => Ok(receipt),
            AckLevel::Stored => Ok(stored(&self.delivery, receipt, &appended, self.deadline).await),
        }
    }

    /// The frames of the request, in the order in which they are made durable: dead letters, then a frame for each log that
    /// the rows go to, nearly always one. What cannot be delivered is refused here, before anything is kept.
    fn frames(
        &self,
        batches: Vec<TableBatch>,
        receipt: &Receipt,
    ) -> Result<Vec<(LogName, Encoded)>, Rejection> {
        let mut of_logs: [(LogName, Vec<TableBatch>); 3] =
            [LogName::DeadLetters, LogName::Timescale, LogName::ClickHouse].map(|log| (log, Vec::new()));
        if !self.decoded.rejected.is_empty() {
            of_logs[0].1.push(dead_letters::batch(
                &self.tables,
                &self.caller,
                &self.decoded.rejected,
                now(),
            )?);
        }
        for batch in batches {
            let log = LogName::of(batch.table().store());
            for (_, batches) in of_logs.iter_mut().filter(|(name, _)| *name == log) {
                batches.push(batch.clone());
            }
        }
        let key = self.guard.as_ref().map(|guard| stored_key(guard.identity(), receipt));
        let filled: Vec<_> = of_logs.into_iter().filter(|(_, batches)| !batches.is_empty()).collect();
        let frames = filled.len();
        let encode = filled.into_iter().enumerate();
        encode
            .map(|(at, (log, batches))| {
                let request = RequestEntry {
                    tenant: self.caller.tenant.clone(),
                    protocol: self.caller.protocol.name().to_owned(),
                    caller: self.caller.name.clone(),
                    records: u32::try_from(receipt.accepted).unwrap_or(u32::MAX),
                    // After a crash between two of them the request is known with those that are there, and its sender
                    // brings what is missing.
                    key: key.clone().map(|key| StoredKey { is_last: at + 1 == frames, ..key }),
                    batches,
                };
                Ok((log, self.delivery.encode(log, request)?))
            })
            .collect()
    }

    /// Makes the frames durable one after another, but for those that an earlier sending of the request has made so.
    async fn append(
        &self,
        frames: Vec<(LogName, Encoded)>,
        mut guard: Option<&mut Guard>,
    ) -> Result<Vec<DurableFrame>, Rejection> {
        let mut appended = Vec::with_capacity(frames.len());
        for (log, frame) in frames {
            if let Some(position) = guard.as_ref().and_then(|guard| guard.durable(log)) {
                appended.push((log, position));
                continue;
            }
            let frame = (log, self.delivery.append(frame).await?);
            appended.push(frame);
            if let Some(guard) = &mut guard {
                guard.keep(frame);
            }
            if log == LogName::DeadLetters {
                self.metrics.dead_lettered(&self.decoded.rejected);
            }
        }
        Ok(appended)
    }
}

/// The receipt once the stores have committed everything, or as it is when that takes too long.
async fn stored(
    delivery: &Delivery,
    mut receipt: Receipt,
    appended: &[DurableFrame],
    deadline: Instant,
) -> Receipt {
    receipt.ack = AckLevel::Stored;
    for (log, position) in appended {
        match delivery.stored(*log, *position, deadline).await {
            Some(refused) => {
                receipt.accepted = receipt.accepted.saturating_sub(refused.count);
                receipt.rejected += refused.count;
                receipt.errors.extend(refused.first);
            }
            None => receipt.ack = AckLevel::Durable,
        }
    }
    receipt.errors.truncate(MAX_LISTED_ERRORS);
    receipt
}

/// What the log keeps of a request's identity.
fn stored_key(identity: &Identity, receipt: &Receipt) -> StoredKey {
    StoredKey {
        scope: match identity.scope() {
            KeyScope::Given => entry::KeyScope::Given,
            KeyScope::Body => entry::KeyScope::Body,
        },
        key: identity.key().map_or_else(String::new, |key| key.as_str().to_owned()),
        payload: identity.payload(),
        answer: Bytes::from(Answer::of(receipt).to_json()),
        is_last: true,
    }
}

fn receipt(decoded: &Decoded, ack: AckLevel) -> Receipt {
    let errors = decoded.rejected.iter().take(MAX_LISTED_ERRORS).map(RecordError::of);
    Receipt {
        accepted: decoded.accepted,
        rejected: decoded.rejected.len(),
        errors: errors.collect(),
        ack,
        warnings: decoded.warnings.clone(),
        suppressed: false,
    }
}
