//! TimescaleDB: reachable, new enough, with the extension, in UTC, with its roles and tables.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use deadpool_postgres::Object;
use tokio_postgres::types::FromSqlOwned;

use super::findings::Findings;
use crate::config::{Config, TimescaleConfig};
use crate::registry::StoreKind;
use crate::store::migrate;
use crate::store::timescale::durability::weaknesses;
use crate::store::timescale::pool::{Purpose, pool};

/// Oldest major version that we support.
const OLDEST: i32 = 16;

/// The clocks of gateway and store may differ by this many seconds before times of arrival and retention get odd.
pub(super) const MAX_SKEW_SECONDS: f64 = 2.0;

/// The roles that migrations create.
const ROLES: [&str; 3] = ["tidewell_ddl", "tidewell_ingest", "tidewell_read"];

/// The oldest TimescaleDB with `by_range` and `by_hash`.
const OLDEST_TIMESCALEDB: (u32, u32) = (2, 13);

pub(super) async fn look(config: &Config, findings: &mut Findings) {
    let shown = config.timescale.url.masked();
    let client = match connect(&config.timescale, Purpose::Administration).await {
        Ok(client) => client,
        Err(reason) => {
            let next =
                "start Postgres, or correct timescale.url and timescale.password; `make stores` starts one";
            findings.fail("timescale", format!("{shown}: {reason}"), next);
            return;
        }
    };
    findings.ok("timescale", format!("{shown} answers"));
    version(&client, findings).await;
    extension(&client, findings).await;
    clock(&client, findings).await;
    time_zone(&client, findings).await;
    durability(&client, findings).await;
    connections(&client, &config.timescale, findings).await;
    roles(&client, &config.timescale, findings).await;
    migrations(&client, config, findings).await;
    letters(&client, findings).await;
}

async fn connect(config: &TimescaleConfig, purpose: Purpose) -> Result<Object, String> {
    let pool = pool(config, purpose).map_err(|error| error.to_string())?;
    pool.get().await.map_err(|error| with_causes(&error))
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text += &format!(": {words}");
        }
        cause = inner.source();
    }
    text
}

/// The first column of the first row; none for no row or NULL.
async fn value<T: FromSqlOwned>(client: &Object, query: &str) -> Result<Option<T>, String> {
    let row = client.query_opt(query, &[]).await.map_err(|error| with_causes(&error))?;
    row.map_or(Ok(None), |row| row.try_get(0).map_err(|error| with_causes(&error)))
}

async fn version(client: &Object, findings: &mut Findings) {
    let number = value::<i32>(client, "SELECT current_setting('server_version_num')::int").await;
    match number {
        Ok(Some(number)) if number / 10_000 >= OLDEST => {
            findings.ok("timescale version", format!("PostgreSQL {}.{}", number / 10_000, number % 10_000));
        }
        Ok(number) => findings.fail(
            "timescale version",
            format!("PostgreSQL {} is older than {OLDEST}", number.unwrap_or_default() / 10_000),
            format!("upgrade to PostgreSQL {OLDEST} or newer"),
        ),
        Err(reason) => findings.fail("timescale version", reason, "see the server's log"),
    }
}

/// Whether a version `MAJOR.MINOR[.PATCH]` is at least this one. What cannot be read is taken to be new.
fn at_least(version: &str, oldest: (u32, u32)) -> bool {
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(u32::MAX));
    (parts.next().unwrap_or(u32::MAX), parts.next().unwrap_or(0)) >= oldest
}

async fn extension(client: &Object, findings: &mut Findings) {
    const CHECK: &str = "timescale extension";
    let installed =
        value::<String>(client, "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").await;
    let edition = value::<String>(client, "SELECT current_setting('timescaledb.license', true)").await;
    let available = value::<String>(
        client,
        "SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb'",
    );
    match installed {
        Ok(Some(version)) => {
            let edition = match edition.ok().flatten().as_deref() {
                Some("apache") => "Apache edition: no columnstore, no retention jobs; Tidewell needs neither",
                Some(_) => "Community edition",
                None => "edition not told",
            };
            if at_least(&version, OLDEST_TIMESCALEDB) {
                findings.ok(CHECK, format!("timescaledb {version}, {edition}"));
            } else {
                let (major, minor) = OLDEST_TIMESCALEDB;
                let found = format!("timescaledb {version}; at least {major}.{minor} is needed");
                findings.fail(CHECK, found, "update the packages, then ALTER EXTENSION timescaledb UPDATE");
            }
        }
        Ok(None) => match available.await {
            Ok(Some(version)) => findings.fail(
                CHECK,
                format!("timescaledb {version} is installed on the server but not in this database"),
                "run `tidewell migrate` as a user who may create it, or CREATE EXTENSION timescaledb as a superuser",
            ),
            _ => findings.fail(
                CHECK,
                "timescaledb is not installed on the server",
                "install TimescaleDB, add it to shared_preload_libraries and restart the server",
            ),
        },
        Err(reason) => findings.fail(CHECK, reason, "see the server's log"),
    }
}

