//! Counts metrics and spans in TimescaleDB: a question in, what is there per request out.

use anyhow::{Context, Result};
use tokio_postgres::{Client, NoTls, Row};

use super::{Found, Question};
use crate::identity::{FIRST_SEQUENCE, GATHER};
use crate::workload::Signal;

/// What the store holds of the run, ordered by nothing.
pub(super) async fn found(url: &str, question: &Question) -> Result<Vec<Found>> {
    let client = connect(url).await?;
    let rows = client.query(&statement(question), &[]).await.context("cannot count in Postgres")?;
    rows.iter().map(read).collect()
}

pub(crate) async fn connect(url: &str) -> Result<Client> {
    let connected = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connected.context("cannot connect to Postgres for the audit")?;
    // Ends with the client; an error shows in the statement that it broke.
    tokio::spawn(connection);
    // A count of some million distinct numbers in memory instead of in temporary files.
    client.batch_execute("SET work_mem = '512MB'; SET jit = off; SET timezone = 'UTC'").await?;
    Ok(client)
}

fn read(row: &Row) -> Result<Found> {
    let count = |column: usize| -> Result<u64> { Ok(u64::try_from(row.try_get::<_, i64>(column)?)?) };
    Ok(Found {
        request: row.try_get(0)?,
        rows: count(1)?,
        distinct: count(2)?,
        // Numbers that were never sent may be negative; they are foreign either way.
        min: count(3).unwrap_or_default(),
        max: count(4).unwrap_or_default(),
        places: count(5).unwrap_or_default(),
    })
}

/// Counts each number first, then the numbers of each request: a count of distinct values per request would sort.
fn statement(question: &Question) -> String {
    let run = question.run.hex();
    let records = question.records_per_request;
    let (table, sequence, of_run) = match question.signal {
        Signal::Traces => ("traces_spans", gathered("span_id"), format!("trace_id LIKE '{run}%'")),
        // Integers have a column of their own; logs are not here.
        Signal::Metrics | Signal::Logs => {
            let value = "coalesce(value_int, value::bigint)".to_owned();
            ("metrics_events", value, format!("labels->>'run' = '{run}'"))
        }
    };
    let (from, until) = (question.from, question.until);
    format!(
        "SELECT request, sum(rows)::bigint, count(*), min(sequence), max(sequence),
                sum(rows * (sequence - {FIRST_SEQUENCE} - request * {records}))::bigint
         FROM (SELECT sequence, rows, floor((sequence - {FIRST_SEQUENCE}) / {records}.0)::bigint AS request
               FROM (SELECT {sequence} AS sequence, count(*) AS rows FROM {table}
                     WHERE time BETWEEN to_timestamp({from}) AND to_timestamp({until}) AND {of_run}
                     GROUP BY 1) AS numbers) AS requests
         GROUP BY request"
    )
}

/// Undoes [`crate::identity::scatter`]: a product modulo 2^64, which `bigint` would call an overflow. A number that is
/// too great for `bigint` was never sent, and becomes -1.
fn gathered(column: &str) -> String {
    let two_64 = "18446744073709551616";
    let unsigned = format!("(('x' || {column})::bit(64)::bigint::numeric + {two_64}) % {two_64}");
    let product = format!("(({unsigned}) * {GATHER}) % {two_64}");
    format!("(CASE WHEN {product} > 9223372036854775807 THEN -1 ELSE {product} END)::bigint")
}
