//! Migrations against the real stores.

use std::time::Duration;

use tidewell_gateway::config::Secret;
use tidewell_gateway::registry::{StoreKind, Tenant, builtin};
use tidewell_gateway::store::Store as _;
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::migrate::{self, MigrateError};
use tidewell_gateway::store::timescale::Timescale;

use crate::harness::database::Databases;

/// Everything that the catalogue of Postgres says of our tables.
const POSTGRES_CATALOGUE: &str = "
SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
    SELECT format('%s.%s %s %s %s %s', c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod),
        a.attnotnull, pg_get_expr(d.adbin, d.adrelid))
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relname = ANY ($$TABLES$$)
    UNION ALL
    SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename = ANY ($$TABLES$$)
    UNION ALL
    SELECT format('%s by %s: %s %s', hypertable_name, column_name, time_interval, num_partitions)
    FROM timescaledb_information.dimensions WHERE hypertable_name = ANY ($$TABLES$$)
    UNION ALL
    SELECT format('%s %s %s', table_name, grantee, privilege_type)
    FROM information_schema.role_table_grants
    WHERE table_name = ANY ($$TABLES$$) AND grantee LIKE 'tidewell\\_%'
) lines (line)";

/// Everything that the catalogue of ClickHouse says of our tables.
const CLICKHOUSE_CATALOGUE: &str = "
SELECT line FROM (
    SELECT concat(table, '.', toString(position), ' ', name, ' ', type, ' ', default_kind, ' ', default_expression, ' ',
        compression_codec) AS line
    FROM system.columns WHERE database = currentDatabase()
    UNION ALL
    SELECT concat(name, ' ', engine_full, ' ', sorting_key) FROM system.tables WHERE database = currentDatabase()
    UNION ALL
    SELECT concat(table, ' ', name, ' ', type_full, ' ', expr, ' ', toString(granularity))
    FROM system.data_skipping_indices WHERE database = currentDatabase()
) ORDER BY line";

async fn catalogues(databases: &Databases) -> (String, String) {
    let tables = builtin::tables(&Tenant::default()).unwrap();
    let names: Vec<String> = tables.iter().map(|table| table.name().to_string()).collect();
    let query = POSTGRES_CATALOGUE.replace("$$TABLES$$", &format!("'{{{}}}'", names.join(",")));
    let postgres = databases.postgres_value(&query).await.unwrap_or_default();
    (postgres, databases.clickhouse(CLICKHOUSE_CATALOGUE).await)
}

/// Scenario: ten gateways start at once on empty databases.
/// Guarantees: all come up, every step is applied once, and a later run finds nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_runs_at_once_have_one_result() {
    let databases = Databases::empty().await;
    let runs = (0..10).map(|_| {
        let config = databases.config();
        tokio::spawn(async move { migrate::run(&config).await })
    });
    let mut applied = Vec::new();
    for run in futures::future::join_all(runs).await {
        let report = run.unwrap().unwrap();
        assert_eq!(report.warnings, Vec::<String>::new());
        applied.extend(report.applied);
    }
    let mut once = applied.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), applied.len(), "a step was applied twice: {applied:?}");

    let again = migrate::run(&databases.config()).await.unwrap();
    assert_eq!((again.applied.len(), again.registered.len()), (0, 0), "{again}");
    assert_eq!(again.up_to_date, applied.len());
    let rows = "SELECT count(*) || ' ' || (SELECT count(*) FROM table_registry_history) FROM table_registry";
    assert_eq!(databases.postgres_value(rows).await.as_deref(), Some("7 7"));
}

