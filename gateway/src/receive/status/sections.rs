//! The parts of the page that change: a snapshot in, the HTML of each section out, by the section's id.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value};

use super::html::escaped;
use super::snapshot::{Flow, Reasons, Snapshot};
use super::tiers;
use crate::deliver::FeedStatus;
use crate::observe::health::{Report, Status, StoreReport};
use crate::units::{bytes, duration, number, per_second};

/// All changing sections, as the page and its events carry them.
pub(super) fn changing(now: &Snapshot) -> Value {
    let sections = [
        ("state", state(&now.report)),
        ("numbers", numbers(now)),
        ("flow", flow(&now.protocols)),
        ("stores", stores(now)),
        ("logs", logs(&now.feeds)),
        ("tiers", tiers::html(&now.tiers)),
        ("letters", letters(now)),
        ("problems", problems(now)),
    ];
    Value::Object(
        sections.map(|(id, html)| (id.to_owned(), Value::String(html))).into_iter().collect::<Map<_, _>>(),
    )
}

fn state(report: &Report) -> String {
    let (class, words) = match report.status {
        Status::Ready => ("good", "ready"),
        Status::Degraded => ("fair", "degraded: a store does not answer"),
        Status::Unavailable => ("bad", "unavailable: a log cannot be written"),
        Status::Starting => ("fair", "starting"),
        Status::Stopping => ("fair", "stopping"),
    };
    let broken: String = report
        .unwritable_logs
        .iter()
        .map(|log| format!("<p class=\"bad\">log {}: {}</p>", escaped(log.log), escaped(&log.reason)))
        .collect();
    let held: String = report
        .held_logs
        .iter()
        .map(|log| {
            format!(
                "<p class=\"bad\">log {}: nothing is delivered, since {} notes of what was sent are damaged; bring the damaged \
                 file back, or create <code>{}</code></p>",
                escaped(log.log),
                log.lost_notes,
                escaped(&log.consent)
            )
        })
        .collect();
    format!(
        "<p><span class=\"pill {class}\">{words}</span> <span class=\"soft\">version {}, up {}</span></p>{broken}{held}",
        escaped(report.version),
        duration(report.uptime_seconds)
    )
}

fn numbers(now: &Snapshot) -> String {
    let records: f64 = now.protocols.iter().map(|flow| flow.records.per_second).sum();
    let size: f64 = now.protocols.iter().map(|flow| flow.bytes.per_second).sum();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is not negative and small"
    )]
    let size = size.round() as u64;
    let lag = now.feeds.iter().map(|feed| feed.lag).max().unwrap_or_default();
    let waiting: usize = now.feeds.iter().map(|feed| feed.waiting_rows).sum();
    let letters = now.letters.count.map_or_else(|| "?".to_owned(), number);
    let under_way = share(now.in_flight_bytes as u64, now.in_flight_limit_bytes as u64);
    let card = |name: &str, value: &str, unit: &str, class: &str| {
        format!("<div class=\"card {class}\"><b>{value}</b> {unit}<span>{name}</span></div>")
    };
    let if_any = |any: bool| if any { "fair" } else { "" };
    [
        format!(
            "<div class=\"card\" data-records=\"{records:.1}\"><b>{}</b> /s<span>records in</span></div>",
            per_second(records)
        ),
        card("bytes in", &bytes(size), "/s", ""),
        card("rows that wait for a store", &number(waiting as u64), "", ""),
        card("oldest of them", &duration(lag.as_secs()), "", if_any(lag.as_secs() > 60)),
        card("memory for requests", &format!("{under_way:.0}"), "%", if_any(under_way > 90.0)),
        card("dead letters wait", &letters, "", if_any(now.letters.count.is_some_and(|count| count > 0))),
    ]
    .concat()
}

fn flow(protocols: &[Flow]) -> String {
    let row = |flow: &Flow| {
        let totals = flow.totals;
        let quiet = if totals.records() == 0 { " class=\"soft\"" } else { "" };
        let refused = totals.dead_lettered + totals.rejected;
        let class = if refused > 0 { " class=\"fair\"" } else { "" };
        format!(
            "<tr{quiet}><td><code>{}</code></td><td>{}</td><td>{}</td><td>{}</td><td{class}>{}</td><td>{}</td></tr>",
            totals.protocol,
            per_second(flow.records.per_second),
            number(totals.stored),
            bytes(totals.bytes),
            number(refused),
            number(totals.suppressed),
        )
    };
    let rows: String = protocols.iter().map(row).collect();
    format!(
        "<table><tr><th>Protocol</th><th>records/s</th><th>Accepted</th><th>Bytes</th><th>Refused</th>\
         <th>Repetitions</th></tr>{rows}</table>"
    )
}

