//! What a request decoded by prost should become: the tables' rows, written down a second time from the messages.

use std::collections::BTreeMap;

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogramDataPoint, HistogramDataPoint, Metric, NumberDataPoint, SummaryDataPoint,
    exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

use super::{NOW, Row, double};
use crate::registry::attributes::{write_double, write_json_key, write_json_string, write_json_value};
use crate::registry::{ValueType, builtin};

/// Rows by table, and the indexes of the refused records.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) tables: BTreeMap<String, Vec<Row>>,
    pub(super) accepted: usize,
    pub(super) rejected: Vec<usize>,
    records: usize,
}

impl Expected {
    /// One more record with its rows; none when it must be refused.
    fn record(&mut self, rows: Option<Vec<(&str, Row)>>) {
        match rows {
            Some(rows) => {
                self.accepted += 1;
                for (table, row) in rows {
                    self.tables.entry(table.to_owned()).or_default().push(row);
                }
            }
            None => self.rejected.push(self.records),
        }
        self.records += 1;
    }
}

/// Times up to two seconds before [`NOW`] are in every table's window, the other generated ones are not.
fn in_window(time: u64) -> Option<i64> {
    let time = i64::try_from(time).ok()?;
    let ten_years = 10 * 365 * 86_400_000_000_000;
    (NOW - ten_years..=NOW + 86_400_000_000_000).contains(&time).then_some(time)
}

fn storable(time: u64) -> Option<i64> {
    i64::try_from(time).ok().filter(|time| *time <= 9_223_372_036_000_000_000)
}

fn canonical(value: Option<&AnyValue>) -> (String, ValueType) {
    let mut out = String::new();
    let kind = match value.and_then(|value| value.value.as_ref()) {
        None | Some(Any::StringValueStrindex(_)) => ValueType::Empty,
        Some(Any::StringValue(value)) => {
            out.clone_from(value);
            ValueType::String
        }
        Some(Any::BoolValue(value)) => {
            out = value.to_string();
            ValueType::Bool
        }
        Some(Any::IntValue(value)) => {
            out = value.to_string();
            ValueType::Int
        }
        Some(Any::DoubleValue(value)) => {
            write_double(&mut out, *value);
            ValueType::Double
        }
        Some(Any::BytesValue(value)) => {
            out = base64::engine::general_purpose::STANDARD.encode(value);
            ValueType::Bytes
        }
        Some(Any::ArrayValue(list)) => {
            let items: Vec<String> = list.values.iter().map(|value| nested(Some(value))).collect();
            out = format!("[{}]", items.join(","));
            ValueType::Array
        }
        Some(Any::KvlistValue(list)) => {
            out = object(&list.values);
            ValueType::Map
        }
    };
    (out, kind)
}

fn nested(value: Option<&AnyValue>) -> String {
    let (text, kind) = canonical(value);
    let mut out = String::new();
    write_json_value(&mut out, &text, kind);
    out
}

fn object(pairs: &[KeyValue]) -> String {
    let members: Vec<String> = last_of_each(pairs)
        .into_iter()
        .map(|pair| {
            let mut key = String::new();
            write_json_key(&mut key, &pair.key);
            format!("{key}:{}", nested(pair.value.as_ref()))
        })
        .collect();
    format!("{{{}}}", members.join(","))
}

fn last_of_each(pairs: &[KeyValue]) -> Vec<&KeyValue> {
    let mut kept: Vec<&KeyValue> = Vec::new();
    for pair in pairs.iter().rev() {
        if kept.iter().all(|later| later.key != pair.key) {
            kept.insert(0, pair);
        }
    }
    kept
}