/// Scenario: databases made by the numbered SQL, and databases made from the definitions in `schemas/tables`.
/// Guarantees: the catalogues are the same: columns with types, defaults and codecs, keys, indexes,
/// partitions, grants.
#[tokio::test]
async fn numbered_sql_and_definitions_agree() {
    let migrated = Databases::migrated().await;
    let defined = Databases::empty().await;
    defined.postgres().await.batch_execute("CREATE EXTENSION IF NOT EXISTS timescaledb").await.unwrap();
    let config = defined.config();
    let timescale = Timescale::new(&config.timescale).unwrap();
    let clickhouse = ClickHouse::new(&config.clickhouse).unwrap();
    clickhouse.create_database().await.unwrap();
    for table in builtin::tables(&Tenant::default()).unwrap() {
        match table.store() {
            StoreKind::Timescale => timescale.prepare(&table).await.unwrap(),
            StoreKind::ClickHouse => clickhouse.prepare(&table).await.unwrap(),
        }
    }
    let (by_sql, by_definition) = (catalogues(&migrated).await, catalogues(&defined).await);
    assert!(by_sql.0.contains("metrics_events by time") && by_sql.1.contains("logs_events MergeTree"));
    similar(&by_sql.0, &by_definition.0);
    // The numbered SQL makes views as well.
    let of_tables = |catalogue: &str| {
        catalogue.lines().filter(|line| line.starts_with("logs_events")).collect::<Vec<_>>().join("\n")
    };
    similar(&of_tables(&by_sql.1), &by_definition.1);
}

fn similar(left: &str, right: &str) {
    let missing = |of: &str, from: &str| -> Vec<String> {
        let known: std::collections::HashSet<&str> = from.lines().collect();
        of.lines().filter(|line| !known.contains(line)).map(str::to_owned).collect()
    };
    assert_eq!((missing(left, right), missing(right, left)), (vec![], vec![]));
}

/// Scenario: runs that are cut off after 20, 40, 60 .. ms, as a killed gateway is; then one that is not.
/// Guarantees: the last one finishes what is left, and the result is that of a run in one go.
#[tokio::test]
async fn a_run_that_is_cut_off_is_finished_by_the_next() {
    let databases = Databases::empty().await;
    let mut cut_off = 0;
    for attempt in 1.. {
        let config = databases.config();
        let run = tokio::spawn(async move { migrate::run(&config).await });
        tokio::time::sleep(Duration::from_millis(20 * attempt)).await;
        if run.is_finished() {
            run.await.unwrap().unwrap();
            break;
        }
        cut_off += 1;
        run.abort();
    }
    assert!(cut_off >= 3, "{cut_off} runs were cut off, too few to prove anything");
    migrate::run(&databases.config()).await.unwrap();
    let whole = Databases::migrated().await;
    assert_eq!(catalogues(&databases).await, catalogues(&whole).await);
    let unfinished = "SELECT count(*) FROM tidewell_migrations WHERE applied_at IS NULL";
    assert_eq!(databases.postgres_value(unfinished).await.as_deref(), Some("0"));
}

/// Scenario: a store was emptied behind the ledger's back, a step of a newer gateway is in the ledger, a
/// registry row was changed.
/// Guarantees: the tables come back, the newer step is a warning, the row's change is in the history.
#[tokio::test]
async fn what_is_missing_comes_back_and_what_is_newer_is_named() {
    let databases = Databases::migrated().await;
    databases.clickhouse(&format!("DROP DATABASE {}", databases.name())).await;
    databases
        .postgres()
        .await
        .batch_execute(
            "DROP TABLE metrics_exemplars; ALTER TABLE traces_spans DROP COLUMN scope;
             INSERT INTO tidewell_migrations VALUES ('timescale', '', 999, '0999_newer', '', 1, now());
             UPDATE table_registry SET author = 'me' WHERE table_name = 'logs_events'",
        )
        .await
        .unwrap();
    let report = migrate::run(&databases.config()).await.unwrap();
    assert!(report.warnings.iter().any(|warning| warning.contains("0999_newer")), "{report}");
    assert_eq!(databases.clickhouse("SELECT count() FROM logs_events").await, "0");
    let back = "SELECT count(*) FROM metrics_exemplars, traces_spans WHERE scope IS NOT NULL";
    assert_eq!(databases.postgres_value(back).await.as_deref(), Some("0"));
    let history =
        "SELECT change || ' ' || author FROM table_registry_history ORDER BY changed_at DESC LIMIT 1";
    assert_eq!(databases.postgres_value(history).await.as_deref(), Some("update me"));
}

/// Scenario: the text of a step is another one than the ledger says was applied.
/// Guarantees: the run is refused, names the step, and says what to do.
#[tokio::test]
async fn a_changed_step_is_refused_with_the_way_out() {
    let databases = Databases::migrated().await;
    let change = "UPDATE tidewell_migrations SET checksum = 'other' WHERE name = '0005_traces'";
    databases.postgres().await.batch_execute(change).await.unwrap();
    let error = migrate::run(&databases.config()).await.unwrap_err();
    assert!(matches!(error, MigrateError::Changed { name: "0005_traces", .. }), "{error}");
    assert!(error.to_string().contains("put the change into a new step"), "{error}");
}

