//! Arrow: record batches with the sender's own schema in, rows of a registered table out.
//!
//! [`ipc`] reads messages from strangers, [`mapping`] matches columns by name and converts them. REST sends whole
//! IPC streams, see [`ipc_stream`]; Flight sends messages one by one and uses the two parts itself. Conversion is by
//! column: a column whose type is the table's own passes through without work per row.

mod attributes;
mod conversion;
mod derived;
pub mod ipc;
pub(crate) mod json_text;
mod list;
pub mod mapping;
mod row;
mod scalar;
mod value;

pub(crate) use value::row_json;

use arrow::buffer::Buffer;
use bytes::Bytes;

pub use ipc::MessageDecoder;
pub use mapping::TableMapping;
pub use row::{ROW_JSON, row};

use self::conversion::internal;
use self::ipc::{Frames, malformed, too_large};
use super::{DecodeContext, DecodeError, Decoded};
use crate::registry::TableBatch;

/// From this number of rows on a batch is worth keeping by itself; smaller ones are put together, since a batch of one
/// row takes several kilobytes.
const WORTHWHILE_ROWS: usize = 4_096;
/// Most small batches that wait to be put together.
const MAX_SMALL_BATCHES: usize = 256;

/// Decodes a request body of media type `application/vnd.apache.arrow.stream`: one IPC stream for `table`, up to
/// and including its end-of-stream marker. Buffers may be compressed with LZ4 or zstd.
pub fn ipc_stream(body: &Bytes, table: &str, context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let mut frames = Frames::new(Buffer::from(body.clone()));
    let Some((header, _)) = frames.next()? else {
        return Err(malformed("the Arrow stream has no schema"));
    };
    let mut decoder = MessageDecoder::new(&header, context.limits)?;
    let mapping = TableMapping::new(context, table, decoder.schema())?;
    let mut gathered = Gathered::default();
    while let Some((header, body)) = frames.next()? {
        if let Some(batch) = decoder.message(&header, &body)? {
            gathered.rows += batch.num_rows();
            if gathered.rows > context.limits.records {
                return Err(DecodeError::TooLarge(format!(
                    "the request has more than {} records: send smaller requests",
                    context.limits.records
                )));
            }
            gathered.add(mapping.decode(context, &batch)?, gathered.rows - batch.num_rows(), context)?;
        }
    }
    gathered.finish()
}

/// The rows of a stream's batches, put together.
#[derive(Debug, Default)]
struct Gathered {
    decoded: Decoded,
    /// Rows that were sent, good or bad.
    rows: usize,
    small: Vec<TableBatch>,
    small_rows: usize,
    bytes: usize,
}

impl Gathered {
    fn add(
        &mut self,
        next: Decoded,
        first_row: usize,
        context: &DecodeContext<'_>,
    ) -> Result<(), DecodeError> {
        self.decoded.accepted += next.accepted;
        self.decoded.rejected.extend(next.rejected.into_iter().map(|mut rejected| {
            rejected.index += first_row;
            rejected
        }));
        for warning in next.warnings {
            if !self.decoded.warnings.contains(&warning) {
                self.decoded.warnings.push(warning);
            }
        }
        for batch in next.batches {
            for column in batch.rows().columns() {
                let bytes = column.to_data().get_slice_memory_size().map_err(internal)?;
                self.bytes = self.bytes.saturating_add(bytes);
            }
            if self.bytes > context.limits.decoded_bytes {
                return Err(too_large(context.limits));
            }
            if batch.len() >= WORTHWHILE_ROWS {
                self.concat_small()?;
                self.decoded.batches.push(batch);
                continue;
            }
            self.small_rows += batch.len();
            self.small.push(batch);
            if self.small_rows >= WORTHWHILE_ROWS || self.small.len() >= MAX_SMALL_BATCHES {
                self.concat_small()?;
            }
        }
        Ok(())
    }

    /// Rows stay in the order in which they were sent.
    fn concat_small(&mut self) -> Result<(), DecodeError> {
        self.small_rows = 0;
        let small = std::mem::take(&mut self.small);
        let Some(first) = small.first() else { return Ok(()) };
        let together = match small.len() {
            1 => first.clone(),
            _ => TableBatch::concat(std::sync::Arc::clone(first.table()), &small).map_err(internal)?,
        };
        self.decoded.batches.push(together);
        Ok(())
    }

    fn finish(mut self) -> Result<Decoded, DecodeError> {
        self.concat_small()?;
        Ok(self.decoded)
    }
}

#[cfg(test)]
mod tests;
