//! Two tiers of one table: new rows hot in Timescale, old ones cold in ClickHouse, and both shown as one.
//!
//! - [`generation`]: which rows are read from where, at one moment;
//! - [`combined`]: the statements that make both tiers one table;
//! - [`publish`]: swaps the readers of that table from one generation to the next;
//! - [`read`]: answers queries of a table from both tiers;
//! - [`rollup`]: aggregates of what is cold;
//! - [`trace_view`]: a trace with its log records, in SQL.

pub mod combined;
pub mod generation;
mod merge;
pub mod publish;
pub mod read;
pub mod rollup;
pub mod trace_view;
