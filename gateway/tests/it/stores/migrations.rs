//! Migrations against the real stores.

use tidewell_gateway::store::migrate;

use crate::harness::database::Databases;

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
    let rows = databases.postgres_value("SELECT count(*) FROM table_registry").await;
    assert_eq!(rows.as_deref(), Some("7"));
    assert_eq!(databases.clickhouse("SELECT count() FROM logs_events").await, "0");
}
