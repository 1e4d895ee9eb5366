//! Configuration: one TOML file, an env file and the environment in, a checked [`Config`] out.
//!
//! Every setting has a place in the file (`http.listen`), an environment variable named after that place
//! (`TIDEWELL_HTTP_LISTEN`) and a default. Later sources win: defaults, file, env file, environment. An unknown setting
//! is an error that names it and the nearest known one; all problems are told at once.
//!
//! A new setting is a field here and its default in [`defaults`](self): its variable, its entry in
//! `gateway/docs/configuration.md`, `deploy/.env.example` and `deploy/tidewell.example.toml` follow from the field's
//! type and doc comment ([`schema`]).

mod defaults;
mod env_file;
mod environment;
mod error;
mod field_order;
mod file;
mod load;
mod print;
mod reference;
mod schema;
mod secret;
mod validate;

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use error::{ConfigError, Problem};
pub use load::{Loaded, Origin, Sources, load};
pub use print::print;
pub use reference::{Reference, reference};
pub use secret::Secret;

/// All settings of a gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// REST, OTLP over HTTP, registry, health and metrics.
    pub http: HttpConfig,
    /// OTLP over gRPC, `tidewell.v1.Ingest` and Arrow Flight.
    pub grpc: GrpcConfig,
    /// What operators look at and change: metrics, the page for people, dead letters.
    pub admin: AdminConfig,
    /// Encryption of both ports.
    pub tls: TlsConfig,
    /// Who may send.
    pub auth: AuthConfig,
    /// Limits of requests and of what is under way.
    pub ingest: IngestConfig,
    /// Recognising requests that are sent again.
    pub idempotency: IdempotencyConfig,
    /// TimescaleDB: metrics, traces and the registry.
    pub timescale: TimescaleConfig,
    /// ClickHouse: logs.
    pub clickhouse: ClickHouseConfig,
    /// The write-ahead log, in which rows are durable before their sender is answered.
    pub wal: WalConfig,
    /// Records that were refused, in table `dead_letters`.
    pub dead_letters: DeadLettersConfig,
    /// Moving rows that have aged to ClickHouse, by the policies of their tables.
    pub tiering: TieringConfig,
    /// The gateway's own log.
    pub log: LogConfig,
    /// Ending the process.
    pub shutdown: ShutdownConfig,
}

/// REST, OTLP over HTTP, registry, health and metrics.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Longest time to wait for the headers of a request, in seconds; for gRPC as well.
    #[schemars(range(min = 1))]
    pub header_timeout_seconds: u64,
    /// Longest time to wait for the body of a request, in seconds; for gRPC, for each message.
    #[schemars(range(min = 1))]
    pub body_timeout_seconds: u64,
    /// Most connections at once, nine tenths of them from one address; more are closed as they come. Each may hold up to
    /// 1 MiB of what was sent and not read.
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// Most requests under way at once on one HTTP/2 connection.
    #[schemars(range(min = 1))]
    pub max_concurrent_streams: u32,
}

/// OTLP over gRPC, `tidewell.v1.Ingest` and Arrow Flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Most connections at once, nine tenths of them from one address; more are closed as they come. Each may hold up to
    /// 1 MiB of what was sent and not read.
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// Most requests under way at once on one connection.
    #[schemars(range(min = 1))]
    pub max_concurrent_streams: u32,
}

/// Who may send.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Whether everyone who reaches a listener may send, read and register tables, without saying who it is. Without it a
    /// gateway that has no way to tell callers (`callers_file`) listens on no address but the machine's own
    /// (127.0.0.0/8, ::1), and one that has asks everyone.
    pub allow_unauthenticated: bool,
    /// TOML file with those who may call, the hashes of their keys and what they may do: see
    /// gateway/docs/callers.md. It is read again when it changes.
    #[schemars(example = "/etc/tidewell/callers.toml")]
    pub callers_file: Option<PathBuf>,
    /// Tokens (JWT) of callers.
    pub jwt: JwtConfig,
}

impl AuthConfig {
    /// Whether callers have to say who they are.
    pub fn asks_callers(&self) -> bool {
        self.callers_file.is_some()
    }
}

