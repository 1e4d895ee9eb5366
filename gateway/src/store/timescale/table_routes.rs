//! The rows of `table_routes`: the routes of all tenants, shared by all gateways.

use std::collections::HashMap;

use deadpool_postgres::Pool;
use tokio_postgres::types::Json;

use super::error::{from_pool, from_postgres};
use crate::registry::{RouteRule, Routes, Signal, Tenant};
use crate::store::StoreError;

/// All routes; rows that cannot be read, of a newer gateway for example, are logged and left out.
pub(super) async fn load(pool: &Pool) -> Result<HashMap<Tenant, Routes>, StoreError> {
    let client = pool.get().await.map_err(|error| from_pool(&error))?;
    let rows = client
        .query("SELECT tenant, signal, rule FROM table_routes ORDER BY tenant, signal, position", &[])
        .await
        .map_err(|error| from_postgres(&error))?;
    let mut rules: HashMap<(Tenant, Signal), Vec<RouteRule>> = HashMap::new();
    for row in rows {
        let tenant = Tenant::new(row.get("tenant"));
        let signal = Signal::named(row.get("signal"));
        let rule = row.try_get::<_, Json<RouteRule>>("rule");
        match (tenant, signal, rule) {
            (Ok(tenant), Some(signal), Ok(Json(rule))) => {
                rules.entry((tenant, signal)).or_default().push(rule);
            }
            (_, _, Err(error)) => tracing::error!(%error, "a row of table_routes cannot be read"),
            _ => tracing::error!("a row of table_routes is of no tenant or signal"),
        }
    }
    let mut routes: HashMap<Tenant, Routes> = HashMap::new();
    for ((tenant, signal), rules) in rules {
        routes.entry(tenant).or_default().set(signal, rules);
    }
    Ok(routes)
}

/// Puts these rules in place of the signal's, all at once.
pub(super) async fn save(
    pool: &Pool,
    tenant: &Tenant,
    signal: Signal,
    rules: &[RouteRule],
    author: &str,
) -> Result<(), StoreError> {
    let mut client = pool.get().await.map_err(|error| from_pool(&error))?;
    let transaction = client.transaction().await.map_err(|error| from_postgres(&error))?;
    // Readers see the old rules until the end; another writer waits.
    transaction
        .batch_execute("LOCK TABLE table_routes IN SHARE ROW EXCLUSIVE MODE")
        .await
        .map_err(|error| from_postgres(&error))?;
    transaction
        .execute(
            "DELETE FROM table_routes WHERE tenant = $1 AND signal = $2",
            &[&tenant.as_str(), &signal.name()],
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    for (position, rule) in (0_i32..).zip(rules) {
        transaction
            .execute(
                "INSERT INTO table_routes (tenant, signal, position, rule, author) VALUES ($1, $2, $3, $4, $5)",
                &[&tenant.as_str(), &signal.name(), &position, &Json(rule), &author],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
    }
    transaction.commit().await.map_err(|error| from_postgres(&error))
}