async fn clock(client: &Object, findings: &mut Findings) {
    let before = SystemTime::now();
    let there = value::<SystemTime>(client, "SELECT clock_timestamp()").await;
    let after = SystemTime::now();
    match there {
        Ok(Some(there)) => report_skew("timescale clock", skew_seconds(before, there, after), findings),
        Ok(None) => {}
        Err(reason) => findings.fail("timescale clock", reason, "see the server's log"),
    }
}

/// How far a clock that was read between two moments is outside of them: 0 when it may be right.
pub(super) fn skew_seconds(before: SystemTime, there: SystemTime, after: SystemTime) -> f64 {
    let ahead = there.duration_since(after).unwrap_or_default().as_secs_f64();
    let behind = before.duration_since(there).unwrap_or_default().as_secs_f64();
    if ahead > behind { ahead } else { -behind }
}

pub(super) fn report_skew(check: &'static str, seconds: f64, findings: &mut Findings) {
    if seconds.abs() <= MAX_SKEW_SECONDS {
        findings.ok(check, "agrees with this machine's");
    } else {
        let way = if seconds > 0.0 { "ahead of" } else { "behind" };
        findings.warn(
            check,
            format!("{:.1} s {way} this machine's", seconds.abs()),
            "run NTP (chrony or systemd-timesyncd) on both machines",
        );
    }
}

/// Our own connections set UTC themselves; readers, such as ClickHouse for combined tables, get the default of the
/// database or of their role.
async fn time_zone(client: &Object, findings: &mut Findings) {
    const CHECK: &str = "timescale time zone";
    let query = "SELECT coalesce(
           (SELECT split_part(setting, '=', 2) FROM pg_db_role_setting s, unnest(s.setconfig) AS setting
            WHERE s.setrole = 0 AND s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
              AND lower(split_part(setting, '=', 1)) = 'timezone'), 'not set')";
    match value::<String>(client, query).await {
        Ok(Some(zone)) if zone == "UTC" => findings.ok(CHECK, "the database is in UTC"),
        Ok(zone) => findings.warn(
            CHECK,
            format!("the time zone of the database is {}", zone.unwrap_or_default()),
            "run `tidewell migrate`, or ALTER DATABASE .. SET timezone TO 'UTC' as its owner",
        ),
        Err(reason) => findings.warn(CHECK, reason, "see the server's log"),
    }
}

async fn durability(client: &Object, findings: &mut Findings) {
    const CHECK: &str = "timescale durability";
    match weaknesses(client).await {
        Ok(found) if found.is_empty() => {
            findings.ok(CHECK, "fsync, full_page_writes and synchronous_commit are on");
        }
        Ok(found) => found.iter().for_each(|weakness| {
            findings.warn(CHECK, weakness.to_string(), weakness.remedy());
        }),
        Err(error) => findings.warn(CHECK, with_causes(&error), "see the server's log"),
    }
}

async fn connections(client: &Object, config: &TimescaleConfig, findings: &mut Findings) {
    const CHECK: &str = "timescale connections";
    let query = "SELECT current_setting('max_connections')::int
                        - current_setting('superuser_reserved_connections')::int";
    let Ok(Some(most)) = value::<i32>(client, query).await else { return };
    let most = usize::try_from(most).unwrap_or_default();
    let detail = format!("timescale.pool_size is {}, the server takes {most}", config.pool_size);
    if config.pool_size * 2 <= most {
        findings.ok(CHECK, detail);
    } else {
        let next =
            "raise max_connections or lower timescale.pool_size: readers and other gateways need some too";
        findings.warn(CHECK, detail, next);
    }
}

