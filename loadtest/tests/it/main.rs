//! The load generator against gateways and stores: answers and losses that are known in, what it reports out.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod audit;
mod drive;
mod sink;
