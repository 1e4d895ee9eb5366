//! Dead letters: records that were refused, kept with the reason in the table `dead_letters`.
//!
//! In: what a decoder or a store refused. Out: rows of `dead_letters`, written like any others. `payload` is the
//! record as it was sent where a decoder refused it, and the row as JSON where a store did.

use sha2::{Digest as _, Sha256};

use super::gather::Piece;
use crate::decode::arrow::{ROW_JSON, row_json};
use crate::decode::{
    DecodeContext, DecodeError, DecodeLimits, FieldError, MAX_PAYLOAD_BYTES, RejectedRecord,
};
use crate::ingest::{Caller, now};
use crate::registry::{Snapshot, TableBatch, Tenant, builtin};
use crate::rejection::Rejection;

/// Rows of `dead_letters` for the records that a decoder refused.
pub fn batch(
    tables: &Snapshot,
    caller: &Caller,
    rejected: &[RejectedRecord],
    now_nanos: i64,
) -> Result<TableBatch, Rejection> {
    let letters = rejected.iter().map(|record| Letter {
        id: uuid::Uuid::now_v7(),
        protocol: caller.protocol.name(),
        caller: &caller.name,
        table: &record.table,
        index: record.index,
        error: &record.error,
        content_type: record.content_type,
        payload: &record.payload,
    });
    rows(tables, &caller.tenant, letters, now_nanos).map_err(Rejection::from)
}

/// The dead letters of rows that their store refused for `reason`. Each has an id made of where the row is in its log, so
/// that one which is written twice is known as one.
pub(super) fn of_piece(log: u64, piece: &Piece, reason: &str) -> Result<TableBatch, DecodeError> {
    let table = piece.batch.table();
    let error = FieldError::new(String::new(), reason);
    let payloads: Vec<Vec<u8>> =
        (0..piece.batch.len()).map(|row| row_json(piece.batch.rows(), row)).collect();
    let letters = payloads.iter().enumerate().map(|(row, payload)| Letter {
        id: id(log, piece, row),
        protocol: "",
        caller: "",
        table: table.name().as_str(),
        index: piece.refusal(row, "").index,
        error: &error,
        content_type: ROW_JSON,
        payload,
    });
    let tables = builtin::tables(&table.tenant).map_err(|error| DecodeError::Internal(error.to_string()))?;
    rows(&Snapshot::new(tables), &table.tenant, letters, now())
}

/// The id of the letter of a row: a name-based UUID (RFC 9562, version 8) of the row's place.
fn id(log: u64, piece: &Piece, row: usize) -> uuid::Uuid {
    let mut place = Sha256::new();
    place.update(log.to_be_bytes());
    place.update(piece.position.0.to_be_bytes());
    place.update(piece.index.to_be_bytes());
    place.update((piece.refusal(row, "").index as u64).to_be_bytes());
    let digest = place.finalize();
    uuid::Uuid::new_v8(digest.first_chunk().copied().unwrap_or_default())
}

struct Letter<'a> {
    id: uuid::Uuid,
    protocol: &'a str,
    caller: &'a str,
    table: &'a str,
    index: usize,
    error: &'a FieldError,
    content_type: &'a str,
    payload: &'a [u8],
}

fn rows<'a>(
    tables: &Snapshot,
    tenant: &Tenant,
    letters: impl Iterator<Item = Letter<'a>>,
    now_nanos: i64,
) -> Result<TableBatch, DecodeError> {
    let context = DecodeContext { tables, tenant, now_nanos, limits: DecodeLimits::default() };
    let mut rows = context.builder(builtin::DEAD_LETTERS)?;
    let column = |name: &str| {
        rows.column(name).ok_or_else(|| DecodeError::Internal(format!("dead_letters has no column {name}")))
    };
    let [time, id, protocol, caller, target] =
        [column("time")?, column("id")?, column("protocol")?, column("caller")?, column("target")?];
    let [index, field, reason] = [column("record_index")?, column("field")?, column("reason")?];
    let [content_type, payload] = [column("content_type")?, column("payload")?];
    for letter in letters {
        let fill = |rows: &mut crate::decode::TableBuilder| -> Result<(), FieldError> {
            rows.set_time(time, now_nanos)?;
            rows.set_text(id, &letter.id.to_string())?;
            rows.set_text(protocol, letter.protocol)?;
            rows.set_text(caller, &printable(letter.caller))?;
            rows.set_text(target, &printable(letter.table))?;
            rows.set_int(index, i64::try_from(letter.index).unwrap_or(i64::MAX))?;
            rows.set_text(field, &printable(&letter.error.field))?;
            rows.set_text(reason, &printable(&letter.error.reason))?;
            rows.set_text(content_type, letter.content_type)?;
            rows.set_bytes(payload, letter.payload.get(..MAX_PAYLOAD_BYTES).unwrap_or(letter.payload))?;
            rows.end_row()
        };
        fill(&mut rows)
            .map_err(|error| DecodeError::Internal(format!("a dead letter is not storable: {error}")))?;
    }
    rows.finish()?.ok_or_else(|| DecodeError::Internal("no dead letters".to_owned()))
}

/// A sender's text as Postgres can hold it: NUL written out, at most 1 KiB.
fn printable(text: &str) -> String {
    text.chars().take(1024).collect::<String>().replace('\0', "\\0")
}
