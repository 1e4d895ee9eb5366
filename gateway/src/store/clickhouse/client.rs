//! The connections to ClickHouse: settings in, clients of its HTTP interface out.
//!
//! The crate's client asks and changes; INSERTs of cuts go through [`Inserter`], which sees the whole answer. The
//! crate's does not: it knows an exception behind a status of 200 only in the words of some builds.
//!
//! Guaranteed: connecting and answering take no longer than configured, redirects are not followed, and only
//! the server named in the configuration is spoken to.

use std::time::Duration;

use clickhouse::{Client, Compression};
use http::Uri;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::error::unavailable;
use super::insert::Inserter;
use crate::config::{self, ClickHouseConfig};
use crate::store::StoreError;

/// ClickHouse closes idle connections after 3 s by default; ours go before, so that none is used while it is
/// closed.
const IDLE: Duration = Duration::from_secs(2);

/// A client without a database, and what sends INSERTs to the configured one.
pub(super) fn clients(config: &ClickHouseConfig) -> Result<(Client, Inserter), StoreError> {
    let url: Uri = config
        .url
        .parse()
        .ok()
        .filter(|url: &Uri| url.scheme_str() == Some("http") && url.host().is_some())
        .ok_or_else(|| unavailable("clickhouse.url cannot be read: write http://HOST:PORT"))?;
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_millis(config.connect_timeout_ms.max(1))));
    connector.set_keepalive(Some(Duration::from_secs(30)));
    connector.set_nodelay(true);
    let mut builder = HttpClient::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE);
    let password = password(config)?;
    let inserter = Inserter::new(
        builder.build(connector.clone()),
        &url,
        &config.database,
        (&config.user, &password),
        config.compression != config::Compression::None,
        Duration::from_millis(config.statement_timeout_ms.max(1)),
    )?;
    let mut client = Client::with_http_client(builder.build(connector))
        .with_url(url.to_string())
        .with_compression(match config.compression {
            config::Compression::Lz4 => Compression::Lz4,
            config::Compression::None => Compression::None,
        });
    if !config.user.is_empty() {
        client = client.with_user(config.user.as_str());
    }
    if !password.is_empty() {
        client = client.with_password(password);
    }
    Ok((client, inserter))
}

fn password(config: &ClickHouseConfig) -> Result<String, StoreError> {
    match &config.password_file {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| unavailable(format!("clickhouse.password_file {}: {error}", path.display()))),
        None => Ok(config.password.reveal().to_owned()),
    }
}
