//! Receivers: sockets and requests of one protocol each. A receiver authenticates, bounds, hands the bytes and a
//! decode function to [`crate::ingest::Ingest`], and words the answer.
