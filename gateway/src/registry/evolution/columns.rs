//! What becomes of one column: as it is and as it is wanted in, as it will be out, with what must be written anew for it.

use super::super::{ColumnDef, ColumnType, StoreKind, TableDef, TableKind};
use super::Incompatible;

/// Which parts of the layout of its store a column belongs to.
struct Role {
    /// The layout, in words; none when the column is nothing but a column.
    fixed: Option<&'static str>,
    /// Whether its type may change within Timescale, where every timestamp is `timestamptz`.
    is_time: bool,
}

/// The column that results, and why rows must be written anew, if they must.
pub(super) fn column(
    table: &TableDef,
    known: &ColumnDef,
    wanted: &ColumnDef,
) -> Result<(ColumnDef, Option<String>), Incompatible> {
    let mut result = known.clone();
    let mut because = None;
    let role = role(table, known);
    if known.kind != wanted.kind {
        because = kind(table, known, wanted, &role)?;
        result.kind = wanted.kind;
    }
    if known.holds_null() != wanted.holds_null() {
        let anew = nullability(table, known, wanted, &role)?;
        because = because.or(anew);
        result.nullable = wanted.nullable;
    }
    if wanted.default.is_some() {
        // Rows have the value that they were written with.
        result.default.clone_from(&wanted.default);
    }
    match (&known.label, &wanted.label) {
        (Some(old), Some(new)) if old != new => {
            return Err(Incompatible::new(
                format!("column {:?} holds label {old:?}", known.name),
                format!("add a column with another name for label {new:?}"),
            ));
        }
        (None, Some(_)) => result.label.clone_from(&wanted.label),
        _ => {}
    }
    if because.is_some() && table.spec.tiering.as_ref().is_some_and(|policy| policy.cools()) {
        return Err(Incompatible::new(
            format!("column {:?} would have to be written anew in both stores", known.name),
            "add a column with another name",
        ));
    }
    Ok((result, because))
}

fn kind(
    table: &TableDef,
    known: &ColumnDef,
    wanted: &ColumnDef,
    role: &Role,
) -> Result<Option<String>, Incompatible> {
    use ColumnType::{BigInt, Integer, LowCardinalityText, Text, TimestampMs, TimestampNs, TimestampUs};
    let (from, to) = (known.kind, wanted.kind);
    let refuse = |why: &str| {
        Incompatible::new(
            format!("column {:?} is {} and cannot become {}{why}", known.name, from.name(), to.name()),
            "add a column with another name",
        )
    };
    let same_in_postgres = match (from, to) {
        (Integer, BigInt) => false,
        (Text, LowCardinalityText)
        | (LowCardinalityText, Text)
        | (TimestampMs, TimestampUs | TimestampNs)
        | (TimestampUs, TimestampNs) => true,
        _ => return Err(refuse("")),
    };
    if same_in_postgres && table.store() == StoreKind::Timescale {
        let cools = table.spec.tiering.as_ref().is_some_and(|policy| policy.cools());
        return if cools { Err(refuse(", since rows of it are in ClickHouse")) } else { Ok(None) };
    }
    if let Some(part) = role.fixed {
        return Err(refuse(&format!(", since {part}")));
    }
    Ok(Some(format!("column {:?} becomes {}", known.name, to.name())))
}

fn nullability(
    table: &TableDef,
    known: &ColumnDef,
    wanted: &ColumnDef,
    role: &Role,
) -> Result<Option<String>, Incompatible> {
    if !wanted.holds_null() {
        return Err(Incompatible::new(
            format!("column {:?} may be NULL, and rows may have none", known.name),
            "leave it nullable, and give it a default for the records to come",
        ));
    }
    if let Some(part) = role.fixed.or_else(|| role.is_time.then_some("it is the time column")) {
        return Err(Incompatible::new(
            format!("column {:?} cannot be NULL, since {part}", known.name),
            "leave it not nullable, and give it a default",
        ));
    }
    Ok((table.store() == StoreKind::ClickHouse).then(|| format!("column {:?} becomes nullable", known.name)))
}

fn role(table: &TableDef, column: &ColumnDef) -> Role {
    let spec = &table.spec;
    let is_time = spec.time_column.as_ref() == Some(&column.name);
    let name = column.name.as_str();
    let in_key = spec.key.contains(&column.name);
    let fixed = match table.store() {
        StoreKind::Timescale if in_key => Some("it is part of the key"),
        StoreKind::Timescale => {
            let of_traces = spec.hash.is_none() && spec.kind == TableKind::Traces && name == "trace_id";
            let of_hash = spec.hash.as_ref().is_some_and(|hash| hash.column == column.name);
            (of_traces || of_hash).then_some("the table is partitioned by it")
        }
        StoreKind::ClickHouse if is_time => Some("the table is partitioned and sorted by it"),
        StoreKind::ClickHouse if in_key || spec.sort_key.contains(&column.name) => {
            Some("the table is sorted by it")
        }
        StoreKind::ClickHouse
            if spec.sort_key.is_empty() && spec.kind == TableKind::Logs && name == "app" =>
        {
            Some("the table is sorted by it")
        }
        StoreKind::ClickHouse => {
            let is_indexed = spec.indexes.iter().any(|index| index.columns.contains(&column.name));
            (is_indexed || name == "trace_id").then_some("an index has it")
        }
    };
    Role { fixed, is_time }
}
