//! Two tiers of one table: new rows hot in Timescale, old ones cold in ClickHouse, and both shown as one.
//!
//! - [`generation`]: which rows are read from where, at one moment;
//! - [`combined`]: the statements that make both tiers one table;
//! - [`publish`]: swaps the readers of that table from one generation to the next.

pub mod combined;
pub mod generation;
pub mod publish;
