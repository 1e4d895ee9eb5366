//! What a Postgres error means for delivery: the one place that reads SQLSTATE classes.

use deadpool_postgres::PoolError;
use tokio_postgres::error::SqlState;

use crate::store::StoreError;

pub(super) const STORE: &str = "timescale";

/// Functions that are missing when the extension is.
const MADE_BY_TIMESCALE: [&str; 4] = ["by_range", "by_hash", "create_hypertable", "add_dimension"];

/// The text of an error with its causes, since `tokio_postgres` keeps the server's words in the cause.
fn text(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

/// A table or column that is not as the registry says.
pub(super) fn schema_error(reason: String) -> StoreError {
    StoreError::Schema { store: STORE, reason }
}

/// A value that Postgres does not take.
pub(super) fn data_error(reason: String) -> StoreError {
    StoreError::Data { store: STORE, reason }
}

/// Postgres cannot be used at all.
pub(super) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { store: STORE, reason: reason.into() }
}

/// No connection to be had.
pub(crate) fn from_pool(error: &PoolError) -> StoreError {
    match error {
        PoolError::Backend(error) => from_postgres(error),
        PoolError::Timeout(_) => StoreError::Busy {
            store: STORE,
            reason: "no connection of the pool became free in time".to_owned(),
        },
        other => StoreError::Unavailable { store: STORE, reason: text(other) },
    }
}

/// A statement that failed. Classes as in the Postgres manual, appendix A.
pub(crate) fn from_postgres(error: &tokio_postgres::Error) -> StoreError {
    let reason = text(error);
    let Some(state) = error.code() else {
        return StoreError::Unavailable { store: STORE, reason };
    };
    if *state == SqlState::UNDEFINED_FUNCTION && MADE_BY_TIMESCALE.iter().any(|name| reason.contains(name)) {
        return schema_error(format!(
            "this database has no timescaledb extension ({reason}): install TimescaleDB on the server, add it to \
             shared_preload_libraries, and run CREATE EXTENSION timescaledb as a superuser"
        ));
    }
    if *state == SqlState::PROTOCOL_VIOLATION {
        // What a COPY says of a value that has fewer bytes than its column's type.
        return schema_error(reason);
    }
    let class = state.code().get(..2).unwrap_or_default();
    match class {
        // 40 rollback, 53 resources, 55 object in use, 25 read-only.
        "40" | "53" | "55" | "25" => StoreError::Busy { store: STORE, reason },
        // 08 connection, 57 operator intervention, 58 system, XX internal, 28 authorisation, 3D no database.
        "08" | "57" | "58" | "XX" | "28" | "3D" => StoreError::Unavailable { store: STORE, reason },
        // 22 data, 23 constraint, 54 a limit of Postgres, such as the size of an index entry.
        "22" | "23" | "54" => StoreError::Data { store: STORE, reason },
        _ if *state == SqlState::INSUFFICIENT_PRIVILEGE => StoreError::Unavailable { store: STORE, reason },
        _ => StoreError::Schema { store: STORE, reason },
    }
}
