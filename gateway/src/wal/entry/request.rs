//! A request: its rows by table, who sent it and what it was answered.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | layout, 1 |
//! | length 1, text | tenant |
//! | length 1, text | protocol |
//! | length 2, text | caller |
//! | 4 | accepted records |
//! | 1 | scope of the key: 0 for no key, 1 given by the caller, 2 made of the body; 16 more when frames of other logs follow |
//! | | with a key: the key (length 1, text), hash of the payload 16, the answer (length 4, bytes) |
//! | 2 | how many batches |
//! | each | rows, as `rows.rs` says; begins at a multiple of 8 bytes |

use bytes::{BufMut as _, Bytes, BytesMut};

use super::cuts::tenant;
use super::fields::{Fields, begin, length, malformed, put_text};
use super::rows::{self, Compression};
use super::{Entry, EntryError};
use crate::registry::{TableBatch, Tenant};
use crate::wal::Definitions;

/// Added to a key's scope in a frame that is not the last of its request.
const NOT_LAST: u8 = 16;

/// Longest key in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// Rows of one request that are to be delivered.
#[derive(Debug, Clone)]
pub struct RequestEntry {
    /// Whose tables the rows are for.
    pub tenant: Tenant,
    /// The name of the protocol that the request came by; at most 255 bytes.
    pub protocol: String,
    /// Who sent it; at most 65,535 bytes.
    pub caller: String,
    /// Records that were accepted. Their rows may be more, or in several logs.
    pub records: u32,
    /// By what a second sending of the request is recognised.
    pub key: Option<StoredKey>,
    /// The rows by table.
    pub batches: Vec<TableBatch>,
}

/// All of a [`RequestEntry`] but its rows: what a start needs of a long log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Whose tables the rows are for.
    pub tenant: Tenant,
    /// The name of the protocol.
    pub protocol: String,
    /// Who sent it.
    pub caller: String,
    /// Records that were accepted.
    pub records: u32,
    /// By what a second sending is recognised.
    pub key: Option<StoredKey>,
    /// Rows of all batches.
    pub rows: u64,
}

/// By what a request is recognised when it is sent again, and what it is answered then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Where the key comes from.
    pub scope: KeyScope,
    /// The key, at most [`MAX_KEY_BYTES`].
    pub key: String,
    /// A hash of the payload: the same key with another payload is another request.
    pub payload: u128,
    /// The first sending's answer, a small JSON document.
    pub answer: Bytes,
    /// Whether this is the last frame of the request, so that all of it is durable. Before it may be others, in other logs.
    pub is_last: bool,
}

/// Where a key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyScope {
    /// The caller gave it.
    Given = 1,
    /// It is made of the body.
    Body = 2,
}

impl RequestEntry {
    pub(super) fn encode(
        &self,
        definitions: &Definitions,
        compression: Compression,
    ) -> Result<Vec<Bytes>, EntryError> {
        let mut body = begin(512);
        put_text(&mut body, "the tenant", self.tenant.as_str())?;
        put_text(&mut body, "the protocol", &self.protocol)?;
        body.put_u16_le(length("the caller's name", self.caller.len())?);
        body.put_slice(self.caller.as_bytes());
        body.put_u32_le(self.records);
        match &self.key {
            None => body.put_u8(0),
            Some(key) => {
                body.put_u8(key.scope as u8 + if key.is_last { 0 } else { NOT_LAST });
                put_text(&mut body, "the key", &key.key)?;
                body.put_u128_le(key.payload);
                body.put_u32_le(length("the answer", key.answer.len())?);
                body.put_slice(&key.answer);
            }
        }
        body.put_u16_le(length("the list of batches", self.batches.len())?);
        let mut pieces = Pieces::new(body);
        for batch in &self.batches {
            rows::encode(batch, definitions, compression, &mut pieces)?;
        }
        Ok(pieces.finish())
    }

    pub(super) fn decode(body: &Bytes, definitions: &Definitions) -> Result<Self, EntryError> {
        let mut fields = Fields::new(Entry::REQUEST, body)?;
        let header = RequestHeader::decode(&mut fields)?;
        let count = usize::from(fields.u16()?);
        let batches = fields
            .list(count, rows::LEAST_BYTES, |fields| rows::decode(fields, definitions, &header.tenant))?;
        fields.end()?;
        let RequestHeader { tenant, protocol, caller, records, key, .. } = header;
        Ok(Self { tenant, protocol, caller, records, key, batches })
    }
}

impl RequestHeader {
    /// Reads everything but the rows of a body, which are only counted.
    pub(super) fn of(body: &Bytes) -> Result<Self, EntryError> {
        let mut fields = Fields::new(Entry::REQUEST, body)?;
        let mut header = Self::decode(&mut fields)?;
        for _ in 0..fields.u16()? {
            header.rows += u64::from(rows::skip(&mut fields)?);
        }
        fields.end()?;
        Ok(header)
    }

    fn decode(fields: &mut Fields) -> Result<Self, EntryError> {
        let tenant = tenant(&fields.text()?)?;
        let protocol = fields.text()?;
        let length = usize::from(fields.u16()?);
        let caller = String::from_utf8(fields.take(length)?.to_vec())
            .map_err(|_| malformed("the caller's name is not UTF-8".to_owned()))?;
        let records = fields.u32()?;
        let code = fields.u8()?;
        let is_last = code & NOT_LAST == 0;
        let scope = match code & !NOT_LAST {
            0 if is_last => None,
            1 => Some(KeyScope::Given),
            2 => Some(KeyScope::Body),
            _ => return Err(malformed(format!("a key has scope {code}"))),
        };
        let key = match scope {
            None => None,
            Some(scope) => {
                let (key, payload, length) = (fields.text()?, fields.u128()?, fields.length()?);
                // Copied: it is kept long after the rest of the frame.
                let answer = Bytes::copy_from_slice(&fields.take(length)?);
                Some(StoredKey { scope, key, payload, answer, is_last })
            }
        };
        Ok(Self { tenant, protocol, caller, records, key, rows: 0 })
    }
}

/// A body in pieces: small ones are gathered, large ones stay where they are.
#[derive(Debug)]
pub(super) struct Pieces {
    done: Vec<Bytes>,
    /// What comes after them.
    open: BytesMut,
    bytes: usize,
}

impl Pieces {
    /// From this size on a piece costs less by itself than copied.
    const LARGE_BYTES: usize = 4096;

    fn new(open: BytesMut) -> Self {
        Self { done: Vec::new(), bytes: open.len(), open }
    }

    pub(super) fn push_slice(&mut self, piece: &[u8]) {
        self.bytes += piece.len();
        self.open.put_slice(piece);
    }

    pub(super) fn push_buffer(&mut self, piece: arrow::buffer::Buffer) {
        if piece.len() < Self::LARGE_BYTES {
            return self.push_slice(&piece);
        }
        self.bytes += piece.len();
        if !self.open.is_empty() {
            self.done.push(self.open.split().freeze());
        }
        self.done.push(Bytes::from_owner(piece));
    }

    /// Zeros up to a multiple of `alignment`.
    pub(super) fn align(&mut self, alignment: usize) {
        let padding = self.bytes.next_multiple_of(alignment) - self.bytes;
        self.bytes += padding;
        self.open.put_bytes(0, padding);
    }

    fn finish(mut self) -> Vec<Bytes> {
        if !self.open.is_empty() {
            self.done.push(self.open.freeze());
        }
        self.done
    }
}
