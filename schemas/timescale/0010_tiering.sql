-- Which rows have left Timescale for ClickHouse: a row per table that ever cooled, and one per attempt to move a range.

-- closing: rows older than this are written to the cold table, by every gateway; read inside of each transaction that
-- writes rows. published: rows older than this are read from the cold table. generation: the number of what readers see
-- now. hold_from: rows from here on stay hot, whatever the policy says. restoring_to: rows from here on are being
-- brought back.
CREATE TABLE IF NOT EXISTS tidewell_tiers (
    tenant text NOT NULL,
    table_name text NOT NULL,
    closing timestamptz,
    published timestamptz,
    generation bigint NOT NULL DEFAULT 0,
    generation_at timestamptz,
    hold_from timestamptz,
    restoring_to timestamptz,
    looked_at timestamptz,
    moved_at timestamptz,
    blocked text,
    blocked_at timestamptz,
    PRIMARY KEY (tenant, table_name)
);

-- Numbers of moves are never used twice: rows in ClickHouse carry them.
CREATE SEQUENCE IF NOT EXISTS tidewell_tier_move;

-- rows, hash: what was exported; both tiers are compared with it. horizon: the export saw every transaction before this
-- one; seen: and of the later ones these. cluster: the database that it was exported from, and its timeline.
CREATE TABLE IF NOT EXISTS tidewell_tier_moves (
    move bigint PRIMARY KEY DEFAULT nextval('tidewell_tier_move'),
    tenant text NOT NULL,
    table_name text NOT NULL,
    range_start timestamptz NOT NULL,
    range_end timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'closed'
        CHECK (state IN ('closed', 'loaded', 'verified', 'published', 'dropped', 'abandoned', 'restoring', 'restored',
            'unknown')),
    rows bigint,
    hash uuid,
    bytes bigint,
    horizon xid8,
    seen bigint[],
    cluster text,
    began_at timestamptz NOT NULL DEFAULT now(),
    state_at timestamptz NOT NULL DEFAULT now(),
    removed_at timestamptz,
    reason text
);

CREATE INDEX IF NOT EXISTS tidewell_tier_moves_table_idx ON tidewell_tier_moves (tenant, table_name, range_start);

DO $$
BEGIN
    IF to_regrole('tidewell_ingest') IS NOT NULL THEN
        GRANT SELECT ON tidewell_tiers TO tidewell_ingest;
    END IF;
    IF to_regrole('tidewell_read') IS NOT NULL THEN
        GRANT SELECT ON tidewell_tiers, tidewell_tier_moves TO tidewell_read;
    END IF;
END
$$;
