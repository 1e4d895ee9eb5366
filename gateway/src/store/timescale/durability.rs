//! Whether what Postgres commits survives a crash: its settings in, what is wrong with them out.
//!
//! A gateway survives each of these: lanes that went back are noticed and fed again from the log's retained tail. What
//! is older than the tail is gone, and tables may be damaged; hence the warnings.

use std::fmt;

use tokio_postgres::Client;

/// A setting under which a committed transaction may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Weakness {
    setting: String,
    value: String,
    consequence: &'static str,
}

impl Weakness {
    fn of(setting: String, value: String) -> Option<Self> {
        let consequence = match (setting.as_str(), value.as_str()) {
            ("fsync", "off") => "a crash of the machine may damage the whole database",
            ("full_page_writes", "off") => "a crash of the machine may damage pages of any table",
            ("synchronous_commit", "off") => {
                "a crash takes back what was committed last; it is written again from the log's retained tail"
            }
            _ => return None,
        };
        Some(Self { setting, value, consequence })
    }

    /// How to mend it.
    pub(crate) fn remedy(&self) -> String {
        format!(
            "ALTER SYSTEM RESET {0}, SELECT pg_reload_conf(), and look for {0} at the database and the user",
            self.setting
        )
    }
}

/// What is wrong with the settings of this session.
pub(crate) async fn weaknesses(client: &Client) -> Result<Vec<Weakness>, tokio_postgres::Error> {
    let query = "SELECT name, setting FROM pg_settings
                 WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') ORDER BY name";
    let rows = client.query(query, &[]).await?;
    Ok(rows.iter().filter_map(|row| Weakness::of(row.get(0), row.get(1))).collect())
}

// === impl Weakness ===

impl fmt::Display for Weakness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}: {}", self.setting, self.value, self.consequence)
    }
}