/// Tokens (JWT) of callers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JwtConfig {
    /// JWKS file with the keys that tokens may be signed by: RSA, P-256, P-384 or Ed25519. It is read again when it
    /// changes. Whose token it is says its `sub`, which a caller of `auth.callers_file` lists.
    #[schemars(example = "/etc/tidewell/jwks.json")]
    pub key_set_file: Option<PathBuf>,
    /// Who makes the tokens, as their `iss` says it. Needed with a key set.
    pub issuer: String,
    /// For whom tokens have to be, as their `aud` says it. Needed with a key set.
    pub audience: String,
}

/// What operators look at and change: metrics, the page for people, dead letters.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Address and port of its own for `/metrics`, `/`, `/tiering` and `/dead-letters`, which `http.listen` serves no longer
    /// then. It has the same encryption, callers and limits, with `/healthz` and `/readyz` besides.
    #[schemars(example = "127.0.0.1:4319")]
    pub listen: Option<SocketAddr>,
}

/// Encryption of both ports.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// PEM file with the certificate and those between it and its authority. With it both ports speak TLS only. It is read
    /// again when it changes; connections that are there go on.
    #[schemars(example = "/etc/tidewell/tls.crt")]
    pub certificate_file: Option<PathBuf>,
    /// PEM file with the certificate's private key.
    #[schemars(example = "/etc/tidewell/tls.key")]
    pub key_file: Option<PathBuf>,
    /// PEM file with the authorities that sign certificates of clients. With it clients may show one, and a caller of
    /// `auth.callers_file` is known by the names in it.
    #[schemars(example = "/etc/tidewell/clients.crt")]
    pub client_ca_file: Option<PathBuf>,
    /// Whether clients have to show a certificate, where `client_ca_file` says of which authority.
    pub client_certificates: ClientCertificates,
}

/// Whether clients have to show a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    /// who shows none has to say in another way who it is.
    #[default]
    Optional,
    /// who shows none gets no connection.
    Required,
}

/// Limits of requests and of what is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Largest request in bytes, before and after decompression.
    #[schemars(range(min = 1024))]
    pub max_request_bytes: usize,
    /// Most records of one request.
    #[schemars(range(min = 1))]
    pub max_request_records: usize,
    /// Most bytes that the decoded rows of one request may take in one table.
    #[schemars(range(min = 1024))]
    pub max_decoded_bytes: usize,
    /// Deepest nesting of attribute values and JSON.
    #[schemars(range(min = 1, max = 128))]
    pub max_depth: usize,
    /// Bytes of requests and of their decoded rows under way at once; more is refused as overload.
    #[schemars(range(min = 1024))]
    pub in_flight_bytes: usize,
    /// How much of `in_flight_bytes` the requests of one sender, told by its address, may hold while other senders want
    /// some, in percent. A single request may hold more.
    #[schemars(range(min = 1, max = 100))]
    pub caller_share_percent: u8,
    /// Longest wait for a store's commit before the sender is asked to try again, in milliseconds. Keep it below the
    /// time-out of the senders: 5 s for an OpenTelemetry Collector.
    #[schemars(range(min = 1))]
    pub ack_timeout_ms: u64,
    /// What an answer stands for when its sender does not ask: the rows are durable in the gateway's log, or their store
    /// has committed them.
    pub ack: AckSetting,
}

/// What an answer stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AckSetting {
    /// the rows are on the gateway's disk.
    #[default]
    Durable,
    /// the store has committed the rows, or they are on the gateway's disk when that takes too long.
    Stored,
}

/// Recognising requests that are sent again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdempotencyConfig {
    /// How long a request is known after it was answered, in seconds. A repetition within this time gets the first
    /// answer again and is not stored again.
    #[schemars(range(min = 1))]
    pub window_seconds: u64,
    /// Most requests that are known; beyond it the oldest are forgotten early. Each takes about 200 bytes.
    #[schemars(range(min = 1))]
    pub max_keys: usize,
    /// Protocols whose requests are recognised by their body when their sender gives no key: `otlp`, `rest`, `grpc`,
    /// `flight`, `remote_write`, `vector`, `loki`,
    /// `influxdb`, `elasticsearch`. For those whose records have times of their own: to these an equal body is a repetition.
    pub identical_bodies: Vec<ProtocolFamily>,
}

