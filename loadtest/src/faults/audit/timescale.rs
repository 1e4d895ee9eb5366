//! Rows of `metrics_events`.

use anyhow::{Context, Result};
use serde_json::Value as Json;
use tokio_postgres::Row as PostgresRow;

use super::{Columns, row};
use crate::audit::connect;
use crate::faults::record::{Identity, Kind, Run};
use crate::faults::verdict::Row;

/// All rows of the run.
pub(super) async fn rows(url: &str, run: Run) -> Result<Vec<Row>> {
    let client = connect(url).await?;
    let query = format!(
        "SELECT (extract(epoch FROM time) * 1000000)::bigint * 1000 + coalesce(time_nanos, 0), app, host, metric,
                coalesce(value, value_int::double precision), labels
         FROM metrics_events WHERE {}",
        of(run)
    );
    let rows = client.query(&query, &[]).await.context("cannot read metrics_events")?;
    rows.iter().map(read).collect()
}

/// How often a record is there.
pub(super) async fn copies(url: &str, run: Run, identity: Identity) -> Result<u64> {
    let client = connect(url).await?;
    let Identity { sender, sequence } = identity;
    let query = format!(
        "SELECT count(*) FROM metrics_events
         WHERE {} AND labels->>'sender' = '{sender}' AND labels->>'sequence' = '{sequence}'",
        of(run)
    );
    let copies: i64 =
        client.query_one(&query, &[]).await.context("cannot count in metrics_events")?.try_get(0)?;
    Ok(u64::try_from(copies)?)
}

/// The records of a run have no time before its begin.
fn of(run: Run) -> String {
    let begin = run.begin.div_euclid(1_000_000_000);
    format!("time >= to_timestamp({begin}) AND labels->>'run' = '{}'", run.label())
}

fn read(columns: &PostgresRow) -> Result<Row> {
    let Json::Object(labels) = columns.try_get(5)? else {
        anyhow::bail!("the labels of a row are no object")
    };
    let columns = Columns {
        time_nanos: columns.try_get(0)?,
        app: columns.try_get(1)?,
        host: columns.try_get(2)?,
        text: columns.try_get(3)?,
        value: columns.try_get(4)?,
        labels,
    };
    Ok(row(Kind::Metric, columns))
}
