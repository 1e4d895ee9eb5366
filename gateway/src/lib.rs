//! Tidewell: a multi-protocol observability ingest gateway.
#![forbid(unsafe_code)]

pub mod decode;
pub mod registry;
