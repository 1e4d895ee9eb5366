//! The messages as a generated client would have them, to make requests of.

use std::collections::BTreeMap;

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

/// A map of values.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ValueMap {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
}

/// A list of values.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ValueArray {
    #[prost(message, repeated, tag = "1")]
    pub(crate) items: Vec<Value>,
}

/// A value.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 4, 5, 6, 7, 8, 9")]
    pub(crate) kind: Option<Kind>,
}

/// What a value is.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Kind {
    #[prost(bytes, tag = "1")]
    RawBytes(Vec<u8>),
    #[prost(message, tag = "2")]
    Timestamp(Timestamp),
    #[prost(int64, tag = "4")]
    Integer(i64),
    #[prost(double, tag = "5")]
    Float(f64),
    #[prost(bool, tag = "6")]
    Boolean(bool),
    #[prost(message, tag = "7")]
    Map(ValueMap),
    #[prost(message, tag = "8")]
    Array(ValueArray),
    #[prost(int32, tag = "9")]
    Null(i32),
}

/// A log event.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Log {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
    #[prost(message, optional, tag = "2")]
    pub(crate) value: Option<Value>,
}

/// A trace event.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Trace {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(crate) fields: BTreeMap<String, Value>,
}

/// The values of a tag.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TagValues {
    #[prost(message, repeated, tag = "1")]
    pub(crate) values: Vec<TagValue>,
}

/// One value of a tag.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct TagValue {
    #[prost(string, optional, tag = "1")]
    pub(crate) value: Option<String>,
}

/// A counter or a gauge.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Scalar {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
}

/// A set.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Set {
    #[prost(string, repeated, tag = "1")]
    pub(crate) values: Vec<String>,
}

/// `Distribution1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Distribution1 {
    #[prost(double, repeated, tag = "1")]
    pub(crate) values: Vec<f64>,
    #[prost(uint32, repeated, tag = "2")]
    pub(crate) sample_rates: Vec<u32>,
    #[prost(int32, tag = "3")]
    pub(crate) statistic: i32,
}

/// A value with a count: a sample, or a bucket.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Counted {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    #[prost(uint64, tag = "2")]
    pub(crate) count: u64,
}

/// `Distribution2`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Distribution2 {
    #[prost(message, repeated, tag = "1")]
    pub(crate) samples: Vec<Counted>,
    #[prost(int32, tag = "2")]
    pub(crate) statistic: i32,
}

/// `AggregatedHistogram1`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AggregatedHistogram1 {
    #[prost(double, repeated, tag = "1")]
    pub(crate) buckets: Vec<f64>,
    #[prost(uint32, repeated, tag = "2")]
    pub(crate) counts: Vec<u32>,
    #[prost(uint32, tag = "3")]
    pub(crate) count: u32,
    #[prost(double, tag = "4")]
    pub(crate) sum: f64,
}

/// `AggregatedHistogram2` and `3`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AggregatedHistogram3 {
    #[prost(message, repeated, tag = "1")]
    pub(crate) buckets: Vec<Counted>,
    #[prost(uint64, tag = "2")]
    pub(crate) count: u64,
    #[prost(double, tag = "3")]
    pub(crate) sum: f64,
}

/// A quantile.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct Quantile {
    #[prost(double, tag = "1")]
    pub(crate) quantile: f64,
    #[prost(double, tag = "2")]
    pub(crate) value: f64,
}

/// `AggregatedSummary3`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct AggregatedSummary3 {
    #[prost(message, repeated, tag = "1")]
    pub(crate) quantiles: Vec<Quantile>,
    #[prost(uint64, tag = "2")]
    pub(crate) count: u64,
    #[prost(double, tag = "3")]
    pub(crate) sum: f64,
}

/// What a metric has.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum MetricValue {
    #[prost(message, tag = "5")]
    Counter(Scalar),
    #[prost(message, tag = "6")]
    Gauge(Scalar),
    #[prost(message, tag = "7")]
    Set(Set),
    #[prost(message, tag = "8")]
    Distribution1(Distribution1),
    #[prost(message, tag = "9")]
    AggregatedHistogram1(AggregatedHistogram1),
    #[prost(message, tag = "12")]
    Distribution2(Distribution2),
    #[prost(message, tag = "15")]
    Sketch(Set),
    #[prost(message, tag = "16")]
    AggregatedHistogram3(AggregatedHistogram3),
    #[prost(message, tag = "17")]
    AggregatedSummary3(AggregatedSummary3),
}

/// A metric event.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Metric {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) timestamp: Option<Timestamp>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) tags_v1: BTreeMap<String, String>,
    #[prost(int32, tag = "4")]
    pub(crate) kind: i32,
    #[prost(oneof = "MetricValue", tags = "5, 6, 7, 8, 9, 12, 15, 16, 17")]
    pub(crate) value: Option<MetricValue>,
    #[prost(string, tag = "11")]
    pub(crate) namespace: String,
    #[prost(uint32, tag = "18")]
    pub(crate) interval_ms: u32,
    #[prost(btree_map = "string, message", tag = "20")]
    pub(crate) tags_v2: BTreeMap<String, TagValues>,
}

/// An event of any kind.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Event {
    #[prost(message, tag = "1")]
    Log(Log),
    #[prost(message, tag = "2")]
    Metric(Metric),
    #[prost(message, tag = "3")]
    Trace(Trace),
}

/// `EventWrapper`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct EventWrapper {
    #[prost(oneof = "Event", tags = "1, 2, 3")]
    pub(crate) event: Option<Event>,
}

/// `PushEventsRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PushEventsRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) events: Vec<EventWrapper>,
}

/// Text as Vector sends it.
pub(crate) fn text(text: &str) -> Value {
    value(Kind::RawBytes(text.as_bytes().to_vec()))
}

/// A value of some kind.
pub(crate) fn value(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

/// A map of values.
pub(crate) fn map<const N: usize>(fields: [(&str, Value); N]) -> BTreeMap<String, Value> {
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A log as Vector sends it today.
pub(crate) fn log<const N: usize>(fields: [(&str, Value); N]) -> Event {
    let value = Some(value(Kind::Map(ValueMap { fields: map(fields) })));
    Event::Log(Log { fields: BTreeMap::new(), value })
}

/// A request of these events.
pub(crate) fn request(events: Vec<Event>) -> PushEventsRequest {
    let events = events.into_iter().map(|event| EventWrapper { event: Some(event) });
    PushEventsRequest { events: events.collect() }
}
