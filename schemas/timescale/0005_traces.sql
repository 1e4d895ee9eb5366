-- Spans, partitioned by time and by a hash of trace_id, found by trace_id through an index.

CREATE TABLE IF NOT EXISTS "traces_spans" (
    "time" timestamp with time zone NOT NULL,
    "time_nanos" smallint,
    "trace_id" text NOT NULL,
    "span_id" text NOT NULL,
    "parent_span_id" text,
    "trace_state" text,
    "name" text NOT NULL,
    "kind" text NOT NULL,
    "app" text NOT NULL,
    "host" text NOT NULL,
    "duration_ns" bigint,
    "status" text NOT NULL,
    "status_message" text,
    "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "events" jsonb,
    "links" jsonb,
    "flags" bigint,
    "resource" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "scope_name" text,
    "scope_version" text,
    "scope" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "envelope" jsonb
);

SELECT create_hypertable('"traces_spans"', by_range('time', INTERVAL '21600 seconds'), create_default_indexes => false, if_not_exists => true);

SELECT add_dimension('"traces_spans"', by_hash('trace_id', 4), if_not_exists => true);

CREATE INDEX IF NOT EXISTS "traces_spans_time_idx" ON "traces_spans" ("time" DESC);

CREATE INDEX IF NOT EXISTS "traces_spans_trace_id_idx" ON "traces_spans" ("trace_id", "time" DESC);
