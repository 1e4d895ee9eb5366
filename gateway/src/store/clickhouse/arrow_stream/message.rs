//! Messages of an Arrow IPC stream whose buffers lie in several pieces: nodes and pieces in, a header and the bytes
//! behind it out. Pieces that are large are not copied.
//!
//! | bytes | what |
//! |---|---|
//! | 4 | `FF FF FF FF` |
//! | 4 | length of the header, little endian |
//! | n | header: a flatbuffer `Message`, zeros up to a multiple of 8 |
//! | m | body: its buffers, each followed by zeros up to a multiple of 8 |
//!
//! (Arrow columnar format 1.5, "Encapsulated message format".) Arrow's own writer takes each buffer in one piece.

use arrow::buffer::Buffer;
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use arrow::ipc::{
    Buffer as Place, DictionaryBatchBuilder, FieldNode, MessageBuilder, MessageHeader, MetadataVersion,
    RecordBatch as Batch, RecordBatchBuilder,
};
use bytes::{BufMut as _, Bytes, BytesMut};
use flatbuffers::{FlatBufferBuilder, WIPOffset};

const CONTINUATION: u32 = u32::MAX;
const ALIGNMENT: usize = 8;
/// From this size on a piece costs less by itself than copied.
const LARGE_BYTES: usize = 4096;

/// The messages of one stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    done: Vec<Bytes>,
    /// What comes after them.
    open: BytesMut,
}

/// The values of one message.
#[derive(Debug, Default)]
pub(super) struct Body {
    nodes: Vec<FieldNode>,
    places: Vec<Place>,
    pieces: Vec<Buffer>,
    bytes: usize,
}

impl Stream {
    /// Begins with a schema. Its dictionaries have the numbers from 0 on, in the order of the fields.
    pub(super) fn new(schema: &Schema) -> Result<Self, ArrowError> {
        let mut stream = Self::default();
        let options = IpcWriteOptions::try_new(ALIGNMENT, false, MetadataVersion::V5)?;
        let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            schema,
            &mut DictionaryTracker::new(true),
            &options,
        );
        stream.header(&message.ipc_message)?;
        Ok(stream)
    }

    /// The values of a dictionary.
    pub(super) fn dictionary(&mut self, id: i64, values: usize, body: Body) -> Result<(), ArrowError> {
        self.message(MessageHeader::DictionaryBatch, values, body, |builder, batch| {
            let mut dictionary = DictionaryBatchBuilder::new(builder);
            dictionary.add_id(id);
            dictionary.add_data(batch);
            dictionary.finish().as_union_value()
        })
    }

    /// A record batch.
    pub(super) fn batch(&mut self, rows: usize, body: Body) -> Result<(), ArrowError> {
        self.message(MessageHeader::RecordBatch, rows, body, |_, batch| batch.as_union_value())
    }

    /// The end of the stream.
    pub(super) fn finish(mut self) -> Vec<Bytes> {
        self.open.put_u32_le(CONTINUATION);
        self.open.put_u32_le(0);
        self.done.push(self.open.freeze());
        self.done
    }

    fn message(
        &mut self,
        kind: MessageHeader,
        rows: usize,
        body: Body,
        wrap: impl FnOnce(
            &mut FlatBufferBuilder<'static>,
            WIPOffset<Batch<'static>>,
        ) -> WIPOffset<flatbuffers::UnionWIPOffset>,
    ) -> Result<(), ArrowError> {
        let mut builder = FlatBufferBuilder::new();
        let (nodes, places) = (builder.create_vector(&body.nodes), builder.create_vector(&body.places));
        let mut batch = RecordBatchBuilder::new(&mut builder);
        batch.add_length(length(rows)?);
        batch.add_nodes(nodes);
        batch.add_buffers(places);
        let batch = batch.finish();
        let header = wrap(&mut builder, batch);
        let mut message = MessageBuilder::new(&mut builder);
        message.add_version(MetadataVersion::V5);
        message.add_header_type(kind);
        message.add_bodyLength(length(body.bytes)?);
        message.add_header(header);
        let message = message.finish();
        builder.finish(message, None);
        self.header(builder.finished_data())?;
        body.pieces.into_iter().for_each(|piece| self.piece(piece));
        Ok(())
    }

    fn header(&mut self, message: &[u8]) -> Result<(), ArrowError> {
        let padded = message.len().next_multiple_of(ALIGNMENT);
        let length = u32::try_from(padded).map_err(|_| too_large("a header"))?;
        self.open.put_u32_le(CONTINUATION);
        self.open.put_u32_le(length);
        self.open.put_slice(message);
        self.open.put_bytes(0, padded - message.len());
        Ok(())
    }

    fn piece(&mut self, piece: Buffer) {
        if piece.len() < LARGE_BYTES {
            return self.open.put_slice(&piece);
        }
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
        self.done.push(Bytes::from_owner(piece));
    }
}

impl Body {
    /// An array begins: so many values, of which so many are NULL.
    pub(super) fn node(&mut self, values: usize, nulls: usize) -> Result<(), ArrowError> {
        self.nodes.push(FieldNode::new(length(values)?, length(nulls)?));
        Ok(())
    }

    /// The next buffer of the array, of these pieces.
    pub(super) fn buffer(&mut self, pieces: impl IntoIterator<Item = Buffer>) -> Result<(), ArrowError> {
        let begin = self.bytes;
        for piece in pieces {
            self.push(piece);
        }
        self.places.push(Place::new(length(begin)?, length(self.bytes - begin)?));
        let padding = self.bytes.next_multiple_of(ALIGNMENT) - self.bytes;
        self.push(Buffer::from([0; ALIGNMENT]).slice_with_length(0, padding));
        Ok(())
    }

    fn push(&mut self, piece: Buffer) {
        if !piece.is_empty() {
            self.bytes += piece.len();
            self.pieces.push(piece);
        }
    }
}

fn length(length: usize) -> Result<i64, ArrowError> {
    i64::try_from(length).map_err(|_| too_large("a message"))
}

/// The error for rows that are too large to be one batch.
pub(super) fn too_large(what: &str) -> ArrowError {
    ArrowError::InvalidArgumentError(format!("{what} is too large for one Arrow batch"))
}
