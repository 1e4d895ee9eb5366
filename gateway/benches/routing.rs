//! What the registry and the routes cost beside decoding: a request of 1,000 OTLP log records, whole and by part.
//!
//! `cargo bench -p tidewell-gateway --bench routing` prints microseconds per request, the median of many runs, and the share
//! of decoding; each record has 5 attributes, each resource 4.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "a benchmark prints its result and ends at the first surprise"
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;
use serde_json::json;
use tidewell_gateway::decode::{DecodeContext, DecodeLimits, Decoded, otlp, routing};
use tidewell_gateway::registry::{RouteRequest, Routes, Signal, Snapshot, SnapshotCell, Tenant, builtin};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const NOW: i64 = 1_700_000_000_000_000_000;
const RECORDS: usize = 1_000;
const RUNS: usize = 300;

fn main() {
    let tenant = Tenant::default();
    let body = logs().encode_to_vec();
    let cell = SnapshotCell::default();
    cell.publish(snapshot(&tenant, json!([])));
    let tables = cell.load();
    let context =
        DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits: DecodeLimits::default() };
    let decode = || otlp::logs(&body, &context).unwrap();
    let decoding = median(|| (), |()| drop(black_box(decode())));
    println!("{RECORDS} records, {} bytes: decoded in {decoding:.1} us", body.len());

    let report = |what: &str, took: f64| {
        println!("{what:60} {took:8.2} us {:6.2} %", took / decoding * 100.0);
    };
    let look_up = median(
        || (),
        |()| {
            let tables = cell.load();
            black_box(tables.table(&tenant, builtin::LOGS_EVENTS));
            black_box(tables.routes(&tenant));
        },
    );
    report("look-up of table and routes", look_up);
    for (what, rules) in [
        ("no rule", json!([])),
        ("10 rules on caller and header, none applies", rules(10, |at| json!({"caller": format!("c{at}")}))),
        (
            "10 rules on caller and header, the last one applies to all",
            rules(10, |at| {
                if at == 9 {
                    json!({"header": "x", "table": "logs_events"})
                } else {
                    json!({"header": format!("h{at}")})
                }
            }),
        ),
        (
            "1 rule on a resource attribute, none matches",
            rules(1, |_| json!({"resource": {"service.name": "other"}})),
        ),
        ("1 rule on a label, none matches", rules(1, |_| json!({"labels": {"http.route": "/other"}}))),
        (
            "10 rules on labels, none matches",
            rules(10, |at| json!({"labels": {"http.route": format!("/{at}")}})),
        ),
    ] {
        let tables = snapshot(&tenant, rules);
        let routes = tables.routes(&tenant);
        let request = RouteRequest { caller: "otel", header: Some("x") };
        let took = median(decode, |decoded: Decoded| {
            if let Some(routes) = routes {
                drop(black_box(routing::route(decoded, routes, request, &context).unwrap()));
            }
        });
        report(what, took);
    }
}

fn rules(count: usize, condition: impl Fn(usize) -> serde_json::Value) -> serde_json::Value {
    let rules = (0..count).map(|at| {
        let mut rule = json!({"name": format!("r{at}"), "table": "traces_spans"});
        rule.as_object_mut().unwrap().extend(condition(at).as_object().unwrap().clone());
        rule
    });
    rules.collect()
}

fn snapshot(tenant: &Tenant, rules: serde_json::Value) -> Snapshot {
    let mut routes = Routes::default();
    routes.set(Signal::Logs, serde_json::from_value(rules).unwrap());
    let tables = Snapshot::new(builtin::tables(tenant).unwrap());
    if routes.is_empty() { tables } else { tables.with_routes(HashMap::from([(tenant.clone(), routes)])) }
}

/// Microseconds of one run without what prepares it, the median.
fn median<I>(mut prepare: impl FnMut() -> I, mut run: impl FnMut(I)) -> f64 {
    let mut took: Vec<f64> = (0..RUNS)
        .map(|_| {
            let input = prepare();
            let started = Instant::now();
            run(input);
            started.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    took.sort_by(f64::total_cmp);
    took[RUNS / 2]
}

fn attribute(key: &str, value: String) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value)) }),
        ..KeyValue::default()
    }
}

fn logs() -> ExportLogsServiceRequest {
    let record = |at: usize| LogRecord {
        time_unix_nano: NOW.unsigned_abs(),
        severity_number: 9,
        severity_text: "INFO".to_owned(),
        body: Some(AnyValue {
            value: Some(Value::StringValue(format!("request {at} was answered in time"))),
        }),
        attributes: vec![
            attribute("http.method", "GET".to_owned()),
            attribute("http.route", format!("/cart/{}", at % 10)),
            attribute("http.status_code", "200".to_owned()),
            attribute("user.id", format!("u{at}")),
            attribute("region", "eu-1".to_owned()),
        ],
        ..LogRecord::default()
    };
    let resource = Resource {
        attributes: ["service.name", "host.name", "k8s.pod.name", "deployment.environment"]
            .map(|key| attribute(key, format!("{key}-value")))
            .to_vec(),
        ..Resource::default()
    };
    let scope = ScopeLogs { log_records: (0..RECORDS).map(record).collect(), ..ScopeLogs::default() };
    let resource_logs =
        ResourceLogs { resource: Some(resource), scope_logs: vec![scope], ..ResourceLogs::default() };
    ExportLogsServiceRequest { resource_logs: vec![resource_logs] }
}
