//! Makes a table in Postgres fit its definition: looks at the catalogue, creates or adds what is missing.
//!
//! | part of a plan | runs | holds up writers |
//! |---|---|---|
//! | a new table; columns, widths of chunks | in one transaction | for the moment that its locks take |
//! | columns that are written anew | in the same transaction | until all rows are written; only when asked for |
//! | indexes of a table with rows | each by itself | those of one chunk at a time |
//!
//! A lock is waited for only so long that those who queue up behind us do not notice ([`LOCK_TIMEOUT`]), and then asked for
//! again: a long query delays the change and nobody else.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object, Pool, Transaction};

use super::ddl::{self, PostgresColumn};
use super::error::{STORE, from_postgres, schema_error};
use super::pool::connection;
use crate::registry::{Effort, TableDef};
use crate::store::{StoreError, TableChange, Work};

/// Longest wait for a lock on the table: everybody who wants the table meanwhile waits behind us.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);
/// How often it is asked for.
const LOCK_ATTEMPTS: u32 = 20;
/// How long others go first before the next attempt.
const LOCK_PAUSE: Duration = Duration::from_millis(250);

/// What it takes to make a table fit its definition.
#[derive(Debug, Default)]
struct Plan {
    /// In one transaction.
    together: Vec<String>,
    /// In the same one: statements that write rows anew.
    rewriting: Vec<String>,
    /// Each by itself, outside of a transaction.
    apart: Vec<String>,
}

/// What [`prepare`] would run now.
pub(super) async fn plan(pool: &Pool, change: &TableChange<'_>) -> Result<Vec<Work>, StoreError> {
    let mut client = connection(pool).await?;
    let transaction = client.transaction().await.map_err(|error| from_postgres(&error))?;
    let Plan { together, rewriting, apart } = Plan::of(&transaction, change).await?;
    let work = |effort| move |statement| Work { statement, effort };
    let together = together.into_iter().map(work(Effort::Online));
    let rewriting = rewriting.into_iter().map(work(Effort::Rewrite));
    Ok(together.chain(rewriting).chain(apart.into_iter().map(work(Effort::Online))).collect())
}

/// Creates the table or adds what it lacks.
pub(super) async fn prepare(pool: &Pool, change: &TableChange<'_>) -> Result<(), StoreError> {
    let table = change.table;
    let apart = again_while_locked(table, || together(pool, change)).await?;
    for statement in apart {
        again_while_locked(table, || by_itself(pool, table, &statement)).await?;
    }
    Ok(())
}

