//! How ClickHouse reaches Postgres: a named collection, made from the settings, so that no table's definition holds a
//! password.

use std::path::Path;

use clickhouse::Row;
use serde::Deserialize;
use tokio_postgres::config::Host;

use super::ClickHouse;
use super::error::unavailable;
use crate::config::{Secret, TimescaleConfig, TimescaleLinkConfig};
use crate::store::StoreError;

/// Where Postgres is and who ClickHouse is there.
#[derive(Debug, Clone)]
pub(crate) struct PostgresAccess {
    host: String,
    port: u16,
    user: String,
    password: Secret,
    database: String,
}

/// A table or view of the database.
#[derive(Debug, Row, Deserialize)]
pub(crate) struct ClickHouseObject {
    pub(crate) name: String,
    pub(crate) engine: String,
    pub(crate) comment: String,
}

impl PostgresAccess {
    /// What the settings of the link say, and those of the gateway's own connection where they say nothing.
    pub(crate) fn new(link: &TimescaleLinkConfig, timescale: &TimescaleConfig) -> Result<Self, StoreError> {
        let url: tokio_postgres::Config = timescale
            .url
            .reveal()
            .parse()
            .map_err(|_| unavailable("timescale.url cannot be read, where Postgres is for ClickHouse"))?;
        let (host, port) = match link.address.rsplit_once(':') {
            Some((host, port)) => {
                let port =
                    port.parse().map_err(|_| unavailable("clickhouse.timescale.address has no port"))?;
                (host.trim_matches(['[', ']']).to_owned(), port)
            }
            None => match url.get_hosts() {
                [Host::Tcp(host), ..] => (host.clone(), url.get_ports().first().copied().unwrap_or(5432)),
                _ => {
                    return Err(unavailable(
                        "timescale.url names a socket, which ClickHouse cannot use: set clickhouse.timescale.address",
                    ));
                }
            },
        };
        let own = link.user.is_empty();
        let user = if own { url.get_user().unwrap_or_default().to_owned() } else { link.user.clone() };
        let password = match (&link.password_file, own) {
            (Some(path), _) => read_password("clickhouse.timescale.password_file", path)?,
            (None, _) if !link.password.is_empty() => link.password.reveal().to_owned(),
            (None, false) => String::new(),
            (None, true) => match (&timescale.password_file, url.get_password()) {
                _ if !timescale.password.is_empty() => timescale.password.reveal().to_owned(),
                (Some(path), _) => read_password("timescale.password_file", path)?,
                (None, password) => String::from_utf8_lossy(password.unwrap_or_default()).into_owned(),
            },
        };
        let database = url.get_dbname().unwrap_or(&user).to_owned();
        Ok(Self { host, port, user, password: Secret::new(password), database })
    }

    fn assignments(&self) -> String {
        let pairs = [
            ("host", self.host.as_str()),
            ("user", self.user.as_str()),
            ("password", self.password.reveal()),
            ("database", self.database.as_str()),
        ];
        let mut text = format!("port = {}", self.port);
        for (key, value) in pairs {
            text.push_str(&format!(", {key} = {}", literal(value)));
        }
        text
    }
}

impl ClickHouse {
    /// Makes a named collection say how Postgres is reached. Its user may not see it afterwards, nor need it.
    pub(crate) async fn make_named_collection(
        &self,
        name: &str,
        access: &PostgresAccess,
    ) -> Result<(), StoreError> {
        let pairs = access.assignments();
        for statement in [
            format!("CREATE NAMED COLLECTION IF NOT EXISTS `{name}` AS {pairs}"),
            format!("ALTER NAMED COLLECTION IF EXISTS `{name}` SET {pairs}"),
        ] {
            self.execute(&statement).await.map_err(|error| {
                // The server repeats a statement that it cannot read, with the password in it.
                let reason = error.to_string().replace(&literal(access.password.reveal()), "'***'");
                unavailable(format!(
                    "the named collection {name} cannot be made: let the user of clickhouse.user manage named \
                     collections, or have one made and name it in clickhouse.timescale.collection; {reason}"
                ))
            })?;
        }
        Ok(())
    }

    /// Tables and views of the database whose names match a regular expression.
    pub(crate) async fn objects(&self, pattern: &str) -> Result<Vec<ClickHouseObject>, StoreError> {
        let query = self
            .outside
            .0
            .query("SELECT name, engine, comment FROM system.tables WHERE database = ? AND match(name, ?) ORDER BY name")
            .bind(self.database.as_str())
            .bind(pattern);
        self.in_time(query.fetch_all()).await
    }

    /// The rows of a query of the database.
    pub(crate) async fn rows<T>(&self, query: &str) -> Result<Vec<T>, StoreError>
    where
        T: clickhouse::RowOwned + clickhouse::RowRead,
    {
        self.in_time(self.client.0.query(query).fetch_all::<T>()).await
    }

    /// The one value that a query of the database gives, as text.
    pub(crate) async fn value(&self, query: &str) -> Result<String, StoreError> {
        self.in_time(self.client.0.query(query).fetch_one::<String>()).await
    }
}

/// A text as ClickHouse reads it in a statement.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn read_password(setting: &str, path: &Path) -> Result<String, StoreError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|error| unavailable(format!("{setting} {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timescale(url: &str) -> TimescaleConfig {
        TimescaleConfig { url: Secret::new(url), ..TimescaleConfig::default() }
    }

    #[test]
    fn what_the_link_does_not_say_is_taken_from_the_gateways_own_connection() {
        let own = timescale("postgres://u:p%27w@db:5433/metrics");
        let access = PostgresAccess::new(&TimescaleLinkConfig::default(), &own).unwrap();
        assert_eq!(
            access.assignments(),
            "port = 5433, host = 'db', user = 'u', password = 'p\\'w', database = 'metrics'"
        );
        let link = TimescaleLinkConfig {
            address: "inside:5432".to_owned(),
            user: "reader".to_owned(),
            ..TimescaleLinkConfig::default()
        };
        let access = PostgresAccess::new(&link, &own).unwrap();
        assert_eq!(
            access.assignments(),
            "port = 5432, host = 'inside', user = 'reader', password = '', database = 'metrics'"
        );
        assert!(!format!("{access:?}").contains("p'w"));
        let socket = timescale("postgres://u@%2Frun%2Fpostgresql/metrics");
        assert!(PostgresAccess::new(&TimescaleLinkConfig::default(), &socket).is_err());
    }
}
