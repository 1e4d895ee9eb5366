//! Arrow IPC messages from strangers: header and body bytes in, record batches out.
//!
//! REST bodies (an IPC stream) and Flight (one message per `FlightData`) both end here. Everything that a message
//! declares about itself is checked against what was sent before arrow-rs sees it: verified flatbuffers within tight
//! limits, buffers inside of the body, rows and decompressed sizes within the request's limits. arrow-rs then
//! validates offsets, UTF-8 and dictionary keys; should it panic all the same, the panic becomes an error here.
//!
//! Framing of a stream ("encapsulated messages" of the Arrow columnar format, version 1.x):
//!
//! | bytes | meaning |
//! |---|---|
//! | 4 | `FF FF FF FF` |
//! | 4 | length of the header, little endian; 0 ends the stream |
//! | n | header: a flatbuffer `Message` |
//! | `bodyLength` of the header | body: the buffers |

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::{self, CompressionType, Endianness, MessageHeader};
use arrow::record_batch::RecordBatch;
use flatbuffers::VerifierOptions;

use crate::decode::{DecodeError, DecodeLimits};

/// Longest message header in bytes: a schema of 2,000 columns with long names takes about 200 KiB.
const MAX_HEADER_BYTES: usize = 1 << 20;

/// A flatbuffer may refer to one table from many places, so that a small header stands for a huge schema.
const VERIFIER: VerifierOptions = VerifierOptions {
    max_depth: 64,
    max_tables: 20_000,
    max_apparent_size: 8 << 20,
    ignore_missing_null_terminator: false,
};

const CONTINUATION: [u8; 4] = [0xff; 4];

/// Decodes the messages of one stream: a schema, then dictionaries and record batches in any order.
#[derive(Debug)]
pub struct MessageDecoder {
    schema: SchemaRef,
    dictionaries: HashMap<i64, ArrayRef>,
    limits: DecodeLimits,
}

impl MessageDecoder {
    /// Begins with the header of the stream's first message, its schema.
    pub fn new(header: &[u8], limits: DecodeLimits) -> Result<Self, DecodeError> {
        let message = verified(header)?;
        let schema =
            message.header_as_schema().ok_or_else(|| malformed("the first Arrow message is not a schema"))?;
        if schema.endianness() != Endianness::Little {
            return Err(malformed("the Arrow stream is big-endian: only little-endian is supported"));
        }
        let schema = guarded(|| ipc::convert::try_fb_to_schema(schema))?;
        for field in schema.fields() {
            check_type(field.name(), field.data_type(), limits.depth)?;
        }
        Ok(Self { schema: Arc::new(schema), dictionaries: HashMap::new(), limits })
    }

    /// Begins after the first message, with a schema that is known from elsewhere.
    pub fn with_schema(schema: SchemaRef, limits: DecodeLimits) -> Self {
        Self { schema, dictionaries: HashMap::new(), limits }
    }

    /// The schema that every batch of the stream has.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes the next message. None: it was a dictionary, which later batches refer to. A second schema is refused:
    /// rows of another shape are another stream.
    pub fn message(&mut self, header: &[u8], body: &Buffer) -> Result<Option<RecordBatch>, DecodeError> {
        let message = verified(header)?;
        let declared = usize::try_from(message.bodyLength()).ok().filter(|&length| length <= body.len());
        if declared.is_none() {
            let length = message.bodyLength();
            return Err(malformed(format!(
                "an Arrow message declares a body of {length} bytes and brings {}",
                body.len()
            )));
        }
        let version = message.version();
        match message.header_type() {
            MessageHeader::RecordBatch => {
                let batch = message
                    .header_as_record_batch()
                    .ok_or_else(|| malformed("an Arrow record batch message has no record batch"))?;
                self.check(&batch, body)?;
                let schema = Arc::clone(&self.schema);
                let read = || {
                    ipc::reader::read_record_batch(body, batch, schema, &self.dictionaries, None, &version)
                };
                Ok(Some(guarded(read)?))
            }
            MessageHeader::DictionaryBatch => {
                let batch = message
                    .header_as_dictionary_batch()
                    .ok_or_else(|| malformed("an Arrow dictionary message has no dictionary"))?;
                let data = batch.data().ok_or_else(|| malformed("an Arrow dictionary has no values"))?;
                self.check(&data, body)?;
                let dictionaries = &mut self.dictionaries;
                let schema = &self.schema;
                guarded(|| ipc::reader::read_dictionary(body, batch, schema, dictionaries, &version))?;
                self.check_dictionaries()?;
                Ok(None)
            }
            MessageHeader::Schema => Err(malformed(
                "the schema changes within the Arrow stream: send rows of another shape as another stream",
            )),
            other => Err(malformed(format!("Arrow message type {other:?} is not supported here"))),
        }
    }