async fn roles(client: &Object, config: &TimescaleConfig, findings: &mut Findings) {
    const CHECK: &str = "timescale roles";
    let rows =
        client.query("SELECT rolname::text FROM pg_roles WHERE rolname = ANY($1)", &[&&ROLES[..]]).await;
    let known: HashSet<String> = match rows {
        Ok(rows) => rows.iter().map(|row| row.get(0)).collect(),
        Err(error) => return findings.fail(CHECK, with_causes(&error), "see the server's log"),
    };
    let missing: Vec<&str> = ROLES.into_iter().filter(|role| !known.contains(*role)).collect();
    if missing.is_empty() {
        findings.ok(CHECK, format!("{} exist", ROLES.join(", ")));
    } else {
        findings.warn(
            CHECK,
            format!("missing: {}", missing.join(", ")),
            "run `tidewell migrate` as a user who may create roles, or let an administrator run `tidewell migrate --print`",
        );
    }
    for (check, role, purpose) in [
        ("timescale.ddl_role", &config.ddl_role, Purpose::Ddl),
        ("timescale.ingest_role", &config.ingest_role, Purpose::Ingest),
    ] {
        if role.is_empty() {
            continue;
        }
        match connect(config, purpose).await {
            Ok(_) => findings.ok(check, format!("connections can act as {role}")),
            Err(reason) => {
                findings.fail(
                    check,
                    reason,
                    format!("GRANT {role} TO the user of timescale.url, or leave {check} empty"),
                );
            }
        }
    }
}

async fn migrations(client: &Object, config: &Config, findings: &mut Findings) {
    const CHECK: &str = "migrations";
    const MIGRATE: &str = "run `tidewell migrate`; `tidewell serve` does it as well when it starts";
    match value::<bool>(client, "SELECT to_regclass('tidewell_migrations') IS NOT NULL").await {
        Ok(Some(true)) => {}
        Ok(_) => return findings.warn(CHECK, "the stores are not migrated yet", MIGRATE),
        Err(reason) => return findings.fail(CHECK, reason, "see the server's log"),
    }
    let query = "SELECT store, number, applied_at IS NOT NULL FROM tidewell_migrations
                 WHERE database = '' OR database = $1";
    let rows = match client.query(query, &[&config.clickhouse.database]).await {
        Ok(rows) => rows,
        Err(error) => return findings.fail(CHECK, with_causes(&error), "see the server's log"),
    };
    let ledger: HashMap<(String, i32), bool> =
        rows.iter().map(|row| ((row.get(0), row.get(1)), row.get(2))).collect();
    let steps: Vec<(StoreKind, i32, &str)> = migrate::steps().collect();
    let is_applied =
        |store: StoreKind, number: i32| ledger.get(&(store.name().to_owned(), number)) == Some(&true);
    let missing: Vec<String> = steps
        .iter()
        .filter(|(store, number, _)| !is_applied(*store, *number))
        .map(|(store, _, name)| format!("{} {name}", store.name()))
        .collect();
    let newer = ledger
        .keys()
        .filter(|(store, number)| {
            !steps.iter().any(|(kind, known, _)| kind.name() == store && known == number)
        })
        .count();
    if !missing.is_empty() {
        findings.warn(CHECK, format!("not applied: {}", missing.join(", ")), MIGRATE);
    } else if newer > 0 {
        let next = "use the newer version everywhere; this one goes on with the tables that it knows";
        findings.warn(CHECK, format!("a newer version has applied {newer} more steps"), next);
    } else {
        findings.ok(CHECK, format!("all {} steps are applied", steps.len()));
    }
}

/// Letters that wait are records that somebody misses.
async fn letters(client: &Object, findings: &mut Findings) {
    const CHECK: &str = "dead letters";
    match value::<bool>(client, "SELECT to_regclass('tidewell_dead_letter_states') IS NOT NULL").await {
        Ok(Some(true)) => {}
        // What is missing is told of with the migrations.
        Ok(_) | Err(_) => return,
    }
    let query = "SELECT count(DISTINCT letter.id) FROM dead_letters letter
                 LEFT JOIN tidewell_dead_letter_states known USING (id) WHERE known.id IS NULL";
    match value::<i64>(client, query).await {
        Ok(None | Some(0)) => findings.ok(CHECK, "none waits"),
        Ok(Some(waiting)) => findings.warn(
            CHECK,
            format!("{waiting} wait: records that were refused"),
            "`tidewell dead-letters list` says why; replay, fix or discard them",
        ),
        Err(reason) => findings.warn(CHECK, reason, "see the server's log"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_clock_read_between_two_moments_may_be_right() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        assert!(skew_seconds(at(10), at(11), at(12)).abs() < 1e-9);
        assert!((skew_seconds(at(10), at(15), at(12)) - 3.0).abs() < 1e-9);
        assert!((skew_seconds(at(10), at(4), at(12)) + 6.0).abs() < 1e-9);
    }
}
