//! What types and ranges cannot say: which values make no sense by themselves or together.

use std::net::SocketAddr;

use super::{BatchConfig, ClickHouseConfig, ClientCertificates, Config, TimescaleConfig, WalConfig};
use crate::observe::logging;
use crate::registry::Identifier;

type Problems = Vec<(&'static str, String)>;

/// All problems, each with the path of its setting.
pub(super) fn problems(config: &Config) -> Problems {
    let mut problems = Problems::new();
    listeners(config, &mut problems);
    credentials(config, &mut problems);
    limits(config, &mut problems);
    timescale(&config.timescale, &mut problems);
    clickhouse(&config.clickhouse, &mut problems);
    wal(&config.wal, &mut problems);
    if let Err(reason) = logging::filter(&config.log.level) {
        problems.push(("log.level", reason));
    }
    problems
}

fn listeners(config: &Config, problems: &mut Problems) {
    let (http, grpc) = (config.http.listen, config.grpc.listen);
    let overlap = http.ip() == grpc.ip() || http.ip().is_unspecified() || grpc.ip().is_unspecified();
    // Port 0 lets the system choose, and it does not choose one twice.
    if http.port() == grpc.port() && http.port() != 0 && overlap {
        let reason = format!("{grpc} is taken by http.listen: give the two different ports");
        problems.push(("grpc.listen", reason));
    }
    let admin = config.admin.listen.map(|address| ("admin.listen", address));
    if let Some((setting, address)) = admin
        && address.port() != 0
        && [http.port(), grpc.port()].contains(&address.port())
    {
        problems.push((setting, format!("{address} has a port of another listener: give it its own")));
    }
    for (setting, address) in [("http.listen", http), ("grpc.listen", grpc)].into_iter().chain(admin) {
        let asks = config.auth.asks_callers() || config.auth.allow_unauthenticated;
        if !is_loopback(address) && !asks {
            let reason = format!(
                "{address} can be reached from other machines and nothing asks callers who they are: listen on \
                 127.0.0.1, name the callers in auth.callers_file, or set auth.allow_unauthenticated = true where a \
                 network policy or a proxy asks them"
            );
            problems.push((setting, reason));
        }
    }
}

fn credentials(config: &Config, problems: &mut Problems) {
    let (auth, tls) = (&config.auth, &config.tls);
    let mut needs = |is_missing: bool, setting: &'static str, reason: &str| {
        if is_missing {
            problems.push((setting, reason.to_owned()));
        }
    };
    let has_tokens = auth.jwt.key_set_file.is_some();
    needs(
        has_tokens && !auth.asks_callers(),
        "auth.jwt.key_set_file",
        "says whose token it is, and nothing says what callers may do: name them in auth.callers_file",
    );
    needs(
        has_tokens && auth.jwt.issuer.is_empty(),
        "auth.jwt.issuer",
        "is empty: a key set may sign tokens of several issuers, say which one's are taken",
    );
    needs(
        has_tokens && auth.jwt.audience.is_empty(),
        "auth.jwt.audience",
        "is empty: a token for another service would open this one, say what `aud` has to hold",
    );
    needs(
        tls.certificate_file.is_some() && tls.key_file.is_none(),
        "tls.key_file",
        "is not set, and tls.certificate_file is: name the certificate's private key",
    );
    needs(
        tls.key_file.is_some() && tls.certificate_file.is_none(),
        "tls.certificate_file",
        "is not set, and tls.key_file is: name the certificate",
    );
    needs(
        tls.client_ca_file.is_some() && tls.certificate_file.is_none(),
        "tls.client_ca_file",
        "needs tls.certificate_file: clients show certificates to a server that has one",
    );
    needs(
        tls.client_certificates == ClientCertificates::Required && tls.client_ca_file.is_none(),
        "tls.client_certificates",
        "are required, and nothing says of which authority: name it in tls.client_ca_file",
    );
}

/// `::ffff:127.0.0.1` is the machine's own address as well.
fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

fn limits(config: &Config, problems: &mut Problems) {
    let ingest = &config.ingest;
    // Otherwise a request within its own limits is refused as overload, and its sender repeats it for ever.
    let largest = ingest.max_request_bytes.saturating_add(ingest.max_decoded_bytes);
    if ingest.in_flight_bytes < largest {
        let reason = format!(
            "{} is less than one request may take, {largest} (ingest.max_request_bytes + ingest.max_decoded_bytes)",
            ingest.in_flight_bytes
        );
        problems.push(("ingest.in_flight_bytes", reason));
    }
    for (setting, batch) in [
        ("timescale.batch.max_age_ms", &config.timescale.batch),
        ("clickhouse.batch.max_age_ms", &config.clickhouse.batch),
    ] {
        if let Some(reason) = too_old(batch, ingest.ack_timeout_ms) {
            problems.push((setting, reason));
        }
    }
}

fn too_old(batch: &BatchConfig, ack_timeout_ms: u64) -> Option<String> {
    (batch.max_age_ms >= ack_timeout_ms).then(|| {
        format!(
            "rows may wait {} ms for their batch, but their sender is answered after {ack_timeout_ms} ms \
             (ingest.ack_timeout_ms): make it less",
            batch.max_age_ms
        )
    })
}

