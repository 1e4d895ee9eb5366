//! The messages as a generated client would have them, to make requests of.

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// A pair of structured metadata.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pair {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// An entry.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Entry {
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub(crate) line: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) structured_metadata: Vec<Pair>,
}

/// A stream.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Stream {
    #[prost(string, tag = "1")]
    pub(crate) labels: String,
    #[prost(message, repeated, tag = "2")]
    pub(crate) entries: Vec<Entry>,
    #[prost(uint64, tag = "3")]
    pub(crate) hash: u64,
}

/// `logproto.PushRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) streams: Vec<Stream>,
}

/// An entry at a time in nanoseconds.
pub(crate) fn entry(nanos: i64, line: &str, metadata: &[(&str, &str)]) -> Entry {
    let pair = |(name, value): &(&str, &str)| Pair { name: (*name).to_owned(), value: (*value).to_owned() };
    let nanos_part = i32::try_from(nanos.rem_euclid(1_000_000_000)).expect("below 10^9");
    Entry {
        timestamp: Some(Timestamp { seconds: nanos.div_euclid(1_000_000_000), nanos: nanos_part }),
        line: line.to_owned(),
        structured_metadata: metadata.iter().map(pair).collect(),
    }
}
