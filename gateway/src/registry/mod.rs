//! The schema registry: which tables exist, what their columns are and which store holds them.
//!
//! In: definitions, from the files in `schemas/tables` and from `POST /schema/register`. Out: a [`Snapshot`] that
//! decoders read without a lock, and [`TableBatch`]es that provably fit their table.

pub mod attributes;
pub mod batch;
pub mod builtin;
mod check;
pub mod column;
mod constant;
pub mod evolution;
pub mod identifier;
mod index;
mod label_limits;
mod rollup;
pub mod route;
pub mod saved;
mod service;
pub mod snapshot;
pub mod table;
pub mod tenant;
mod tiering;

pub use attributes::ValueType;
pub use batch::{BatchError, TableBatch, TableRows};
pub use column::{ColumnDef, ColumnType};
pub use constant::{Constant, Literal};
pub use evolution::Effort;
pub use identifier::{Identifier, IdentifierError};
pub use index::{IndexDef, IndexPurpose};
pub use label_limits::{DROPPED_KEY, FOLDED_KEY, LabelChanges, LabelLimits, OnExcess, OnWrongType};
pub use rollup::{Dimension, Interval, Rollup};
pub use route::{RouteRequest, RouteRule, Routes, Signal, TextPattern};
pub use saved::SavedTables;
pub use service::{Expected, Proposal, RegisterError, Registered, Registration, Registry};
pub use snapshot::{Snapshot, SnapshotCell};
pub use table::{
    AcceptedWindow, HashDimension, MOVE_COLUMN, PROVENANCE_COLUMNS, StoreKind, TableDef, TableError,
    TableKind, TableSpec,
};
pub use tenant::Tenant;
pub use tiering::TieringPolicy;
