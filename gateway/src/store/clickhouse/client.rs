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
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::error::unavailable;
use super::insert::Inserter;
use crate::config::{self, ClickHouseConfig};
use crate::store::{StoreError, tls};

/// ClickHouse closes idle connections after 3 s by default; ours go before, so that none is used while it is
/// closed.
const IDLE: Duration = Duration::from_secs(2);

/// Connects in the clear or with TLS, as the URL says.
pub(super) type Connector = HttpsConnector<HttpConnector>;

pub(super) fn connector(config: &ClickHouseConfig, url: &Uri) -> Result<Connector, StoreError> {
    let mut http = HttpConnector::new();
    http.enforce_http(false);
    http.set_connect_timeout(Some(Duration::from_millis(config.connect_timeout_ms.max(1))));
    http.set_keepalive(Some(Duration::from_secs(30)));
    http.set_nodelay(true);
    let builder = HttpsConnectorBuilder::new();
    Ok(if url.scheme_str() == Some("https") {
        let tls = tls::client_config("clickhouse.ca_file", config.ca_file.as_deref()).map_err(unavailable)?;
        builder.with_tls_config(tls).https_only().enable_http1().wrap_connector(http)
    } else {
        let unused = tls::trusting_nobody().map_err(unavailable)?;
        builder.with_tls_config(unused).https_or_http().enable_http1().wrap_connector(http)
    })
}

/// A client without a database, and what sends INSERTs to the configured one.
pub(super) fn clients(config: &ClickHouseConfig) -> Result<(Client, Inserter), StoreError> {
    let url: Uri = config
        .url
        .parse()
        .ok()
        .filter(|url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some())
        .ok_or_else(|| {
            unavailable("clickhouse.url cannot be read: write http://HOST:PORT or https://HOST:PORT")
        })?;
    let connector = connector(config, &url)?;
    let mut builder = HttpClient::builder(TokioExecutor::new());
    builder.pool_idle_timeout(IDLE);
    let password = password(config)?;
    let compresses = compresses(config.compression, &url);
    let inserter = Inserter::new(
        builder.build(connector.clone()),
        &url,
        &config.database,
        (&config.user, &password),
        compresses,
        Duration::from_millis(config.statement_timeout_ms.max(1)),
    )?;
    let mut client = Client::with_http_client(builder.build(connector))
        .with_url(url.to_string())
        .with_compression(if compresses { Compression::Lz4 } else { Compression::None });
    if !config.user.is_empty() {
        client = client.with_user(config.user.as_str());
    }
    if !password.is_empty() {
        client = client.with_password(password);
    }
    Ok((client, inserter))
}

/// Whether what is sent to `url` is compressed.
fn compresses(setting: config::Compression, url: &Uri) -> bool {
    match setting {
        config::Compression::Auto => !is_on_this_machine(url.host().unwrap_or_default()),
        config::Compression::Lz4 => true,
        config::Compression::None => false,
    }
}

/// Whether a host is this machine by its name or address alone.
fn is_on_this_machine(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn password(config: &ClickHouseConfig) -> Result<String, StoreError> {
    match &config.password_file {
        Some(path) => std::fs::read_to_string(path)
            .map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| unavailable(format!("clickhouse.password_file {}: {error}", path.display()))),
        None => Ok(config.password.reveal().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_on_this_machine_is_not_compressed_unless_told() {
        use config::Compression::{Auto, Lz4, None};
        for (url, auto) in [
            ("http://127.0.0.1:8123", false),
            ("http://127.8.0.1", false),
            ("http://[::1]:8123/path", false),
            ("http://[::ffff:127.0.0.1]", false),
            ("https://LocalHost:8443", false),
            ("http://10.0.0.1:8123", true),
            ("http://[2001:db8::1]", true),
            ("http://localhost.example:8123", true),
        ] {
            let url = Uri::from_static(url);
            assert_eq!(compresses(Auto, &url), auto, "{url}");
            assert!(compresses(Lz4, &url) && !compresses(None, &url));
        }
    }
}