/// Scenario: an administrator pipes what `print` says into his own client.
/// Guarantees: a gateway finds nothing left to do but the ledger's and the registry's rows, and the tables
/// are the same.
#[tokio::test]
async fn the_printed_sql_makes_the_same_tables() {
    let (by_hand, by_run) = (Databases::empty().await, Databases::migrated().await);
    let printed = migrate::print();
    let (timescale, clickhouse) = printed.split_once("-- ClickHouse, in the database").unwrap();
    by_hand.postgres().await.batch_execute(timescale).await.unwrap();
    let clickhouse =
        clickhouse.replace("IF NOT EXISTS `tidewell`", &format!("IF NOT EXISTS `{}`", by_hand.name()));
    let (_, statements) = clickhouse.split_once("\n\n").unwrap();
    let (database, tables) = statements.split_once(";\n").unwrap();
    ClickHouse::new(&by_hand.config().clickhouse).unwrap().create_database().await.unwrap();
    assert!(database.contains(by_hand.name()));
    for statement in tables.trim().trim_end_matches(';').split(";\n") {
        by_hand.clickhouse(statement).await;
    }
    assert_eq!(catalogues(&by_hand).await, catalogues(&by_run).await);
    migrate::run(&by_hand.config()).await.unwrap();
}

/// Scenario: ClickHouse is migrated while Postgres is down, Postgres while ClickHouse is down, and then both at once.
/// Guarantees: the store that is up gets its tables, as a run of both would have made them; the ledger lacks the steps
/// of ClickHouse until the last run writes it.
#[tokio::test]
async fn either_store_is_migrated_while_the_other_is_down() {
    let databases = Databases::empty().await;
    let mut no_postgres = databases.config();
    no_postgres.timescale.url = Secret::new("postgres://tidewell@127.0.0.1:1/tidewell");
    for _ in 0..2 {
        let report = migrate::clickhouse(&no_postgres).await.unwrap();
        assert!(report.applied.iter().all(|(store, _)| *store == "clickhouse"), "{report}");
        assert!(report.warnings.iter().any(|warning| warning.contains("without the ledger")), "{report}");
    }
    assert_eq!(databases.clickhouse("SELECT count() FROM logs_events").await, "0");
    assert!(migrate::timescale(&no_postgres).await.is_err());

    let mut no_clickhouse = databases.config();
    no_clickhouse.clickhouse.url = "http://127.0.0.1:1".to_owned();
    let report = migrate::timescale(&no_clickhouse).await.unwrap();
    assert_eq!((report.registered.len(), report.warnings), (7, vec![]));
    assert!(migrate::clickhouse(&no_clickhouse).await.is_err());

    let ledger =
        "SELECT count(*) FROM tidewell_migrations WHERE store = 'clickhouse' AND applied_at IS NOT NULL";
    assert_eq!(databases.postgres_value(ledger).await.as_deref(), Some("0"));
    let report = migrate::run(&databases.config()).await.unwrap();
    assert!(!report.applied.is_empty() && report.warnings.is_empty(), "{report}");
    let steps = migrate::steps().filter(|(store, ..)| *store == StoreKind::ClickHouse).count();
    assert_eq!(databases.postgres_value(ledger).await, Some(steps.to_string()));
    let whole = Databases::migrated().await;
    assert_eq!(catalogues(&databases).await, catalogues(&whole).await);
}

/// Scenario: the database gives up what it committed last when it crashes.
/// Guarantees: a run says so.
#[tokio::test]
async fn a_database_that_may_forget_is_warned_of() {
    let databases = Databases::empty().await;
    let forgetful = format!("ALTER DATABASE {} SET synchronous_commit TO off", databases.name());
    databases.postgres().await.batch_execute(&forgetful).await.unwrap();
    let report = migrate::timescale(&databases.config()).await.unwrap();
    assert!(report.warnings.iter().any(|warning| warning.contains("synchronous_commit is off")), "{report}");
}