    /// Holds what a batch says of itself against what was sent and against the limits.
    fn check(&self, batch: &ipc::RecordBatch<'_>, body: &Buffer) -> Result<(), DecodeError> {
        let rows = usize::try_from(batch.length())
            .map_err(|_| malformed(format!("an Arrow batch declares {} rows", batch.length())))?;
        if rows > self.limits.records {
            return Err(DecodeError::TooLarge(format!(
                "an Arrow batch has {rows} rows: at most {} are allowed, send smaller batches",
                self.limits.records
            )));
        }
        for node in batch.nodes().into_iter().flatten() {
            // Types without bytes (NULL, empty structs) may claim any length; nobody walks them further than this.
            let sound = (0..=node.length()).contains(&node.null_count())
                && usize::try_from(node.length()).is_ok_and(|length| length <= self.limits.decoded_bytes);
            if !sound {
                return Err(malformed(format!(
                    "an Arrow batch declares {} values with {} NULLs",
                    node.length(),
                    node.null_count()
                )));
            }
        }
        let mut decompressed = 0_usize;
        for buffer in batch.buffers().into_iter().flatten() {
            let bytes = usize::try_from(buffer.offset())
                .ok()
                .zip(usize::try_from(buffer.length()).ok())
                .and_then(|(offset, length)| body.get(offset..offset.checked_add(length)?))
                .ok_or_else(|| {
                    malformed(format!(
                        "an Arrow buffer of {} bytes at {} lies outside of its body of {} bytes",
                        buffer.length(),
                        buffer.offset(),
                        body.len()
                    ))
                })?;
            if batch.compression().is_some() && !bytes.is_empty() {
                decompressed = decompressed.saturating_add(decompressed_bytes(bytes)?);
            }
        }
        if let Some(compression) = batch.compression() {
            if !matches!(compression.codec(), CompressionType::LZ4_FRAME | CompressionType::ZSTD) {
                return Err(malformed("Arrow buffers are compressed with an unknown codec"));
            }
            if decompressed > self.limits.decoded_bytes {
                return Err(self.too_large());
            }
        }
        Ok(())
    }

    /// Dictionaries stay for the length of the stream and grow by deltas.
    fn check_dictionaries(&self) -> Result<(), DecodeError> {
        let bytes: usize = self.dictionaries.values().map(|values| values.get_array_memory_size()).sum();
        if bytes > self.limits.decoded_bytes { Err(self.too_large()) } else { Ok(()) }
    }

    fn too_large(&self) -> DecodeError {
        too_large(self.limits)
    }
}

/// The error for a request whose rows take more memory than the limits allow.
pub(super) fn too_large(limits: DecodeLimits) -> DecodeError {
    DecodeError::TooLarge(format!(
        "the request's decoded rows exceed {} bytes: send smaller requests",
        limits.decoded_bytes
    ))
}

/// The length that a compressed buffer declares in its first 8 bytes; -1 means that it is not compressed.
fn decompressed_bytes(buffer: &[u8]) -> Result<usize, DecodeError> {
    let declared = buffer.first_chunk::<8>().map(|prefix| i64::from_le_bytes(*prefix));
    match declared {
        Some(-1) => Ok(buffer.len() - 8),
        Some(length) if length >= 0 => Ok(usize::try_from(length).unwrap_or(usize::MAX)),
        _ => Err(malformed("a compressed Arrow buffer does not begin with its length")),
    }
}

