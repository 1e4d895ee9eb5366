//! Integration tests: the gateway's parts against the real stores.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test that cannot set itself up has failed")]

mod access;
mod command;
mod dead_letters;
mod delivery;
mod docs;
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
mod registry;
mod remote_write;
mod rest;
mod senders;
mod status_page;
mod stores;
mod tiering;
mod vector_native;
