//! Rollups: which aggregates of its cold rows a table keeps, as the part `tiering.rollups` of its definition says.

use serde::{Deserialize, Serialize};

use super::column::{ColumnDef, ColumnType};
use super::identifier::Identifier;
use super::table::{TableError, TableKind, TableSpec};

/// Most rollups of one table.
const MAX_ROLLUPS: usize = 8;
/// Most columns and labels by which one is split.
const MAX_DIMENSIONS: usize = 16;
/// Longest key of a label.
const MAX_KEY_BYTES: usize = 128;

/// How much time one row of a rollup stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Interval {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day, in UTC.
    Day,
}

/// Aggregates of a table's cold rows: `count`, `sum`, `min`, `max`, `last` and a sketch of quantiles of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollup {
    /// What its table is called after the name of the table and `_rollup_`. A name never changes its meaning.
    pub name: Identifier,
    /// How much time a row stands for.
    pub every: Interval,
    /// What rows are split by: columns, and `COLUMN.KEY` for labels.
    pub by: Vec<String>,
    /// The column that is aggregated: by default `value` of metrics and `duration_ns` of spans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Identifier>,
    /// For how long it is kept, in seconds, whatever becomes of the rows; for ever by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_seconds: Option<u64>,
}

/// What rows of a rollup are split by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dimension<'t> {
    /// A column.
    Column(&'t ColumnDef),
    /// One key of an attributes column.
    Label(&'t ColumnDef, &'t str),
}

impl Rollup {
    /// What rows are split by, in terms of the table; nothing where that is no column or label of it.
    pub fn dimension<'t>(spec: &'t TableSpec, name: &'t str) -> Option<Dimension<'t>> {
        let column = |name: &str| spec.columns.iter().find(|column| column.name.as_str() == name);
        if let Some(column) = column(name) {
            let is_scalar = matches!(
                column.kind,
                ColumnType::Text | ColumnType::LowCardinalityText | ColumnType::Boolean | ColumnType::Integer
            );
            return is_scalar.then_some(Dimension::Column(column));
        }
        let (attributes, key) = name.split_once('.')?;
        let attributes = column(attributes).filter(|column| column.kind == ColumnType::Attributes)?;
        let is_plain = |key: &str| {
            !key.is_empty()
                && key.len() <= MAX_KEY_BYTES
                && !key.contains(['`', '\'', '\\'])
                && !key.chars().any(char::is_control)
        };
        is_plain(key).then_some(Dimension::Label(attributes, key))
    }

    /// The column that is aggregated; nothing where there is none.
    pub fn value_column<'t>(&self, spec: &'t TableSpec) -> Option<&'t ColumnDef> {
        let default = match spec.kind {
            TableKind::Metrics => "value",
            TableKind::Traces => "duration_ns",
            TableKind::Logs | TableKind::Events => "",
        };
        let name = self.value.as_ref().map_or(default, Identifier::as_str);
        let column = spec.columns.iter().find(|column| column.name.as_str() == name)?;
        matches!(column.kind, ColumnType::Double | ColumnType::BigInt | ColumnType::Integer).then_some(column)
    }
}

/// Whether these rollups make sense for the table; says where not.
pub(super) fn check(rollups: &[Rollup], spec: &TableSpec) -> Result<(), TableError> {
    let fail = |at: usize, field: &str, reason: String| {
        Err(TableError::new(format!("tiering.rollups[{at}].{field}"), reason))
    };
    if rollups.len() > MAX_ROLLUPS {
        let reason = format!("has {} rollups: at most {MAX_ROLLUPS} are allowed", rollups.len());
        return Err(TableError::new("tiering.rollups", reason));
    }
    for (at, rollup) in rollups.iter().enumerate() {
        if rollups.iter().take(at).any(|other| other.name == rollup.name) {
            return fail(at, "name", format!("{:?} is used twice", rollup.name));
        }
        if rollup.by.len() > MAX_DIMENSIONS {
            return fail(
                at,
                "by",
                format!("has {} entries: at most {MAX_DIMENSIONS} are allowed", rollup.by.len()),
            );
        }
        for (place, name) in rollup.by.iter().enumerate() {
            if Rollup::dimension(spec, name).is_none() {
                let reason = format!(
                    "{name:?} is no text, boolean or integer column and no label: write COLUMN or labels.KEY"
                );
                return fail(at, "by", reason);
            }
            if rollup.by.iter().take(place).any(|other| other == name) {
                return fail(at, "by", format!("{name:?} is there twice"));
            }
        }
        if rollup.value_column(spec).is_none() {
            return fail(at, "value", "must name a double, bigint or integer column".to_owned());
        }
        if rollup.keep_seconds == Some(0) {
            return fail(at, "keep_seconds", "must be at least 1".to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::registry::{TableDef, Tenant};

    fn table(rollup: &serde_json::Value) -> Result<TableDef, super::TableError> {
        let spec = serde_json::json!({
            "table_name": "t", "kind": "metrics",
            "tiering": {"cool_after_seconds": 604_800, "rollups": [rollup]},
            "columns": [
                {"name": "time", "type": "timestamp"}, {"name": "app", "type": "text"}, {"name": "value", "type": "double"},
                {"name": "at", "type": "timestamp"}, {"name": "labels", "type": "attributes"}],
        });
        TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1)
    }

    #[test]
    fn each_mistake_is_named_with_its_place() {
        let good = serde_json::json!({"name": "hour", "every": "hour", "by": ["app", "labels.http.status"]});
        table(&good).unwrap();
        for (change, field) in [
            (serde_json::json!({"by": ["at"]}), "tiering.rollups[0].by"),
            (serde_json::json!({"by": ["labels.a`b"]}), "tiering.rollups[0].by"),
            (serde_json::json!({"by": ["app", "app"]}), "tiering.rollups[0].by"),
            (serde_json::json!({"value": "app"}), "tiering.rollups[0].value"),
            (serde_json::json!({"keep_seconds": 0}), "tiering.rollups[0].keep_seconds"),
        ] {
            let mut rollup = good.clone();
            rollup.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            assert_eq!(table(&rollup).unwrap_err().field, field, "{rollup}");
        }
    }
}
