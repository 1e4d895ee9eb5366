//! REST: batches in, templates of JSON arrays or NDJSON out.
//!
//! Logs are flat events, as a Vector `http` sink sends them: what is no column of the table is a label. Samples carry
//! their labels in an object.

use anyhow::Result;
use serde_json::{Map, Value as Json, json};

use super::every;
use crate::identity::RunId;
use crate::telemetry::{Attributes, Batch, Log, Resource, Sample, Span, Value};
use crate::template::{Field, Template};

/// How records are put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// One JSON object a line.
    Ndjson,
    /// One JSON array.
    Array,
}

/// Logs.
pub fn logs(batch: &Batch<Log>, layout: Layout) -> Result<Template> {
    let records = batch.records().map(|(resource, log)| {
        let mut event = event(resource);
        event.insert("level".to_owned(), json!(log.severity.to_lowercase()));
        event.insert("message".to_owned(), json!(log.message));
        event.insert("trace_id".to_owned(), json!(Field::TraceIdHex.marker_text()));
        event.insert("span_id".to_owned(), json!(Field::SpanIdHex.marker_text()));
        event.extend(labels(&log.attributes));
        event.extend(resource.others.iter().map(|(key, value)| (key.clone(), json!(value))));
        event
    });
    let fields = [Field::TimeText, Field::TraceIdHex, Field::SpanIdHex].map(|field| every(field, batch));
    template(records, layout, batch, &fields)
}

/// Samples.
pub fn metrics(batch: &Batch<Sample>, run: RunId, layout: Layout) -> Result<Template> {
    let records = batch.records().map(|(resource, sample)| {
        let mut labels: Map<String, Json> = labels(&sample.attributes).collect();
        labels.insert("run".to_owned(), json!(run.hex()));
        let mut event = event(resource);
        event.insert("metric".to_owned(), json!(sample.metric));
        event.insert("value".to_owned(), json!(Field::VALUE));
        event.insert("labels".to_owned(), Json::Object(labels));
        event
    });
    let fields = [Field::TimeText, Field::ValueDigits].map(|field| every(field, batch));
    template(records, layout, batch, &fields)
}

/// Spans.
pub fn traces(batch: &Batch<Span>, layout: Layout) -> Result<Template> {
    let records = batch.records().map(|(resource, span)| {
        let mut event = event(resource);
        event.insert("trace_id".to_owned(), json!(Field::TraceIdHex.marker_text()));
        event.insert("span_id".to_owned(), json!(Field::SpanIdHex.marker_text()));
        if !span.root {
            event.insert("parent_span_id".to_owned(), json!(Field::ParentIdHex.marker_text()));
        }
        event.insert("name".to_owned(), json!(span.name));
        event.insert("kind".to_owned(), json!(if span.root { "server" } else { "internal" }));
        event.insert("duration_ns".to_owned(), json!(span.duration_nanos));
        event.insert("status".to_owned(), json!(if span.failed { "error" } else { "unset" }));
        event.insert("labels".to_owned(), Json::Object(labels(&span.attributes).collect()));
        event
    });
    let mut fields =
        [Field::TimeText, Field::TraceIdHex, Field::SpanIdHex].map(|field| every(field, batch)).to_vec();
    fields.push(super::children(Field::ParentIdHex, batch));
    template(records, layout, batch, &fields)
}

// === what all signals share ===

fn event(resource: &Resource) -> Map<String, Json> {
    let columns = [("timestamp", Field::TIME_TEXT), ("app", &resource.app), ("host", &resource.host)];
    columns.into_iter().map(|(key, value)| (key.to_owned(), json!(value))).collect()
}

fn labels(attributes: &Attributes) -> impl Iterator<Item = (String, Json)> {
    attributes.iter().map(|(key, value)| {
        let value = match value {
            Value::Text(text) => json!(text),
            Value::Int(int) => json!(int),
            Value::Bool(bool) => json!(bool),
        };
        (key.clone(), value)
    })
}

fn template<T>(
    records: impl Iterator<Item = Map<String, Json>>,
    layout: Layout,
    batch: &Batch<T>,
    fields: &[(Field, Vec<usize>)],
) -> Result<Template> {
    let mut body = Vec::new();
    match layout {
        Layout::Array => serde_json::to_writer(&mut body, &records.collect::<Vec<_>>())?,
        Layout::Ndjson => {
            for record in records {
                serde_json::to_writer(&mut body, &record)?;
                body.push(b'\n');
            }
        }
    }
    Template::new(body, batch.records().count(), fields)
}
