-- Log records. The definition in schemas/tables/logs_events.json says the same; a test compares it with the catalogue.
-- The database is created before this step.

CREATE TABLE IF NOT EXISTS `logs_events` (
    `timestamp` DateTime64(9, 'UTC') CODEC(Delta(8), LZ4),
    `observed_timestamp` Nullable(DateTime64(9, 'UTC')) CODEC(Delta(8), LZ4),
    `app` LowCardinality(String) CODEC(LZ4),
    `host` LowCardinality(String) CODEC(LZ4),
    `level` LowCardinality(String) CODEC(LZ4),
    `severity_number` Int32 CODEC(LZ4),
    `severity_text` LowCardinality(String) CODEC(LZ4),
    `trace_id` String CODEC(ZSTD(1)),
    `span_id` String CODEC(ZSTD(1)),
    `flags` Nullable(Int64) CODEC(LZ4),
    `event_name` LowCardinality(String) CODEC(LZ4),
    `message` String CODEC(ZSTD(1)),
    `message_type` LowCardinality(String) CODEC(LZ4),
    `labels` Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    `labels_types` Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    `resource` Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    `resource_types` Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    `scope_name` LowCardinality(String) CODEC(LZ4),
    `scope_version` LowCardinality(String) CODEC(LZ4),
    `scope` Map(LowCardinality(String), String) CODEC(ZSTD(1)),
    `scope_types` Map(LowCardinality(String), LowCardinality(String)) CODEC(LZ4),
    `envelope` Nullable(String) CODEC(ZSTD(1)),
    `labels.k` Array(String) ALIAS CAST(mapKeys(`labels`), 'Array(String)'),
    `labels.v` Array(String) ALIAS mapValues(`labels`),
    `resource.k` Array(String) ALIAS CAST(mapKeys(`resource`), 'Array(String)'),
    `resource.v` Array(String) ALIAS mapValues(`resource`),
    `scope.k` Array(String) ALIAS CAST(mapKeys(`scope`), 'Array(String)'),
    `scope.v` Array(String) ALIAS mapValues(`scope`),
    INDEX `trace_id_bloom` `trace_id` TYPE bloom_filter(0.001) GRANULARITY 1
)
ENGINE = MergeTree
PARTITION BY toDate32(`timestamp`)
ORDER BY (toStartOfFiveMinutes(`timestamp`), `app`, `timestamp`)
SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1, fsync_part_directory = 1, ttl_only_drop_parts = 1;
