//! The whole page: its changing sections within what stays: addresses and tables.

use std::sync::Arc;

use super::html::escaped;
use super::sections;
use super::snapshot::Snapshot;
use crate::receive::Addresses;
use crate::registry::{StoreKind, TableDef};
use crate::units::duration;

/// What takes records, by listener: address, what is sent there.
const HTTP: &[(&str, &str)] = &[
    ("POST /write/metrics", "metrics as JSON, NDJSON or Arrow IPC"),
    ("POST /write/logs", "logs, likewise"),
    ("POST /write/traces", "spans, likewise"),
    ("POST /write/{table}", "rows of a registered table, likewise"),
    ("POST /v1/metrics", "OTLP over HTTP, protobuf or JSON"),
    ("POST /v1/logs", "OTLP over HTTP, protobuf or JSON"),
    ("POST /v1/traces", "OTLP over HTTP, protobuf or JSON"),
    ("POST /api/v1/write", "Prometheus remote write, 1.0 and 2.0"),
    ("POST /loki/api/v1/push", "logs as agents of Loki send them"),
    ("POST /influxdb/..", "line protocol"),
    ("POST /elasticsearch/..", "bulk requests"),
    ("POST /schema/register", "a table's definition"),
    ("GET /tables/{table}/rows", "rows of a table"),
    ("GET /traces/{trace_id}", "a trace with its logs"),
    ("GET /tiering", "where tables stand whose rows cool; POST .. /{table}/run, verify, restore"),
    ("GET /dead-letters", "records that were refused; POST .. /{id}/replay sends one again"),
];
const GRPC: &[(&str, &str)] = &[
    ("opentelemetry.proto.collector.*", "OTLP"),
    ("tidewell.v1.Ingest", "Tidewell's own protocol; reflection shows its methods"),
    ("arrow.flight.protocol.FlightService", "Arrow Flight"),
    ("vector.Vector", "Vector's own protocol"),
];

/// The page.
pub(super) fn html(now: &Snapshot, addresses: Addresses, tables: &[Arc<TableDef>]) -> String {
    let changing = sections::changing(now);
    let section = |id: &str, heading: &str| {
        let html = changing.get(id).and_then(|html| html.as_str()).unwrap_or_default();
        let heading = if heading.is_empty() { String::new() } else { format!("<h2>{heading}</h2>") };
        format!("<section>{heading}<div id=\"{id}\" class=\"scroll\">{html}</div></section>\n")
    };
    let changing_sections = [
        section("state", ""),
        section("numbers", ""),
        "<svg id=\"chart\" class=\"needs-script\" viewBox=\"0 0 120 24\" preserveAspectRatio=\"none\" role=\"img\" \
         aria-label=\"records per second in the last two minutes\"><polyline points=\"\"/></svg>\n"
            .to_owned(),
        section("flow", "What comes in"),
        section("stores", "What is stored"),
        section("logs", "What waits"),
        section("tiers", "What cools"),
        section("letters", "Dead letters that wait"),
        section("problems", "Warnings and errors"),
    ]
    .concat();
    let tables: String = tables.iter().map(|known| table(known)).collect();
    let (http, grpc) = (rows(HTTP), rows(GRPC));
    let Addresses { http: http_address, grpc: grpc_address } = addresses;
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\"><title>Tidewell</title>\
         <link rel=\"stylesheet\" href=\"/status.css\"><script src=\"/status.js\" defer></script>\
         <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript></head>\n\
         <body><header><h1>Tidewell</h1><nav><a href=\"/readyz\">/readyz</a> <a href=\"/healthz\">/healthz</a> \
         <a href=\"/metrics\">/metrics</a> <a href=\"/tiering\">/tiering</a> <a href=\"/dead-letters\">/dead-letters</a></nav>\
         <span id=\"live\" class=\"soft\"></span></header>\n<main>\n{changing_sections}\
         <section><h2>Tables</h2><div class=\"scroll\"><table><tr><th>Table</th><th>Store</th><th>Version</th>\
         <th>Partitions</th><th>Labels</th><th>Columns</th></tr>\n{tables}</table></div></section>\n\
         <section><h2>HTTP on <code>{http_address}</code></h2><div class=\"scroll\"><table>{http}</table></div></section>\n\
         <section><h2>gRPC on <code>{grpc_address}</code></h2><div class=\"scroll\"><table>{grpc}</table></div></section>\n\
         </main></body></html>\n"
    )
}

fn rows(addresses: &[(&str, &str)]) -> String {
    let row = |(address, what): &(&str, &str)| {
        format!(
            "<tr><td><code>{}</code></td><td class=\"long\">{}</td></tr>\n",
            escaped(address),
            escaped(what)
        )
    };
    addresses.iter().map(row).collect()
}

fn table(table: &TableDef) -> String {
    let columns: Vec<&str> = table.columns().iter().map(|column| column.name.as_str()).collect();
    let partitions = match (table.store(), table.spec.partition_seconds) {
        (_, Some(seconds)) => duration(u64::from(seconds)),
        (StoreKind::ClickHouse, None) if table.time_column().is_some() => duration(86_400),
        _ => String::new(),
    };
    let labels = match table.label_column() {
        Some(_) => format!("at most {}", table.label_limits().max_count),
        None => String::new(),
    };
    format!(
        "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td>{partitions}</td><td>{labels}</td>\
         <td class=\"long\"><details><summary>{}</summary><code>{}</code></details></td></tr>\n",
        escaped(table.name().as_str()),
        table.store().name(),
        table.version,
        columns.len(),
        escaped(&columns.join(", "))
    )
}
