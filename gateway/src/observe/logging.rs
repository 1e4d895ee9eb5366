//! The gateway's own log: text or JSON lines on standard error.
//!
//! A store that is down makes every request fail in the same way; the same warning thousands of times would hide the
//! others and fill a disk. Warnings and errors from one place in the sources are therefore written [`BURST`] times in
//! [`WINDOW`], and then counted; [`RepeatLimit::report`] says how many were left out.

use std::collections::HashMap;
use std::fmt;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{EnvFilter, FilterExt as _, LevelFilter};
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use super::problems::KeepProblems;
use crate::config::{LogConfig, LogFormat};

/// Warnings and errors from one place in the sources that are written within [`WINDOW`].
const BURST: u64 = 10;

/// For how long they are counted together.
const WINDOW: Duration = Duration::from_secs(10);

/// A log that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// `log.level` cannot be read.
    #[error("log.level: {0}")]
    Level(String),
    /// The process has a log already.
    #[error("the log is set up already")]
    Twice(#[from] TryInitError),
}

/// Begins to write the process's log to standard error.
pub fn start(config: &LogConfig) -> Result<RepeatLimit, LogError> {
    let limit = RepeatLimit::default();
    let filter = filter(&config.level).map_err(LogError::Level)?.and(limit.clone());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(KeepProblems.with_filter(LevelFilter::WARN));
    match config.format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            registry.with(lines.with_ansi(colours).with_filter(filter)).try_init()?;
        }
        LogFormat::Json => {
            let json = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            registry.with(json.with_filter(filter)).try_init()?;
        }
    }
    Ok(limit)
}

/// What `log.level` lets through. An error says what is wrong with the text.
///
/// `EnvFilter` takes any unknown word for the name of a module, so that `inof` would silence everything: a word by
/// itself has to be a level here.
pub fn filter(text: &str) -> Result<EnvFilter, String> {
    let directives: Vec<&str> = text.split(',').map(str::trim).collect();
    for directive in &directives {
        let is_level = directive.parse::<LevelFilter>().is_ok() && !directive.is_empty();
        if !is_level && !directive.contains(['=', '[']) {
            return Err(format!(
                "{directive:?} is no level: use error, warn, info, debug, trace or off, or MODULE=LEVEL"
            ));
        }
    }
    EnvFilter::builder().parse(directives.join(",")).map_err(|error| format!("{text:?}: {error}"))
}

/// Leaves out warnings and errors that repeat too often. Cheap to clone; clones count together.
#[derive(Debug, Clone, Default)]
pub struct RepeatLimit(Arc<Mutex<HashMap<Identifier, Repeated>>>);

/// One place in the sources that warned in this window.
#[derive(Debug)]
struct Repeated {
    since: Instant,
    seen: u64,
    message: String,
}

/// Warnings that were left out.
#[derive(Debug, PartialEq, Eq)]
struct LeftOut {
    message: String,
    count: u64,
}

impl RepeatLimit {
    /// Reports what is left out, once in a window, until `stop`.
    pub async fn report(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(WINDOW) => {}
                () = stop.cancelled() => return,
            }
            for LeftOut { message, count } in self.ended(Instant::now()) {
                tracing::warn!(count, repeated = message, "the same message was left out");
            }
        }
    }

    /// Whether to write one more event from this place.
    fn admits(&self, place: Identifier, now: Instant, message: impl FnOnce() -> String) -> bool {
        let mut places = self.0.lock();
        let repeated =
            places.entry(place).or_insert_with(|| Repeated { since: now, seen: 0, message: message() });
        repeated.seen += 1;
        repeated.seen <= BURST
    }

    /// Ends the windows that are over; returns what was left out in them.
    fn ended(&self, now: Instant) -> Vec<LeftOut> {
        let mut left_out = Vec::new();
        self.0.lock().retain(|_, repeated| {
            let is_over = now.duration_since(repeated.since) >= WINDOW;
            if is_over && repeated.seen > BURST {
                let message = std::mem::take(&mut repeated.message);
                left_out.push(LeftOut { message, count: repeated.seen - BURST });
            }
            !is_over
        });
        left_out
    }
}

/// The message of an event without its other fields.
#[derive(Default)]
struct Message(String);

// === impl RepeatLimit, Message ===

impl<S: Subscriber> Filter<S> for RepeatLimit {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Our own reports come once a window anyway, and one place makes them all.
        if *metadata.level() > Level::WARN || metadata.target() == module_path!() {
            return true;
        }
        self.admits(metadata.callsite(), Instant::now(), || {
            let mut message = Message::default();
            event.record(&mut message);
            message.0
        })
    }

    /// Without a hint of ours, the hint of the level filter would be lost and disabled events would be built.
    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Collects what is written.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Lines {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn repeated_warnings_are_left_out_and_counted() {
        let lines = Lines::default();
        let limit = RepeatLimit::default();
        let filter = filter("info").unwrap().and(limit.clone());
        let layer = tracing_subscriber::fmt::layer().with_writer(lines.clone()).with_ansi(false);
        let subscriber = tracing_subscriber::registry().with(layer.with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..1000 {
                tracing::warn!(number, "the store is down");
                tracing::info!(number, "not limited");
                tracing::debug!("not enabled");
            }
            tracing::error!("another place");
        });
        let text = String::from_utf8(lines.0.lock().clone()).unwrap();
        assert_eq!(text.matches("the store is down").count() as u64, BURST);
        assert_eq!(text.matches("not limited").count(), 1000);
        assert_eq!(text.matches("another place").count(), 1);
        assert!(!text.contains("not enabled"));
        assert_eq!(limit.ended(Instant::now()), []);
        let left_out = limit.ended(Instant::now() + WINDOW);
        assert_eq!(left_out, [LeftOut { message: "the store is down".to_owned(), count: 1000 - BURST }]);
        assert_eq!(limit.ended(Instant::now() + WINDOW), [], "a new window begins");
    }
}
