//! Arrow Flight `DoPut`, one long stream a connection: encoded `FlightData` in, answers out.
//!
//! Nothing is standard about the acknowledgements. The gateway answers with JSON in `app_metadata`, where
//! `ack_up_to_offset` counts the batches of the stream from 0; `accepted` and `rejected` are of the batches that the
//! answer covers. One batch is under way at a time, so that is one batch.

use anyhow::Result;
use arrow_flight::PutResult;
use bytes::Bytes;
use http::uri::PathAndQuery;
use prost::Message;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::client::Grpc;
use tonic::codec::Streaming;
use tonic::{Request, Status};

use super::answer::LEVEL_KEY;
use super::bytes_codec::BytesCodec;
use super::{Failure, Target, grpc};
use crate::tally::Answer;

const DO_PUT: &str = "/arrow.flight.protocol.FlightService/DoPut";

/// One stream.
#[derive(Debug)]
pub(super) struct FlightConnection {
    batches: mpsc::Sender<Bytes>,
    results: Streaming<Bytes>,
    /// The level named when the stream was opened.
    level: String,
    /// Batches sent, the offset of the next.
    sent: i64,
}

/// What is read of an acknowledgement.
#[derive(Debug, Deserialize)]
struct Acknowledgement {
    ack_up_to_offset: i64,
    accepted: u64,
    rejected: u64,
    #[serde(default)]
    ack: String,
}

impl FlightConnection {
    pub(super) async fn open(target: &Target, opening: Bytes) -> Result<Self> {
        let mut client = Grpc::new(grpc::connect(target).await?);
        client.ready().await?;
        let (batches, receiver) = mpsc::channel(1);
        batches.send(opening).await?;
        let mut request = Request::new(ReceiverStream::new(receiver));
        if let Some(level) = &target.level {
            request.metadata_mut().insert(LEVEL_KEY, level.parse()?);
        }
        let response = client.streaming(request, PathAndQuery::from_static(DO_PUT), BytesCodec).await?;
        let level = response.metadata().get(LEVEL_KEY).and_then(|level| level.to_str().ok());
        let level = level.unwrap_or_default().to_owned();
        Ok(Self { batches, results: response.into_inner(), level, sent: 0 })
    }

    pub(super) async fn send(&mut self, batch: Bytes, records: u64) -> Result<Answer, Failure> {
        let offset = self.sent;
        self.sent += 1;
        // A closed channel means that the call has ended; its status says why.
        let sent = self.batches.send(batch).await;
        loop {
            let result = self
                .results
                .message()
                .await
                .map_err(|status: Status| Failure { broken: true, ..grpc::failure(&status) })?;
            let Some(result) = result.filter(|_| sent.is_ok()) else {
                return Err(Failure::broken("stream ended"));
            };
            let acknowledgement = read(&result).ok_or_else(|| Failure::broken("unreadable answer"))?;
            if acknowledgement.ack_up_to_offset >= offset {
                return self.answer(acknowledgement, records);
            }
        }
    }

    fn answer(&self, acknowledgement: Acknowledgement, records: u64) -> Result<Answer, Failure> {
        let Acknowledgement { accepted, rejected, ack, .. } = acknowledgement;
        if accepted + rejected != records {
            return Err(Failure::broken("answer counts other records than were sent"));
        }
        let level = if ack.is_empty() { self.level.clone() } else { ack };
        Ok(Answer::Acknowledged { accepted, rejected, level })
    }
}

fn read(result: &Bytes) -> Option<Acknowledgement> {
    let result = PutResult::decode(result.as_ref()).ok()?;
    serde_json::from_slice(&result.app_metadata).ok()
}
