//! `DoPut`: a descriptor and a schema, then batches in; an acknowledgement per batch out.
//!
//! The first message names the table and has the schema, which is held against the table before the first row; a client
//! may also send the descriptor first and the schema with a later message. Dictionaries are kept for the length of the
//! stream; another schema in the middle of it is refused.

use std::sync::Arc;
use std::time::Instant;

use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightData;
use bytes::Bytes;
use futures::FutureExt as _;
use tonic::{Status, Streaming};

use super::descriptor::Query;
use super::put_ack::{BatchMetadata, NO_OFFSET, PutAck};
use crate::decode::arrow::{MessageDecoder, TableMapping};
use crate::decode::{DecodeContext, DecodeLimits};
use crate::ingest::{Caller, Payload, RequestOptions, now};
use crate::receive::Shared;
use crate::receive::acks::{BatchSource, Receiving};
use crate::rejection::Rejection;

/// The batches of one call.
pub(super) struct Put {
    shared: Shared,
    caller: Caller,
    /// What the call asks for; a batch may ask for something else.
    options: RequestOptions,
    messages: Streaming<FlightData>,
    table: Option<Query>,
    stream: Option<OpenStream>,
    last_offset: i64,
}

/// A stream whose schema is known.
struct OpenStream {
    decoder: MessageDecoder,
    mapping: Arc<TableMapping>,
}

impl Put {
    pub(super) fn new(
        shared: Shared,
        caller: Caller,
        options: RequestOptions,
        messages: Streaming<FlightData>,
    ) -> Self {
        Self { shared, caller, options, messages, table: None, stream: None, last_offset: NO_OFFSET }
    }

    /// Takes one message. None: it has no rows.
    fn take(&mut self, message: FlightData) -> Result<Option<Receiving<PutAck>>, Rejection> {
        if let Some(descriptor) = &message.flight_descriptor
            && self.table.is_none()
        {
            let query = Query::of_descriptor(descriptor)?;
            query.table(&self.shared, &self.caller)?;
            self.table = Some(query);
        }
        if message.data_header.is_empty() {
            // A descriptor or metadata alone.
            return Ok(None);
        }
        let metadata = BatchMetadata::read(&message.app_metadata)?;
        let Some(stream) = &mut self.stream else {
            self.stream = Some(self.open(&message.data_header)?);
            // Only clients of that convention wait for it, and others would take it for their first batch's answer.
            let ready = metadata.offset_id.is_some();
            return Ok(ready.then(|| Receiving { bytes: 0, outcome: async { Ok(PutAck::ready()) }.boxed() }));
        };
        let parts = [message.data_header.clone(), message.data_body.clone()];
        let body = Buffer::from(message.data_body);
        match stream.decoder.message(&message.data_header, &body)? {
            Some(batch) => self.receive(parts, batch, metadata).map(Some),
            None => Ok(None),
        }
    }

    /// Holds a schema against its table.
    fn open(&self, header: &[u8]) -> Result<OpenStream, Rejection> {
        let query = self.table.as_ref().ok_or_else(|| {
            Rejection::Malformed("the first message has no descriptor: name the table in it".to_owned())
        })?;
        let limits = self.limits();
        let decoder = MessageDecoder::new(header, limits)?;
        let tables = self.shared.ingest.tables();
        let context =
            DecodeContext { tables: &tables, tenant: &self.caller.tenant, now_nanos: now(), limits };
        let mapping = TableMapping::new(&context, query.table_name(), decoder.schema())?;
        Ok(OpenStream { decoder, mapping: Arc::new(mapping) })
    }

    fn limits(&self) -> DecodeLimits {
        self.shared.ingest.decode_limits()
    }

    /// Begins to receive a batch, which came as `parts`.
    fn receive(
        &mut self,
        parts: [Bytes; 2],
        batch: RecordBatch,
        metadata: BatchMetadata,
    ) -> Result<Receiving<PutAck>, Rejection> {
        let offset = match metadata.offset_id {
            None => self.last_offset.saturating_add(1),
            Some(offset) if offset > self.last_offset => offset,
            Some(offset) => {
                return Err(Rejection::Malformed(format!(
                    "offset_id {offset} is not greater than the one before, {}",
                    self.last_offset
                )));
            }
        };
        self.last_offset = offset;
        let Some(stream) = &self.stream else {
            return Err(Rejection::Internal("a batch came before its schema".to_owned()));
        };
        let mapping = Arc::clone(&stream.mapping);
        let table = self.table.as_ref().map(Query::table_name).unwrap_or_default();
        let payload = Payload::in_parts(format!("{table} flight"), parts);
        let bytes = payload.len();
        let options = metadata.options(&self.options)?;
        let (shared, caller) = (Shared::clone(&self.shared), self.caller.clone());
        let begun = Instant::now();
        let outcome = async move {
            let decode = move |context: &DecodeContext<'_>| mapping.decode(context, &batch);
            let receipt = shared.ingest.receive(&caller, options, payload, decode).await?;
            Ok(PutAck::received(offset, metadata.request_id, begun, receipt))
        };
        Ok(Receiving { bytes, outcome: outcome.boxed() })
    }
}

// === impl Put ===

impl BatchSource for Put {
    type Ack = PutAck;

    async fn next(&mut self) -> Result<Option<Receiving<PutAck>>, Status> {
        loop {
            let message = self.messages.message().await;
            let begun = Instant::now();
            let protocol = self.caller.protocol;
            let message = message.map_err(|status| self.shared.refuse_status(protocol, &status, begun))?;
            let Some(message) = message else { return Ok(None) };
            let taken = self.take(message);
            let taken =
                taken.map_err(|rejection| self.shared.refuse(protocol, rejection, begun).to_status())?;
            if let Some(receiving) = taken {
                return Ok(Some(receiving));
            }
        }
    }
}