/// Protocols that settings name together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProtocolFamily {
    /// OTLP over gRPC and HTTP.
    Otlp,
    /// `/write/{table}`.
    Rest,
    /// `tidewell.v1.Ingest`.
    Grpc,
    /// Arrow Flight.
    Flight,
    /// Prometheus remote write.
    RemoteWrite,
    /// Vector's native protocol.
    Vector,
    /// Loki's push requests.
    Loki,
    /// InfluxDB's line protocol.
    Influxdb,
    /// Elasticsearch's bulk requests.
    Elasticsearch,
}

/// When rows that wait for a store are sent to it, whichever comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// They are sent when this many rows of one table wait.
    #[schemars(range(min = 1))]
    pub max_rows: usize,
    /// They are sent when the rows of one table take this many bytes.
    #[schemars(range(min = 1))]
    pub max_bytes: usize,
    /// They are sent when the oldest has waited this long, in milliseconds.
    pub max_age_ms: u64,
    /// Batches that are written at once.
    #[schemars(range(min = 1))]
    pub writers: usize,
}

/// TimescaleDB: metrics, traces and the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimescaleConfig {
    /// Where Postgres is: `postgres://USER[:PASSWORD]@HOST:PORT/DATABASE`. Special characters of the password are
    /// percent-encoded; a `password` of its own needs no encoding. With `?sslmode=require` connections are encrypted, and
    /// the server's certificate has to be for HOST; otherwise they are in the clear.
    pub url: Secret,
    /// PEM file with the authorities that sign the server's certificate, for `sslmode=require`; those that the system
    /// trusts when it is not set.
    #[schemars(example = "/etc/tidewell/timescale-ca.crt")]
    pub ca_file: Option<PathBuf>,
    /// Password, instead of one in the URL.
    pub password: Secret,
    /// A file that holds the password; a line break at its end is left out.
    #[schemars(example = "/run/secrets/timescale_password")]
    pub password_file: Option<PathBuf>,
    /// Most connections.
    #[schemars(range(min = 2))]
    pub pool_size: usize,
    /// Longest wait for a connection, in milliseconds.
    #[schemars(range(min = 1))]
    pub connect_timeout_ms: u64,
    /// Longest run of one statement, in milliseconds.
    #[schemars(range(min = 1))]
    pub statement_timeout_ms: u64,
    /// Role that changes tables; empty for the user of the URL.
    pub ddl_role: String,
    /// Role that writes rows; empty for the user of the URL.
    pub ingest_role: String,
    /// Role that reads rows; empty for the user of the URL.
    pub read_role: String,
    /// When rows that wait for the store are sent to it: at the first of these limits.
    pub batch: BatchConfig,
}

/// ClickHouse: logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouseConfig {
    /// Where its HTTP interface is: `http://HOST:PORT`, or `https://HOST:PORT` for encrypted connections, for which its
    /// certificate has to be for HOST.
    pub url: String,
    /// PEM file with the authorities that sign its certificate, for `https`; those that the system trusts when it is not
    /// set.
    #[schemars(example = "/etc/tidewell/clickhouse-ca.crt")]
    pub ca_file: Option<PathBuf>,
    /// Database of the tables; created when it is missing.
    pub database: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// A file that holds the password; a line break at its end is left out.
    #[schemars(example = "/run/secrets/clickhouse_password")]
    pub password_file: Option<PathBuf>,
    /// Longest wait for a connection, in milliseconds.
    #[schemars(range(min = 1))]
    pub connect_timeout_ms: u64,
    /// Longest run of one statement, in milliseconds.
    #[schemars(range(min = 1))]
    pub statement_timeout_ms: u64,
    /// Compression of what is sent.
    pub compression: Compression,
    /// When rows that wait for the store are sent to it: at the first of these limits.
    pub batch: BatchConfig,
    /// TimescaleDB as ClickHouse reaches it, for tables that show the rows of both.
    pub timescale: TimescaleLinkConfig,
}

