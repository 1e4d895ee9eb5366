//! One scope of settings, parameters and temporary tables.
//!
//! A session without a `session_id` serves one request. After a failed query a session is only good for dropping:
//! until then the engine lists the query as running.

use super::super::exception::Exception;
use super::super::sql::rewrite;
use super::library::{Connection, Output};

/// Settings that the embedded engine changes and a server does not.
const SERVER_DEFAULTS: &str = "SET implicit_select = 0, allow_introspection_functions = 0";

/// Settings of one request, in order.
pub(crate) type Settings = Vec<(String, Vec<u8>)>;

/// An open session.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    prepared: bool,
}

impl Session {
    pub(super) fn new(connection: Connection) -> Session {
        Session { connection, prepared: false }
    }

    /// Applies settings. Unknown names and bad values are errors in the engine's words.
    pub(crate) fn set(&mut self, settings: &Settings) -> Result<(), Exception> {
        if !self.prepared {
            self.run(SERVER_DEFAULTS.as_bytes())?;
            self.prepared = true;
        }
        for (name, _) in settings {
            let valid =
                !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
            if !valid {
                return Err(Exception::new(115, "UNKNOWN_SETTING", &format!("Unknown setting '{name}'")));
            }
        }
        if settings.is_empty() {
            return Ok(());
        }
        let sql = rewrite::set(settings.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        self.run(&sql).map(drop)
    }

    /// Runs `sql` to its end; its result is expected to be small.
    pub(crate) fn run(&mut self, sql: &[u8]) -> Result<Output, Exception> {
        self.run_in(sql, b"TabSeparated")
    }

    /// Runs `sql` to its end, with `format` for a result whose format `sql` does not name.
    pub(crate) fn run_in(&mut self, sql: &[u8], format: &[u8]) -> Result<Output, Exception> {
        self.connection.query(sql, format).map_err(|failure| Exception::from_engine(&failure.0))
    }
}
