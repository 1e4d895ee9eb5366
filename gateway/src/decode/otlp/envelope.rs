//! What a refused record is kept in: an export request that holds it alone, with its resource and its scope, so that it
//! can be sent again as it is.

use crate::decode::wire::{Field, Reader};

/// The media types of OTLP's requests: what the payload of a refused record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestTypes {
    /// As protobuf.
    pub protobuf: &'static str,
    /// As JSON.
    pub json: &'static str,
}

/// `ExportLogsServiceRequest`.
pub const LOGS: RequestTypes = RequestTypes {
    protobuf: "application/x-protobuf; messageType=\"opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest\"",
    json: "application/json; messageType=\"opentelemetry.proto.collector.logs.v1.ExportLogsServiceRequest\"",
};
/// `ExportMetricsServiceRequest`.
pub const METRICS: RequestTypes = RequestTypes {
    protobuf: "application/x-protobuf; messageType=\"opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest\"",
    json: "application/json; messageType=\"opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest\"",
};
/// `ExportTraceServiceRequest`.
pub const TRACES: RequestTypes = RequestTypes {
    protobuf: "application/x-protobuf; messageType=\"opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest\"",
    json: "application/json; messageType=\"opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest\"",
};

/// What the records of a level share, as it was sent: fields 1 and 3 of `ResourceLogs` and `ScopeLogs` and their likes.
#[derive(Debug, Default)]
pub(super) struct Shared {
    origin: Vec<u8>,
    schema_url: Vec<u8>,
}

impl Shared {
    /// Remembers the fields of the level that begins.
    pub(super) fn set(&mut self, origin: &[u8], schema_url: &str) {
        self.origin.clear();
        self.origin.extend_from_slice(origin);
        self.schema_url.clear();
        self.schema_url.extend_from_slice(schema_url.as_bytes());
    }

    /// The level with one item.
    pub(super) fn around(&self, item: &[u8]) -> Vec<u8> {
        let mut level = Vec::with_capacity(self.bytes() + item.len() + 16);
        if !self.origin.is_empty() {
            put(&mut level, 1, &self.origin);
        }
        put(&mut level, 2, item);
        if !self.schema_url.is_empty() {
            put(&mut level, 3, &self.schema_url);
        }
        level
    }

    /// Bytes of what is shared.
    pub(super) fn bytes(&self) -> usize {
        self.origin.len() + self.schema_url.len()
    }
}

/// What the points of a metric share, as it was sent.
#[derive(Debug)]
pub(super) struct SharedByPoints {
    /// The field that holds the data.
    number: u32,
    /// The fields of the metric but for its data.
    metric: Vec<u8>,
    /// The fields of the data but for the points.
    data: Vec<u8>,
}

impl SharedByPoints {
    /// Of a metric whose data are in its field `number`.
    pub(super) fn of(metric: &[u8], number: u32) -> Self {
        let mut shared = Self { number, metric: Vec::new(), data: Vec::new() };
        for (field, raw) in raw_fields(metric) {
            match field.number {
                1..=3 | 12 => shared.metric.extend_from_slice(raw),
                other if other == number => {
                    for (field, raw) in raw_fields(field.bytes("").unwrap_or_default()) {
                        if field.number != 1 {
                            shared.data.extend_from_slice(raw);
                        }
                    }
                }
                _ => {}
            }
        }
        shared
    }

    /// The metric with one point.
    pub(super) fn around(&self, point: &[u8]) -> Vec<u8> {
        let mut data = self.data.clone();
        put(&mut data, 1, point);
        let mut metric = self.metric.clone();
        put(&mut metric, self.number, &data);
        metric
    }

    /// Bytes of what is shared.
    pub(super) fn bytes(&self) -> usize {
        self.metric.len() + self.data.len()
    }
}

/// The fields of a message with the bytes that each takes, tag and all.
fn raw_fields(message: &[u8]) -> impl Iterator<Item = (Field<'_>, &[u8])> {
    let mut reader = Reader::new(message);
    std::iter::from_fn(move || {
        let before = reader.rest();
        let field = reader.field().ok().flatten()?;
        Some((field, before.get(..before.len() - reader.rest().len()).unwrap_or_default()))
    })
}

/// Appends a length-delimited field.
pub(crate) fn put(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, out);
    prost::encoding::encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}
