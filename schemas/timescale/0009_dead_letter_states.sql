-- What became of dead letters: a letter without a row here is kept and waits.
--
-- A table of its own beside dead_letters, because letters are appended by COPY into a hypertable, where one may be there
-- twice after a crash: a row here is one per id whatever happens, is taken by one of two clicks at once, needs no
-- UPDATE of large rows, and leaves the role that writes letters without the right to change or read them.

CREATE TABLE IF NOT EXISTS tidewell_dead_letter_states (
    id uuid PRIMARY KEY,
    -- replaying: sent again, and it is not known yet how that ended.
    state text NOT NULL CHECK (state IN ('replaying', 'replayed', 'discarded')),
    -- What was sent again: the hash by which a repetition of the replay is recognised.
    payload bytea,
    changed_at timestamptz NOT NULL DEFAULT now()
);

-- The second copy of a letter, and a letter by its id, are looked up by it.
CREATE INDEX IF NOT EXISTS "dead_letters_id_idx" ON "dead_letters" ("id");

DO $$
BEGIN
    IF to_regrole('tidewell_ingest') IS NOT NULL THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON tidewell_dead_letter_states TO tidewell_ingest;
    END IF;
    IF to_regrole('tidewell_read') IS NOT NULL THEN
        GRANT SELECT ON tidewell_dead_letter_states TO tidewell_read;
    END IF;
END
$$;
