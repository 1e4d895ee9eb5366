//! ClickHouse: reachable, new enough, with the settings and the deduplication that exactly-once inserts need.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::findings::Findings;
use super::timescale::{report_skew, skew_seconds};
use crate::config::Config;
use crate::store::clickhouse::{ClickHouse, OLDEST_VERSION};

/// Settings without which a retry after an unknown outcome could double or lose rows. The others follow the server.
const NEEDED: [&str; 4] =
    ["async_insert", "insert_deduplicate", "max_insert_threads", "min_insert_block_size_rows"];

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    let settings = &config.clickhouse;
    let asked = match ClickHouse::new(settings) {
        Ok(clickhouse) => clickhouse.text("SELECT version()").await.map(|version| (clickhouse, version)),
        Err(error) => Err(error),
    };
    let (clickhouse, version) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let next =
                "start ClickHouse, or correct clickhouse.url, .user and .password; `make stores` starts one";
            findings.fail("clickhouse", format!("{}: {error}", settings.url), next);
            return;
        }
    };
    findings.ok("clickhouse", format!("{} answers user {}", settings.url, settings.user));
    check_version(&version, findings);
    clock(&clickhouse, findings).await;
    known_settings(&clickhouse, findings).await;
    if database(&clickhouse, &settings.database, findings).await {
        inserts(&clickhouse, findings).await;
    }
}

fn check_version(version: &str, findings: &mut Findings) {
    let mut parts = version.split('.').map(str::parse::<u32>);
    let number = match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => Some((major, minor)),
        _ => None,
    };
    if number.is_some_and(|number| number >= OLDEST_VERSION) {
        findings.ok("clickhouse version", version);
    } else {
        let (major, minor) = OLDEST_VERSION;
        findings.fail(
            "clickhouse version",
            format!("{version} is older than {major}.{minor}"),
            format!("upgrade to ClickHouse {major}.{minor} or newer"),
        );
    }
}

async fn clock(clickhouse: &ClickHouse, findings: &mut Findings) {
    let before = SystemTime::now();
    let answer = clickhouse.text("SELECT toUnixTimestamp64Micro(now64(6))").await;
    let after = SystemTime::now();
    match answer.map(|text| text.parse::<u64>()) {
        Ok(Ok(micros)) => {
            let there = UNIX_EPOCH + Duration::from_micros(micros);
            report_skew("clickhouse clock", skew_seconds(before, there, after), findings);
        }
        Ok(Err(_)) => {}
        Err(error) => findings.fail("clickhouse clock", error.to_string(), "see the server's log"),
    }
}

async fn known_settings(clickhouse: &ClickHouse, findings: &mut Findings) {
    const CHECK: &str = "clickhouse settings";
    let all: Vec<&str> = ClickHouse::pinned_settings().collect();
    let quoted: Vec<String> = all.iter().map(|name| format!("'{name}'")).collect();
    let query = format!("SELECT name FROM system.settings WHERE name IN ({})", quoted.join(","));
    let known = match clickhouse.text(&query).await {
        Ok(known) => known,
        Err(error) => {
            let next = "GRANT SELECT ON system.settings to the user of clickhouse.user";
            return findings.fail(CHECK, error.to_string(), next);
        }
    };
    let known: Vec<&str> = known.lines().collect();
    let missing: Vec<&str> = all.iter().copied().filter(|name| !known.contains(name)).collect();
    let needed: Vec<&str> = missing.iter().copied().filter(|name| NEEDED.contains(name)).collect();
    if !needed.is_empty() {
        let next = "use ClickHouse 24.4 or newer, not a service that only resembles it";
        findings.fail(CHECK, format!("unknown to the server: {}", needed.join(", ")), next);
    } else if missing.is_empty() {
        findings.ok(CHECK, format!("all {} that inserts carry are known", all.len()));
    } else {
        findings.ok(CHECK, format!("left out, as the server does not know them: {}", missing.join(", ")));
    }
}

/// Tries a scratch table, as a gateway does before its first insert.
async fn inserts(clickhouse: &ClickHouse, findings: &mut Findings) {
    const CHECK: &str = "clickhouse inserts";
    match clickhouse.look_at_server().await {
        Ok(()) => findings.ok(CHECK, "one INSERT is one part, and is dropped when it comes again"),
        Err(error) => {
            findings.fail(CHECK, error.to_string(), "mend what it says: no rows are written before")
        }
    }
}

/// A table without a deduplication window takes a retry for new rows, and says nothing. Whether there are tables.
async fn database(clickhouse: &ClickHouse, database: &str, findings: &mut Findings) -> bool {
    const CHECK: &str = "clickhouse tables";
    // The name matches the pattern of identifiers, so that it can stand in the text of a query.
    let query = format!(
        "SELECT name, engine LIKE 'Replicated%' OR engine LIKE 'Shared%' \
           OR match(engine_full, 'non_replicated_deduplication_window = [1-9]') \
         FROM system.tables WHERE database = '{database}' AND engine LIKE '%MergeTree' ORDER BY name"
    );
    let rows = match clickhouse.text(&query).await {
        Ok(rows) => rows,
        Err(error) => {
            findings.fail(CHECK, error.to_string(), "see the server's log");
            return false;
        }
    };
    let tables: Vec<(&str, bool)> =
        rows.lines().filter_map(|line| line.split_once('\t')).map(|(name, is)| (name, is == "1")).collect();
    let without: Vec<&str> = tables.iter().filter(|(_, is)| !is).map(|(name, _)| *name).collect();
    if tables.is_empty() {
        let next = "run `tidewell migrate`; `tidewell serve` does it as well when it starts";
        findings.warn(CHECK, format!("database {database} has no tables yet"), next);
    } else if without.is_empty() {
        findings
            .ok(CHECK, format!("{} in database {database}, all with a deduplication window", tables.len()));
    } else {
        findings.warn(
            CHECK,
            format!("no deduplication window: {}", without.join(", ")),
            "ALTER TABLE .. MODIFY SETTING non_replicated_deduplication_window = 10000 for those that Tidewell writes",
        );
    }
    !tables.is_empty()
}
