//! What the server at the other end can do: asked once, before the first insert, and again when an answer, or the
//! lack of one, shows that it may have been replaced.

use std::collections::HashSet;

use clickhouse::{Client, Row};
use serde::Deserialize;

use super::error::{from_clickhouse, unavailable};
use crate::store::StoreError;

/// Oldest version that we support.
pub const OLDEST: (u32, u32) = (24, 4);

/// Settings of an INSERT, pinned so that one cut is one part whatever the server's defaults are, and so that
/// a retry with the same token is recognised. Older servers lack some; those they lack they also do not need.
pub(super) const PINNED: [(&str, &str); 12] = [
    // The rows are committed when the answer comes, not when a buffer is flushed.
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    ("deduplicate_insert", "enable"),
    // One thread and no limit on a block: rows of one request become one part.
    ("max_insert_threads", "1"),
    ("input_format_parallel_parsing", "0"),
    ("max_insert_block_size", "100000000"),
    ("max_insert_block_size_bytes", "0"),
    ("min_insert_block_size_rows", "100000000"),
    ("min_insert_block_size_bytes", "4000000000"),
    // The status line tells how it ended, not how it began.
    ("wait_end_of_query", "1"),
    ("input_format_arrow_allow_missing_columns", "0"),
    ("input_format_null_as_default", "0"),
];

/// Settings of a count of a cut's rows: of what is committed now, wherever the answer comes from, and of all of it or
/// an error.
const COUNTING: [(&str, &str); 4] = [
    ("select_sequential_consistency", "1"),
    ("use_query_cache", "0"),
    ("timeout_overflow_mode", "throw"),
    ("read_overflow_mode", "throw"),
];

/// Settings that no version lists among its settings, though each takes them in the URL.
pub(super) const UNLISTED: [&str; 1] = ["wait_end_of_query"];

/// A server that was asked.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// What `version()` says.
    pub(super) version: String,
    /// The pinned settings that it knows.
    pub(super) settings: Vec<(&'static str, &'static str)>,
    /// Of the settings of a count, those that it knows.
    pub(super) count_settings: Vec<(&'static str, &'static str)>,
}

#[derive(Debug, Row, Deserialize)]
struct SettingRow {
    name: String,
}

impl Server {
    /// Asks the server; an error when it is older than we support.
    pub(super) async fn ask(client: &Client) -> Result<Self, StoreError> {
        let version: String =
            client.query("SELECT version()").fetch_one().await.map_err(|error| from_clickhouse(&error))?;
        if number(&version).is_none_or(|number| number < OLDEST) {
            return Err(unavailable(format!(
                "its version is {version}, the oldest supported one is {}.{}: upgrade it",
                OLDEST.0, OLDEST.1
            )));
        }
        let names: Vec<&str> = PINNED.iter().chain(&COUNTING).map(|(name, _)| *name).collect();
        let known: HashSet<String> = client
            .query("SELECT name FROM system.settings WHERE name IN ?")
            .bind(names)
            .fetch_all::<SettingRow>()
            .await
            .map_err(|error| from_clickhouse(&error))?
            .into_iter()
            .map(|row| row.name)
            .collect();
        let count_settings = COUNTING.into_iter().filter(|(name, _)| known.contains(*name)).collect();
        Ok(Self { version, settings: pinned(&known), count_settings })
    }
}

/// The pinned settings that a server with these settings takes.
fn pinned(known: &HashSet<String>) -> Vec<(&'static str, &'static str)> {
    PINNED.into_iter().filter(|(name, _)| known.contains(*name) || UNLISTED.contains(name)).collect()
}

fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_sent_only_settings_that_it_knows() {
        let old: HashSet<String> =
            ["async_insert", "insert_deduplicate", "max_insert_threads"].map(str::to_owned).into();
        let names: Vec<&str> = pinned(&old).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["async_insert", "insert_deduplicate", "max_insert_threads", "wait_end_of_query"]);
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert_eq!(number("26.5.1.1"), Some((26, 5)));
        assert!(number("24.10.3.21").unwrap() > OLDEST);
        assert!(number("24.3.18.7").unwrap() < OLDEST);
        assert_eq!(number("head"), None);
    }
}
