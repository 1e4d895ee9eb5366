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

/// Copies the rows of all batches; with a list, those of each that have these indexes.
pub(super) async fn copy(
    transaction: &Transaction<'_>,
    statement: &str,
    batches: &[TableBatch],
    rows: Option<&[usize]>,
) -> Result<(), StoreError> {
    let prepared = transaction.prepare_cached(statement).await.map_err(|error| from_postgres(&error))?;
    let sink = transaction.copy_in::<_, Bytes>(&prepared).await.map_err(|error| from_postgres(&error))?;
    let mut sink = pin!(sink);
    let mut frames = Frames::new(batches, rows);
    while let Some(frame) = frames.next().map_err(|error| data_error(error.to_string()))? {
        if sink.feed(frame).await.is_err() {
            // The connection is gone; the cause comes with the answer to the COPY.
            break;
        }
        fault_point::reached(Point::TimescaleInCopy);
    }
    let expected: usize = batches.iter().map(|batch| chosen(batch, rows)).sum();
    let copied = sink.finish().await.map_err(|error| from_postgres(&error))?;
    if u64::try_from(expected).ok() != Some(copied) {
        return Err(data_error(format!("COPY took {copied} of {expected} rows")));
    }
    Ok(())
}

/// Copies all rows into their own table.
pub(crate) async fn copy_in(transaction: &Transaction<'_>, batch: &TableBatch) -> Result<(), StoreError> {
    let table = batch.table();
    copy(transaction, &statement(table, &table.name().quoted()), std::slice::from_ref(batch), None).await
}

/// The frames of one COPY, header and trailer included.
struct Frames<'a> {
    batches: std::slice::Iter<'a, TableBatch>,
    rows: Option<&'a [usize]>,
    /// The batch that is under way.
    open: Option<Open<'a>>,
    finished: bool,
    buffer: BytesMut,
}

/// A batch that is under way.
struct Open<'a> {
    encoder: CopyEncoder<'a>,
    next: usize,
    len: usize,
}

/// How many rows of a batch are copied.
fn chosen(batch: &TableBatch, rows: Option<&[usize]>) -> usize {
    rows.map_or(batch.len(), <[usize]>::len)
}

impl<'a> Frames<'a> {
    fn new(batches: &'a [TableBatch], rows: Option<&'a [usize]>) -> Self {
        let mut buffer = BytesMut::with_capacity(FRAME_BYTES + FRAME_BYTES / 8);
        CopyEncoder::header(&mut buffer);
        Self { batches: batches.iter(), rows, open: None, finished: false, buffer }
    }

    fn next(&mut self) -> Result<Option<Bytes>, EncodeError> {
        if self.finished {
            return Ok(None);
        }
        while self.buffer.len() < FRAME_BYTES {
            let Some(open) = self.open.as_mut().filter(|open| open.next < open.len) else {
                let Some(batch) = self.batches.next() else {
                    CopyEncoder::trailer(&mut self.buffer);
                    self.finished = true;
                    break;
                };
                let (encoder, len) = (CopyEncoder::new(batch), chosen(batch, self.rows));
                self.open = Some(Open { encoder, next: 0, len });
                continue;
            };
            let row = self.rows.and_then(|rows| rows.get(open.next).copied()).unwrap_or(open.next);
            open.encoder.row(row, &mut self.buffer)?;
            open.next += 1;
        }
        Ok(Some(take_frame(&mut self.buffer)))
    }
}