/// Tries as long as somebody else has the table.
async fn again_while_locked<T, F>(table: &TableDef, mut run: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for _ in 1..LOCK_ATTEMPTS {
        match run().await {
            Err(StoreError::Busy { reason, .. }) => {
                tracing::debug!(table = %table.name(), reason, "the table is in use, will try again");
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            done => return done,
        }
    }
    run().await.map_err(|error| match error {
        StoreError::Busy { reason, .. } => StoreError::Busy {
            store: STORE,
            reason: format!(
                "table {:?} was in use at each of {LOCK_ATTEMPTS} attempts to change it: end long transactions that \
                 use it (pg_stat_activity), or try again ({reason})",
                table.name()
            ),
        },
        other => other,
    })
}

/// Runs what belongs into one transaction, under a lock that other gateways respect; gives back what does not.
async fn together(pool: &Pool, change: &TableChange<'_>) -> Result<Vec<String>, StoreError> {
    let table = change.table;
    let mut client = connection(pool).await?;
    let transaction = client.transaction().await.map_err(|error| from_postgres(&error))?;
    transaction
        .execute(
            "SELECT pg_advisory_xact_lock(hashtext('tidewell.prepare'), hashtext($1))",
            &[&table.name().as_str()],
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    run(&transaction, &format!("SET LOCAL lock_timeout = {}", LOCK_TIMEOUT.as_millis())).await?;
    let plan = Plan::of(&transaction, change).await?;
    for statement in &plan.together {
        run(&transaction, statement).await?;
    }
    if !plan.rewriting.is_empty() {
        if change.allowed < Effort::Rewrite {
            return Err(schema_error(format!(
                "table {:?} would be locked while all its rows are written anew ({}): allow that in so many words",
                table.name(),
                plan.rewriting.join("; ")
            )));
        }
        // It takes as long as it takes: whoever asked for it knows.
        run(&transaction, "SET LOCAL statement_timeout = 0").await?;
        for statement in &plan.rewriting {
            run(&transaction, statement).await?;
        }
    }
    transaction.commit().await.map_err(|error| from_postgres(&error))?;
    Ok(plan.apart)
}

/// Runs a statement that takes no transaction around it, on a connection that nobody gets afterwards.
async fn by_itself(pool: &Pool, table: &TableDef, statement: &str) -> Result<(), StoreError> {
    let client: ClientWrapper = Object::take(connection(pool).await?);
    // Not waited for in the server: a statement that waits is one that the making of an index waits for.
    let row = client
        .query_one(
            "SELECT pg_try_advisory_lock(hashtext('tidewell.index'), hashtext($1))",
            &[&table.name().as_str()],
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    if !row.get::<_, bool>(0) {
        let reason = format!("another gateway makes an index of table {:?}", table.name());
        return Err(StoreError::Busy { store: STORE, reason });
    }
    let settings = format!("SET lock_timeout = {}; SET statement_timeout = 0", LOCK_TIMEOUT.as_millis());
    client.batch_execute(&settings).await.map_err(|error| from_postgres(&error))?;
    client.batch_execute(statement).await.map_err(|error| from_postgres(&error))
}

impl Plan {
    /// What is missing now.
    async fn of(transaction: &Transaction<'_>, change: &TableChange<'_>) -> Result<Self, StoreError> {
        let table = change.table;
        let grants = missing_grants(transaction, table).await?;
        let Some(existing) = existing_columns(transaction, table).await? else {
            let together = ddl::create(table).into_iter().chain(grants).collect();
            return Ok(Self { together, ..Self::default() });
        };
        let mut plan = Self { together: grants, ..Self::default() };
        for column in ddl::columns(table) {
            plan.column(table, &column, existing.get(&column.name))?;
        }
        // An administrator may have chosen otherwise: only what the definition itself changes is changed.
        if let Some(previous) = change.previous {
            plan.together.extend(ddl::relaxed_columns(previous, table));
            plan.together.extend(ddl::new_chunk_width(previous, table));
        }
        plan.indexes(transaction, table).await?;
        Ok(plan)
    }

    fn column(
        &mut self,
        table: &TableDef,
        wanted: &PostgresColumn,
        existing: Option<&String>,
    ) -> Result<(), StoreError> {
        match existing {
            None => self.together.push(addition(table, wanted)?),
            Some(kind) if kind == wanted.kind => {}
            Some(kind) if kind == "integer" && wanted.kind == "bigint" => {
                self.rewriting.push(ddl::widen_column(table, wanted));
            }
            Some(kind) => {
                return Err(schema_error(format!(
                    "column {:?} of table {:?} is {kind} instead of {}: rename one of them",
                    wanted.name,
                    table.name(),
                    wanted.kind
                )));
            }
        }
        Ok(())
    }

    async fn indexes(&mut self, transaction: &Transaction<'_>, table: &TableDef) -> Result<(), StoreError> {
        for index in &table.spec.indexes {
            let row = transaction
                .query_opt(
                    "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass($1)",
                    &[&format!("\"{}\"", ddl::index_name(table, index))],
                )
                .await
                .map_err(|error| from_postgres(&error))?;
            match row.map(|row| row.get::<_, bool>(0)) {
                Some(true) => continue,
                // Its making was cut short.
                Some(false) => self.together.push(ddl::drop_index(table, index)),
                None => {}
            }
            self.apart.push(ddl::add_index(table, index));
        }
        Ok(())
    }
}

fn addition(table: &TableDef, column: &PostgresColumn) -> Result<String, StoreError> {
    if column.not_null && column.default.is_none() {
        return Err(schema_error(format!(
            "table {:?} lacks column {:?}, which may not be NULL: the rows that exist have no value for it",
            table.name(),
            column.name
        )));
    }
    Ok(ddl::add_column(table, column))
}

/// Names and types of the table's columns; none when there is no such table.
async fn existing_columns(
    transaction: &Transaction<'_>,
    table: &TableDef,
) -> Result<Option<HashMap<String, String>>, StoreError> {
    let rows = transaction
        .query(
            "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod)
             FROM pg_attribute a
             WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped",
            &[&table.name().quoted()],
        )
        .await
        .map_err(|error| from_postgres(&error))?;
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(rows.iter().map(|row| (row.get(0), row.get(1))).collect()))
}

/// What gives the roles that exist what they lack. Only an owner may grant; where another role owns the table, its owner
/// has decided already.
async fn missing_grants(transaction: &Transaction<'_>, table: &TableDef) -> Result<Vec<String>, StoreError> {
    let mut missing = Vec::new();
    for (role, privilege, statement) in ddl::grants(table) {
        let row = transaction
            .query_one(
                "SELECT to_regrole($1) IS NOT NULL AND (to_regclass($2) IS NULL
                    OR NOT has_table_privilege(to_regrole($1), to_regclass($2), $3)
                    AND pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass($2)), 'USAGE'))",
                &[&role, &table.name().quoted(), &privilege],
            )
            .await
            .map_err(|error| from_postgres(&error))?;
        if row.get::<_, Option<bool>>(0) == Some(true) {
            missing.push(statement);
        }
    }
    Ok(missing)
}

async fn run(transaction: &Transaction<'_>, statement: &str) -> Result<(), StoreError> {
    transaction.batch_execute(statement).await.map_err(|error| from_postgres(&error))
}
