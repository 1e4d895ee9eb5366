//! Many gateways and one registry: who registers at once, who hears of it, and what waits in a log meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use tidewell_gateway::registry::{Registered, Registration, Registry, TableSpec, Tenant};
use tidewell_gateway::server::Server;
use tidewell_gateway::store::Store;
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::timescale::{TableRegistry, Timescale};

use super::now_nanos;
use crate::harness::TestGateway;
use crate::harness::database::Databases;

fn registry(databases: &Databases) -> Arc<Registry> {
    let config = databases.config();
    let timescale = Timescale::new(&config.timescale).unwrap();
    let rows = TableRegistry::new(timescale.ddl_pool().clone());
    let stores: [Arc<dyn Store>; 2] =
        [Arc::new(timescale), Arc::new(ClickHouse::new(&config.clickhouse).unwrap())];
    Arc::new(Registry::new(rows, stores, None).unwrap())
}

fn spec(definition: Value) -> TableSpec {
    serde_json::from_value(definition).unwrap()
}

/// What each of ten gateways made of a definition of its own, all at once.
async fn all_at_once(databases: &Databases, of: impl Fn(usize) -> Value) -> Vec<(Registered, u32)> {
    let registering = (0..10).map(|gateway| {
        let (registry, spec) = (registry(databases), spec(of(gateway)));
        let how = Registration { author: format!("gateway {gateway}"), ..Registration::default() };
        tokio::spawn(async move { registry.register(&Tenant::default(), spec, how).await })
    });
    let outcomes = join_all(registering).await.into_iter();
    outcomes.map(|outcome| outcome.unwrap().unwrap()).map(|(done, table)| (done, table.version)).collect()
}

/// Scenario: ten gateways register the same new table at once, then the same change of it, then ten different columns.
/// Guarantees: one table and one version; one version more; ten more, with all ten columns; the history has each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_gateways_make_one_table_and_one_version() {
    let databases = Databases::migrated().await;
    for store in ["timescale", "clickhouse"] {
        let with = |more: &[String]| {
            let more = more.iter().map(|name| json!({"name": name, "type": "double"}));
            let columns: Vec<_> =
                std::iter::once(json!({"name": "time", "type": "timestamp"})).chain(more).collect();
            json!({"table_name": format!("in_{store}"), "store": store, "columns": columns})
        };
        let mut made = all_at_once(&databases, |_| with(&[])).await;
        made.sort_by_key(|(done, _)| done.name());
        assert_eq!(made[0], (Registered::Created, 1), "{store}");
        assert_eq!(made[1..], [(Registered::Unchanged, 1); 9], "{store}");

        let evolved = all_at_once(&databases, |_| with(&["same".to_owned()])).await;
        assert!(evolved.iter().all(|(_, version)| *version == 2), "{store}: {evolved:?}");
        assert_eq!(evolved.iter().filter(|(done, _)| *done == Registered::Evolved).count(), 1, "{store}");

        let mut grown = all_at_once(&databases, |gateway| with(&[format!("c{gateway}")])).await;
        grown.sort_by_key(|(_, version)| *version);
        assert_eq!(
            grown,
            (3..13).map(|version| (Registered::Evolved, version)).collect::<Vec<_>>(),
            "{store}"
        );

        let registry = registry(&databases);
        registry.refresh().await.unwrap();
        let table =
            registry.cell().load().table(&Tenant::default(), &format!("in_{store}")).cloned().unwrap();
        assert_eq!((table.version, table.columns().len()), (12, 12), "{store}");
        let versions = registry.history(&Tenant::default(), &format!("in_{store}")).await.unwrap();
        assert_eq!(
            versions.iter().map(|past| past.version).collect::<Vec<_>>(),
            (1..13).rev().collect::<Vec<_>>()
        );
    }
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'in_timescale'";
    assert_eq!(databases.postgres_value(columns).await.as_deref(), Some("12"));
    // Those of the definition, and two that name a row's cut.
    let columns =
        "SELECT count() FROM system.columns WHERE database = currentDatabase() AND table = 'in_clickhouse'";
    assert_eq!(databases.clickhouse(columns).await, "14");
}

/// Scenario: two gateways on the same stores; one of them registers tables and changes them, again and again.
/// Guarantees: the other one has each new version within a second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_gateway_sees_a_version_within_a_second() {
    let first = TestGateway::start().await;
    let mut config = first.databases.config();
    config.http.listen.set_port(0);
    config.grpc.listen.set_port(0);
    let logs = tempfile::tempdir().unwrap();
    config.wal.directory = logs.path().join("wal");
    let second = Server::start(config).await.unwrap();
    second.ready().await;
    let mut columns = vec![json!({"name": "time", "type": "timestamp"})];
    for version in 1..=5 {
        let definition = json!({"table_name": "shared", "columns": columns});
        let (status, answer) = first.post_json("/schema/register", &definition).await;
        assert!(status < 300, "{answer}");
        let told = Instant::now();
        let url = format!("http://{}/schema/shared", second.http_address());
        let seen = loop {
            let answer = reqwest::get(&url).await.unwrap();
            let table: Value = answer.json().await.unwrap();
            if table["version"] == version {
                break told.elapsed();
            }
            assert!(told.elapsed() < Duration::from_secs(5), "version {version} was not seen: {table}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        assert!(seen < Duration::from_secs(1), "version {version} was seen after {seen:?}");
        columns.push(json!({"name": format!("c{version}"), "type": "text"}));
    }
    second.stop().await;
    first.stop().await;
}

/// Scenario: rows are durable while somebody holds their table; the gateway stops with them in its log; the table gets a
/// column with a default and a wider integer; the gateway starts again.
/// Guarantees: the rows of the old version are stored as they are, with the default in the column that they do not know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_of_an_older_version_is_delivered_to_the_newer_table() {
    let gateway = TestGateway::start_with(|config| config.shutdown.timeout_seconds = 2).await;
    let mut definition = json!({"table_name": "replayed", "columns": [
        {"name": "time", "type": "timestamp"}, {"name": "count", "type": "integer"}]});
    assert_eq!(gateway.post_json("/schema/register", &definition).await.0, 201);

    let holder = gateway.databases.postgres().await;
    holder.batch_execute("BEGIN; LOCK TABLE replayed IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for count in 0..20 {
        let row = json!({"time": now_nanos() + count, "count": count});
        let write =
            gateway.request(reqwest::Method::POST, "/write/replayed").header("tidewell-ack", "durable");
        assert_eq!(write.json(&row).send().await.unwrap().status().as_u16(), 200);
    }
    let TestGateway { server, databases, .. } = gateway;
    server.stop().await;
    holder.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(databases.postgres_value("SELECT count(*) FROM replayed").await.as_deref(), Some("0"));

    definition["columns"][1]["type"] = json!("bigint");
    definition["columns"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "region", "type": "text", "nullable": false, "default": "eu"}));
    let how = Registration {
        author: "test".to_owned(),
        allowed: tidewell_gateway::registry::Effort::Rewrite,
        ..Registration::default()
    };
    let registry = registry(&databases);
    registry.register(&Tenant::default(), spec(definition), how).await.unwrap();

    let mut config = databases.config();
    config.http.listen.set_port(0);
    config.grpc.listen.set_port(0);
    let server = Server::start(config).await.unwrap();
    server.ready().await;
    let begun = Instant::now();
    let sum = "SELECT count(*) || ' ' || sum(count) || ' ' || min(region) FROM replayed";
    loop {
        let stored = databases.postgres_value(sum).await;
        if stored.as_deref() == Some("20 190 eu") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{stored:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    server.stop().await;
}
