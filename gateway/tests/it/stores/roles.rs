//! The roles: what each may do, and that making them disturbs nobody.

use std::sync::Arc;

use tidewell_gateway::config::{Secret, TimescaleConfig};
use tidewell_gateway::registry::{Tenant, builtin};
use tidewell_gateway::store::timescale::Timescale;
use tidewell_gateway::store::{Store as _, migrate};

use super::sample::{self, cut};
use crate::harness::database::Databases;

const ROLES_SQL: &str = include_str!("../../../../schemas/timescale/0002_roles.sql");

/// Scenario: a gateway whose tables belong to `tidewell_ddl` and whose rows are written by `tidewell_ingest`.
/// Guarantees: both can do their work and nothing else; `tidewell_read` reads and writes nothing.
#[tokio::test]
async fn each_role_can_do_its_work_and_no_more() {
    let databases = Databases::empty().await;
    let mut config = databases.config();
    config.timescale = TimescaleConfig {
        ddl_role: "tidewell_ddl".to_owned(),
        ingest_role: "tidewell_ingest".to_owned(),
        ..config.timescale
    };
    migrate::run(&config).await.unwrap();
    let store = Timescale::new(&config.timescale).unwrap();
    let registered = sample::table("timescale", "registered");
    store.prepare(&registered).await.unwrap();
    store.write(&cut(sample::batch(&registered, &sample::samples(5)))).await.unwrap();
    for table in builtin::tables(&Tenant::default()).unwrap() {
        if table.is_keyed() {
            let table = Arc::new(table);
            let mut rows = sample::builder(&table);
            for (at, column) in table.columns().iter().enumerate() {
                match column.name.as_str() {
                    "monotonic" => rows.set_bool(at, true).unwrap(),
                    "updated_at" => rows.set_time(at, sample::NOW).unwrap(),
                    "metadata" => {}
                    _ => rows.set_text(at, "x").unwrap(),
                }
            }
            rows.end_row().unwrap();
            store.write(&cut(rows.finish().unwrap().unwrap())).await.unwrap();
        }
    }

    let client = databases.postgres().await;
    let owner = "SELECT DISTINCT tableowner FROM pg_tables WHERE tablename IN ('registered', 'metrics_events', 'table_registry')";
    assert_eq!(databases.postgres_value(owner).await.as_deref(), Some("tidewell_ddl"));
    let allowed = [
        ("tidewell_read", "SELECT count(*) FROM registered"),
        ("tidewell_read", "SELECT count(*) FROM traces_spans"),
        ("tidewell_read", "SELECT count(*) FROM table_registry"),
        ("tidewell_ddl", "ALTER TABLE registered ADD COLUMN later text"),
    ];
    let refused = [
        ("tidewell_ingest", "SELECT * FROM registered"),
        ("tidewell_ingest", "SELECT * FROM metrics_events"),
        ("tidewell_ingest", "DELETE FROM registered"),
        ("tidewell_ingest", "DROP TABLE registered"),
        ("tidewell_ingest", "INSERT INTO table_registry (table_name, schema) VALUES ('x', '{}')"),
        ("tidewell_ingest", "CREATE TABLE mine (a int)"),
        ("tidewell_read", "INSERT INTO registered (time) VALUES (now())"),
        ("tidewell_ingest", "DELETE FROM tidewell_progress"),
        ("tidewell_ingest", "UPDATE tidewell_idempotency SET log = 1"),
        ("tidewell_read", "SELECT * FROM tidewell_progress"),
        ("tidewell_read", "SELECT * FROM tidewell_idempotency"),
        ("tidewell_read", "CREATE TABLE mine (a int)"),
    ];
    let as_role = async |role: &str, sql: &str| {
        client.batch_execute(&format!("SET ROLE {role}")).await.unwrap();
        let outcome = client.batch_execute(sql).await;
        client.batch_execute("RESET ROLE").await.unwrap();
        outcome
    };
    for (role, sql) in allowed {
        as_role(role, sql).await.unwrap_or_else(|error| panic!("{role}: {sql}: {error:?}"));
    }
    for (role, sql) in refused {
        let error = as_role(role, sql).await.expect_err(sql);
        assert_eq!(error.code().unwrap().code(), "42501", "{role}: {sql}: {error:?}");
    }
}

