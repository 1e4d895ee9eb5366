//! What a request decoded by prost should become: the tables' rows, written down a second time from the messages.

mod metrics;

use std::collections::BTreeMap;

use base64::Engine as _;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, EntityRef, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use serde_json::{Value, json};

pub(super) use self::metrics::metrics;
use super::{NOW, Row};
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
