//! Arrow Flight: batches of logs in, templates of `FlightData` with one record batch out.
//!
//! The columns are those of table `logs_events` that a sender fills; labels are an Arrow `Map` of text to text, which
//! is what a client without knowledge of the gateway builds. A template holds the whole message, and its placeholders
//! lie in the buffers of the columns.

use std::sync::Arc;

use anyhow::{Result, anyhow};
use arrow::array::{ArrayRef, MapBuilder, StringArray, StringBuilder, TimestampNanosecondArray};
use arrow::record_batch::RecordBatch;
use arrow_flight::FlightDescriptor;
use arrow_flight::utils::batches_to_flight_data;
use bytes::Bytes;
use prost::Message;

use super::every;
use crate::telemetry::{Batch, Log, Resource, Value};
use crate::template::{Field, Template};

/// The first message of a stream, with the table's name and the schema, and the template of the others.
pub fn logs(batch: &Batch<Log>, table: &str) -> Result<(Bytes, Template)> {
    let rows = record_batch(batch)?;
    let records = rows.num_rows();
    let messages = batches_to_flight_data(rows.schema().as_ref(), [&rows])?;
    let [schema, message] =
        <[_; 2]>::try_from(messages).map_err(|_| anyhow!("not one schema and one batch"))?;
    let opening = schema.with_descriptor(FlightDescriptor::new_path(vec![table.to_owned()]));
    let fields = [Field::Time, Field::TraceIdHex, Field::SpanIdHex].map(|field| every(field, batch));
    let template = Template::new(message.encode_to_vec(), records, &fields)?;
    Ok((Bytes::from(opening.encode_to_vec()), template))
}

fn record_batch(batch: &Batch<Log>) -> Result<RecordBatch> {
    let rows = batch.records().count();
    let text = |column: fn(&Resource, &Log) -> String| -> ArrayRef {
        Arc::new(batch.records().map(|(resource, log)| Some(column(resource, log))).collect::<StringArray>())
    };
    let times = TimestampNanosecondArray::from(vec![Field::TIME.cast_signed(); rows]).with_timezone("UTC");
    let columns: [(&str, ArrayRef); 9] = [
        ("timestamp", Arc::new(times)),
        ("app", text(|resource, _| resource.app.clone())),
        ("host", text(|resource, _| resource.host.clone())),
        ("level", text(|_, log| log.severity.to_lowercase())),
        ("trace_id", text(|_, _| Field::TraceIdHex.marker_text())),
        ("span_id", text(|_, _| Field::SpanIdHex.marker_text())),
        ("message", text(|_, log| log.message.clone())),
        (
            "labels",
            map(batch, |_, log| log.attributes.iter().map(|(key, value)| (key, printed(value))).collect())?,
        ),
        (
            "resource",
            map(batch, |resource, _| {
                resource.others.iter().map(|(key, value)| (key, value.clone())).collect()
            })?,
        ),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

fn printed(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Int(int) => int.to_string(),
        Value::Bool(bool) => bool.to_string(),
    }
}

fn map(
    batch: &Batch<Log>,
    entries: for<'a> fn(&'a Resource, &'a Log) -> Vec<(&'a String, String)>,
) -> Result<ArrayRef> {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for (resource, log) in batch.records() {
        for (key, value) in entries(resource, log) {
            builder.keys().append_value(key);
            builder.values().append_value(value);
        }
        builder.append(true)?;
    }
    Ok(Arc::new(builder.finish()))
}