fn timescale(timescale: &TimescaleConfig, problems: &mut Problems) {
    match url_problem(timescale) {
        Some(reason) => problems.push(("timescale.url", reason)),
        None if !timescale.password.is_empty() || timescale.password_file.is_some() => {
            let in_url = timescale.url.reveal().parse::<tokio_postgres::Config>();
            if in_url.is_ok_and(|url| url.get_password().is_some()) {
                let reason = "the URL holds a password as well: leave out one of the two".to_owned();
                problems.push(("timescale.password", reason));
            }
        }
        None => {}
    }
    if timescale.pool_size <= timescale.batch.writers {
        let reason = format!(
            "{} connections are too few: timescale.batch.writers = {} take one each, and the registry needs one",
            timescale.pool_size, timescale.batch.writers
        );
        problems.push(("timescale.pool_size", reason));
    }
    for (setting, role) in [
        ("timescale.ddl_role", &timescale.ddl_role),
        ("timescale.ingest_role", &timescale.ingest_role),
        ("timescale.read_role", &timescale.read_role),
    ] {
        if !role.is_empty() {
            problems.extend(identifier(setting, role));
        }
    }
}

/// Nothing of the URL is repeated, nor what the parser says of it: either may hold a part of the password.
fn url_problem(timescale: &TimescaleConfig) -> Option<String> {
    use tokio_postgres::config::SslMode;

    const FORM: &str = "write postgres://USER@HOST:PORT/DATABASE, with special characters of a password \
                        percent-encoded or the password in timescale.password";
    let text = timescale.url.reveal();
    if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
        return Some(format!("is no Postgres URL: {FORM}"));
    }
    let Ok(url) = text.parse::<tokio_postgres::Config>() else {
        return Some(format!("is no Postgres URL: {FORM}"));
    };
    if url.get_hosts().is_empty() || url.get_user().is_none() || url.get_dbname().is_none() {
        return Some(format!("lacks a user, host or database: {FORM}"));
    }
    if timescale.ca_file.is_some() && !matches!(url.get_ssl_mode(), SslMode::Require) {
        return Some(
            "does not ask for encryption, and timescale.ca_file is set: add ?sslmode=require".to_owned(),
        );
    }
    None
}

fn clickhouse(clickhouse: &ClickHouseConfig, problems: &mut Problems) {
    if let Err(reason) = http_url(&clickhouse.url) {
        problems.push(("clickhouse.url", reason.to_owned()));
    }
    if clickhouse.ca_file.is_some() && !clickhouse.url.starts_with("https://") {
        let reason = "is not https, and clickhouse.ca_file is set: write https://HOST:PORT";
        problems.push(("clickhouse.url", reason.to_owned()));
    }
    problems.extend(identifier("clickhouse.database", &clickhouse.database));
    let link = &clickhouse.timescale;
    if !link.collection.is_empty() {
        problems.extend(identifier("clickhouse.timescale.collection", &link.collection));
    }
    let port =
        link.address.rsplit_once(':').map(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
    if !link.address.is_empty() && port != Some(true) {
        let reason = format!("{:?} is no address: write HOST:PORT", link.address);
        problems.push(("clickhouse.timescale.address", reason));
    }
    if clickhouse.user.is_empty() {
        problems
            .push(("clickhouse.user", "is empty: ClickHouse's own name for nobody is `default`".to_owned()));
    }
}

/// Space is given back by whole segments: with few of them a log is full while most of it is delivered.
const LEAST_SEGMENTS: u64 = 4;

fn wal(wal: &WalConfig, problems: &mut Problems) {
    if wal.directory.as_os_str().is_empty() {
        problems.push(("wal.directory", "is empty: name a directory on a disk of its own".to_owned()));
    }
    for (setting, max_bytes) in [
        ("wal.timescale_max_bytes", wal.timescale_max_bytes),
        ("wal.clickhouse_max_bytes", wal.clickhouse_max_bytes),
        ("wal.dead_letters_max_bytes", wal.dead_letters_max_bytes),
    ] {
        if max_bytes / LEAST_SEGMENTS < wal.segment_bytes {
            let reason = format!(
                "{max_bytes} is less than {LEAST_SEGMENTS} segments of {} bytes (wal.segment_bytes): make it more, or \
                 the segments smaller",
                wal.segment_bytes
            );
            problems.push((setting, reason));
        }
    }
}

fn http_url(text: &str) -> Result<(), &'static str> {
    const FORM: &str = "is no URL: write http://HOST:PORT or https://HOST:PORT";
    let url: http::Uri = text.parse().map_err(|_| FORM)?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err(FORM);
    }
    let authority = url.authority().ok_or("has no host: write http://HOST:PORT")?;
    if authority.as_str().contains('@') {
        return Err("holds a user: put it in clickhouse.user and the password in clickhouse.password");
    }
    if url.query().is_some() {
        return Err("has a query: the gateway sends settings of its own with each request");
    }
    Ok(())
}

fn identifier(setting: &'static str, name: &str) -> Option<(&'static str, String)> {
    Identifier::new(name).err().map(|error| (setting, error.to_string()))
}

#[cfg(test)]
mod tests;
