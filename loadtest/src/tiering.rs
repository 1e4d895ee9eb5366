//! Tiering: ranges move between the stores while everything is disturbed; what readers of the combined tables see is
//! audited at every read.
//!
//! 1. [`tables`] has three tables, fills them with rows of the past, and knows how each is written and read;
//! 2. [`scene`] has the stores, two gateways and what it takes to look into the ledger;
//! 3. [`writers`] send rows of now and late rows through the gateways, and write past them into ranges that are closed;
//! 4. [`readers`] read the combined tables all the while and hold each answer against what must be there: the rows of
//!    the past, those that were acknowledged before the read began, none twice;
//! 5. [`course`] kills the mover at every point of a move, freezes it while another takes over, lets two race, makes
//!    ClickHouse forget, and ends with an audit of everything; [`command`] says what came of it.
//!
//! [`bench`] measures what moving and reading cost, on telemetry and stores of its own.
//!
//! Nothing here is shared with the gateway: what must be there is known from what was sent and from Postgres itself,
//! before anything moved.

pub mod bench;
pub mod command;
mod course;
mod readers;
mod scene;
mod tables;
mod writers;