fn stores(now: &Snapshot) -> String {
    let rows: String = now.report.stores.iter().map(store).collect();
    let written: String = now
        .tables
        .iter()
        .map(|(table, rows)| {
            format!(
                "<tr><td><code>{}</code></td><td>{}</td><td>{}</td></tr>",
                escaped(table),
                per_second(rows.per_second),
                number(rows.total)
            )
        })
        .collect();
    let written =
        if written.is_empty() { "<tr><td colspan=\"3\">nothing yet</td></tr>".to_owned() } else { written };
    format!(
        "<table><tr><th>Store</th><th>State</th><th>Since</th><th>Last probe</th></tr>{rows}</table>\
         <table><tr><th>Table</th><th>rows/s</th><th>Stored since the start</th></tr>{written}</table>"
    )
}

fn store(store: &StoreReport) -> String {
    let (class, state) = match store.up {
        Some(true) => ("good", "answers".to_owned()),
        Some(false) => ("bad", store.error.clone().unwrap_or_else(|| "does not answer".to_owned())),
        None => ("soft", "not asked yet".to_owned()),
    };
    format!(
        "<tr><td>{}</td><td class=\"long {class}\">{}</td><td>{}</td><td>{} ms</td></tr>",
        escaped(store.store),
        escaped(&state),
        escaped(&store.since),
        store.probe_ms
    )
}

fn logs(feeds: &[FeedStatus]) -> String {
    let row = |feed: &FeedStatus| {
        let files = &feed.files;
        let used = share(files.needed_bytes, files.max_bytes);
        format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td>\
             <td><meter min=\"0\" max=\"100\" low=\"50\" high=\"85\" optimum=\"0\" value=\"{used:.1}\">{used:.1} %</meter> \
             {used:.1} % of {}</td><td>{}</td></tr>",
            feed.log.name(),
            number(feed.waiting_rows as u64),
            duration(feed.lag.as_secs()),
            bytes(files.max_bytes),
            bytes(files.used_bytes),
        )
    };
    let rows: String = feeds.iter().map(row).collect();
    format!(
        "<table><tr><th>Log</th><th>Rows waiting</th><th>Oldest</th><th>Budget used</th><th>On disk</th></tr>{rows}</table>"
    )
}

fn letters(now: &Snapshot) -> String {
    let quiet = |words: &str| format!("<p class=\"soft\">{words}</p>");
    let reasons = match &now.letters.reasons {
        Reasons::Known(reasons) => reasons,
        Reasons::Unknown => return quiet("TimescaleDB, where they are kept, does not answer."),
        Reasons::NotForThisReader => return quiet("Their reasons are for callers with scope admin."),
    };
    if reasons.is_empty() {
        return quiet("None wait.");
    }
    let rows: String = reasons
        .iter()
        .take(10)
        .map(|reason| {
            let target = escaped(&reason.target);
            format!(
                "<tr><td>{}</td><td><code>{target}</code></td><td>{}</td><td class=\"long\">{}</td></tr>",
                number(reason.letters as u64),
                escaped(&reason.field),
                escaped(&reason.reason)
            )
        })
        .collect();
    let mut targets: Vec<&str> = reasons.iter().map(|reason| reason.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    let buttons: String = targets
        .iter()
        .map(|target| {
            let target = escaped(target);
            format!(
                "<button class=\"needs-script\" data-replay=\"{target}\">Replay those for {target}</button> "
            )
        })
        .collect();
    format!(
        "<table><tr><th>Letters</th><th>For</th><th>Field</th><th>Reason</th></tr>{rows}</table>\
         <p>{buttons}<span class=\"soft\">or <code>tidewell dead-letters</code>; all of them: \
         <a href=\"/dead-letters\">/dead-letters</a></span></p>"
    )
}

fn problems(now: &Snapshot) -> String {
    if now.problems.is_empty() {
        return "<p class=\"soft\">No warnings and no errors since the start.</p>".to_owned();
    }
    let rows: String = now
        .problems
        .iter()
        .take(15)
        .map(|problem| {
            let at = DateTime::<Utc>::from(problem.at).to_rfc3339_opts(SecondsFormat::Secs, true);
            let (class, level) = if problem.is_error { ("bad", "error") } else { ("fair", "warning") };
            let times =
                if problem.times > 1 { format!(" ({} times)", number(problem.times)) } else { String::new() };
            format!(
                "<tr><td>{at}</td><td class=\"{class}\">{level}</td><td class=\"long\">{}{times}</td></tr>",
                escaped(&problem.text)
            )
        })
        .collect();
    format!("<table><tr><th>At</th><th></th><th>What</th></tr>{rows}</table>")
}

#[expect(clippy::cast_precision_loss, reason = "a share is read by people")]
fn share(part: u64, whole: u64) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}
