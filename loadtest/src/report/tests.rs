use std::collections::BTreeMap;

use super::*;
use crate::audit::Verdict;
use crate::processes::Usage;
use crate::tally::Latency;
use crate::workload::{Protocol, Signal, Workload};

fn measurement() -> Measurement {
    Measurement {
        workload: Workload { signal: Signal::Logs, protocol: Protocol::OtlpGrpc },
        target_rate: Some(50_000),
        connections: 16,
        records_per_request: 1_000,
        bytes_per_record: 230.0,
        due_s: 59.98,
        elapsed_s: 60.0,
        records_per_s: 49_990.0,
        accepted: 3_000_000,
        rejected: 0,
        requests: 3_000,
        stored_s: Some(60.5),
        failures: BTreeMap::new(),
        unsent: 0,
        levels: BTreeMap::from([("stored".to_owned(), 3_000)]),
        latency: Latency { p50_ms: 100.0, p90_ms: 200.0, p99_ms: 250.0, p999_ms: 300.0, max_ms: 301.0 },
        usage: BTreeMap::from([("gateway", Usage { cpu_s: 6.0, peak_bytes: 123_000_000 })]),
        others_cpu_share: 0.05,
        audit: Some(Verdict { acknowledged: 3_000_000, ..Verdict::default() }),
    }
}

fn report(measurement: Measurement) -> Report {
    let mut report = Report::new(Shape::default());
    report.add(measurement);
    report
}

#[test]
fn a_held_rate_is_said_to_be_held_with_its_cost() {
    let report = report(measurement());
    let text = report.text();
    assert!(report.clean());
    assert!(text.contains("logs otlp-grpc at 50000/s for 60 s: held, p99 250.0 ms"), "{text}");
    assert!(text.contains("3000000 found once"), "{text}");
    assert!(!text.contains("other processes"), "{text}");
    // 6 CPU seconds for 3 million records.
    assert!(text.contains("|   2.00      -"), "{text}");
}

#[test]
fn each_shortfall_breaks_the_rate_and_is_named() {
    let broken_by = |change: fn(&mut Measurement)| {
        let mut measurement = measurement();
        change(&mut measurement);
        floors::judge(&measurement).unwrap().broken_by
    };
    assert_eq!(broken_by(|_| {}), Vec::<String>::new());
    assert_eq!(broken_by(|it| it.elapsed_s = 61.5), ["1.5 s behind, 49990 records/s"]);
    assert_eq!(broken_by(|it| it.unsent = 3), ["3 requests failed or unsent"]);
    assert_eq!(broken_by(|it| it.rejected = 1), ["1 records rejected"]);
    assert_eq!(broken_by(|it| it.latency.p99_ms = 500.0), ["p99 500 ms"]);
    assert_eq!(broken_by(|it| it.audit = None), ["not audited"]);
    assert_eq!(broken_by(|it| it.audit = Some(Verdict { missing: 1, ..Verdict::default() })), ["audit"]);
}

#[test]
fn losses_and_failures_are_shown() {
    let mut lossy = measurement();
    lossy.others_cpu_share = 0.42;
    lossy.failures.insert("HTTP 503".to_owned(), 7);
    lossy.audit = Some(Verdict { acknowledged: 10, missing: 2, doubled: 1, ..Verdict::default() });
    let report = report(lossy);
    let text = report.text();
    assert!(!report.clean());
    assert!(text.contains("2 MISSING, 1 DOUBLED, 0 FOREIGN of 10"), "{text}");
    assert!(text.contains("7 requests failed: HTTP 503"), "{text}");
    assert!(text.contains("1 measured while other processes took more than 15 % of the CPU"), "{text}");
    assert!(text.contains("NOT HELD: 7 requests failed or unsent, audit"), "{text}");
}

#[test]
fn the_document_holds_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    report(measurement()).write_json(&path).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let first = &json["measurements"][0];
    assert_eq!(first["protocol"], "otlp-grpc");
    assert_eq!(first["latency"]["p99_ms"], 250.0);
    assert_eq!(first["usage"]["gateway"]["cpu_s"], 6.0);
    assert_eq!(first["audit"]["missing"], 0);
    assert_eq!(first["floor"]["held"], true);
    assert!(json["machine"]["cpus"].as_u64().unwrap() > 0);
}

#[test]
fn a_workload_that_could_not_be_measured_is_named() {
    let mut report = report(measurement());
    report.add_unmeasured(measurement().workload, &anyhow::anyhow!("no gateway").context("cannot connect"));
    let text = report.text();
    assert!(text.contains("logs otlp-grpc: NOT MEASURED: cannot connect: no gateway"), "{text}");
}