/// TimescaleDB as ClickHouse reaches it, for tables that show the rows of both.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimescaleLinkConfig {
    /// Where ClickHouse finds Postgres: `HOST:PORT`; empty for what `timescale.url` says.
    #[schemars(example = "timescale:5432")]
    pub address: String,
    /// User that ClickHouse logs in as; empty for the user of `timescale.url`. One that may only read is best:
    /// `CREATE ROLE clickhouse LOGIN IN ROLE tidewell_read`.
    pub user: String,
    /// Password of that user; empty for the one of `timescale.url` where the user is.
    pub password: Secret,
    /// A file that holds the password; a line break at its end is left out.
    #[schemars(example = "/run/secrets/clickhouse_timescale_password")]
    pub password_file: Option<PathBuf>,
    /// Named collection in ClickHouse that holds all of this, made by an administrator; empty to have it made, under
    /// the name `tidewell_` and the database.
    pub collection: String,
}

/// Compression of what is sent to ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// none to `localhost` and to loopback addresses, `lz4` to any other.
    #[default]
    Auto,
    /// fast to make and to read.
    Lz4,
    /// the least work.
    None,
}

/// The write-ahead log, in which rows are durable before their sender is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WalConfig {
    /// Where the logs are, one directory each below it. A relative path begins at the working directory. One directory
    /// serves one gateway; it is created when it is missing.
    pub directory: PathBuf,
    /// A log goes on in a new file when one has this many bytes. Space is given back file by file.
    #[schemars(range(min = 65_536, max = 1_073_741_824))]
    pub segment_bytes: u64,
    /// Compression of rows.
    pub compression: WalCompression,
    /// How long rows are kept after their store committed them, in seconds, so that a TimescaleDB that comes back older than
    /// it was (failover, restore) can be fed again.
    pub retain_seconds: u64,
    /// Most bytes of one log that are kept so. They go earlier when their space is needed.
    pub retain_bytes: u64,
    /// Most bytes of the log of metrics and traces, for TimescaleDB. Senders are slowed down from nine tenths on and
    /// refused when it is full of rows that wait.
    #[schemars(range(min = 1_048_576))]
    pub timescale_max_bytes: u64,
    /// Most bytes of the log of logs, for ClickHouse; as above.
    #[schemars(range(min = 1_048_576))]
    pub clickhouse_max_bytes: u64,
    /// Most bytes of the log of dead letters; as above.
    #[schemars(range(min = 1_048_576))]
    pub dead_letters_max_bytes: u64,
    /// Most bytes of rows of one log that are in memory on their way to its store; what is beyond waits on the disk.
    #[schemars(range(min = 1_048_576))]
    pub window_bytes: usize,
}

/// Compression of the rows in the write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WalCompression {
    /// rows are written as they are, which takes the least work.
    #[default]
    None,
    /// for a slow or small disk.
    Lz4,
}

/// Records that were refused, in table `dead_letters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeadLettersConfig {
    /// Most bytes of letters. Beyond it those that were replayed or discarded go first, then the oldest: each of these is
    /// counted and told of as an error.
    #[schemars(range(min = 1_048_576))]
    pub max_bytes: u64,
    /// How long a letter is kept, in days.
    #[schemars(range(min = 1, max = 36_500))]
    pub retain_days: u32,
}

/// Moving rows that have aged to ClickHouse, by the policies of their tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TieringConfig {
    /// Whether this gateway moves rows. Of several that do, one moves a table at a time.
    pub enabled: bool,
    /// How often it looks whether there is something to move, in seconds.
    #[schemars(range(min = 1))]
    pub look_every_seconds: u64,
    /// How long a query of the combined tables may run, in seconds: so long Timescale keeps rows that are read from
    /// ClickHouse already.
    pub grace_seconds: u64,
    /// How long a gateway that moves a table may say nothing to Postgres, in seconds: then another one takes the table
    /// over. One that is frozen holds up the table, and at worst its writers, for that long.
    #[schemars(range(min = 6))]
    pub session_seconds: u64,
}

/// The gateway's own log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Form of the lines.
    pub format: LogFormat,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace` or `off`, or directives such as
    /// `info,tidewell_gateway=debug`.
    pub level: String,
}

/// Form of the gateway's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// lines for people.
    #[default]
    Text,
    /// one JSON object a line.
    Json,
}

/// Ending the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// Longest wait for requests under way and for the stores, in seconds.
    #[schemars(range(min = 1))]
    pub timeout_seconds: u64,
}
