//! Rows into Postgres by COPY: a batch in, a finished COPY inside of the caller's transaction out.

use std::pin::pin;

use bytes::{Bytes, BytesMut};
use deadpool_postgres::Transaction;
use futures::SinkExt as _;

use super::ddl;
use super::encode::{CopyEncoder, EncodeError, FRAME_BYTES, take_frame};
use super::error::{data_error, from_postgres};
use crate::fault_point::{self, Point};
use crate::registry::{TableBatch, TableDef};
use crate::store::StoreError;

/// The statement that copies rows of `table` into the relation `target`, a quoted name.
pub(super) fn statement(table: &TableDef, target: &str) -> String {
    format!("COPY {target} ({}) FROM STDIN (FORMAT binary)", columns(table))
}

/// The columns of a table in the order of COPY, quoted.
pub(crate) fn columns(table: &TableDef) -> String {
    let columns: Vec<String> =
        ddl::columns(table).iter().map(|column| format!("\"{}\"", column.name)).collect();
    columns.join(", ")
}

/// Copies the rows with these indexes; all of them when there is no list.
pub(super) async fn copy(
    transaction: &Transaction<'_>,
    statement: &str,
    batch: &TableBatch,
    rows: Option<&[usize]>,
) -> Result<(), StoreError> {
    let prepared = transaction.prepare_cached(statement).await.map_err(|error| from_postgres(&error))?;
    let sink = transaction.copy_in::<_, Bytes>(&prepared).await.map_err(|error| from_postgres(&error))?;
    let mut sink = pin!(sink);
    let mut frames = Frames::new(batch, rows);
    while let Some(frame) = frames.next().map_err(|error| data_error(error.to_string()))? {
        if sink.feed(frame).await.is_err() {
            // The connection is gone; the cause comes with the answer to the COPY.
            break;
        }
        fault_point::reached(Point::TimescaleInCopy);
    }
    let expected = rows.map_or(batch.len(), <[usize]>::len);
    let copied = sink.finish().await.map_err(|error| from_postgres(&error))?;
    if u64::try_from(expected).ok() != Some(copied) {
        return Err(data_error(format!("COPY took {copied} of {expected} rows")));
    }
    Ok(())
}

/// Copies all rows into their own table.
pub(crate) async fn copy_in(transaction: &Transaction<'_>, batch: &TableBatch) -> Result<(), StoreError> {
    let table = batch.table();
    copy(transaction, &statement(table, &table.name().quoted()), batch, None).await
}

/// The frames of one COPY, header and trailer included.
struct Frames<'a> {
    encoder: CopyEncoder<'a>,
    rows: Option<&'a [usize]>,
    len: usize,
    next: usize,
    finished: bool,
    buffer: BytesMut,
}

impl<'a> Frames<'a> {
    fn new(batch: &'a TableBatch, rows: Option<&'a [usize]>) -> Self {
        let mut buffer = BytesMut::with_capacity(FRAME_BYTES + FRAME_BYTES / 8);
        CopyEncoder::header(&mut buffer);
        let len = rows.map_or(batch.len(), <[usize]>::len);
        Self { encoder: CopyEncoder::new(batch), rows, len, next: 0, finished: false, buffer }
    }

    fn next(&mut self) -> Result<Option<Bytes>, EncodeError> {
        if self.finished {
            return Ok(None);
        }
        while self.next < self.len && self.buffer.len() < FRAME_BYTES {
            let row = self.rows.and_then(|rows| rows.get(self.next).copied()).unwrap_or(self.next);
            self.encoder.row(row, &mut self.buffer)?;
            self.next += 1;
        }
        if self.next == self.len {
            CopyEncoder::trailer(&mut self.buffer);
            self.finished = true;
        }
        Ok(Some(take_frame(&mut self.buffer)))
    }
}
