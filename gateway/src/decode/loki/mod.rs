//! Loki's push requests: JSON ([`json`]) or protobuf ([`protobuf`]) in, rows of `logs_events` out.
//!
//! | column | from |
//! |---|---|
//! | `timestamp` | the entry's time; `observed_timestamp` is the time of arrival |
//! | `message` | the line |
//! | `labels` | the labels of the stream and the entry's structured metadata; metadata with the name of a label are called `NAME_extracted`, as Loki's queries call them |
//! | `app`, `host`, `level`, `trace_id`, `span_id` | the first of the names in [`rows`] that is there; it stays among the labels |
//!
//! An entry is a record: one that is bad is refused alone, and kept in a push request of its own. Source: Loki's HTTP
//! API reference, "Ingest logs"; field numbers from grafana/loki, `pkg/push/push.proto`.

mod json;
mod labels;
mod protobuf;
mod rows;

pub use self::json::push_json;
pub use self::protobuf::push_protobuf;

/// The media type of a refused entry that came as JSON.
pub const KEPT_JSON: &str = "application/json; messageType=\"logproto.PushRequest\"";
/// The media type of a refused entry that came as protobuf.
pub const KEPT_PROTOBUF: &str = "application/x-protobuf; messageType=\"logproto.PushRequest\"";

#[cfg(test)]
mod tests;
