-- Metrics: samples, histograms, exemplars, and what is known of each metric.
-- The definitions in schemas/tables say the same; a test compares them with the catalogue.

-- Samples of gauges and sums.
CREATE TABLE IF NOT EXISTS "metrics_events" (
    "time" timestamp with time zone NOT NULL,
    "time_nanos" smallint,
    "metric" text NOT NULL,
    "app" text NOT NULL,
    "host" text NOT NULL,
    "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "value" double precision,
    "value_int" bigint,
    "type" text,
    "unit" text,
    "temporality" text,
    "monotonic" boolean,
    "start_time" timestamp with time zone,
    "start_time_nanos" smallint,
    "flags" bigint,
    "trace_id" text,
    "level" text,
    "resource" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "scope_name" text,
    "scope_version" text,
    "scope" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "envelope" jsonb
);

SELECT create_hypertable('"metrics_events"', by_range('time', INTERVAL '21600 seconds'), create_default_indexes => false, if_not_exists => true);

CREATE INDEX IF NOT EXISTS "metrics_events_time_idx" ON "metrics_events" ("time" DESC);

CREATE INDEX IF NOT EXISTS "metrics_events_metric_idx" ON "metrics_events" ("metric", "time" DESC);

-- Histograms, exponential histograms and summaries, one row per data point.
CREATE TABLE IF NOT EXISTS "metrics_histograms" (
    "time" timestamp with time zone NOT NULL,
    "time_nanos" smallint,
    "metric" text NOT NULL,
    "app" text NOT NULL,
    "host" text NOT NULL,
    "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "type" text NOT NULL,
    "unit" text,
    "temporality" text,
    "start_time" timestamp with time zone,
    "start_time_nanos" smallint,
    "flags" bigint,
    "count" bigint,
    "sum" double precision,
    "min" double precision,
    "max" double precision,
    "bounds" double precision[] NOT NULL DEFAULT '{}'::double precision[],
    "counts" bigint[] NOT NULL DEFAULT '{}'::bigint[],
    "scale" integer,
    "zero_count" bigint,
    "zero_threshold" double precision,
    "positive_offset" integer,
    "positive_counts" bigint[] NOT NULL DEFAULT '{}'::bigint[],
    "negative_offset" integer,
    "negative_counts" bigint[] NOT NULL DEFAULT '{}'::bigint[],
    "quantiles" double precision[] NOT NULL DEFAULT '{}'::double precision[],
    "quantile_values" double precision[] NOT NULL DEFAULT '{}'::double precision[],
    "resource" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "scope_name" text,
    "scope_version" text,
    "scope" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "envelope" jsonb
);

SELECT create_hypertable('"metrics_histograms"', by_range('time', INTERVAL '21600 seconds'), create_default_indexes => false, if_not_exists => true);

CREATE INDEX IF NOT EXISTS "metrics_histograms_time_idx" ON "metrics_histograms" ("time" DESC);

CREATE INDEX IF NOT EXISTS "metrics_histograms_metric_idx" ON "metrics_histograms" ("metric", "time" DESC);

-- Exemplars of either.
CREATE TABLE IF NOT EXISTS "metrics_exemplars" (
    "time" timestamp with time zone NOT NULL,
    "time_nanos" smallint,
    "metric" text NOT NULL,
    "app" text NOT NULL,
    "host" text NOT NULL,
    "labels" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "point_time" timestamp with time zone,
    "point_time_nanos" smallint,
    "value" double precision,
    "value_int" bigint,
    "trace_id" text,
    "span_id" text,
    "filtered_labels" jsonb NOT NULL DEFAULT '{}'::jsonb
);

SELECT create_hypertable('"metrics_exemplars"', by_range('time', INTERVAL '86400 seconds'), create_default_indexes => false, if_not_exists => true);

CREATE INDEX IF NOT EXISTS "metrics_exemplars_time_idx" ON "metrics_exemplars" ("time" DESC);

CREATE INDEX IF NOT EXISTS "metrics_exemplars_metric_idx" ON "metrics_exemplars" ("metric", "time" DESC);

-- Unit, type and description; a later row with the same key replaces the earlier one.
CREATE TABLE IF NOT EXISTS "metrics_metadata" (
    "metric" text NOT NULL,
    "type" text NOT NULL,
    "unit" text NOT NULL,
    "temporality" text NOT NULL,
    "monotonic" boolean NOT NULL,
    "description" text,
    "metadata" jsonb NOT NULL DEFAULT '{}'::jsonb,
    "updated_at" timestamp with time zone NOT NULL,
    PRIMARY KEY ("metric", "type", "unit", "temporality", "monotonic")
);
