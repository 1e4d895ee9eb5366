//! The messages of OTLP as tables: the JSON name of each field, its number and how protobuf writes it.
//!
//! Source: the `.proto` files of OTLP 1.11. Fields that only profiles use are left out.

use crate::registry::builtin::{LOGS_EVENTS, METRICS_EVENTS, METRICS_HISTOGRAMS, TRACES_SPANS};

/// How a field's value looks in JSON and in protobuf.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// An identifier: hexadecimal digits in either case.
    Hex,
    /// Bytes: base64 of either alphabet.
    Base64,
    /// `true` or `false`.
    Bool,
    /// A number, or one of the strings `NaN`, `Infinity` and `-Infinity`.
    Double,
    /// A signed 32-bit integer or an enum, as a varint.
    Int32,
    /// A signed 32-bit integer, zigzag.
    Sint32,
    /// An unsigned 32-bit integer, as a varint.
    Uint32,
    /// A signed 64-bit integer, as a varint.
    Int64,
    /// An unsigned 64-bit integer, as a varint.
    Uint64,
    /// An unsigned 32-bit integer in 4 bytes.
    Fixed32,
    /// An unsigned 64-bit integer in 8 bytes.
    Fixed64,
    /// A signed 64-bit integer in 8 bytes.
    Sfixed64,
    /// A message.
    Message(&'static Message),
    /// A record of this table: what is wrong with it is wrong with it alone.
    Record(&'static Message, &'static str),
    /// A message that holds records.
    Level(&'static Message),
}

/// A field of a message.
#[derive(Debug)]
pub(super) struct FieldDef {
    pub(super) name: &'static str,
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) repeated: bool,
}

/// A message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) fields: &'static [FieldDef],
}

impl Message {
    /// The field with this JSON name.
    pub(super) fn field(&self, name: &str) -> Option<&'static FieldDef> {
        self.fields.iter().find(|field| field.name == name)
    }
}

