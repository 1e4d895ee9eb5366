//! Words that telemetry is made of: numbers in, names out, the same for the same number.

/// Words of log messages.
pub(super) const WORDS: [&str; 48] = [
    "request",
    "completed",
    "payment",
    "authorised",
    "order",
    "accepted",
    "cache",
    "miss",
    "retry",
    "upstream",
    "timeout",
    "after",
    "connection",
    "closed",
    "by",
    "peer",
    "session",
    "expired",
    "for",
    "customer",
    "queue",
    "depth",
    "above",
    "limit",
    "scheduled",
    "job",
    "finished",
    "in",
    "ms",
    "loaded",
    "configuration",
    "from",
    "replica",
    "lag",
    "seconds",
    "invalid",
    "token",
    "refused",
    "rows",
    "written",
    "to",
    "table",
    "lease",
    "renewed",
    "message",
    "published",
    "topic",
    "ack",
];

const APPS: [&str; 10] = [
    "checkout", "auth", "catalog", "search", "payments", "shipping", "frontend", "mailer", "orders",
    "billing",
];

const NOUNS: [&str; 10] =
    ["carts", "orders", "users", "items", "prices", "reviews", "invoices", "sessions", "stocks", "offers"];

const METRICS: [&str; 10] = [
    "http.server.active_requests",
    "http.server.request.count",
    "process.memory.usage",
    "process.cpu.time",
    "db.client.connection.count",
    "db.client.operation.count",
    "system.memory.usage",
    "system.network.io",
    "jvm.memory.used",
    "messaging.client.sent.messages",
];

/// The application with this number.
pub(super) fn app(number: u32) -> String {
    numbered(&APPS, number)
}

/// The metric with this number.
pub(super) fn metric(number: u32) -> String {
    numbered(&METRICS, number)
}

/// The route with this number.
pub(super) fn route(number: u32) -> String {
    let noun = NOUNS[number as usize % NOUNS.len()];
    format!("/v1/{noun}/{}", number as usize / NOUNS.len())
}

/// Distinct names for distinct numbers: the words as they are, then each with a number.
fn numbered(words: &[&str], number: u32) -> String {
    let word = words[number as usize % words.len()];
    match number as usize / words.len() {
        0 => word.to_owned(),
        round => format!("{word}.{round}"),
    }
}
