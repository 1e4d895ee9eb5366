//! Faults: a seed in, the question whether anything acknowledged is lost, doubled or changed answered.
//!
//! Real processes: a pair of embedded stores and gateways of its own, killed and disturbed while an oracle sends records
//! and notes what it is told. The way of a fault:
//!
//! 1. [`world`] has the [`stores`], a [`proxy`] in front of each and the [`gateway`]s;
//! 2. a [`bout`] puts [`load`] on a gateway: [`sender`]s send [`record`]s, [`encode`]d by a [`client`], and keep a
//!    [`ledger`] of what they were told;
//! 3. [`rows`] has the faults, numbered as the project's fault matrix is;
//! 4. when a fault has stopped, the [`audit`] reads both stores by identity, and the [`verdict`] holds them against the
//!    ledger; [`outcome`] and [`report`] say what came of it.
//!
//! The oracle shares no code with the gateway. It is tested by seeded losses, duplicates and corruptions, and by gateways
//! that leave a step out ([`command`]'s `--expect-caught`).

mod attacks;
mod audit;
mod bout;
pub(crate) mod client;
pub mod command;
mod encode;
pub(crate) mod gateway;
mod ledger;
mod load;
mod mount;
mod outcome;
pub(crate) mod progress;
mod proxy;
pub(crate) mod record;
mod report;
mod rows;
mod segments;
mod sender;
pub(crate) mod stores;
mod strace;
mod verdict;
pub(crate) mod world;
