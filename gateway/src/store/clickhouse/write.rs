//! A cut into its table: asks the server what [`protocol`](super::protocol) wants to know until it knows how it ended.

use bytes::Bytes;

use super::error::{STORE, code, data_error, schema_error};
use super::protocol::{Answer, Event, Next, Outcome, Question, Rows, State};
use super::server::Server;
use super::{ClickHouse, arrow_stream};
use crate::fault_point::{self, Point, Step};
use crate::registry::{PROVENANCE_COLUMNS, TableRows};
use crate::store::{Cut, StoreError};

/// Where there is no table there are no rows: `UNKNOWN_TABLE`, `UNKNOWN_DATABASE`.
const NO_TABLE: [u32; 2] = [60, 81];

/// What names the cut in the server, whatever its epoch.
fn name(cut: &Cut) -> String {
    format!("{:016x}-{}-", cut.log, cut.number)
}

/// The deduplication token of the cut's INSERT.
pub(super) fn token(cut: &Cut) -> String {
    format!("{}{}", name(cut), cut.epoch)
}

/// Stores the cut exactly once, or says how far it got.
pub(super) async fn write(store: &ClickHouse, cut: &Cut, server: &Server) -> Result<(), StoreError> {
    // What `make faults` shows to lose rows: a second success counts as much as a first one.
    let trusting = fault_point::is_left_out(Step::CountAfterSecondSuccess);
    let mut state = State::begin(cut.fresh || trusting);
    let mut counted = 0;
    // The last error: what the caller is told when it is to try again.
    let mut told = None;
    let outcome = loop {
        let event = match state.question() {
            Question::Insert => insert(store, cut, server).await.map(|()| Event::Answered(Answer::Stored)),
            Question::Count => count(store, cut, server).await.map(|rows| {
                counted = rows;
                Event::Rows(visible(cut, rows))
            }),
            Question::Running => running(store, cut).await.map(Event::Running),
        };
        let event = event.unwrap_or_else(|error| {
            let refused = state.question() == Question::Insert
                && matches!(error, StoreError::Data { .. } | StoreError::Schema { .. });
            told = Some(error);
            if refused { Event::Answered(Answer::Refused) } else { Event::Unknown }
        });
        match state.next(event) {
            Next::Ask(next) => state = next,
            Next::End(outcome) => break outcome,
        }
    };
    let table = cut.rows.table().name();
    match outcome {
        Outcome::Done => Ok(()),
        // Not knowing is no refusal of the rows, whatever the words of the last error were.
        Outcome::Retry if matches!(told, Some(StoreError::Data { .. })) => Err(StoreError::Busy {
            store: STORE,
            reason: told.map(|error| error.to_string()).unwrap_or_default(),
        }),
        Outcome::Retry | Outcome::Refused => {
            Err(told.unwrap_or_else(|| schema_error("its answers to a cut make no sense")))
        }
        Outcome::StillRunning => Err(StoreError::Busy {
            store: STORE,
            reason: format!("an earlier attempt to insert cut {} into {table} is still running", cut.number),
        }),
        Outcome::Lost => Err(StoreError::Lost { store: STORE }),
        // Not a reason to give the rows back: some of them are there.
        Outcome::Torn => Err(StoreError::Busy {
            store: STORE,
            reason: format!(
                "{counted} of the {} rows of cut {} are in {table}: somebody deleted the others, or the table is \
                 partitioned by less than a day, so that one INSERT is several parts; delete the rows WHERE \
                 tidewell_log = {} AND tidewell_cut = {}, and they will be written again",
                cut.rows.len(),
                cut.number,
                cut.log,
                cut.number
            ),
        }),
    }
}

