//! `tidewell.v1`, the gateway's own gRPC protocol: a `WriteRequest` in, rows of one table out.
//!
//! The messages are read from the wire without building a tree, so that memory follows what was sent and one bad
//! record is told from its neighbours. [`records`] goes through a message by a plan, [`signals`] has the plans of log
//! records, samples and spans, [`rows`] writes rows of any table.

mod records;
mod rows;
mod signals;
mod span_parts;

use super::wire::{Field, Merged, Reader};
use super::{DecodeContext, DecodeError, Decoded, FieldError};

/// What a `WriteStreamRequest` holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamItem {
    /// The sender's number for the batch.
    pub offset: Option<i64>,
    /// The `WriteRequest`.
    pub batch: Vec<u8>,
}

/// Takes a `WriteStreamRequest` apart.
pub fn stream_item(body: &[u8]) -> Result<StreamItem, DecodeError> {
    let mut item = StreamItem::default();
    let mut batch = Merged::default();
    read(body, |field| {
        match field.number {
            1 => item.offset = Some(field.varint("offset")?.cast_signed()),
            2 => batch.push(field.bytes("batch")?),
            _ => {}
        }
        Ok(())
    })?;
    item.batch = batch.get().unwrap_or_default().to_vec();
    Ok(item)
}

/// What a `WriteRequest` asks for beside its records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteOptions {
    /// The number of the `AckLevel` asked for, 0 for none.
    pub ack: i32,
    /// A name for the request, empty for none.
    pub idempotency_key: String,
}

/// Reads what a `WriteRequest` asks for; the records are skipped.
pub fn write_options(body: &[u8]) -> Result<WriteOptions, DecodeError> {
    let mut options = WriteOptions::default();
    read(body, |field| {
        match field.number {
            5 => options.ack = field.int32("ack")?,
            6 => options.idempotency_key = field.text("idempotency_key")?.to_owned(),
            _ => {}
        }
        Ok(())
    })?;
    Ok(options)
}

/// Decodes the records of a `WriteRequest`; [`write_options`] has the rest. No records at all are an empty success.
pub fn write_request(body: &[u8], context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let mut request = Request::default();
    read(body, |field| request.take(field))?;
    let message = request.records.get().unwrap_or_default();
    match request.kind {
        0 => Ok(Decoded::default()),
        1 => signals::logs(message, context),
        2 => signals::metrics(message, context),
        3 => signals::spans(message, context),
        _ => rows::rows(message, context),
    }
}

/// The fields of a `WriteRequest`.
#[derive(Default)]
struct Request<'a> {
    /// The field number of the records, 0 for none.
    kind: u32,
    records: Merged<'a>,
}

impl<'a> Request<'a> {
    fn take(&mut self, field: Field<'a>) -> Result<(), FieldError> {
        if (1..=4).contains(&field.number) {
            // Of a `oneof` the last one counts; parts of the same one are merged.
            if field.number != self.kind {
                self.records = Merged::default();
            }
            self.kind = field.number;
            self.records.push(field.bytes("records")?);
        }
        Ok(())
    }
}

/// Goes through the fields of a message that the whole request depends on.
fn read<'a>(
    message: &'a [u8],
    mut take: impl FnMut(Field<'a>) -> Result<(), FieldError>,
) -> Result<(), DecodeError> {
    let malformed = |error: FieldError| DecodeError::Malformed(format!("the request {}", error.reason));
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field().map_err(|broken| malformed(broken.into()))? {
        take(field).map_err(malformed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
