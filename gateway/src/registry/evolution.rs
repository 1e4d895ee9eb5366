//! Which changes of a table its store can make while writes go on.
//!
//! | change | |
//! |---|---|
//! | a new nullable column, attributes or array column | compatible |
//! | another accepted time window, other limits of labels, another policy of tiering | compatible |
//! | a column that the new definition leaves out | stays: registering a subset is not a request to drop |
//! | no column at all | what the definition leaves out is what the table has: its policies alone are changed |
//! | another type, nullability, store, kind, time column, label column, key, partition width | refused |
//! | a new column that is not nullable | refused: the rows that exist have no value for it |

use super::{ColumnDef, StoreKind, TableDef, TableKind, TableSpec};

/// What it takes to turn one definition into another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    None,
    /// The store adds what is missing; the definition that results.
    Compatible(Box<TableSpec>),
}

/// Compares what exists with what is wanted; an error is the reason for a refusal, with the compatible way.
pub fn compare(existing: &TableDef, wanted: &TableDef) -> Result<Change, String> {
    let (old, new) = (&existing.spec, &wanted.spec);
    let differs =
        |what: &str| Err(format!("its {what} cannot be changed: register a table with another name"));
    if old.store != new.store {
        return differs("store");
    }
    if old.kind != new.kind {
        return differs("kind");
    }
    if old.key != new.key {
        return differs("key");
    }
    if old.time_column != new.time_column {
        return differs("time column");
    }
    if new.label_column.is_some() && old.label_column.is_some() && old.label_column != new.label_column {
        return differs("label column");
    }
    if new.partition_seconds.is_some() && old.partition_seconds != new.partition_seconds {
        return differs("partition width");
    }
    let mut result = old.clone();
    for column in &new.columns {
        match old.columns.iter().find(|known| known.name == column.name) {
            Some(known) => same_column(known, column)?,
            None if column.holds_null() || column.kind.is_container() => result.columns.push(column.clone()),
            None => {
                return Err(format!(
                    "the new column {:?} is not nullable, but there are rows without a value: make it nullable",
                    column.name
                ));
            }
        }
    }
    if result.label_column.is_none() {
        result.label_column.clone_from(&new.label_column);
    }
    result.labels = new.labels.or(old.labels);
    result.accept_past_seconds = new.accept_past_seconds.or(old.accept_past_seconds);
    result.accept_future_seconds = new.accept_future_seconds.or(old.accept_future_seconds);
    if new.tiering.is_some() {
        result.tiering.clone_from(&new.tiering);
    }
    Ok(if result == *old { Change::None } else { Change::Compatible(Box::new(result)) })
}

/// A definition without columns, completed by what the table has wherever it says nothing.
pub fn complete(existing: &TableSpec, mut wanted: TableSpec) -> TableSpec {
    wanted.columns.clone_from(&existing.columns);
    if wanted.store == StoreKind::default() {
        wanted.store = existing.store;
    }
    if wanted.kind == TableKind::default() {
        wanted.kind = existing.kind;
    }
    if wanted.key.is_empty() {
        wanted.key.clone_from(&existing.key);
    }
    wanted.time_column = wanted.time_column.or_else(|| existing.time_column.clone());
    wanted.label_column = wanted.label_column.or_else(|| existing.label_column.clone());
    wanted.partition_seconds = wanted.partition_seconds.or(existing.partition_seconds);
    wanted
}

fn same_column(known: &ColumnDef, wanted: &ColumnDef) -> Result<(), String> {
    if known.kind != wanted.kind {
        return Err(format!(
            "column {:?} is {} and cannot become {}: add a column with another name",
            known.name,
            known.kind.name(),
            wanted.kind.name()
        ));
    }
    if known.holds_null() != wanted.holds_null() {
        return Err(format!("the nullability of column {:?} cannot be changed", known.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Tenant;

    fn table(columns: &str) -> TableDef {
        let json =
            format!(r#"{{"table_name":"t","columns":[{{"name":"time","type":"timestamp"}}{columns}]}}"#);
        TableDef::from_spec(Tenant::default(), serde_json::from_str(&json).unwrap(), 1).unwrap()
    }

    #[test]
    fn a_definition_without_columns_is_of_the_policies_alone() {
        let spec = |text: &str| serde_json::from_str::<TableSpec>(text).unwrap();
        let existing = r#"{"table_name":"t","kind":"metrics","partition_seconds":3600,"columns":[
            {"name":"time","type":"timestamp_ns"},{"name":"attributes","type":"attributes"}]}"#;
        let existing = TableDef::from_spec(Tenant::default(), spec(existing), 1).unwrap();
        let wanted = r#"{"table_name":"t","tiering":{"cool_after_seconds":7200,"range_seconds":7200}}"#;
        let wanted = complete(&existing.spec, spec(wanted));
        let wanted = TableDef::from_spec(Tenant::default(), wanted, 1).unwrap();
        let Ok(Change::Compatible(result)) = compare(&existing, &wanted) else { panic!("{wanted:?}") };
        assert_eq!(result.tiering, wanted.spec.tiering);
        assert_eq!(TableSpec { tiering: None, ..*result }, existing.spec);
        let another = complete(&existing.spec, spec(r#"{"table_name":"t","kind":"logs"}"#));
        let another = TableDef::from_spec(Tenant::default(), another, 1).unwrap();
        assert!(compare(&existing, &another).unwrap_err().contains("kind"), "what is said counts");
    }

    #[test]
    fn only_additions_that_old_rows_can_bear_are_compatible() {
        let old = table(r#",{"name":"v","type":"double"}"#);
        assert_eq!(compare(&old, &old), Ok(Change::None));
        assert_eq!(compare(&old, &table("")), Ok(Change::None), "a subset asks for nothing");
        let more = compare(&old, &table(r#",{"name":"w","type":"text"}"#)).unwrap();
        let Change::Compatible(spec) = more else { panic!("{more:?}") };
        assert_eq!(spec.columns.len(), 3, "v stays, w is added");
        assert!(compare(&old, &table(r#",{"name":"v","type":"text"}"#)).is_err());
        assert!(compare(&old, &table(r#",{"name":"w","type":"text","nullable":false}"#)).is_err());
        assert!(compare(&old, &table(r#",{"name":"v","type":"double","nullable":false}"#)).is_err());
    }
}
