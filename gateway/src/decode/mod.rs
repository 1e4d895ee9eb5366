//! Decoding: the bytes of a request in, rows of registered tables out. Synchronous and pure.
//!
//! A decoder is a function from (bytes, [`DecodeContext`]) to [`Decoded`]. It never looks at a store, never waits and
//! never panics; the same bytes in the same context give the same rows. A bad record is named in
//! [`Decoded::rejected`] and leaves its neighbours alone; only a request that cannot be read at all is a
//! [`DecodeError`].

mod any_value;
pub mod arrow;
pub mod attributes;
pub mod columns;
mod decimal;
pub mod elasticsearch;
pub mod influxdb;
pub mod json;
mod label_limits;
pub mod letter;
pub mod lines;
pub mod loki;
pub mod otlp;
mod outcome;
pub mod prometheus;
mod promotion;
pub mod routing;
pub mod rules;
pub mod severity;
pub mod table_builder;
pub mod tidewell_v1;
pub mod timestamp;
pub mod vector;
mod wire;

pub use attributes::AttributesColumn;
pub use table_builder::TableBuilder;

use crate::registry::{Snapshot, TableBatch, TableDef, Tenant, builtin};

/// Most bytes of a refused record that are kept; the rest is cut off.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// What a decoder knows of the world.
#[derive(Debug, Clone, Copy)]
pub struct DecodeContext<'a> {
    /// The tables that exist.
    pub tables: &'a Snapshot,
    /// Whose tables these are.
    pub tenant: &'a Tenant,
    /// The time of arrival in nanoseconds since 1970.
    pub now_nanos: i64,
    /// The limits that a request must keep.
    pub limits: DecodeLimits,
}

/// Limits of one request.
#[derive(Debug, Clone, Copy)]
pub struct DecodeLimits {
    /// Most records.
    pub records: usize,
    /// Deepest nesting of values.
    pub depth: usize,
    /// Most bytes that the decoded rows of one table may take.
    pub decoded_bytes: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self { records: 1_000_000, depth: 16, decoded_bytes: 256 * 1024 * 1024 }
    }
}

/// The rows of one request.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Rows by table, companions of the records (exemplars, metadata) included.
    pub batches: Vec<TableBatch>,
    /// Records that became rows. A record with companions counts once.
    pub accepted: usize,
    /// Records that did not.
    pub rejected: Vec<RejectedRecord>,
    /// What was stored otherwise than sent, or stored in spite of a doubt; told to the sender where its protocol can.
    pub warnings: Vec<String>,
    /// Rows that a route sent to a table.
    pub routed: Vec<routing::Routed>,
}

/// A record that was refused: reported to the sender and kept as a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RejectedRecord {
    /// The record's place in the request, counted from 0 over all records of the request.
    pub index: usize,
    /// The table it was meant for.
    pub table: String,
    /// What was wrong with it.
    pub error: FieldError,
    /// The record as it was sent, as far as it could be cut out of the request.
    pub payload: Vec<u8>,
    /// The media type of `payload`.
    pub content_type: &'static str,
}

/// What is wrong with one field of a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct FieldError {
    /// The field, in the sender's words where they differ from the column's; empty for the record as a whole.
    pub field: String,
    /// What is wrong, the limit and the way out.
    pub reason: String,
}

impl FieldError {
    /// An error of `field`.
    pub fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into() }
    }
}

/// A request that cannot be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes are not what the content type says.
    #[error("{0}")]
    Malformed(String),
    /// A limit of the whole request is exceeded.
    #[error("{0}")]
    TooLarge(String),
    /// There is no table with this name.
    #[error("there is no table {0:?}: register it with POST /schema/register")]
    NoTable(String),
    /// The table is not one that callers write.
    #[error("table {0:?} is written by the gateway itself")]
    OwnTable(String),
    /// The table takes no records any more.
    #[error(
        "table {0:?} is retired and takes no records: send them to another, or register it with \"retired\": false"
    )]
    Retired(String),
    /// A mistake of ours.
    #[error("internal error while decoding: {0}")]
    Internal(String),
}

impl<'a> DecodeContext<'a> {
    /// The tenant's table with the name that a sender gave, if it may write there.
    pub fn writable_table(&self, name: &str) -> Result<&'a std::sync::Arc<TableDef>, DecodeError> {
        if builtin::is_written_by_gateway(name) {
            return Err(DecodeError::OwnTable(name.to_owned()));
        }
        self.table(name)
    }

    /// A builder for rows of the tenant's table `name`.
    pub fn builder(&self, name: &str) -> Result<TableBuilder, DecodeError> {
        self.table(name).map(|table| TableBuilder::new(std::sync::Arc::clone(table), self))
    }

    fn table(&self, name: &str) -> Result<&'a std::sync::Arc<TableDef>, DecodeError> {
        match self.tables.table(self.tenant, name) {
            Some(table) if table.is_retired() => Err(DecodeError::Retired(name.to_owned())),
            Some(table) => Ok(table),
            None => Err(DecodeError::NoTable(name.to_owned())),
        }
    }
}
