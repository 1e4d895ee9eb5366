//! Tidewell: a multi-protocol observability ingest gateway.
//!
//! The path of one record, which is also the order to read in:
//!
//! 1. [`receive`]: requests of one protocol each, bounded; the answer is worded here;
//! 2. [`decode`]: bytes to rows, pure; bad records are set apart;
//! 3. [`registry`]: which tables there are and what their rows look like;
//! 4. [`ingest`]: the one seam all protocols call: admit, decode, make durable, receipt;
//! 5. [`wal`]: the durable logs, one per store and one for refused records;
//! 6. [`deliver`]: rows of many requests become few large cuts, each stored exactly once;
//! 7. [`store`]: a cut is committed by TimescaleDB or ClickHouse, entirely or not at all;
//! 8. [`rejection`]: why a request is refused, in every protocol's words.
//!
//! [`tier`] moves what has cooled from one store to the other and shows both as one.
//!
//! [`server`] puts the parts together, [`config`] has the settings, [`reload`] what is read again, [`observe`] tells what happens, [`fault_point`] is
//! where fault tests end or break it.
#![forbid(unsafe_code)]

pub mod command;
pub mod config;
pub mod decode;
pub mod deliver;
pub mod fault_point;
pub mod ingest;
pub mod memory;
pub mod observe;
pub mod receive;
pub mod registry;
pub mod rejection;
pub mod reload;
pub mod server;
pub mod store;
pub mod tier;
mod units;
pub mod wal;
