//! Integration tests: the gateway's parts against the real stores.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod command;
mod dead_letters;
mod delivery;
mod flight;
mod grafana;
mod grpc;
mod harness;
mod lifecycle;
mod operation;
mod otlp;
mod readme;
mod rest;
mod senders;
mod stores;
mod tiering;
