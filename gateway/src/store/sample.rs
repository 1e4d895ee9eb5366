//! Tables that the tests of both stores share.

use crate::registry::{StoreKind, TableDef, Tenant};

/// A table with a column of every type.
pub(crate) fn every_type(store: StoreKind) -> TableDef {
    let spec = serde_json::json!({
        "table_name": "every_type", "store": store.name(),
        "columns": [
            {"name": "time", "type": "timestamp_ns"}, {"name": "millis", "type": "timestamp_ms"},
            {"name": "micros", "type": "timestamp"}, {"name": "double", "type": "double"},
            {"name": "bigint", "type": "bigint"}, {"name": "integer", "type": "integer"},
            {"name": "boolean", "type": "boolean"}, {"name": "text", "type": "text"},
            {"name": "name", "type": "text", "nullable": false},
            {"name": "word", "type": "low_cardinality_text"}, {"name": "bytes", "type": "bytes"},
            {"name": "uuid", "type": "uuid"}, {"name": "json", "type": "jsonb"},
            {"name": "doubles", "type": "double[]"}, {"name": "integers", "type": "bigint[]"},
            {"name": "texts", "type": "text[]"}, {"name": "labels", "type": "attributes"},
        ],
    });
    TableDef::from_spec(Tenant::default(), serde_json::from_value(spec).unwrap(), 1).unwrap()
}