/// What a count says of the cut. Of the rows of a table with a key, merges leave the last one of each key; they may
/// leave none only after another writer has replaced them all, and then writing them again is what a retry of the
/// sender would do as well.
fn visible(cut: &Cut, rows: u64) -> Rows {
    let all = u64::try_from(cut.rows.len()).unwrap_or(u64::MAX);
    match rows {
        0 => Rows::None,
        _ if cut.rows.table().is_keyed() => Rows::All,
        rows if rows < all => Rows::Some,
        rows => {
            if rows > all {
                tracing::error!(
                    table = %cut.rows.table().name(), log = cut.log, cut = cut.number, rows, expected = all,
                    "rows of a cut are there more than once"
                );
            }
            Rows::All
        }
    }
}

async fn insert(store: &ClickHouse, cut: &Cut, server: &Server) -> Result<(), StoreError> {
    let inserted = send(store, cut, server).await;
    if let Err(StoreError::Unavailable { .. }) = &inserted {
        // Whoever answers next may be another one.
        store.forget_server();
    }
    inserted
}

async fn send(store: &ClickHouse, cut: &Cut, server: &Server) -> Result<(), StoreError> {
    let table = cut.rows.table();
    let body = arrow_stream::to_stream(cut)
        .map_err(|error| data_error(format!("the rows of {}: {error}", table.name())))?;
    let statement = format!(
        "INSERT INTO `{}` ({}) FORMAT ArrowStream",
        table.name(),
        arrow_stream::insert_columns(table)
    );
    send_arrow(store, &statement, body, &token(cut), server).await
}

/// Sends one INSERT with every pinned setting, and waits until it is committed.
pub(super) async fn send_arrow(
    store: &ClickHouse,
    statement: &str,
    body: Vec<Bytes>,
    token: &str,
    server: &Server,
) -> Result<(), StoreError> {
    // The second one shows in system.processes, where a running attempt is looked for.
    let named = [("insert_deduplication_token", token), ("log_comment", token)];
    let settings = named.into_iter().chain(server.settings.iter().copied());
    let inserted = store.inserter.insert(statement, settings, body).await;
    fault_point::reached(Point::ClickHouseAfterInsert);
    inserted
}

/// The rows of the cut that are committed.
async fn count(store: &ClickHouse, cut: &Cut, server: &Server) -> Result<u64, StoreError> {
    let [log, number] = PROVENANCE_COLUMNS;
    let table = cut.rows.table().name();
    let mut sql =
        format!("SELECT count() FROM `{table}` WHERE `{log}` = {} AND `{number}` = {}", cut.log, cut.number);
    if let Some((column, nanos)) = partition(&cut.rows) {
        sql.push_str(&format!(
            " AND toDate32(`{column}`) = toDate32(fromUnixTimestamp64Nano(toInt64({nanos}), 'UTC'))"
        ));
    }
    let mut query = store.client.0.query(&sql);
    for (name, value) in &server.count_settings {
        query = query.with_setting(*name, *value);
    }
    match store.in_time(query.fetch_one::<u64>()).await {
        Err(error) if code(&error.to_string()).is_some_and(|code| NO_TABLE.contains(&code)) => Ok(0),
        counted => counted,
    }
}

/// The column that partitions the table and a time within the cut's one partition; none for tables with a key, which
/// have no partitions.
fn partition(rows: &TableRows) -> Option<(&str, i64)> {
    use arrow::array::AsArray as _;
    let table = rows.table();
    if table.is_keyed() {
        return None;
    }
    let at = table.time_column()?;
    let times = rows
        .batches()
        .first()?
        .rows()
        .column(at)
        .as_primitive_opt::<arrow::datatypes::TimestampNanosecondType>()?;
    Some((table.columns().get(at)?.name.as_str(), *times.values().first()?))
}

/// Whether an attempt to insert the cut, under any of its tokens, is running.
async fn running(store: &ClickHouse, cut: &Cut) -> Result<bool, StoreError> {
    let query = store
        .outside
        .0
        .query("SELECT count() FROM system.processes WHERE startsWith(Settings['log_comment'], ?)")
        .bind(name(cut));
    Ok(store.in_time(query.fetch_one::<u64>()).await? > 0)
}
