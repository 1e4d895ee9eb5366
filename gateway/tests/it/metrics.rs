//! The page of metrics, `gateway/docs/metrics.md`, against what a gateway shows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::json;
use tidewell_gateway::registry::Identifier;

use crate::harness::gateway::TestGateway;

const PAGE: &str = include_str!("../../docs/metrics.md");

/// What there is to say of a metric: its type, the names of its labels, its help.
type Metrics = BTreeMap<String, (String, BTreeSet<String>, String)>;

/// The metrics that the tables of the page name.
fn documented() -> Metrics {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()
    };
    let named = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<BTreeSet<_>>();
    PAGE.lines()
        .filter(|line| line.starts_with("| `tidewell_") || line.starts_with("| `process_"))
        .map(cells)
        .map(|row| {
            let [name, kind, labels, help] = row.as_slice() else { panic!("{row:?} has not four cells") };
            let name = named(name).into_iter().next().expect("a name");
            (name, (kind.clone(), named(labels), help.clone()))
        })
        .collect()
}

/// The metrics of a text in Prometheus' format.
fn shown(text: &str) -> Metrics {
    let mut metrics = Metrics::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words.as_slice() {
            ["#", "HELP", name, help] => {
                metrics.entry((*name).to_owned()).or_default().2 = (*help).to_owned()
            }
            ["#", "TYPE", name, kind] => {
                metrics.entry((*name).to_owned()).or_default().0 = (*kind).to_owned()
            }
            _ => {
                let (series, _) = line.rsplit_once(' ').expect("a sample has a value");
                let (name, labels) = series.split_once('{').unwrap_or((series, ""));
                let of_histogram =
                    ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
                let base = of_histogram.filter(|base| metrics.contains_key(*base)).unwrap_or(name);
                let names =
                    labels.split("\",").filter_map(|label| label.split_once('=')).map(|(name, _)| name);
                let known = metrics.get_mut(base).unwrap_or_else(|| panic!("{name} has no TYPE"));
                known.1.extend(names.filter(|name| *name != "le").map(str::to_owned));
            }
        }
    }
    metrics
}

/// Scenario: a gateway gets logs while ClickHouse is away and is started again with it, gets a bad record, a label that is
/// too long, and samples and spans, of which old ones move to ClickHouse.
/// Guarantees: the page names every metric that the gateway shows and no other, each with its type, labels and help.
#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_metrics_says_what_the_gateway_shows() {
    let gateway =
        TestGateway::start_unready(|config| config.clickhouse.url = "http://127.0.0.1:1".to_owned()).await;
    let (status, answer) = gateway.post_json("/write/logs", &json!({"message": "waits in the log"})).await;
    assert_eq!(status, 200, "{answer}");
    let gateway = gateway.restart(|config| config.tiering.enabled = false).await;
    let long = "x".repeat(100_000);
    for (path, records) in [
        (
            "/write/logs",
            json!([{"message": "long label", "long": long}, {"time": "yesterday", "message": "bad"}]),
        ),
        ("/write/metrics", json!({"metric": "requests", "value": 1})),
        (
            "/write/traces",
            json!({"trace_id": "5b8efff798038103d269b633813fc60c", "span_id": "eee19b7ec3c1b174", "name": "GET /"}),
        ),
    ] {
        let answer =
            gateway.request(reqwest::Method::POST, path).header("tidewell-ack", "stored").json(&records);
        assert_eq!(answer.send().await.unwrap().status().as_u16(), 200, "{path}");
    }
    let old = json!({"metric": "requests", "value": 1, "time": "2026-01-10T00:00:00Z"});
    let cool = json!({"table_name": "metrics_events", "tiering": {"cool_after_seconds": 604_800}});
    for (path, body) in [("/write/metrics", old), ("/schema/register", cool)] {
        let (status, answer) = gateway.post_json(path, &body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let tiering = &gateway.server.shared().tiering;
    let cooled = Identifier::new("metrics_events").unwrap();
    tiering.run_now(&cooled).await.unwrap();
    tiering.verify(&cooled).await.unwrap();
    // Dead letters are counted soon after the start.
    let until = Instant::now() + Duration::from_secs(30);
    let text = loop {
        let answer = gateway.request(reqwest::Method::GET, "/metrics").send().await.unwrap();
        let text = answer.text().await.unwrap();
        if text.contains("tidewell_dead_letters_waiting ") {
            break text;
        }
        assert!(Instant::now() < until, "dead letters are never counted");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };

    let (mut page, gateway_shows) = (documented(), shown(&text));
    let of_tls = page.remove("tidewell_certificate_expires_timestamp_seconds");
    assert!(of_tls.is_some(), "this one is tested where there is TLS");
    let names = |metrics: &Metrics| metrics.keys().cloned().collect::<BTreeSet<_>>();
    let (on_page, at_gateway) = (names(&page), names(&gateway_shows));
    assert_eq!(
        (
            on_page.difference(&at_gateway).collect::<Vec<_>>(),
            at_gateway.difference(&on_page).collect::<Vec<_>>()
        ),
        (vec![], vec![]),
        "only on the page, only at the gateway"
    );
    for (name, told) in page {
        assert_eq!(told, gateway_shows[&name], "{name}");
    }
    gateway.stop().await;
}
