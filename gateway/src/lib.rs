//! Tidewell: a multi-protocol observability ingest gateway.
#![forbid(unsafe_code)]

pub mod config;
pub mod decode;
pub mod deliver;
pub mod ingest;
pub mod memory;
pub mod observe;
pub mod receive;
pub mod registry;
pub mod rejection;
pub mod server;
pub mod store;
