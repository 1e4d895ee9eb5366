//! The books balance, and labels stay few.

use super::*;
use crate::decode::FieldError;
use crate::ingest::{AckLevel, RecordError};
use crate::registry::{TableSpec, Tenant, builtin};

fn text(metrics: &Metrics) -> String {
    let format = crate::observe::exposition::Format::OpenMetrics;
    crate::observe::exposition::text(&[metrics.registry()], format).unwrap()
}

fn decoded(accepted: usize, rejected: usize) -> Decoded {
    let reject = |index| RejectedRecord {
        index,
        table: "logs_events".to_owned(),
        error: FieldError::new("message", "is missing"),
        payload: Vec::new(),
        content_type: "application/json",
    };
    Decoded { accepted, rejected: (0..rejected).map(reject).collect(), ..Decoded::default() }
}

fn receipt(accepted: usize, rejected: usize) -> Receipt {
    let errors = vec![RecordError { index: 0, field: String::new(), reason: String::new() }; rejected.min(1)];
    Receipt { accepted, rejected, errors, ack: AckLevel::Stored, warnings: Vec::new(), suppressed: false }
}

#[test]
fn the_protocols_are_in_the_order_of_their_numbers() {
    for (at, protocol) in Protocol::ALL.into_iter().enumerate() {
        assert_eq!(protocol as usize, at);
    }
}

/// Scenario: requests that succeed, succeed in part, fail after decoding and fail before it.
/// Guarantees: each record of a request that was read has exactly one disposition.
#[test]
fn every_record_has_one_disposition() {
    let metrics = Metrics::new();
    let rest = Protocol::Rest;
    metrics.received(rest, &decoded(10, 0)).accepted(0);
    metrics.received(rest, &decoded(5, 2)).accepted(3);
    drop(metrics.received(rest, &decoded(20, 1)));
    metrics.request(rest, &Ok(receipt(10, 0)), 100, Duration::from_millis(3));
    metrics.request(rest, &Ok(receipt(4, 3)), 100, Duration::from_millis(3));
    metrics.request(rest, &Ok(receipt(0, 3)), 100, Duration::from_millis(3));
    metrics.request(rest, &Err(Rejection::unavailable("down")), 100, Duration::from_millis(3));
    let repeated = Receipt { suppressed: true, ..receipt(4, 3) };
    metrics.suppressed(rest, &repeated);
    metrics.request(rest, &Ok(repeated), 100, Duration::from_millis(3));
    let text = text(&metrics);
    for line in [
        "tidewell_records_total{protocol=\"rest\",disposition=\"stored\"} 14",
        "tidewell_records_total{protocol=\"rest\",disposition=\"dead_lettered\"} 3",
        "tidewell_records_total{protocol=\"rest\",disposition=\"rejected\"} 21",
        "tidewell_records_total{protocol=\"rest\",disposition=\"suppressed\"} 7",
        "tidewell_requests_total{protocol=\"rest\",result=\"suppressed\"} 1",
        "tidewell_requests_total{protocol=\"rest\",result=\"accepted\"} 1",
        "tidewell_requests_total{protocol=\"rest\",result=\"partial\"} 1",
        "tidewell_requests_total{protocol=\"rest\",result=\"rejected\"} 1",
        "tidewell_requests_total{protocol=\"rest\",result=\"unavailable\"} 1",
        "tidewell_request_bytes_total{protocol=\"rest\"} 500",
        "tidewell_request_records_sum{protocol=\"rest\"} 38.0",
        "tidewell_records_total{protocol=\"flight\",disposition=\"stored\"} 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[test]
fn attempts_to_write_are_told_from_rows_written() {
    let metrics = Metrics::new();
    let tables = builtin::tables(&Tenant::default()).unwrap();
    let logs = tables.iter().find(|table| table.name().as_str() == "logs_events").unwrap();
    metrics.cut(logs, 100, Duration::from_millis(5), false);
    metrics.cut(logs, 100, Duration::from_millis(5), true);
    metrics.refused_by_store(logs, 1);
    metrics.dead_lettered(&decoded(0, 2).rejected);
    let text = text(&metrics);
    for line in [
        "tidewell_store_writes_total{store=\"clickhouse\",table=\"logs_events\",result=\"failed\"} 1",
        "tidewell_store_writes_total{store=\"clickhouse\",table=\"logs_events\",result=\"written\"} 1",
        "tidewell_store_rows_written_total{store=\"clickhouse\",table=\"logs_events\"} 100",
        "tidewell_store_write_duration_seconds_count{store=\"clickhouse\",table=\"logs_events\"} 2",
        "tidewell_dead_letters_total{table=\"logs_events\",refused_by=\"store\"} 1",
        "tidewell_dead_letters_total{table=\"logs_events\",refused_by=\"decoding\"} 2",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

/// Scenario: a caller registers tables without end.
/// Guarantees: their names do not become labels without end, and nothing is lost from the sums.
#[test]
fn labels_stay_few() {
    let metrics = Metrics::new();
    for number in 0..MAX_TABLES + 50 {
        let json =
            format!(r#"{{"table_name":"t{number}","columns":[{{"name":"time","type":"timestamp"}}]}}"#);
        let spec: TableSpec = serde_json::from_str(&json).unwrap();
        metrics.cut(&TableDef::from_spec(Tenant::default(), spec, 1).unwrap(), 1, Duration::ZERO, true);
    }
    let text = text(&metrics);
    let rows = text.lines().filter(|line| line.starts_with("tidewell_store_rows_written_total{"));
    assert_eq!(rows.count(), MAX_TABLES + 1);
    assert!(text.contains("tidewell_store_rows_written_total{store=\"timescale\",table=\"(other)\"} 50"));
}
