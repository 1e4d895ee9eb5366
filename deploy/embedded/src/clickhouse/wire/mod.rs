//! Bytes on the wire: bodies in, compression both ways.

pub(crate) mod body;
pub(crate) mod compression;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod flush;
mod lz4_frames;
pub(crate) mod native_frames;
