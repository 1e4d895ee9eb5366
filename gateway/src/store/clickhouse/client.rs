//! The connection to ClickHouse: settings in, a client of its HTTP interface out.
//!
//! Guaranteed: connecting and answering take no longer than configured, redirects are not followed, and only
//! the server named in the configuration is spoken to.

use std::time::Duration;

use clickhouse::{Client, Compression};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::error::unavailable;
use crate::config::{self, ClickHouseConfig};
use crate::store::StoreError;

/// ClickHouse closes idle connections after 3 s by default; ours go before, so that none is used while it is
/// closed.
const IDLE: Duration = Duration::from_secs(2);

/// A client without a database.
pub(super) fn client(config: &ClickHouseConfig) -> Result<Client, StoreError> {
    let url: http::Uri = config
        .url
        .parse()
        .ok()
        .filter(|url: &http::Uri| url.scheme_str() == Some("http") && url.host().is_some())
        .ok_or_else(|| unavailable("clickhouse.url cannot be read: write http://HOST:PORT"))?;
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(Duration::from_millis(config.connect_timeout_ms.max(1))));
    connector.set_keepalive(Some(Duration::from_secs(30)));
    connector.set_nodelay(true);
    let http = HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
    let password = match &config.password_file {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| unavailable(format!("clickhouse.password_file {}: {error}", path.display())))?,
        None => config.password.reveal().to_owned(),
    };
    let mut client =
        Client::with_http_client(http).with_url(url.to_string()).with_compression(match config.compression {
            config::Compression::Lz4 => Compression::Lz4,
            config::Compression::None => Compression::None,
        });
    if !config.user.is_empty() {
        client = client.with_user(config.user.as_str());
    }
    if !password.is_empty() {
        client = client.with_password(password);
    }
    Ok(client)
}
