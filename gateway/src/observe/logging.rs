//! The gateway's own log: text or JSON lines on standard error.

use tracing_subscriber::filter::{EnvFilter, LevelFilter};

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
