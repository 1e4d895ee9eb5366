//! Holds the ClickHouse server of `tidewell-embedded` to what a ClickHouse server does, by running it.
//!
//! Every test starts a server of its own on a free port with an empty data folder. The engine's library has to be
//! installed (`tidewell-embedded install --only clickhouse`) or named by `EMBEDDED_STORES_CHDB_LIBRARY`; tests fail without it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that fails fails its test")]
#![allow(clippy::disallowed_types, reason = "decodes what the server under test sent")]

mod arrow;
mod bodies;
mod concurrency;
mod crate_client;
mod durability;
mod errors;
mod http;
mod interface;
mod queries;
mod real_server;
mod server;
mod sessions;
mod streaming;
