//! ClickHouse: logs and every table registered with `"store": "clickhouse"`.
