-- Records that were refused, with the reason and what was sent.

CREATE TABLE IF NOT EXISTS "dead_letters" (
    "time" timestamp with time zone NOT NULL,
    "id" uuid NOT NULL,
    "protocol" text NOT NULL,
    "caller" text NOT NULL,
    "target" text NOT NULL,
    "record_index" bigint NOT NULL,
    "field" text NOT NULL,
    "reason" text NOT NULL,
    "content_type" text NOT NULL,
    "payload" bytea NOT NULL
);

SELECT create_hypertable('"dead_letters"', by_range('time', INTERVAL '86400 seconds'), create_default_indexes => false, if_not_exists => true);

CREATE INDEX IF NOT EXISTS "dead_letters_time_idx" ON "dead_letters" ("time" DESC);
