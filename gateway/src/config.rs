//! Configuration: one TOML file and the environment in, [`Config`] out.
//!
//! Every setting has a place in the file (`http.listen`), an environment variable named after that place
//! (`TIDEWELL_HTTP_LISTEN`) and a default. An unknown setting is an error that names it. The doc comments here are
//! the text of `tidewell config reference`.

use std::net::SocketAddr;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// All settings of a gateway.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// REST, OTLP over HTTP, registry, health and metrics.
    pub http: HttpConfig,
    /// OTLP over gRPC, `tidewell.v1.Ingest` and Arrow Flight.
    pub grpc: GrpcConfig,
    /// Limits of requests and of what is under way.
    pub ingest: IngestConfig,
    /// TimescaleDB: metrics, traces and the registry.
    pub timescale: TimescaleConfig,
    /// ClickHouse: logs.
    pub clickhouse: ClickHouseConfig,
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
    /// Longest time to wait for the headers of a request, in seconds.
    pub header_timeout_seconds: u64,
    /// Longest time to wait for the body of a request, in seconds.
    pub body_timeout_seconds: u64,
}

/// OTLP over gRPC, `tidewell.v1.Ingest` and Arrow Flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Most requests under way at once on one connection.
    pub max_concurrent_streams: u32,
}

/// Limits of requests and of what is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IngestConfig {
    /// Largest request in bytes, before and after decompression.
    pub max_request_bytes: usize,
    /// Most records of one request.
    pub max_request_records: usize,
    /// Most bytes that the decoded rows of one request may take in one table.
    pub max_decoded_bytes: usize,
    /// Deepest nesting of attribute values and JSON.
    pub max_depth: usize,
    /// Bytes of requests and of their decoded rows under way at once; more is refused as overload.
    pub in_flight_bytes: usize,
    /// Longest wait for a store's commit before the sender is asked to try again, in milliseconds. Keep it below the
    /// time-out of the senders: 5 s for an OpenTelemetry Collector.
    pub ack_timeout_ms: u64,
}

/// When rows that wait for a store are sent to it, whichever comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BatchConfig {
    /// Rows of one table.
    pub max_rows: usize,
    /// Bytes of the rows of one table.
    pub max_bytes: usize,
    /// Age of the oldest row, in milliseconds.
    pub max_age_ms: u64,
    /// Batches that are written at once.
    pub writers: usize,
}

/// TimescaleDB: metrics, traces and the registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TimescaleConfig {
    /// Where Postgres is: `postgres://USER[:PASSWORD]@HOST:PORT/DATABASE`.
    pub url: Secret,
    /// A file that holds the password, instead of the URL.
    pub password_file: Option<PathBuf>,
    /// Most connections.
    pub pool_size: usize,
    /// Longest wait for a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest run of one statement, in milliseconds.
    pub statement_timeout_ms: u64,
    /// Role that changes tables; empty for the user of the URL.
    pub ddl_role: String,
    /// Role that writes rows; empty for the user of the URL.
    pub ingest_role: String,
    /// When rows are sent.
    pub batch: BatchConfig,
}

/// ClickHouse: logs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClickHouseConfig {
    /// Where its HTTP interface is: `http://HOST:PORT`.
    pub url: String,
    /// Database of the tables; created when it is missing.
    pub database: String,
    /// User.
    pub user: String,
    /// Password.
    pub password: Secret,
    /// A file that holds the password.
    pub password_file: Option<PathBuf>,
    /// Longest wait for a connection, in milliseconds.
    pub connect_timeout_ms: u64,
    /// Longest run of one statement, in milliseconds.
    pub statement_timeout_ms: u64,
    /// Compression of what is sent: `lz4` or `none`.
    pub compression: Compression,
    /// When rows are sent.
    pub batch: BatchConfig,
}

/// Compression of what is sent to ClickHouse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// LZ4.
    #[default]
    Lz4,
    /// None: less work where the store is on the same machine.
    None,
}

/// The gateway's own log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// `text` or `json`.
    pub format: LogFormat,
    /// What is logged: a level, or directives such as `info,tidewell_gateway=debug`.
    pub level: String,
}

/// Form of the gateway's own log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Ending the process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownConfig {
    /// Longest wait for requests under way and for the stores, in seconds.
    pub timeout_seconds: u64,
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(transparent)]
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
}

// === defaults ===

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4318)),
            header_timeout_seconds: 5,
            body_timeout_seconds: 30,
        }
    }
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 4317)), max_concurrent_streams: 256 }
    }
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self {
            max_request_bytes: 64 * 1024 * 1024,
            max_request_records: 1_000_000,
            max_decoded_bytes: 256 * 1024 * 1024,
            max_depth: 16,
            in_flight_bytes: 512 * 1024 * 1024,
            ack_timeout_ms: 4_000,
        }
    }
}

impl Default for TimescaleConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("postgres://tidewell@127.0.0.1:5432/tidewell"),
            password_file: None,
            pool_size: 10,
            connect_timeout_ms: 2_000,
            statement_timeout_ms: 30_000,
            ddl_role: String::new(),
            ingest_role: String::new(),
            batch: BatchConfig { max_rows: 50_000, max_bytes: 32 * 1024 * 1024, max_age_ms: 20, writers: 3 },
        }
    }
}

impl Default for ClickHouseConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".to_owned(),
            database: "tidewell".to_owned(),
            user: "default".to_owned(),
            password: Secret::default(),
            password_file: None,
            connect_timeout_ms: 2_000,
            statement_timeout_ms: 30_000,
            compression: Compression::default(),
            batch: BatchConfig {
                max_rows: 200_000,
                max_bytes: 64 * 1024 * 1024,
                max_age_ms: 200,
                writers: 2,
            },
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { timeout_seconds: 10 }
    }
}

// === impl Secret ===

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_empty() { "\"\"" } else { "\"***\"" })
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(if self.0.is_empty() { "" } else { "***" })
    }
}