fn attributes(pairs: &[KeyValue]) -> Value {
    last_of_each(pairs)
        .into_iter()
        .map(|pair| {
            let (text, kind) = canonical(pair.value.as_ref());
            json!([pair.key, text, kind.code()])
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An identifier that may be absent.
fn id(bytes: &[u8], length: usize) -> Option<String> {
    match bytes {
        [] => Some(String::new()),
        _ if bytes.len() != length => None,
        _ if bytes.iter().all(|byte| *byte == 0) => Some(String::new()),
        _ => Some(hex(bytes)),
    }
}

fn string(text: &str) -> String {
    let mut out = String::new();
    write_json_string(&mut out, text);
    out
}

fn strings(list: &[String]) -> String {
    format!("[{}]", list.iter().map(|text| string(text)).collect::<Vec<_>>().join(","))
}

fn put(row: &mut Row, column: &str, value: Value) {
    row.insert(column.to_owned(), value);
}

fn put_unless(row: &mut Row, column: &str, default: bool, value: Value) {
    if !default {
        put(row, column, value);
    }
}

/// What the records of one scope share.
struct Shared<'a> {
    resource: Option<&'a Resource>,
    resource_url: &'a str,
    scope: Option<&'a InstrumentationScope>,
    scope_url: &'a str,
}

impl Shared<'_> {
    fn text_of(&self, key: &str) -> String {
        let attributes = self.resource.map_or(&[][..], |resource| &resource.attributes);
        last_of_each(attributes)
            .into_iter()
            .find(|pair| pair.key == key)
            .map_or_else(String::new, |pair| canonical(pair.value.as_ref()).0)
    }

    fn put(&self, row: &mut Row, counts: &[(&str, u32)]) {
        let resource = self.resource.cloned().unwrap_or_default();
        let scope = self.scope.cloned().unwrap_or_default();
        put(row, "app", json!(self.text_of("service.name")));
        put(row, "host", json!(self.text_of("host.name")));
        put(row, "resource", attributes(&resource.attributes));
        put(row, "scope", attributes(&scope.attributes));
        put(row, "scope_name", json!(scope.name));
        put(row, "scope_version", json!(scope.version));
        let mut members = Vec::new();
        let mut member = |name: &str, value: String| members.push(format!("\"{name}\":{value}"));
        if !self.resource_url.is_empty() {
            member("resource_schema_url", string(self.resource_url));
        }
        if resource.dropped_attributes_count != 0 {
            member("resource_dropped_attributes_count", resource.dropped_attributes_count.to_string());
        }
        if !resource.entity_refs.is_empty() {
            let refs: Vec<String> = resource.entity_refs.iter().map(entity_ref).collect();
            member("entity_refs", format!("[{}]", refs.join(",")));
        }
        if !self.scope_url.is_empty() {
            member("scope_schema_url", string(self.scope_url));
        }
        if scope.dropped_attributes_count != 0 {
            member("scope_dropped_attributes_count", scope.dropped_attributes_count.to_string());
        }
        for (name, count) in counts.iter().filter(|(_, count)| *count != 0) {
            member(name, count.to_string());
        }
        put_unless(row, "envelope", members.is_empty(), json!(format!("{{{}}}", members.join(","))));
    }
}

fn entity_ref(entity: &EntityRef) -> String {
    let mut members = Vec::new();
    if !entity.schema_url.is_empty() {
        members.push(format!("\"schema_url\":{}", string(&entity.schema_url)));
    }
    if !entity.r#type.is_empty() {
        members.push(format!("\"type\":{}", string(&entity.r#type)));
    }
    if !entity.id_keys.is_empty() {
        members.push(format!("\"id_keys\":{}", strings(&entity.id_keys)));
    }
    if !entity.description_keys.is_empty() {
        members.push(format!("\"description_keys\":{}", strings(&entity.description_keys)));
    }
    format!("{{{}}}", members.join(","))
}

/// Postgres cannot hold NUL; ClickHouse can.
fn without_nul(row: Row) -> Option<Row> {
    let text = Value::Object(row.clone().into_iter().collect()).to_string();
    (!text.contains("\\u0000")).then_some(row)
}

pub(super) fn logs(request: &ExportLogsServiceRequest) -> Expected {
    let mut expected = Expected::default();
    for outer in &request.resource_logs {
        for inner in &outer.scope_logs {
            let shared = Shared {
                resource: outer.resource.as_ref(),
                resource_url: &outer.schema_url,
                scope: inner.scope.as_ref(),
                scope_url: &inner.schema_url,
            };
            for record in &inner.log_records {
                expected.record(log_row(record, &shared).map(|row| vec![(builtin::LOGS_EVENTS, row)]));
            }
        }
    }
    expected
}

fn log_row(record: &LogRecord, shared: &Shared<'_>) -> Option<Row> {
    let mut row = Row::new();
    let observed = storable(record.observed_time_unix_nano)?;
    let time = match (record.time_unix_nano, observed) {
        (0, 0) => NOW,
        (0, observed) => in_window(observed.cast_unsigned())?,
        (time, _) => in_window(time)?,
    };
    put(&mut row, "timestamp", json!(time));
    put_unless(&mut row, "observed_timestamp", observed == 0, json!(observed));
    let level = match (record.severity_number, record.severity_text.as_str()) {
        (1..=24, _) => {
            let range = usize::try_from(record.severity_number - 1).unwrap() / 4;
            ["trace", "debug", "info", "warn", "error", "fatal"][range].to_owned()
        }
        (_, "INFO") => "info".to_owned(),
        (_, "Warning") => "warn".to_owned(),
        // Only mutated requests have other words.
        (_, other) => crate::decode::severity::parse(other)
            .map_or_else(|| other.to_lowercase(), |severity| severity.level.to_owned()),
    };
    put(&mut row, "level", json!(level));
    put(&mut row, "severity_number", json!(record.severity_number));
    put(&mut row, "severity_text", json!(record.severity_text));
    put(&mut row, "trace_id", json!(id(&record.trace_id, 16)?));
    put(&mut row, "span_id", json!(id(&record.span_id, 8)?));
    put_unless(&mut row, "flags", record.flags == 0, json!(record.flags));
    put(&mut row, "event_name", json!(record.event_name));
    let (message, kind) = canonical(record.body.as_ref());
    put(&mut row, "message", json!(message));
    put(&mut row, "message_type", json!(if kind == ValueType::String { "" } else { kind.name() }));
    put(&mut row, "labels", attributes(&record.attributes));
    shared.put(&mut row, &[("dropped_attributes_count", record.dropped_attributes_count)]);
    Some(row)
}

pub(super) fn traces(request: &ExportTraceServiceRequest) -> Expected {
    let mut expected = Expected::default();
    for outer in &request.resource_spans {
        for inner in &outer.scope_spans {
            let shared = Shared {
                resource: outer.resource.as_ref(),
                resource_url: &outer.schema_url,
                scope: inner.scope.as_ref(),
                scope_url: &inner.schema_url,
            };
            for span in &inner.spans {
                let row = span_row(span, &shared).and_then(without_nul);
                expected.record(row.map(|row| vec![(builtin::TRACES_SPANS, row)]));
            }
        }
    }
    expected
}

fn span_row(span: &Span, shared: &Shared<'_>) -> Option<Row> {
    let mut row = Row::new();
    let start = in_window(span.start_time_unix_nano)?;
    put(&mut row, "time", json!(start));
    let end = i64::try_from(span.end_time_unix_nano).ok()?;
    put_unless(&mut row, "duration_ns", end == 0, json!(end.wrapping_sub(start)));
    for (column, bytes, length) in [("trace_id", &span.trace_id, 16), ("span_id", &span.span_id, 8)] {
        put(&mut row, column, json!(id(bytes, length).filter(|id| !id.is_empty())?));
    }
    let parent = id(&span.parent_span_id, 8)?;
    put_unless(&mut row, "parent_span_id", parent.is_empty(), json!(parent));
    put_unless(&mut row, "trace_state", span.trace_state.is_empty(), json!(span.trace_state));
    put(&mut row, "name", json!(span.name));
    let kind = match span.kind {
        0 => "unspecified".to_owned(),
        1 => "internal".to_owned(),
        2 => "server".to_owned(),
        3 => "client".to_owned(),
        4 => "producer".to_owned(),
        5 => "consumer".to_owned(),
        other => other.to_string(),
    };
    put(&mut row, "kind", json!(kind));
    let status = span.status.clone().unwrap_or_default();
    let code = match status.code {
        0 => "unset".to_owned(),
        1 => "ok".to_owned(),
        2 => "error".to_owned(),
        other => other.to_string(),
    };
    put(&mut row, "status", json!(code));
    put_unless(&mut row, "status_message", status.message.is_empty(), json!(status.message));
    put(&mut row, "labels", attributes(&span.attributes));
    let mut events = Vec::new();
    for event in &span.events {
        let time = i64::try_from(event.time_unix_nano).ok()?;
        let mut members =
            vec![format!("\"time_unix_nano\":{time}"), format!("\"name\":{}", string(&event.name))];
        push_attributes(&mut members, &event.attributes, event.dropped_attributes_count);
        events.push(format!("{{{}}}", members.join(",")));
    }
    put_unless(&mut row, "events", events.is_empty(), json!(format!("[{}]", events.join(","))));
    let mut links = Vec::new();
    for link in &span.links {
        if !matches!(link.trace_id.len(), 0 | 16) || !matches!(link.span_id.len(), 0 | 8) {
            return None;
        }
        let mut members = vec![
            format!("\"trace_id\":\"{}\"", hex(&link.trace_id)),
            format!("\"span_id\":\"{}\"", hex(&link.span_id)),
        ];
        if !link.trace_state.is_empty() {
            members.push(format!("\"trace_state\":{}", string(&link.trace_state)));
        }
        push_attributes(&mut members, &link.attributes, link.dropped_attributes_count);
        if link.flags != 0 {
            members.push(format!("\"flags\":{}", link.flags));
        }
        links.push(format!("{{{}}}", members.join(",")));
    }
    put_unless(&mut row, "links", links.is_empty(), json!(format!("[{}]", links.join(","))));
    put_unless(&mut row, "flags", span.flags == 0, json!(span.flags));
    shared.put(
        &mut row,
        &[
            ("dropped_attributes_count", span.dropped_attributes_count),
            ("dropped_events_count", span.dropped_events_count),
            ("dropped_links_count", span.dropped_links_count),
        ],
    );
    Some(row)
}

fn push_attributes(members: &mut Vec<String>, attributes: &[KeyValue], dropped: u32) {
    if !attributes.is_empty() {
        members.push(format!("\"attributes\":{}", object(attributes)));
    }
    if dropped != 0 {
        members.push(format!("\"dropped_attributes_count\":{dropped}"));
    }
}

/// What all points of a metric share.
struct Head<'a> {
    metric: &'a Metric,
    kind: &'static str,
    temporality: Option<&'static str>,
    monotonic: Option<bool>,
}

impl<'a> Head<'a> {
    fn of(
        metric: &'a Metric,
        kind: &'static str,
        temporality: Option<i32>,
        monotonic: Option<bool>,
    ) -> Option<Self> {
        let temporality = match temporality {
            None => None,
            Some(1) => Some("delta"),
            Some(2) => Some("cumulative"),
            Some(_) => return None,
        };
        (!metric.name.is_empty()).then_some(Self { metric, kind, temporality, monotonic })
    }

    fn put(&self, row: &mut Row, time: u64, start: u64, flags: u32, labels: &[KeyValue]) -> Option<()> {
        put(row, "time", json!(in_window(time)?));
        put(row, "metric", json!(self.metric.name));
        put(row, "type", json!(self.kind));
        put(row, "unit", json!(self.metric.unit));
        put(row, "labels", attributes(labels));
        put_unless(row, "temporality", self.temporality.is_none(), json!(self.temporality));
        put_unless(row, "start_time", start == 0, json!(storable(start)?));
        put_unless(row, "flags", flags == 0, json!(flags));
        Some(())
    }

    fn metadata(&self) -> Row {
        let mut row = Row::new();
        put(&mut row, "metric", json!(self.metric.name));
        put(&mut row, "type", json!(self.kind));
        put(&mut row, "unit", json!(self.metric.unit));
        put(&mut row, "temporality", json!(self.temporality.unwrap_or_default()));
        put(&mut row, "monotonic", json!(self.monotonic.unwrap_or_default()));
        let description = &self.metric.description;
        put_unless(&mut row, "description", description.is_empty(), json!(description));
        put(&mut row, "metadata", attributes(&self.metric.metadata));
        put(&mut row, "updated_at", json!(NOW));
        row
    }
}

type Rows = Vec<(&'static str, Row)>;

pub(super) fn metrics(request: &ExportMetricsServiceRequest) -> Expected {
    let mut expected = Expected::default();
    let mut metadata: Vec<Row> = Vec::new();
    for outer in &request.resource_metrics {
        for inner in &outer.scope_metrics {
            let shared = Shared {
                resource: outer.resource.as_ref(),
                resource_url: &outer.schema_url,
                scope: inner.scope.as_ref(),
                scope_url: &inner.schema_url,
            };
            for metric in &inner.metrics {
                let Some(head) = metric_rows(metric, &shared, &mut expected) else { continue };
                let Some(row) = without_nul(head.metadata()) else { continue };
                let is_same = |other: &&mut Row| {
                    ["metric", "type", "unit", "temporality", "monotonic"]
                        .iter()
                        .all(|key| other[*key] == row[*key])
                };
                match metadata.iter_mut().find(is_same) {
                    Some(earlier) => *earlier = row,
                    None => metadata.push(row),
                }
            }
        }
    }
    if !metadata.is_empty() {
        expected.tables.insert(builtin::METRICS_METADATA.to_owned(), metadata);
    }
    expected
}

/// Records the points; the head when the metric is one whose metadata is kept.
fn metric_rows<'a>(metric: &'a Metric, shared: &Shared<'_>, expected: &mut Expected) -> Option<Head<'a>> {
    let head;
    let mut record = |rows: Option<Rows>| {
        let storable = rows.and_then(|rows| {
            rows.into_iter().map(|(table, row)| Some((table, without_nul(row)?))).collect::<Option<Vec<_>>>()
        });
        expected.record(storable);
    };
    match metric.data.as_ref()? {
        metric::Data::Gauge(gauge) => {
            head = Head::of(metric, "gauge", None, None);
            for point in &gauge.data_points {
                record(head.as_ref().and_then(|head| number_rows(point, head, shared)));
            }
        }
        metric::Data::Sum(sum) => {
            head = Head::of(metric, "sum", Some(sum.aggregation_temporality), Some(sum.is_monotonic));
            for point in &sum.data_points {
                record(head.as_ref().and_then(|head| number_rows(point, head, shared)));
            }
        }
        metric::Data::Histogram(histogram) => {
            head = Head::of(metric, "histogram", Some(histogram.aggregation_temporality), None);
            for point in &histogram.data_points {
                record(head.as_ref().and_then(|head| histogram_rows(point, head, shared)));
            }
        }
        metric::Data::ExponentialHistogram(histogram) => {
            head = Head::of(metric, "exponential_histogram", Some(histogram.aggregation_temporality), None);
            for point in &histogram.data_points {
                record(head.as_ref().and_then(|head| exponential_rows(point, head, shared)));
            }
        }
        metric::Data::Summary(summary) => {
            head = Head::of(metric, "summary", None, None);
            for point in &summary.data_points {
                record(head.as_ref().and_then(|head| summary_rows(point, head, shared)));
            }
        }
    }
    head
}

fn number_rows(point: &NumberDataPoint, head: &Head<'_>, shared: &Shared<'_>) -> Option<Rows> {
    let mut row = Row::new();
    let labels = &point.attributes;
    head.put(&mut row, point.time_unix_nano, point.start_time_unix_nano, point.flags, labels)?;
    put_unless(&mut row, "monotonic", head.monotonic.is_none(), json!(head.monotonic));
    match point.value {
        _ if point.flags & 1 == 1 => {}
        Some(number_data_point::Value::AsDouble(value)) => put(&mut row, "value", double(value)),
        Some(number_data_point::Value::AsInt(value)) => {
            put(&mut row, "value", double(value as f64));
            put(&mut row, "value_int", json!(value));
        }
        None => return None,
    }
    shared.put(&mut row, &[]);
    let mut rows = vec![(builtin::METRICS_EVENTS, row)];
    exemplar_rows(&mut rows, &point.exemplars, point.time_unix_nano, labels, head, shared)?;
    Some(rows)
}

fn exemplar_rows(
    rows: &mut Rows,
    exemplars: &[Exemplar],
    point_time: u64,
    labels: &[KeyValue],
    head: &Head<'_>,
    shared: &Shared<'_>,
) -> Option<()> {
    for exemplar in exemplars {
        let mut row = Row::new();
        let time = if exemplar.time_unix_nano == 0 { point_time } else { exemplar.time_unix_nano };
        put(&mut row, "time", json!(in_window(time)?));
        put(&mut row, "point_time", json!(in_window(point_time)?));
        put(&mut row, "metric", json!(head.metric.name));
        put(&mut row, "app", json!(shared.text_of("service.name")));
        put(&mut row, "host", json!(shared.text_of("host.name")));
        put(&mut row, "labels", attributes(labels));
        put(&mut row, "filtered_labels", attributes(&exemplar.filtered_attributes));
        for (column, bytes, length) in
            [("trace_id", &exemplar.trace_id, 16), ("span_id", &exemplar.span_id, 8)]
        {
            let id = id(bytes, length)?;
            put_unless(&mut row, column, id.is_empty(), json!(id));
        }
        match exemplar.value {
            Some(exemplar::Value::AsDouble(value)) => put(&mut row, "value", double(value)),
            Some(exemplar::Value::AsInt(value)) => {
                put(&mut row, "value", double(value as f64));
                put(&mut row, "value_int", json!(value));
            }
            None => {}
        }
        rows.push((builtin::METRICS_EXEMPLARS, row));
    }
    Some(())
}

fn doubles(values: impl IntoIterator<Item = f64>) -> Value {
    values.into_iter().map(double).collect()
}

fn counts(values: &[u64]) -> Option<Value> {
    values.iter().map(|count| i64::try_from(*count).ok().map(|count| json!(count))).collect()
}

fn put_lists_empty(row: &mut Row) {
    for column in ["bounds", "counts", "positive_counts", "negative_counts", "quantiles", "quantile_values"] {
        put(row, column, json!([]));
    }
}

fn put_extremes(row: &mut Row, flags: u32, count: u64, extremes: [(&str, Option<f64>); 3]) -> Option<()> {
    if flags & 1 == 0 {
        put(row, "count", json!(i64::try_from(count).ok()?));
        for (column, value) in extremes {
            put_unless(row, column, value.is_none(), value.map_or(Value::Null, double));
        }
    }
    Some(())
}

fn histogram_rows(point: &HistogramDataPoint, head: &Head<'_>, shared: &Shared<'_>) -> Option<Rows> {
    let mut row = Row::new();
    let labels = &point.attributes;
    head.put(&mut row, point.time_unix_nano, point.start_time_unix_nano, point.flags, labels)?;
    put_lists_empty(&mut row);
    let extremes = [("sum", point.sum), ("min", point.min), ("max", point.max)];
    put_extremes(&mut row, point.flags, point.count, extremes)?;
    let (buckets, bounds) = (point.bucket_counts.len(), point.explicit_bounds.len());
    if point.flags & 1 == 0 && buckets + bounds != 0 && buckets != bounds + 1 {
        return None;
    }
    put(&mut row, "bounds", doubles(point.explicit_bounds.iter().copied()));
    put(&mut row, "counts", counts(&point.bucket_counts)?);
    shared.put(&mut row, &[]);
    let mut rows = vec![(builtin::METRICS_HISTOGRAMS, row)];
    exemplar_rows(&mut rows, &point.exemplars, point.time_unix_nano, labels, head, shared)?;
    Some(rows)
}

fn exponential_rows(
    point: &ExponentialHistogramDataPoint,
    head: &Head<'_>,
    shared: &Shared<'_>,
) -> Option<Rows> {
    let mut row = Row::new();
    let labels = &point.attributes;
    head.put(&mut row, point.time_unix_nano, point.start_time_unix_nano, point.flags, labels)?;
    put_lists_empty(&mut row);
    let extremes = [("sum", point.sum), ("min", point.min), ("max", point.max)];
    put_extremes(&mut row, point.flags, point.count, extremes)?;
    put(&mut row, "scale", json!(point.scale));
    if point.flags & 1 == 0 {
        put(&mut row, "zero_count", json!(i64::try_from(point.zero_count).ok()?));
    }
    put(&mut row, "zero_threshold", double(point.zero_threshold));
    put_buckets(&mut row, "positive", point.positive.as_ref())?;
    put_buckets(&mut row, "negative", point.negative.as_ref())?;
    shared.put(&mut row, &[]);
    let mut rows = vec![(builtin::METRICS_HISTOGRAMS, row)];
    exemplar_rows(&mut rows, &point.exemplars, point.time_unix_nano, labels, head, shared)?;
    Some(rows)
}

fn put_buckets(row: &mut Row, side: &str, buckets: Option<&Buckets>) -> Option<()> {
    if let Some(buckets) = buckets {
        put(row, &format!("{side}_offset"), json!(buckets.offset));
        put(row, &format!("{side}_counts"), counts(&buckets.bucket_counts)?);
    }
    Some(())
}

fn summary_rows(point: &SummaryDataPoint, head: &Head<'_>, shared: &Shared<'_>) -> Option<Rows> {
    let mut row = Row::new();
    let labels = &point.attributes;
    head.put(&mut row, point.time_unix_nano, point.start_time_unix_nano, point.flags, labels)?;
    put_lists_empty(&mut row);
    let extremes = [("sum", Some(point.sum)), ("min", None), ("max", None)];
    put_extremes(&mut row, point.flags, point.count, extremes)?;
    put(&mut row, "quantiles", doubles(point.quantile_values.iter().map(|at| at.quantile)));
    put(&mut row, "quantile_values", doubles(point.quantile_values.iter().map(|at| at.value)));
    shared.put(&mut row, &[]);
    Some(vec![(builtin::METRICS_HISTOGRAMS, row)])
}
