-- How far each writer got, in place of the ids of single cuts, and which request keys are taken.

-- The last cut of each lane that is committed, moved on in the transaction of the cut's rows. log is the incarnation of
-- a gateway's log, a random number. A row is updated with every cut: there is room for its new version in its page.
CREATE TABLE IF NOT EXISTS tidewell_progress (
    log bigint NOT NULL,
    lane integer NOT NULL,
    cut bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (log, lane)
) WITH (fillfactor = 50);

DROP TABLE IF EXISTS tidewell_cuts;

-- Which request of which gateway was the first with a key. Rows older than a day are deleted.
CREATE TABLE IF NOT EXISTS tidewell_idempotency (
    tenant text NOT NULL,
    caller text NOT NULL,
    key text NOT NULL,
    payload bytea NOT NULL,
    log bigint NOT NULL,
    position bigint NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, caller, key, payload)
);

CREATE INDEX IF NOT EXISTS tidewell_idempotency_claimed_at_idx ON tidewell_idempotency (claimed_at);

DO $$
BEGIN
    IF to_regrole('tidewell_ingest') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE ON tidewell_progress TO tidewell_ingest;
        GRANT SELECT, INSERT, DELETE ON tidewell_idempotency TO tidewell_ingest;
    END IF;
END
$$;
