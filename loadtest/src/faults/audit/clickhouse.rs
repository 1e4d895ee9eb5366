//! Rows of `logs_events`, over ClickHouse's HTTP interface.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::{Columns, row};
use crate::audit::ClickHouse;
use crate::faults::record::{Identity, Kind, Run};
use crate::faults::verdict::Row;

#[derive(Deserialize)]
struct Line {
    time: String,
    app: String,
    host: String,
    message: String,
    labels: Map<String, Json>,
}

/// All rows of the run.
pub(super) async fn rows(store: &ClickHouse, run: Run) -> Result<Vec<Row>> {
    let statement = format!(
        "SELECT toString(toUnixTimestamp64Nano(timestamp)) AS time, app, host, message, labels
         FROM `{}`.logs_events WHERE {} FORMAT JSONEachRow",
        store.database,
        of(run)
    );
    let answer = store.query(statement).await?;
    answer.lines().map(read).collect()
}

/// How often a record is there.
pub(super) async fn copies(store: &ClickHouse, run: Run, identity: Identity) -> Result<u64> {
    let Identity { sender, sequence } = identity;
    let statement = format!(
        "SELECT count() FROM `{}`.logs_events
         WHERE {} AND labels['sender'] = '{sender}' AND labels['sequence'] = '{sequence}' FORMAT TabSeparated",
        store.database,
        of(run)
    );
    Ok(store.query(statement).await?.trim().parse()?)
}

/// The records of a run have no time before its begin.
fn of(run: Run) -> String {
    let begin = run.begin.div_euclid(1_000_000_000);
    format!("timestamp >= toDateTime64({begin}, 9, 'UTC') AND labels['run'] = '{}'", run.label())
}

fn read(line: &str) -> Result<Row> {
    let parsed: Line = serde_json::from_str(line)
        .with_context(|| format!("ClickHouse answered an unexpected row: {line}"))?;
    let Line { time, app, host, message, labels } = parsed;
    let columns = Columns { time_nanos: time.parse()?, app, host, text: message, value: None, labels };
    Ok(row(Kind::Log, columns))
}
