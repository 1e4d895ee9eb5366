//! Integration tests: the gateway's parts against the real stores.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod access;
mod command;
mod dead_letters;
mod delivery;
mod elasticsearch;
mod flight;
mod grpc;
mod harness;
mod influxdb;
mod lifecycle;
mod loki;
mod metrics;
mod operation;
mod otlp;
mod readme;
mod remote_write;
mod rest;
mod senders;
mod stores;
mod vector_native;
