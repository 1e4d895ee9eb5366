//! The gateway's own gRPC protocol, package `tidewell.v1`: messages, client and server as generated from
//! `tidewell/v1/ingest.proto`, and the descriptors that server reflection answers from.
//!
//! The generated files are committed, so that building the gateway needs neither `protoc` nor a build script.
//! `tests/generated.rs` fails when they are not what the `.proto` file gives; to write them anew:
//! `TIDEWELL_REGENERATE=1 cargo test -p tidewell-proto`.
#![forbid(unsafe_code)]

mod raw;

pub use raw::RawMessage;

/// Package `tidewell.v1`: the messages and the client.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::all,
    clippy::clone_on_ref_ptr,
    reason = "generated: the documentation is that of the .proto file"
)]
pub mod v1 {
    include!("generated/tidewell.v1.rs");
}

/// The server of package `tidewell.v1`. Requests that may be large come as [`RawMessage`]s.
#[allow(
    missing_docs,
    missing_debug_implementations,
    clippy::all,
    clippy::clone_on_ref_ptr,
    reason = "generated: the documentation is that of the .proto file"
)]
pub mod v1_server {
    include!("generated/tidewell.v1.server.rs");
}

/// The compiled `.proto` file as a `google.protobuf.FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/tidewell.v1.bin");
