//! The page at `/`: state, addresses and tables in, HTML without scripts out. Every text is escaped.

use std::sync::Arc;

use crate::observe::health::{Report, Status, StoreReport};
use crate::receive::Addresses;
use crate::registry::TableDef;

const STYLE: &str = "\
:root{color-scheme:light dark;--line:#8883;--soft:#8888;--good:#1a7f37;--bad:#cf222e;--fair:#9a6700}\
@media(prefers-color-scheme:dark){:root{--good:#3fb950;--bad:#f85149;--fair:#d29922}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{margin:0;font-size:1.6rem}h2{margin:2rem 0 .5rem;font-size:1.1rem}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .8rem .35rem 0;\
border-bottom:1px solid var(--line);vertical-align:top}th{font-weight:600}\
code{font:.9em ui-monospace,monospace}.soft{opacity:.7}\
.state{padding:.1rem .6rem;border-radius:1rem;border:1px solid;font-weight:600}\
.good{color:var(--good)}.bad{color:var(--bad)}.fair{color:var(--fair)}";

/// What takes records, by listener: address, what is sent there.
const HTTP: [(&str, &str); 9] = [
    ("POST /write/metrics", "metrics as JSON, NDJSON or Arrow IPC"),
    ("POST /write/logs", "logs, likewise"),
    ("POST /write/traces", "spans, likewise"),
    ("POST /write/{table}", "rows of a registered table, likewise"),
    ("POST /v1/metrics", "OTLP over HTTP, protobuf or JSON"),
    ("POST /v1/logs", "OTLP over HTTP, protobuf or JSON"),
    ("POST /v1/traces", "OTLP over HTTP, protobuf or JSON"),
    ("POST /schema/register", "a table's definition"),
    ("GET /dead-letters", "records that were refused; POST .. /{id}/replay sends one again"),
];
const GRPC: [(&str, &str); 3] = [
    ("opentelemetry.proto.collector.*", "OTLP"),
    ("tidewell.v1.Ingest", "Tidewell's own protocol; reflection shows its methods"),
    ("arrow.flight.protocol.FlightService", "Arrow Flight"),
];

/// The page.
pub(super) fn html(
    report: &Report,
    addresses: Addresses,
    tables: &[Arc<TableDef>],
    waiting_letters: Option<u64>,
) -> String {
    let (class, words) = match report.status {
        Status::Ready => ("good", "ready"),
        Status::Degraded => ("fair", "degraded: a store does not answer"),
        Status::Unavailable => ("bad", "unavailable: no store answers"),
        Status::Starting => ("fair", "starting"),
        Status::Stopping => ("fair", "stopping"),
    };
    let version = escaped(report.version);
    let uptime = duration(report.uptime_seconds);
    let letters = letters(waiting_letters);
    let stores: String = report.stores.iter().map(store).collect();
    let http = rows(&HTTP);
    let grpc = rows(&GRPC);
    let Addresses { http: http_address, grpc: grpc_address } = addresses;
    let tables: String = tables.iter().map(|known| table(known)).collect();
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Tidewell</title><style>{STYLE}</style></head>\n\
         <body><h1>Tidewell</h1>\n\
         <p><span class=\"state {class}\">{words}</span> \
         <span class=\"soft\">version {version}, up {uptime}</span></p>\n\
         <p><a href=\"/readyz\">/readyz</a> &middot; <a href=\"/healthz\">/healthz</a> &middot; \
         <a href=\"/metrics\">/metrics</a> &middot; <a href=\"/dead-letters\">/dead-letters</a></p>\n{letters}\
         <h2>Stores</h2><table><tr><th>Store</th><th>State</th><th>Since</th><th>Last probe</th></tr>\n{stores}</table>\n\
         <h2>HTTP on <code>{http_address}</code></h2><table>\n{http}</table>\n\
         <h2>gRPC on <code>{grpc_address}</code></h2><table>\n{grpc}</table>\n\
         <h2>Tables</h2><table><tr><th>Table</th><th>Store</th><th>Version</th><th>Columns</th></tr>\n{tables}</table>\n\
         </body></html>\n"
    )
}

/// Nothing when none waits.
fn letters(waiting: Option<u64>) -> String {
    match waiting {
        None | Some(0) => String::new(),
        Some(waiting) => format!(
            "<p><span class=\"state fair\">{waiting} dead letters wait</span> refused records, kept with the reason: \
             <code>tidewell dead-letters list</code> or <a href=\"/dead-letters\">/dead-letters</a></p>\n"
        ),
    }
}

fn rows(addresses: &[(&str, &str)]) -> String {
    let row = |(address, what): &(&str, &str)| {
        format!("<tr><td><code>{}</code></td><td>{}</td></tr>\n", escaped(address), escaped(what))
    };
    addresses.iter().map(row).collect()
}

fn store(store: &StoreReport) -> String {
    let (class, state) = match store.up {
        Some(true) => ("good", "answers".to_owned()),
        Some(false) => ("bad", store.error.clone().unwrap_or_else(|| "does not answer".to_owned())),
        None => ("soft", "not asked yet".to_owned()),
    };
    format!(
        "<tr><td>{}</td><td class=\"{class}\">{}</td><td>{}</td><td>{} ms</td></tr>\n",
        escaped(store.store),
        escaped(&state),
        escaped(&store.since),
        store.probe_ms
    )
}

fn table(table: &TableDef) -> String {
    let columns: Vec<&str> = table.columns().iter().map(|column| column.name.as_str()).collect();
    format!(
        "<tr><td><code>{}</code></td><td>{}</td><td>{}</td><td class=\"soft\">{}</td></tr>\n",
        escaped(table.name().as_str()),
        table.store().name(),
        table.version,
        escaped(&columns.join(", "))
    )
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// A text as it may stand in HTML, in attributes as well.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{Tenant, builtin};

    #[test]
    fn the_page_shows_state_addresses_and_tables_and_escapes_what_stores_say() {
        let down = StoreReport {
            store: "clickhouse",
            up: Some(false),
            since: "2026-11-20T05:00:00Z".to_owned(),
            probe_ms: 1.5,
            error: Some("<script>alert('x')</script>".to_owned()),
        };
        let report = Report {
            service: "tidewell",
            version: "0.1.0",
            status: Status::Degraded,
            uptime_seconds: 93_784,
            stores: vec![down],
            unwritable_logs: Vec::new(),
        };
        let addresses =
            Addresses { http: "127.0.0.1:4318".parse().unwrap(), grpc: "[::1]:4317".parse().unwrap() };
        let tables: Vec<_> = builtin::tables(&Tenant::default()).unwrap().into_iter().map(Arc::new).collect();
        let quiet = html(&report, addresses, &tables, Some(0));
        assert!(!quiet.contains("dead letters wait"));
        let html = html(&report, addresses, &tables, Some(3));
        for part in [
            "3 dead letters wait",
            "degraded",
            "up 1 d 2 h",
            "127.0.0.1:4318",
            "[::1]:4317",
            "<code>logs_events</code>",
            "/readyz",
        ] {
            assert!(html.contains(part), "{part}");
        }
        assert!(!html.contains("<script"), "a store's words are not HTML");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    }

    #[test]
    fn durations_are_short() {
        assert_eq!([0, 61, 3_700, 90_000].map(duration), ["0 s", "1 min", "1 h 1 min", "1 d 1 h"]);
    }
}
