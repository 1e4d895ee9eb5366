//! `tidewell tail`: the last rows of a table and those that come, one JSON object a line. A client of the gateway's
//! `/tables/{table}/rows`.
//!
//! Rows are asked for once a second, from a little before the last one on, since rows are committed in another order than
//! that of their times: those that are as late as [`OVERLAP`] are still shown, and none twice.

use std::collections::HashMap;
use std::io::Write as _;
use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use clap::Args;
use http::Method;
use serde_json::Value;

use super::client::{Gateway, Listener, Whom, escaped};
use super::{CommandError, Files, output};

/// How late a row may be.
const OVERLAP: TimeDelta = TimeDelta::seconds(10);
/// How often rows are asked for.
const EVERY: std::time::Duration = std::time::Duration::from_secs(1);
/// Most rows of one answer.
const PAGE: usize = 20_000;

/// What to show of which table.
#[derive(Debug, Args)]
pub(super) struct Tail {
    /// Name of the table; metrics, logs and traces stand for the built-in ones
    table: String,
    /// How many of the last rows are written first
    #[arg(short = 'n', long, default_value_t = 10, value_name = "N")]
    lines: usize,
    /// End after the last rows
    #[arg(long)]
    no_follow: bool,
    /// Only rows with this value, as COLUMN=VALUE or labels.KEY=VALUE
    #[arg(long = "where", value_name = "COLUMN=VALUE")]
    filters: Vec<String>,
    #[command(flatten)]
    whom: Whom,
}

pub(super) async fn run(tail: &Tail, files: &Files) -> Result<ExitCode, CommandError> {
    let gateway = tail.whom.connect(Listener::Everybody, files)?;
    let table = escaped(&tail.table);
    let name = crate::registry::builtin::unabbreviated(&tail.table);
    let definition = gateway.succeed(Method::GET, &format!("/schema/tables/{}", escaped(name)), None).await?;
    let time_column = definition["time_column"].as_str().map(str::to_owned);
    let rows = format!("/tables/{table}/rows?format=ndjson{}", tail.conditions()?);

    let mut lines = Vec::new();
    if tail.lines > 0 {
        let last = gateway.text(&format!("{rows}&limit={}", tail.lines)).await?;
        lines.extend(last.lines().rev().map(str::to_owned));
    }
    write(&lines)?;
    let Some(time_column) = time_column.filter(|_| !tail.no_follow) else {
        return if tail.no_follow {
            Ok(ExitCode::SUCCESS)
        } else {
            Err(CommandError::Refused(format!("table {name:?} has no time to follow it by: add --no-follow")))
        };
    };
    follow(&gateway, &rows, Follower::new(time_column, lines, Utc::now())).await
}

