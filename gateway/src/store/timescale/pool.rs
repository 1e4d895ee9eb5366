//! Connections to Postgres: settings in, two pools out, one that writes rows and one that changes tables.
//!
//! Guaranteed for every connection: it speaks UTC, names itself, runs no statement longer than configured,
//! acts in the role that it was made for, and a server that stopped answering is noticed within the
//! configured time.

use std::path::Path;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config as PostgresConfig, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{from_pool, unavailable};
use crate::config::TimescaleConfig;
use crate::registry::Identifier;
use crate::store::{StoreError, tls};

/// Connections that change tables: migrations, registrations and the registry itself.
const DDL_CONNECTIONS: usize = 4;

/// Connections that read rows: each is held for as long as its reader takes.
const READ_CONNECTIONS: usize = 4;

/// The server notices within a minute that we are gone without a word; by default it would hold our locks for two hours.
const SERVER_KEEPALIVES: &str =
    " -c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3";

/// What a connection is for; decides its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Writes rows, as `timescale.ingest_role`.
    Ingest,
    /// Reads rows, as `timescale.read_role`.
    Read,
    /// Changes tables and the registry, as `timescale.ddl_role`.
    Ddl,
    /// Creates roles and extensions, as the user of the URL.
    Administration,
}

/// A pool of connections for one purpose. Nothing is connected before the first use.
pub fn pool(config: &TimescaleConfig, purpose: Purpose) -> Result<Pool, StoreError> {
    let timeout = Duration::from_millis(config.connect_timeout_ms.max(1));
    let size = match purpose {
        Purpose::Ingest => config.pool_size,
        Purpose::Read => READ_CONNECTIONS,
        Purpose::Ddl | Purpose::Administration => DDL_CONNECTIONS,
    };
    let postgres = postgres_config(config, purpose)?;
    let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match postgres.get_ssl_mode() {
        SslMode::Require => {
            let tls =
                tls::client_config("timescale.ca_file", config.ca_file.as_deref()).map_err(unavailable)?;
            Manager::from_config(postgres, MakeRustlsConnect::new(tls), recycling)
        }
        // `prefer`, the default, would not notice a man in the middle who says that there is no TLS.
        _ => Manager::from_config(postgres, NoTls, recycling),
    };
    Pool::builder(manager)
        .max_size(size.max(1))
        .wait_timeout(Some(timeout))
        .create_timeout(Some(timeout))
        .recycle_timeout(Some(timeout))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| unavailable(error.to_string()))
}

/// A connection of the pool.
pub(super) async fn connection(pool: &Pool) -> Result<Object, StoreError> {
    pool.get().await.map_err(|error| from_pool(&error))
}

/// The settings of a connection outside of the pools, and whether it is encrypted.
pub(super) fn settings(
    config: &TimescaleConfig,
    purpose: Purpose,
) -> Result<(PostgresConfig, bool), StoreError> {
    let postgres = postgres_config(config, purpose)?;
    let is_encrypted = postgres.get_ssl_mode() == SslMode::Require;
    Ok((postgres, is_encrypted))
}

fn postgres_config(config: &TimescaleConfig, purpose: Purpose) -> Result<PostgresConfig, StoreError> {
    let mut postgres: PostgresConfig = config.url.reveal().parse().map_err(|_| {
        unavailable("timescale.url cannot be read: write postgres://USER[:PASSWORD]@HOST:PORT/DATABASE")
    })?;
    if !config.password.is_empty() {
        postgres.password(config.password.reveal());
    } else if let Some(path) = &config.password_file {
        postgres.password(read_password(path)?);
    }
    let timeout = Duration::from_millis(config.connect_timeout_ms.max(1));
    let statement_timeout = config.statement_timeout_ms;
    let mut options = postgres.get_options().map(|given| format!("{given} ")).unwrap_or_default();
    options.push_str(&format!("-c timezone=UTC -c statement_timeout={statement_timeout}"));
    if purpose == Purpose::Ingest {
        // A lane's row may be held by a transaction that was left behind; both ends of that wait are bounded.
        options.push_str(&format!(
            " -c lock_timeout={} -c idle_in_transaction_session_timeout={statement_timeout}",
            (statement_timeout / 2).max(1)
        ));
    }
    options.push_str(SERVER_KEEPALIVES);
    let role = match purpose {
        Purpose::Ingest => config.ingest_role.as_str(),
        Purpose::Read => config.read_role.as_str(),
        Purpose::Ddl => config.ddl_role.as_str(),
        Purpose::Administration => "",
    };
    if !role.is_empty() {
        let role = Identifier::new(role).map_err(|error| unavailable(format!("timescale role: {error}")))?;
        options.push_str(&format!(" -c role={role}"));
    }
    postgres.options(options);
    if postgres.get_application_name().is_none() {
        postgres.application_name("tidewell");
    }
    postgres
        .connect_timeout(timeout)
        .keepalives_idle(Duration::from_secs(30))
        // A peer that is gone without a word would otherwise be waited for during many minutes.
        .tcp_user_timeout(Duration::from_millis(statement_timeout.max(1_000)));
    Ok(postgres)
}

fn read_password(path: &Path) -> Result<String, StoreError> {
    std::fs::read_to_string(path)
        .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
        .map_err(|error| unavailable(format!("timescale.password_file {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn the_options_fix_zone_time_out_and_role() {
        let config = TimescaleConfig {
            url: Secret::new("postgres://u@localhost/d?options=-c%20work_mem=8MB"),
            ingest_role: "tidewell_ingest".to_owned(),
            ..TimescaleConfig::default()
        };
        let postgres = postgres_config(&config, Purpose::Ingest).unwrap();
        assert_eq!(
            postgres.get_options(),
            Some(
                "-c work_mem=8MB -c timezone=UTC -c statement_timeout=30000 -c lock_timeout=15000 \
                 -c idle_in_transaction_session_timeout=30000 -c tcp_keepalives_idle=30 \
                 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3 -c role=tidewell_ingest"
            )
        );
        let administration = postgres_config(&config, Purpose::Administration).unwrap();
        assert!(!administration.get_options().unwrap().contains("role"));
    }

    #[test]
    fn a_bad_address_and_a_hostile_role_are_named_without_the_password() {
        let mut config =
            TimescaleConfig { url: Secret::new("postgres://u:hunter2@:x/"), ..TimescaleConfig::default() };
        let error = postgres_config(&config, Purpose::Ingest).unwrap_err().to_string();
        assert!(error.contains("timescale.url") && !error.contains("hunter2"), "{error}");
        config.url = TimescaleConfig::default().url;
        config.ddl_role = "x -c fsync=off".to_owned();
        assert!(postgres_config(&config, Purpose::Ddl).is_err());
    }

    #[test]
    fn the_password_file_loses_its_line_end_only() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), " secret \n").unwrap();
        assert_eq!(read_password(file.path()).unwrap(), " secret ");
    }
}
