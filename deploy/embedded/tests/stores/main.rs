//! `tidewell-embedded` as people run it: up, down, status and run, with kills and obstacles in between.
//!
//! Needs root, and installs what is missing into the tools folder.
#![allow(clippy::unwrap_used, reason = "a step that fails ends the test")]

mod both;
mod harness;
mod timescale;
