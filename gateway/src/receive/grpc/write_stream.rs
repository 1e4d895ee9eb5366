//! `WriteStream`: batches with offsets in, cumulative acknowledgements out.

use std::time::Instant;

use tidewell_proto::{RawMessage, v1};
use tonic::{Status, Streaming};

use super::{ack_level, count, receive, record_errors};
use crate::decode::tidewell_v1;
use crate::ingest::{Caller, MAX_LISTED_ERRORS, Receipt, RequestOptions};
use crate::receive::Shared;
use crate::receive::acks::{Acknowledgement, BatchSource, Receiving};
use crate::rejection::Rejection;

/// Most warnings of one acknowledgement.
const MAX_WARNINGS: usize = 20;

/// The batches of one call.
pub(super) struct WriteStream {
    shared: Shared,
    caller: Caller,
    /// What the call asks for; a batch may ask for something else.
    options: RequestOptions,
    requests: Streaming<RawMessage>,
    /// The offset of the batch before, -1 at the beginning.
    last_offset: i64,
}

impl WriteStream {
    pub(super) fn new(
        shared: Shared,
        caller: Caller,
        options: RequestOptions,
        requests: Streaming<RawMessage>,
    ) -> Self {
        Self { shared, caller, options, requests, last_offset: -1 }
    }

    fn begin(&mut self, message: &RawMessage) -> Result<Receiving<v1::WriteStreamResponse>, Rejection> {
        let item = tidewell_v1::stream_item(&message.0)?;
        let offset = match item.offset {
            None => self.last_offset.saturating_add(1),
            Some(offset) if offset > self.last_offset => offset,
            Some(offset) => {
                return Err(Rejection::Malformed(format!(
                    "offset {offset} is not greater than the one before, {}",
                    self.last_offset
                )));
            }
        };
        self.last_offset = offset;
        let (shared, caller) = (Shared::clone(&self.shared), self.caller.clone());
        let options = self.options.clone();
        let outcome = async move {
            let receipt = receive(&shared, &caller, &options, item.batch.into()).await?;
            Ok(response(offset, receipt))
        };
        Ok(Receiving { bytes: message.0.len(), outcome: Box::pin(outcome) })
    }
}

// === impl WriteStream ===

impl BatchSource for WriteStream {
    type Ack = v1::WriteStreamResponse;

    async fn next(&mut self) -> Result<Option<Receiving<Self::Ack>>, Status> {
        let message = self.requests.message().await;
        let begun = Instant::now();
        let message =
            message.map_err(|status| self.shared.refuse_status(self.caller.protocol, &status, begun))?;
        let Some(message) = message else { return Ok(None) };
        self.begin(&message)
            .map(Some)
            .map_err(|rejection| self.shared.refuse(self.caller.protocol, rejection, begun).to_status())
    }
}

/// Makes of the counts of one answer those of the stream so far.
pub(super) fn with_totals() -> impl FnMut(v1::WriteStreamResponse) -> v1::WriteStreamResponse + Send {
    let (mut accepted, mut rejected) = (0, 0);
    move |mut response| {
        accepted += response.accepted;
        rejected += response.rejected;
        (response.accepted, response.rejected) = (accepted, rejected);
        response
    }
}

/// What is told about one batch. The counts are those of the batch alone, see [`with_totals`].
fn response(offset: i64, receipt: Receipt) -> v1::WriteStreamResponse {
    v1::WriteStreamResponse {
        acknowledged_offset: offset,
        accepted: count(receipt.accepted),
        rejected: count(receipt.rejected),
        ack: ack_level(receipt.ack).into(),
        errors: record_errors(&receipt, offset),
        warnings: receipt.warnings,
        suppressed: receipt.suppressed,
    }
}

impl Acknowledgement for v1::WriteStreamResponse {
    fn absorb(&mut self, later: Self) {
        self.acknowledged_offset = later.acknowledged_offset;
        self.accepted += later.accepted;
        self.rejected += later.rejected;
        self.ack = self.ack.min(later.ack);
        self.suppressed |= later.suppressed;
        let room = MAX_LISTED_ERRORS.saturating_sub(self.errors.len());
        self.errors.extend(later.errors.into_iter().take(room));
        for warning in later.warnings {
            if self.warnings.len() < MAX_WARNINGS && !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
        }
    }
}
