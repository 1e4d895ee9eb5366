-- Which table a record of a signal goes to: ordered rules, the first that matches decides. Records that none matches go to
-- the signal's built-in table. rule is one element of the list that PUT /schema/routes/{signal} takes.

CREATE TABLE IF NOT EXISTS table_routes (
    tenant text NOT NULL DEFAULT 'default',
    signal text NOT NULL CHECK (signal IN ('metrics', 'histograms', 'logs', 'traces')),
    position integer NOT NULL CHECK (position >= 0),
    rule jsonb NOT NULL,
    author text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, signal, position)
);

CREATE OR REPLACE FUNCTION table_routes_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('tidewell_registry', 'routes');
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER table_routes_notice AFTER INSERT OR UPDATE OR DELETE ON table_routes
FOR EACH STATEMENT EXECUTE FUNCTION table_routes_note_change();

DO $$
BEGIN
    IF to_regrole('tidewell_read') IS NOT NULL THEN
        GRANT SELECT ON table_routes TO tidewell_read;
    END IF;
END
$$;
