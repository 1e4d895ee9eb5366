//! What a frame's body says: an [`Entry`] in, bytes out, and back.
//!
//! | kind | entry | body |
//! |---|---|---|
//! | 1 | [`RequestEntry`]: rows of one request | `request.rs` |
//! | 2 | [`CutsEntry`]: which rows are sent in which cut | `cuts.rs` |
//! | 3 | [`DoneEntry`]: cuts that their store has committed | `cuts.rs` |
//! | 4 | the second copy of a [`CutsEntry`], to be read where the first one is damaged | `cuts.rs` |
//!
//! Every body begins with its layout's version, 1 where its table says nothing else. Integers are little endian. Texts and lists have their length before
//! them.
//!
//! Guaranteed of decoding: any bytes give an entry or an error; they never panic, and never take more memory than a small
//! multiple of their own length. What was encoded decodes to the same entry.

mod cuts;
mod fields;
mod request;
mod rows;

use bytes::Bytes;

pub use cuts::{CutPlan, CutsEntry, DoneEntry, Source, Tier};
pub use request::{KeyScope, MAX_KEY_BYTES, RequestEntry, RequestHeader, StoredKey};
pub use rows::Compression;

use super::definitions::{Definitions, DefinitionsError};

/// A frame's meaning.
#[derive(Debug, Clone)]
pub enum Entry {
    /// Rows of one request.
    Request(RequestEntry),
    /// Rows are assigned to cuts.
    Cuts(CutsEntry),
    /// The same once more.
    CutsAgain(CutsEntry),
    /// Cuts are committed.
    Done(DoneEntry),
}

/// A frame's meaning without its rows.
#[derive(Debug, Clone)]
pub enum EntryHeader {
    /// A request.
    Request(RequestHeader),
    /// Rows are assigned to cuts.
    Cuts(CutsEntry),
    /// The same once more.
    CutsAgain(CutsEntry),
    /// Cuts are committed.
    Done(DoneEntry),
}

/// Why an entry cannot be encoded or a body not be decoded.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The kind is not one of this version.
    #[error(
        "a frame has kind {0}, which this version does not know: start a version that is at least as new"
    )]
    Kind(u8),
    /// The body's layout is not one of this version.
    #[error(
        "a frame of kind {kind} has layout {layout}, and this version reads up to layout {newest}: start a newer version"
    )]
    Layout {
        /// The frame's kind.
        kind: u8,
        /// The layout's version.
        layout: u8,
        /// The newest that is read.
        newest: u8,
    },
    /// The bytes are not what was written.
    #[error("a frame's body cannot be read: {0}")]
    Malformed(String),
    /// Something is longer than the format can say.
    #[error("{what} has {length} bytes or items: at most {most} fit into a frame")]
    TooLong {
        /// What is too long.
        what: &'static str,
        /// How long it is.
        length: usize,
        /// The most allowed.
        most: usize,
    },
    /// The rows cannot be turned into bytes.
    #[error("rows of table {table:?} cannot be encoded")]
    Encode {
        /// The table.
        table: String,
        /// What arrow says.
        source: arrow::error::ArrowError,
    },
    /// The definition of a batch's table cannot be kept or read.
    #[error(transparent)]
    Definitions(#[from] DefinitionsError),
}

impl EntryError {
    /// Whether a newer version wrote the frame: this one cannot tell what it means for others.
    pub fn is_of_newer_version(&self) -> bool {
        match self {
            Self::Kind(_) => true,
            Self::Layout { layout, newest, .. } => layout > newest,
            _ => false,
        }
    }
}

impl Entry {
    /// The kind of frames that hold a request.
    pub const REQUEST: u8 = super::ORDINARY_KIND;
    /// The kind of frames that hold cuts.
    pub const CUTS: u8 = super::frame::NOTE_KIND;
    /// The kind of frames that hold committed cuts.
    pub const DONE: u8 = 3;
    /// The kind of frames that hold the second copy of cuts.
    pub const CUTS_AGAIN: u8 = 4;

    /// The kind of the frame that holds this entry.
    pub fn kind(&self) -> u8 {
        match self {
            Self::Request(_) => Self::REQUEST,
            Self::Cuts(_) => Self::CUTS,
            Self::CutsAgain(_) => Self::CUTS_AGAIN,
            Self::Done(_) => Self::DONE,
        }
    }

    /// What frames of a kind are called; none for kinds of newer versions.
    pub fn kind_name(kind: u8) -> Option<&'static str> {
        match kind {
            Self::REQUEST => Some("request"),
            Self::CUTS => Some("cuts"),
            Self::DONE => Some("done"),
            Self::CUTS_AGAIN => Some("cuts again"),
            _ => None,
        }
    }

    /// The frame's body in pieces. Rows that are not compressed are not copied. The definitions of a request's tables
    /// are durable when this returns; `compression` is for rows only.
    pub fn encode(
        &self,
        definitions: &Definitions,
        compression: Compression,
    ) -> Result<Vec<Bytes>, EntryError> {
        match self {
            Self::Request(entry) => entry.encode(definitions, compression),
            Self::Cuts(entry) | Self::CutsAgain(entry) => entry.encode(),
            Self::Done(entry) => entry.encode(),
        }
    }

    /// Reads a body back.
    pub fn decode(kind: u8, body: &Bytes, definitions: &Definitions) -> Result<Self, EntryError> {
        match kind {
            Self::REQUEST => RequestEntry::decode(body, definitions).map(Self::Request),
            Self::CUTS => CutsEntry::decode(body).map(Self::Cuts),
            Self::CUTS_AGAIN => CutsEntry::decode(body).map(Self::CutsAgain),
            Self::DONE => DoneEntry::decode(body).map(Self::Done),
            other => Err(EntryError::Kind(other)),
        }
    }

    /// Reads a body back without its rows, which are only counted.
    pub fn decode_header(kind: u8, body: &Bytes) -> Result<EntryHeader, EntryError> {
        match kind {
            Self::REQUEST => RequestHeader::of(body).map(EntryHeader::Request),
            Self::CUTS => CutsEntry::decode(body).map(EntryHeader::Cuts),
            Self::CUTS_AGAIN => CutsEntry::decode(body).map(EntryHeader::CutsAgain),
            Self::DONE => DoneEntry::decode(body).map(EntryHeader::Done),
            other => Err(EntryError::Kind(other)),
        }
    }
}

#[cfg(test)]
mod tests;
