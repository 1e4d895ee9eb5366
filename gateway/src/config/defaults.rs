//! The value of every setting that is not given.

use std::net::SocketAddr;

use super::{
    AckSetting, BatchConfig, ClickHouseConfig, Compression, DeadLettersConfig, GrpcConfig, HttpConfig,
    IdempotencyConfig, IngestConfig, LogConfig, LogFormat, ProtocolFamily, Secret, ShutdownConfig,
    TieringConfig, TimescaleConfig, TimescaleLinkConfig, WalCompression, WalConfig,
};

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4318)),
            header_timeout_seconds: 5,
            body_timeout_seconds: 30,
            max_connections: 1_000,
            max_concurrent_streams: 256,
        }
    }
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 4317)),
            max_connections: 1_000,
            max_concurrent_streams: 256,
        }
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
            caller_share_percent: 50,
            ack_timeout_ms: 4_000,
            ack: AckSetting::default(),
        }
    }
}

impl Default for IdempotencyConfig {
    fn default() -> Self {
        let identical_bodies = vec![ProtocolFamily::Otlp, ProtocolFamily::RemoteWrite];
        Self { window_seconds: 600, max_keys: 1_000_000, identical_bodies }
    }
}

impl Default for TimescaleConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("postgres://tidewell@127.0.0.1:5432/tidewell"),
            ca_file: None,
            password: Secret::default(),
            password_file: None,
            pool_size: 10,
            connect_timeout_ms: 2_000,
            statement_timeout_ms: 30_000,
            ddl_role: String::new(),
            ingest_role: String::new(),
            read_role: String::new(),
            batch: BatchConfig { max_rows: 50_000, max_bytes: 32 * 1024 * 1024, max_age_ms: 20, writers: 3 },
        }
    }
}

impl Default for ClickHouseConfig {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8123".to_owned(),
            ca_file: None,
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
            timescale: TimescaleLinkConfig::default(),
        }
    }
}

impl Default for WalConfig {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        Self {
            directory: "data/wal".into(),
            segment_bytes: 64 * MIB,
            compression: WalCompression::default(),
            retain_seconds: 600,
            retain_bytes: 2048 * MIB,
            timescale_max_bytes: 8192 * MIB,
            clickhouse_max_bytes: 8192 * MIB,
            window_bytes: 128 * 1024 * 1024,
            dead_letters_max_bytes: 1024 * MIB,
        }
    }
}

impl Default for DeadLettersConfig {
    fn default() -> Self {
        Self { max_bytes: 1024 * 1024 * 1024, retain_days: 30 }
    }
}

impl Default for TieringConfig {
    fn default() -> Self {
        Self { enabled: true, look_every_seconds: 60, grace_seconds: 900, session_seconds: 60 }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { timeout_seconds: 5 }
    }
}