/// Scenario: a database whose time zone was set to Tokyo is migrated.
/// Guarantees: new sessions, and those of the roles, are in UTC.
#[tokio::test]
async fn every_session_is_in_utc() {
    let databases = Databases::empty().await;
    let tokyo = format!("ALTER DATABASE {} SET timezone TO 'Asia/Tokyo'", databases.name());
    databases.postgres().await.batch_execute(&tokyo).await.unwrap();
    assert_eq!(databases.postgres_value("SHOW timezone").await.as_deref(), Some("Asia/Tokyo"));
    migrate::run(&databases.config()).await.unwrap();
    assert_eq!(databases.postgres_value("SHOW timezone").await.as_deref(), Some("UTC"));
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tidewell\\_%' AND 'TimeZone=UTC' = ANY (rolconfig)";
    assert_eq!(databases.postgres_value(roles).await.as_deref(), Some("3"));
}

/// Scenario: the first migrations of five databases of one cluster, at once, where the roles do not exist
/// yet. Guarantees: all succeed, and the roles are there once and in UTC.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn databases_of_one_cluster_may_make_the_roles_at_once() {
    let databases = futures::future::join_all((0..5).map(|_| Databases::empty())).await;
    let prefix = format!("{}_", databases[0].name());
    let sql = ROLES_SQL.replace("tidewell_", &prefix);
    let runs = databases.iter().map(|databases| async {
        let client = databases.postgres().await;
        // The runner, too, tries a statement again that met another session's change of a shared catalogue.
        for attempt in 1.. {
            match client.batch_execute(&sql).await {
                Err(error) if attempt < 5 && format!("{error:?}").contains("concurrently updated") => {}
                outcome => return outcome,
            }
        }
        Ok(())
    });
    let outcomes = futures::future::join_all(runs).await;
    let roles = format!(
        "SELECT count(*) FROM pg_roles WHERE rolname LIKE '{prefix}%' AND 'TimeZone=UTC' = ANY (rolconfig)"
    );
    let made = databases[0].postgres_value(&roles).await;
    let names = ["ddl", "ingest", "read"].map(|role| format!("{prefix}{role}")).join(", ");
    for databases in &databases {
        databases.postgres().await.batch_execute(&format!("DROP OWNED BY {names}")).await.unwrap();
    }
    databases[0].postgres().await.batch_execute(&format!("DROP ROLE {names}")).await.unwrap();
    for outcome in outcomes {
        outcome.unwrap();
    }
    assert_eq!(made.as_deref(), Some("3"));
}

/// Scenario: our user owns the database and is nothing else; the roles are there, made by an administrator.
/// Guarantees: migrating, registering and writing work, and nothing is warned of.
#[tokio::test]
async fn the_owner_of_the_database_needs_no_more_rights() {
    let databases = Databases::empty().await;
    let client = databases.postgres().await;
    let user = format!("{}_owner", databases.name());
    let create = format!("CREATE ROLE {user} LOGIN; ALTER DATABASE {} OWNER TO {user}", databases.name());
    client.batch_execute(&create).await.unwrap();
    let mut config = databases.config();
    let url = config.timescale.url.reveal().replace("tidewell@", &format!("{user}@"));
    config.timescale.url = Secret::new(url);

    let table = sample::table("timescale", "owned");
    let work = async {
        let report = migrate::run(&config).await.map_err(|error| error.to_string())?;
        let store = Timescale::new(&config.timescale).map_err(|error| error.to_string())?;
        store.prepare(&table).await.map_err(|error| error.to_string())?;
        let cut = cut(sample::batch(&table, &sample::samples(5)));
        store.write(&cut).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(report)
    };
    let outcome = work.await;
    let drop = format!("REASSIGN OWNED BY {user} TO CURRENT_USER; DROP OWNED BY {user}; DROP ROLE {user}");
    client.batch_execute(&drop).await.unwrap();
    assert_eq!(outcome.unwrap().warnings, Vec::<String>::new());
    assert_eq!(databases.postgres_value("SELECT count(*) FROM owned").await.as_deref(), Some("5"));
}

/// Scenario: our user may neither create roles nor change the database.
/// Guarantees: the step goes on without them.
#[tokio::test]
async fn a_user_that_may_not_create_roles_goes_on() {
    let databases = Databases::empty().await;
    let client = databases.postgres().await;
    let user = format!("{}_user", databases.name());
    let sql = ROLES_SQL.replace("tidewell_", &format!("{}_", databases.name()));
    let run = format!("CREATE ROLE {user}; SET ROLE {user}; {sql} RESET ROLE");
    let outcome = client.batch_execute(&run).await;
    client.batch_execute(&format!("RESET ROLE; DROP ROLE {user}")).await.unwrap();
    outcome.unwrap();
    let made = format!("SELECT count(*) FROM pg_roles WHERE rolname LIKE '{}%'", databases.name());
    assert_eq!(databases.postgres_value(&made).await.as_deref(), Some("0"));
}
