//! Rows of one table in a body: an Arrow IPC record batch without its schema, which the definition gives.
//!
//! | bytes | what |
//! |---|---|
//! | 0 to 7 | zeros up to a multiple of 8 of the body |
//! | 8 | id of the table's definition |
//! | 4 | rows |
//! | 4 | length of the message's header |
//! | 8 | length of the message's body |
//! | n | header: a flatbuffer `Message` with a `RecordBatch` (Arrow columnar format, version 5); a multiple of 8 |
//! | m | body: its buffers, each at a multiple of 8, LZ4 frames if the header says so |

use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::ipc::CompressionType;

use super::EntryError;
use super::fields::{Fields, length, malformed};
use super::request::Pieces;
use crate::config::WalCompression;
use crate::decode::DecodeLimits;
use crate::decode::arrow::MessageDecoder;
use crate::registry::{TableBatch, Tenant};
use crate::wal::{DefinitionId, Definitions};

/// Bytes of rows at least.
pub(super) const LEAST_BYTES: usize = 24;

const ALIGNMENT: usize = 8;
/// The continuation marker and the length before an encapsulated message's header.
const PREFIX_BYTES: usize = 8;
/// LZ4 makes at most 255 bytes of one.
const MAX_RATIO: usize = 256;

/// What is done with rows before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// They are written as they are.
    #[default]
    None,
    /// Each buffer is an LZ4 frame.
    Lz4,
}

impl Compression {
    fn arrow(self) -> Option<CompressionType> {
        match self {
            Self::None => None,
            Self::Lz4 => Some(CompressionType::LZ4_FRAME),
        }
    }
}

impl From<WalCompression> for Compression {
    fn from(setting: WalCompression) -> Self {
        match setting {
            WalCompression::None => Self::None,
            WalCompression::Lz4 => Self::Lz4,
        }
    }
}

pub(super) fn encode(
    batch: &TableBatch,
    definitions: &Definitions,
    compression: Compression,
    pieces: &mut Pieces,
) -> Result<(), EntryError> {
    let definition = definitions.of(batch.table())?;
    let fail = |source| EntryError::Encode { table: batch.table().name().to_string(), source };
    let message =
        definition.with_encoder(compression.arrow(), |encoder| encoder.encode(batch.rows())).map_err(fail)?;
    let mut message = message.into_iter();
    // Marker and length come as one buffer, then the header, then a buffer of padding if there is any.
    let prefix = message.next().unwrap_or_else(|| Buffer::from(&[]));
    let header_bytes: u32 = match prefix.get(4..PREFIX_BYTES).and_then(|rest| rest.first_chunk()) {
        Some(length) => u32::from_le_bytes(*length),
        None => return Err(malformed("arrow wrote a message without a prefix".to_owned())),
    };
    let message: Vec<Buffer> = message.collect();
    let bytes: usize = message.iter().map(Buffer::len).sum();
    let body_bytes = bytes.saturating_sub(usize::try_from(header_bytes).unwrap_or(usize::MAX));
    pieces.align(ALIGNMENT);
    pieces.push_slice(&definition.id.0.to_le_bytes());
    pieces.push_slice(&length::<u32>("a batch", batch.len())?.to_le_bytes());
    pieces.push_slice(&header_bytes.to_le_bytes());
    pieces.push_slice(&(body_bytes as u64).to_le_bytes());
    for buffer in message {
        pieces.push_buffer(buffer);
    }
    Ok(())
}

/// Reads past a batch; returns how many rows it says it has.
pub(super) fn skip(fields: &mut Fields) -> Result<u32, EntryError> {
    fields.align(ALIGNMENT)?;
    fields.u64()?;
    let (rows, header_bytes) = (fields.u32()?, fields.length()?);
    let body_bytes = usize::try_from(fields.u64()?).unwrap_or(usize::MAX);
    fields.take(header_bytes)?;
    fields.take(body_bytes)?;
    Ok(rows)
}

pub(super) fn decode(
    fields: &mut Fields,
    definitions: &Definitions,
    tenant: &Tenant,
) -> Result<TableBatch, EntryError> {
    fields.align(ALIGNMENT)?;
    let id = DefinitionId(fields.u64()?);
    let (rows, header_bytes) = (fields.length()?, fields.length()?);
    let body_bytes = usize::try_from(fields.u64()?).unwrap_or(usize::MAX);
    let header = fields.take(header_bytes)?;
    let body = fields.take(body_bytes)?;
    let table = definitions.get(id)?;
    if table.tenant != *tenant {
        return Err(malformed(format!("definition {id} belongs to another tenant")));
    }
    let limits = DecodeLimits {
        records: rows,
        decoded_bytes: body.len().saturating_mul(MAX_RATIO),
        ..DecodeLimits::default()
    };
    let read = MessageDecoder::with_schema(Arc::clone(table.arrow()), limits)
        .message(&header, &Buffer::from(body))
        .map_err(|error| malformed(error.to_string()))?;
    let Some(batch) = read.filter(|batch| batch.num_rows() == rows) else {
        return Err(malformed(format!("a batch does not have the {rows} rows that it should")));
    };
    TableBatch::new(table, batch).map_err(|error| malformed(error.to_string()))
}