/// Refuses types that no column can be made of, and nesting beyond the limit.
fn check_type(name: &str, kind: &DataType, depth: usize) -> Result<(), DecodeError> {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(malformed(format!("Arrow column {name:?} is nested too deeply")));
    };
    match kind {
        // arrow-rs panics when it makes arrays of these.
        DataType::Map(entries, _) if !matches!(entries.data_type(), DataType::Struct(fields) if fields.len() == 2) => {
            Err(malformed(format!("Arrow column {name:?} is a map whose entries are not pairs")))
        }
        DataType::FixedSizeList(_, width) | DataType::FixedSizeBinary(width) if *width < 0 => {
            Err(malformed(format!("Arrow column {name:?} has values of {width} bytes or items")))
        }
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => check_type(name, item.data_type(), depth),
        DataType::Struct(fields) => {
            fields.iter().try_for_each(|field| check_type(name, field.data_type(), depth))
        }
        DataType::Dictionary(_, values) if values.is_nested() => {
            Err(malformed(format!("Arrow column {name:?} is a dictionary of nested values: send them plain")))
        }
        DataType::Dictionary(_, values) => check_type(name, values, depth),
        DataType::Union(..)
        | DataType::RunEndEncoded(..)
        | DataType::ListView(_)
        | DataType::LargeListView(_)
        | DataType::Interval(_) => Err(malformed(format!(
            "Arrow column {name:?} is {kind}, which no column can hold: convert it before sending"
        ))),
        _ => Ok(()),
    }
}

fn verified(header: &[u8]) -> Result<ipc::Message<'_>, DecodeError> {
    if header.len() > MAX_HEADER_BYTES {
        return Err(malformed(format!(
            "an Arrow message header has {} bytes: at most {MAX_HEADER_BYTES} are allowed",
            header.len()
        )));
    }
    ipc::root_as_message_with_opts(&VERIFIER, header)
        .map_err(|error| malformed(format!("an Arrow message header is not valid: {error}")))
}

fn guarded<T>(decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, DecodeError> {
    without_panic(|| decode().map_err(|error| malformed(format!("an Arrow message is not valid: {error}"))))
}

/// Runs code over arrow-rs, which has been known to panic on malformed input (arrow-rs issue 10437), and makes an
/// error of a panic.
pub(super) fn without_panic<T>(run: impl FnOnce() -> Result<T, DecodeError>) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|_| Err(malformed("an Arrow message is not valid and could not be read")))
}

pub(super) fn malformed(reason: impl Into<String>) -> DecodeError {
    DecodeError::Malformed(reason.into())
}

/// One message of a stream: its header and its body.
pub(super) type Frame = (Buffer, Buffer);

/// Cuts an IPC stream into messages without copying. The stream must be complete: a body that was cut off between two
/// messages would otherwise pass for a shorter one.
#[derive(Debug)]
pub(super) struct Frames {
    stream: Buffer,
    at: usize,
}

impl Frames {
    pub(super) fn new(stream: Buffer) -> Self {
        Self { stream, at: 0 }
    }

    /// The next message; none after the end-of-stream marker.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, DecodeError> {
        let marker = self.word()?;
        if marker != CONTINUATION {
            return Err(malformed(format!(
                "not an Arrow IPC stream: expected the continuation marker at byte {}",
                self.at - 4
            )));
        }
        let length = usize::try_from(u32::from_le_bytes(self.word()?)).unwrap_or(usize::MAX);
        if length == 0 {
            let rest = self.stream.len() - self.at;
            if rest > 0 {
                return Err(malformed(format!("{rest} bytes follow the end of the Arrow stream")));
            }
            return Ok(None);
        }
        let header = self.take(length)?;
        let body_length = usize::try_from(verified(&header)?.bodyLength()).unwrap_or(usize::MAX);
        let body = self.take(body_length)?;
        Ok(Some((header, body)))
    }

    fn word(&mut self) -> Result<[u8; 4], DecodeError> {
        let bytes = self.take(4)?;
        bytes.first_chunk().copied().ok_or_else(|| malformed("the Arrow stream is cut off"))
    }

    fn take(&mut self, length: usize) -> Result<Buffer, DecodeError> {
        let left = self.stream.len() - self.at;
        if length > left {
            return Err(malformed(format!(
                "the Arrow stream is cut off: {length} bytes are announced at byte {} and {left} are there; \
                 close the writer, which writes the end-of-stream marker",
                self.at
            )));
        }
        let taken = self.stream.slice_with_length(self.at, length);
        self.at += length;
        Ok(taken)
    }
}