/// Writes the rows that come. It ends when nobody reads them; a gateway or store that does not answer is waited for.
async fn follow(gateway: &Gateway, rows: &str, mut follower: Follower) -> Result<ExitCode, CommandError> {
    let mut is_waiting = false;
    loop {
        let from = follower.from.to_rfc3339_opts(SecondsFormat::Nanos, true);
        match gateway.text(&format!("{rows}&order=asc&limit={PAGE}&from={}", escaped(&from))).await {
            Ok(page) => {
                is_waiting = false;
                let lines: Vec<String> = page.lines().map(str::to_owned).collect();
                let is_full = lines.len() == PAGE;
                write(&follower.new_of(lines, is_full, Utc::now()))?;
                if is_full {
                    continue;
                }
            }
            Err(error) => {
                if !is_waiting {
                    let told = format!("waiting: {error}\n");
                    std::io::stderr().write_all(told.as_bytes()).map_err(CommandError::Output)?;
                }
                is_waiting = true;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn write(lines: &[String]) -> Result<(), CommandError> {
    if lines.is_empty() {
        return Ok(());
    }
    output(&format!("{}\n", lines.join("\n")))
}

impl Tail {
    /// The filters as parameters of an address.
    fn conditions(&self) -> Result<String, CommandError> {
        let parameters = self.filters.iter().map(|filter| match filter.split_once('=') {
            Some((column, value)) => Ok(format!("&filter.{}={}", escaped(column), escaped(value))),
            None => Err(CommandError::Refused(format!("{filter:?} is no filter: write COLUMN=VALUE"))),
        });
        parameters.collect()
    }
}

/// Tells rows that were written from those that are new.
#[derive(Debug)]
struct Follower {
    time_column: String,
    /// From when on rows are asked for next.
    from: DateTime<Utc>,
    /// The rows from then on that were written, and how often: equal rows are rows of their own.
    written: HashMap<String, usize>,
    /// At first, the time of the last row that was written: what is older is no news.
    begun_at: Option<DateTime<Utc>>,
}

impl Follower {
    fn new(time_column: String, written: Vec<String>, now: DateTime<Utc>) -> Self {
        let mut follower = Self { time_column, from: now, written: HashMap::new(), begun_at: None };
        let last = follower.last(&written).map_or(now, |last| last.min(now));
        follower.from = last - OVERLAP;
        follower.begun_at = Some(last);
        follower.remember(&written);
        follower
    }

    /// Of the rows from `from` on, those that were not written yet. The page may be full, so that more follow.
    fn new_of(&mut self, lines: Vec<String>, is_full: bool, now: DateTime<Utc>) -> Vec<String> {
        let mut before = std::mem::take(&mut self.written);
        let last = self.last(&lines);
        if let Some(last) = last {
            let overlapping = last.min(now) - OVERLAP;
            // A full page is gone through before anything is looked at again.
            self.from = if is_full { last } else { self.from.max(overlapping) };
        }
        self.remember(&lines);
        let mut fresh = lines;
        fresh.retain(|line| match before.get_mut(line) {
            Some(times) if *times > 0 => {
                *times -= 1;
                false
            }
            _ => true,
        });
        if let Some(begun_at) = self.begun_at {
            fresh.retain(|line| self.time(line).is_none_or(|time| time > begun_at));
            self.begun_at = self.begun_at.filter(|_| is_full);
        }
        fresh
    }

    fn remember(&mut self, lines: &[String]) {
        for line in lines {
            if self.time(line).is_none_or(|time| time >= self.from) {
                *self.written.entry(line.clone()).or_default() += 1;
            }
        }
    }

    fn last(&self, lines: &[String]) -> Option<DateTime<Utc>> {
        lines.iter().filter_map(|line| self.time(line)).max()
    }

    fn time(&self, line: &str) -> Option<DateTime<Utc>> {
        let row: Value = serde_json::from_str(line).ok()?;
        DateTime::parse_from_rfc3339(row[&self.time_column].as_str()?).ok().map(|time| time.to_utc())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(second: u32, id: u32) -> String {
        format!(r#"{{"time":"2026-01-10T00:00:{second:02}Z","id":{id}}}"#)
    }

    #[test]
    fn each_row_is_written_once_though_it_is_read_again() {
        let now = DateTime::parse_from_rfc3339("2026-01-10T00:00:59Z").unwrap().to_utc();
        let mut follower = Follower::new("time".to_owned(), vec![row(30, 1), row(31, 2)], now);
        assert_eq!(follower.from.to_rfc3339(), "2026-01-10T00:00:21+00:00");
        let read = vec![row(25, 0), row(30, 1), row(31, 2)];
        assert!(follower.new_of(read.clone(), false, now).is_empty(), "what was there before is no news");
        let read = [read, vec![row(31, 2), row(26, 3), row(45, 4)]].concat();
        let fresh = follower.new_of(read, false, now);
        assert_eq!(fresh, [row(31, 2), row(26, 3), row(45, 4)], "equal rows and late ones");
        assert_eq!(follower.from.to_rfc3339(), "2026-01-10T00:00:35+00:00");
        assert!(follower.new_of(vec![row(45, 4)], false, now).is_empty());
        let ahead = "2026-01-10T00:09:00Z";
        let fresh =
            follower.new_of(vec![row(45, 4), row(45, 4).replace("2026-01-10T00:00:45Z", ahead)], false, now);
        assert_eq!(fresh.len(), 1);
        assert_eq!(
            follower.from.to_rfc3339(),
            "2026-01-10T00:00:49+00:00",
            "no clock ahead of ours hides rows"
        );
        follower.new_of(vec![row(50, 5), row(52, 6)], true, now);
        assert_eq!(follower.from.to_rfc3339(), "2026-01-10T00:00:52+00:00", "a full page is gone through");
        assert!(follower.new_of(vec![row(52, 6)], false, now).is_empty());
    }
}
