//! `RegisterTable`, `DescribeTable` and `ListTables`: definitions in the words of `POST /schema/register`.

use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::{IpcMessage, SchemaAsIpc};
use prost::Message as _;
use serde_json::json;
use tidewell_proto::{RawMessage, v1};

use crate::decode::DecodeError;
use crate::ingest::Caller;
use crate::receive::Shared;
use crate::registry::{Registered, TableDef, TableSpec};
use crate::rejection::Rejection;

/// Largest definition in bytes: 500 columns with the longest names take about 50 KiB.
const MAX_DEFINITION_BYTES: usize = 256 * 1024;

/// Creates or extends a table.
pub(super) async fn register(
    shared: &Shared,
    caller: &Caller,
    request: &RawMessage,
) -> Result<v1::RegisterTableResponse, Rejection> {
    let RawMessage(bytes) = request;
    if bytes.len() > MAX_DEFINITION_BYTES {
        return Err(Rejection::TooLarge(format!(
            "the definition has {} bytes: at most {MAX_DEFINITION_BYTES} are allowed",
            bytes.len()
        )));
    }
    let request = v1::RegisterTableRequest::decode(bytes.as_ref())
        .map_err(|error| Rejection::Malformed(format!("the request is not valid protobuf: {error}")))?;
    let spec = spec(request.table.unwrap_or_default())?;
    let spec = shared.registry.completed(&caller.tenant, spec).await?;
    caller.rights.require_table(spec.table_name.as_str(), spec.kind)?;
    let (done, table) = shared.registry.register(&caller.tenant, spec, caller.name.as_str()).await?;
    Ok(v1::RegisterTableResponse {
        table: Some(description(&table)?),
        changed: done != Registered::Unchanged,
    })
}

/// Describes one table.
pub(super) fn describe(
    shared: &Shared,
    caller: &Caller,
    name: &str,
) -> Result<v1::DescribeTableResponse, Rejection> {
    let tables = shared.ingest.tables();
    let table = tables.table(&caller.tenant, name);
    let table = table.filter(|table| caller.rights.cover(name, table.spec.kind));
    let table = table.ok_or_else(|| DecodeError::NoTable(name.to_owned()))?;
    Ok(v1::DescribeTableResponse { table: Some(description(table)?) })
}

/// Describes all tables of the caller.
pub(super) fn list(shared: &Shared, caller: &Caller) -> Result<v1::ListTablesResponse, Rejection> {
    let tables = shared.ingest.tables().tables(&caller.tenant);
    let tables = caller.rights.visible(&tables).map(|table| description(table)).collect::<Result<_, _>>()?;
    Ok(v1::ListTablesResponse { tables })
}

/// The definition as a document, so that both ways to register are read by the same rules.
fn spec(table: v1::TableDefinition) -> Result<TableSpec, Rejection> {
    let column = |column: v1::ColumnDefinition| {
        let mut document = json!({"name": column.name, "type": column.r#type});
        set(&mut document, "nullable", column.nullable.map(Into::into));
        document
    };
    let text = |text: String| (!text.is_empty()).then(|| text.into());
    let mut document = json!({
        "table_name": table.table_name,
        "columns": table.columns.into_iter().map(column).collect::<Vec<_>>(),
        "key": table.key,
    });
    set(&mut document, "store", text(table.store));
    set(&mut document, "kind", text(table.kind));
    set(&mut document, "time_column", text(table.time_column));
    set(&mut document, "label_column", text(table.label_column));
    set(&mut document, "partition_seconds", table.partition_seconds.map(Into::into));
    set(&mut document, "accept_past_seconds", table.accept_past_seconds.map(Into::into));
    set(&mut document, "accept_future_seconds", table.accept_future_seconds.map(Into::into));
    serde_json::from_value(document)
        .map_err(|error| Rejection::Malformed(format!("the definition is not one of a table: {error}")))
}

fn set(document: &mut serde_json::Value, name: &str, value: Option<serde_json::Value>) {
    if let (Some(object), Some(value)) = (document.as_object_mut(), value) {
        object.insert(name.to_owned(), value);
    }
}

fn description(table: &TableDef) -> Result<v1::TableDescription, Rejection> {
    let spec = &table.spec;
    let word = |value: serde_json::Result<serde_json::Value>| {
        value.ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let columns = table.columns().iter().map(|column| v1::ColumnDefinition {
        name: column.name.to_string(),
        r#type: column.kind.name().to_owned(),
        nullable: Some(column.nullable),
    });
    let definition = v1::TableDefinition {
        table_name: table.name().to_string(),
        store: word(serde_json::to_value(spec.store)),
        kind: word(serde_json::to_value(spec.kind)),
        columns: columns.collect(),
        time_column: spec.time_column.as_ref().map(ToString::to_string).unwrap_or_default(),
        label_column: spec.label_column.as_ref().map(ToString::to_string).unwrap_or_default(),
        key: spec.key.iter().map(ToString::to_string).collect(),
        partition_seconds: spec.partition_seconds,
        accept_past_seconds: Some(table.accepted_window().past_seconds),
        accept_future_seconds: Some(table.accepted_window().future_seconds),
    };
    let IpcMessage(arrow_schema) = SchemaAsIpc::new(table.arrow(), &IpcWriteOptions::default())
        .try_into()
        .map_err(|error| Rejection::Internal(format!("a schema could not be written: {error}")))?;
    Ok(v1::TableDescription {
        definition: Some(definition),
        version: table.version,
        arrow_schema: arrow_schema.to_vec(),
    })
}
