-- The registry of tables, its history, and the ids of what was written lately.

-- Which tables there are and what they look like. schema is the document that POST /schema/register takes, with its
-- defaults filled in.
CREATE TABLE IF NOT EXISTS table_registry (
    table_name text NOT NULL,
    schema jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    tenant text NOT NULL DEFAULT 'default',
    store text NOT NULL DEFAULT 'timescale' CHECK (store IN ('timescale', 'clickhouse')),
    version integer NOT NULL DEFAULT 1 CHECK (version > 0),
    author text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, table_name)
);

-- Every state that a row of table_registry ever had.
CREATE TABLE IF NOT EXISTS table_registry_history (
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    change text NOT NULL,
    tenant text NOT NULL,
    table_name text NOT NULL,
    store text NOT NULL,
    version integer NOT NULL,
    author text NOT NULL,
    schema jsonb NOT NULL
);

CREATE INDEX IF NOT EXISTS table_registry_history_idx ON table_registry_history (tenant, table_name, changed_at);

CREATE OR REPLACE FUNCTION table_registry_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state table_registry := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    INSERT INTO table_registry_history (change, tenant, table_name, store, version, author, schema)
    VALUES (lower(TG_OP), state.tenant, state.table_name, state.store, state.version, state.author, state.schema);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER table_registry_history AFTER INSERT OR UPDATE OR DELETE ON table_registry
FOR EACH ROW EXECUTE FUNCTION table_registry_note_change();

-- The ids of cuts, written in the transaction of their rows: a cut that is sent again is recognised here. Rows older
-- than an hour are deleted.
CREATE TABLE IF NOT EXISTS tidewell_cuts (
    id uuid PRIMARY KEY,
    written_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS tidewell_cuts_written_at_idx ON tidewell_cuts (written_at);