const fn one(name: &'static str, number: u32, kind: Kind) -> FieldDef {
    FieldDef { name, number, kind, repeated: false }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> FieldDef {
    FieldDef { name, number, kind, repeated: true }
}

/// A message of which one resource has many, with everything above the records.
macro_rules! request {
    ($request:ident, $resources:ident, $scopes:ident, $resource_field:literal, $scope_field:literal,
     $item_field:literal, $item:expr) => {
        pub(super) static $request: Message =
            Message { fields: &[many($resource_field, 1, Kind::Level(&$resources))] };
        static $resources: Message = Message {
            fields: &[
                one("resource", 1, Kind::Message(&RESOURCE)),
                many($scope_field, 2, Kind::Level(&$scopes)),
                one("schemaUrl", 3, Kind::Text),
            ],
        };
        static $scopes: Message = Message {
            fields: &[
                one("scope", 1, Kind::Message(&SCOPE)),
                many($item_field, 2, $item),
                one("schemaUrl", 3, Kind::Text),
            ],
        };
    };
}

request!(
    LOGS,
    RESOURCE_LOGS,
    SCOPE_LOGS,
    "resourceLogs",
    "scopeLogs",
    "logRecords",
    Kind::Record(&LOG_RECORD, LOGS_EVENTS)
);
request!(
    METRICS,
    RESOURCE_METRICS,
    SCOPE_METRICS,
    "resourceMetrics",
    "scopeMetrics",
    "metrics",
    Kind::Level(&METRIC)
);
request!(
    TRACES,
    RESOURCE_SPANS,
    SCOPE_SPANS,
    "resourceSpans",
    "scopeSpans",
    "spans",
    Kind::Record(&SPAN, TRACES_SPANS)
);

static ANY_VALUE: Message = Message {
    fields: &[
        one("stringValue", 1, Kind::Text),
        one("boolValue", 2, Kind::Bool),
        one("intValue", 3, Kind::Int64),
        one("doubleValue", 4, Kind::Double),
        one("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        one("kvlistValue", 6, Kind::Message(&KEY_VALUE_LIST)),
        one("bytesValue", 7, Kind::Base64),
    ],
};

static ARRAY_VALUE: Message = Message { fields: &[many("values", 1, Kind::Message(&ANY_VALUE))] };

static KEY_VALUE_LIST: Message = Message { fields: &[many("values", 1, Kind::Message(&KEY_VALUE))] };

static KEY_VALUE: Message =
    Message { fields: &[one("key", 1, Kind::Text), one("value", 2, Kind::Message(&ANY_VALUE))] };

static RESOURCE: Message = Message {
    fields: &[
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 2, Kind::Uint32),
        many("entityRefs", 3, Kind::Message(&ENTITY_REF)),
    ],
};

static ENTITY_REF: Message = Message {
    fields: &[
        one("schemaUrl", 1, Kind::Text),
        one("type", 2, Kind::Text),
        many("idKeys", 3, Kind::Text),
        many("descriptionKeys", 4, Kind::Text),
    ],
};

static SCOPE: Message = Message {
    fields: &[
        one("name", 1, Kind::Text),
        one("version", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static LOG_RECORD: Message = Message {
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("observedTimeUnixNano", 11, Kind::Fixed64),
        one("severityNumber", 2, Kind::Int32),
        one("severityText", 3, Kind::Text),
        one("body", 5, Kind::Message(&ANY_VALUE)),
        many("attributes", 6, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 7, Kind::Uint32),
        one("flags", 8, Kind::Fixed32),
        one("traceId", 9, Kind::Hex),
        one("spanId", 10, Kind::Hex),
        one("eventName", 12, Kind::Text),
    ],
};

static SPAN: Message = Message {
    fields: &[
        one("traceId", 1, Kind::Hex),
        one("spanId", 2, Kind::Hex),
        one("traceState", 3, Kind::Text),
        one("parentSpanId", 4, Kind::Hex),
        one("flags", 16, Kind::Fixed32),
        one("name", 5, Kind::Text),
        one("kind", 6, Kind::Int32),
        one("startTimeUnixNano", 7, Kind::Fixed64),
        one("endTimeUnixNano", 8, Kind::Fixed64),
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Kind::Uint32),
        many("events", 11, Kind::Message(&EVENT)),
        one("droppedEventsCount", 12, Kind::Uint32),
        many("links", 13, Kind::Message(&LINK)),
        one("droppedLinksCount", 14, Kind::Uint32),
        one("status", 15, Kind::Message(&STATUS)),
    ],
};

static EVENT: Message = Message {
    fields: &[
        one("timeUnixNano", 1, Kind::Fixed64),
        one("name", 2, Kind::Text),
        many("attributes", 3, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Kind::Uint32),
    ],
};

static LINK: Message = Message {
    fields: &[
        one("traceId", 1, Kind::Hex),
        one("spanId", 2, Kind::Hex),
        one("traceState", 3, Kind::Text),
        many("attributes", 4, Kind::Message(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Kind::Uint32),
        one("flags", 6, Kind::Fixed32),
    ],
};

static STATUS: Message = Message { fields: &[one("message", 2, Kind::Text), one("code", 3, Kind::Int32)] };

static METRIC: Message = Message {
    fields: &[
        one("name", 1, Kind::Text),
        one("description", 2, Kind::Text),
        one("unit", 3, Kind::Text),
        one("gauge", 5, Kind::Level(&GAUGE)),
        one("sum", 7, Kind::Level(&SUM)),
        one("histogram", 9, Kind::Level(&HISTOGRAM)),
        one("exponentialHistogram", 10, Kind::Level(&EXPONENTIAL_HISTOGRAM)),
        one("summary", 11, Kind::Level(&SUMMARY)),
        many("metadata", 12, Kind::Message(&KEY_VALUE)),
    ],
};

static GAUGE: Message =
    Message { fields: &[many("dataPoints", 1, Kind::Record(&NUMBER_POINT, METRICS_EVENTS))] };

static SUM: Message = Message {
    fields: &[
        many("dataPoints", 1, Kind::Record(&NUMBER_POINT, METRICS_EVENTS)),
        one("aggregationTemporality", 2, Kind::Int32),
        one("isMonotonic", 3, Kind::Bool),
    ],
};

static HISTOGRAM: Message = Message {
    fields: &[
        many("dataPoints", 1, Kind::Record(&HISTOGRAM_POINT, METRICS_HISTOGRAMS)),
        one("aggregationTemporality", 2, Kind::Int32),
    ],
};

static EXPONENTIAL_HISTOGRAM: Message = Message {
    fields: &[
        many("dataPoints", 1, Kind::Record(&EXPONENTIAL_POINT, METRICS_HISTOGRAMS)),
        one("aggregationTemporality", 2, Kind::Int32),
    ],
};

static SUMMARY: Message =
    Message { fields: &[many("dataPoints", 1, Kind::Record(&SUMMARY_POINT, METRICS_HISTOGRAMS))] };

static NUMBER_POINT: Message = Message {
    fields: &[
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("asDouble", 4, Kind::Double),
        one("asInt", 6, Kind::Sfixed64),
        many("exemplars", 5, Kind::Message(&EXEMPLAR)),
        one("flags", 8, Kind::Uint32),
    ],
};

static HISTOGRAM_POINT: Message = Message {
    fields: &[
        many("attributes", 9, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("bucketCounts", 6, Kind::Fixed64),
        many("explicitBounds", 7, Kind::Double),
        many("exemplars", 8, Kind::Message(&EXEMPLAR)),
        one("flags", 10, Kind::Uint32),
        one("min", 11, Kind::Double),
        one("max", 12, Kind::Double),
    ],
};

static EXPONENTIAL_POINT: Message = Message {
    fields: &[
        many("attributes", 1, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        one("scale", 6, Kind::Sint32),
        one("zeroCount", 7, Kind::Fixed64),
        one("positive", 8, Kind::Message(&BUCKETS)),
        one("negative", 9, Kind::Message(&BUCKETS)),
        one("flags", 10, Kind::Uint32),
        many("exemplars", 11, Kind::Message(&EXEMPLAR)),
        one("min", 12, Kind::Double),
        one("max", 13, Kind::Double),
        one("zeroThreshold", 14, Kind::Double),
    ],
};

static BUCKETS: Message =
    Message { fields: &[one("offset", 1, Kind::Sint32), many("bucketCounts", 2, Kind::Uint64)] };

static SUMMARY_POINT: Message = Message {
    fields: &[
        many("attributes", 7, Kind::Message(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Kind::Fixed64),
        one("timeUnixNano", 3, Kind::Fixed64),
        one("count", 4, Kind::Fixed64),
        one("sum", 5, Kind::Double),
        many("quantileValues", 6, Kind::Message(&QUANTILE)),
        one("flags", 8, Kind::Uint32),
    ],
};

static QUANTILE: Message =
    Message { fields: &[one("quantile", 1, Kind::Double), one("value", 2, Kind::Double)] };

static EXEMPLAR: Message = Message {
    fields: &[
        many("filteredAttributes", 7, Kind::Message(&KEY_VALUE)),
        one("timeUnixNano", 2, Kind::Fixed64),
        one("asDouble", 3, Kind::Double),
        one("spanId", 4, Kind::Hex),
        one("traceId", 5, Kind::Hex),
        one("asInt", 6, Kind::Sfixed64),
    ],
};
