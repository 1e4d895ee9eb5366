//! Texts that must not show up in logs, errors, answers or `tidewell config print`.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands in the place of a secret wherever it would be shown.
const MASK: &str = "***";

/// A text that is never printed. `Debug`, `Serialize` and [`Secret::masked`] show a Postgres URL without its password
/// and any other text as three stars; only [`Secret::reveal`] gives it away.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(extend("writeOnly" = true))]
pub struct Secret(String);

impl Secret {
    /// A secret with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing to hide.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What may be shown. Of a Postgres URL only the parts that are known to be harmless are written out again: cutting
    /// the password from the text would go wrong with the first URL that is not quite one.
    pub fn masked(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        match self.0.parse::<tokio_postgres::Config>() {
            Ok(url) if is_unambiguous_url(&self.0) && !url.get_hosts().is_empty() => masked_url(&url),
            _ => MASK.to_owned(),
        }
    }
}

/// Whether the end of the password is beyond doubt: an `@` or `/` in it that is not percent-encoded would turn its
/// rest into what looks like a host.
fn is_unambiguous_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) else {
        return false;
    };
    match rest.split_once('@') {
        None => true,
        Some((user_and_password, host)) => {
            !host.contains('@') && !user_and_password.contains(['/', '?', '#'])
        }
    }
}

fn masked_url(url: &tokio_postgres::Config) -> String {
    use tokio_postgres::config::Host;

    let mut text = "postgres://".to_owned();
    if let Some(user) = url.get_user() {
        text.push_str(user);
        if url.get_password().is_some() {
            text.push(':');
            text.push_str(MASK);
        }
        text.push('@');
    }
    for (at, host) in url.get_hosts().iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match host {
            Host::Tcp(name) if name.contains(':') => text.push_str(&format!("[{name}]")),
            Host::Tcp(name) => text.push_str(name),
            Host::Unix(path) => text.push_str(&path.display().to_string().replace('/', "%2F")),
        }
        let ports = url.get_ports();
        if let Some(port) = ports.get(at).or_else(|| ports.first()) {
            text.push_str(&format!(":{port}"));
        }
    }
    if let Some(database) = url.get_dbname() {
        text.push('/');
        text.push_str(database);
    }
    text
}

// === impl Secret ===

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.masked(), f)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_postgres_url_is_shown_without_its_password() {
        let shown = |url: &str| Secret::new(url).masked();
        assert_eq!(shown(""), "");
        assert_eq!(
            shown("postgres://tidewell@127.0.0.1:5432/tidewell"),
            "postgres://tidewell@127.0.0.1:5432/tidewell"
        );
        assert_eq!(shown("postgresql://u:p%40ss@db/x?connect_timeout=3"), "postgres://u:***@db:5432/x");
        assert_eq!(shown("postgres://u@db/x?password=hunter2"), "postgres://u:***@db:5432/x");
        assert_eq!(shown("postgres://u:hunter2@a:1,[::1]:2/x"), "postgres://u:***@a:1,[::1]:2/x");
        assert_eq!(shown("host=db password=hunter2"), "***");
        assert_eq!(shown("hunter2"), "***");
    }

    proptest! {
        /// Whatever the password is, and however badly it is escaped, neither it nor its second half is shown.
        #[test]
        fn no_password_is_ever_shown(start in "[!-~]{1,10}", end in "[0-9A-F]{8}") {
            for text in [format!("{start}{end}"), format!("postgres://user:{start}{end}@db.example:5432/metrics")] {
                let secret = Secret::new(text);
                prop_assert!(!secret.masked().contains(&end), "{}", secret.masked());
                let debug = format!("{secret:?}");
                prop_assert!(!debug.contains(&end));
                prop_assert!(!serde_json::to_string(&secret).unwrap().contains(&end));
            }
        }
    }
}
