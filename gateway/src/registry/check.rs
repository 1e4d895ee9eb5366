//! Whether the parts of a definition fit together: a [`TableSpec`] in, the place and the reason of the first mistake out.

use std::collections::HashSet;

use super::column::{ColumnDef, ColumnType};
use super::identifier::Identifier;
use super::table::{MAX_COLUMNS, MOVE_COLUMN, PROVENANCE_COLUMNS, StoreKind, TableError, TableSpec};

/// Most partitions of a hash dimension: each range of time has as many chunks.
const MAX_HASH_PARTITIONS: u16 = 64;

pub(super) fn reserved(spec: &TableSpec) -> Result<(), TableError> {
    for (index, column) in spec.columns.iter().enumerate() {
        let companion = companion(column);
        let mut names = std::iter::once(column.name.as_str()).chain(companion.as_deref());
        if let Some(name) = names.find(|name| PROVENANCE_COLUMNS.contains(name) || *name == MOVE_COLUMN) {
            return Err(TableError::new(
                format!("columns[{index}].name"),
                format!("the name {name:?} is reserved for where a row came from: choose another name"),
            ));
        }
    }
    Ok(())
}

/// The second column that the stores give to some types; its name must be free as well.
fn companion(column: &ColumnDef) -> Option<String> {
    match column.kind {
        ColumnType::TimestampNs => Some(format!("{}_nanos", column.name)),
        ColumnType::Attributes => Some(format!("{}_types", column.name)),
        _ => None,
    }
}

pub(super) fn columns(spec: &TableSpec) -> Result<(), TableError> {
    if spec.columns.is_empty() || spec.columns.len() > MAX_COLUMNS {
        return Err(TableError::new(
            "columns",
            format!("has {} columns: between 1 and {MAX_COLUMNS} are allowed", spec.columns.len()),
        ));
    }
    let mut names = HashSet::new();
    for (index, column) in spec.columns.iter().enumerate() {
        for name in std::iter::once(column.name.to_string()).chain(companion(column)) {
            if !names.insert(name.clone()) {
                return Err(TableError::new(
                    format!("columns[{index}].name"),
                    format!(
                        "the name {name:?} is used twice (timestamp_ns adds NAME_nanos, attributes adds NAME_types)"
                    ),
                ));
            }
        }
    }
    Ok(())
}

pub(super) fn sort_key(spec: &TableSpec) -> Result<(), TableError> {
    let fail = |reason: String| Err(TableError::new("sort_key", reason));
    if spec.sort_key.is_empty() {
        return Ok(());
    }
    if spec.store != StoreKind::ClickHouse || !spec.key.is_empty() {
        return fail("is for tables in clickhouse without a key: use indexes".to_owned());
    }
    for (at, name) in spec.sort_key.iter().enumerate() {
        match spec.columns.iter().find(|column| column.name == *name) {
            None => return fail(format!("there is no column {name:?}")),
            Some(column) if column.kind.is_container() || column.kind == ColumnType::Json => {
                return fail(format!("column {name:?} is {} and has no order", column.kind.name()));
            }
            // The time column is never NULL, whatever the document says of it.
            Some(column) if column.holds_null() && !column.kind.is_timestamp() => {
                return fail(format!("column {name:?} may be NULL: make it not nullable"));
            }
            Some(_) if spec.sort_key.iter().take(at).any(|other| other == name) => {
                return fail(format!("column {name:?} is there twice"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

pub(super) fn hash(spec: &TableSpec) -> Result<(), TableError> {
    let Some(hash) = &spec.hash else { return Ok(()) };
    let fail = |field: &str, reason: String| Err(TableError::new(format!("hash.{field}"), reason));
    if spec.store != StoreKind::Timescale || !spec.key.is_empty() {
        return fail("column", "is for tables in timescale without a key".to_owned());
    }
    if !(2..=MAX_HASH_PARTITIONS).contains(&hash.partitions) {
        return fail("partitions", format!("{} is not from 2 to {MAX_HASH_PARTITIONS}", hash.partitions));
    }
    match spec.columns.iter().find(|column| column.name == hash.column) {
        None => fail("column", format!("there is no column {:?}", hash.column)),
        Some(column)
            if column.holds_null() || column.kind.is_container() || column.kind == ColumnType::Json =>
        {
            fail("column", format!("{:?} must be a scalar and not nullable", hash.column))
        }
        Some(_) => Ok(()),
    }
}

pub(super) fn promoted(spec: &TableSpec, label_column: Option<usize>) -> Result<(), TableError> {
    for (at, column) in spec.columns.iter().enumerate() {
        column
            .check()
            .map_err(|(field, reason)| TableError::new(format!("columns[{at}].{field}"), reason))?;
        if column.label.is_some() && label_column.is_none() {
            return Err(TableError::new(
                format!("columns[{at}].label"),
                "the table has no column of labels: add {\"name\":\"labels\",\"type\":\"attributes\"}",
            ));
        }
    }
    Ok(())
}

pub(super) fn time_column(spec: &TableSpec) -> Result<Option<usize>, TableError> {
    let timestamp = |name: &str| {
        spec.columns.iter().position(|column| column.name.as_str() == name && column.kind.is_timestamp())
    };
    if let Some(name) = &spec.time_column {
        return match timestamp(name.as_str()) {
            Some(at) => Ok(Some(at)),
            None => Err(TableError::new("time_column", format!("{name:?} is not a timestamp column"))),
        };
    }
    if let Some(at) = ["time", "timestamp", "ts"].into_iter().find_map(timestamp) {
        return Ok(Some(at));
    }
    let mut timestamps = spec.columns.iter().enumerate().filter(|(_, column)| column.kind.is_timestamp());
    match (timestamps.next(), timestamps.next()) {
        (Some((at, _)), None) if spec.key.is_empty() => Ok(Some(at)),
        (Some(_), Some(_)) if spec.key.is_empty() => Err(TableError::new(
            "time_column",
            "several timestamp columns: name the one that partitions the table in time_column",
        )),
        _ => Ok(None),
    }
}

pub(super) fn label_column(spec: &mut TableSpec) -> Result<Option<usize>, TableError> {
    let name = spec.label_column.as_ref().map_or("labels", Identifier::as_str).to_owned();
    let Some(at) = spec.columns.iter().position(|column| column.name.as_str() == name) else {
        return match &spec.label_column {
            Some(name) => Err(TableError::new("label_column", format!("there is no column {name:?}"))),
            None => Ok(None),
        };
    };
    match spec.columns[at].kind {
        ColumnType::Attributes => Ok(Some(at)),
        // Labels are keys with values, whatever the store calls them.
        ColumnType::Json => {
            spec.columns[at].kind = ColumnType::Attributes;
            Ok(Some(at))
        }
        _ if spec.label_column.is_none() => Ok(None),
        other => Err(TableError::new(
            "label_column",
            format!("{name:?} is {}: it must be attributes or jsonb", other.name()),
        )),
    }
}

pub(super) fn key(spec: &TableSpec) -> Result<(), TableError> {
    for name in &spec.key {
        let Some(column) = spec.columns.iter().find(|column| column.name == *name) else {
            return Err(TableError::new("key", format!("there is no column {name:?}")));
        };
        if column.nullable || column.kind.is_container() || column.kind == ColumnType::Json {
            return Err(TableError::new(
                "key",
                format!("column {name:?} must be a scalar and not nullable to be part of the key"),
            ));
        }
    }
    Ok(())
}
