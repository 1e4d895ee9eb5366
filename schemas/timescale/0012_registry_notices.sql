-- Every gateway hears of a change of the registry as soon as it is committed: the trigger that writes the history also
-- sends a notice, whose payload is the tenant and the table.

CREATE OR REPLACE FUNCTION table_registry_note_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    state table_registry := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
BEGIN
    INSERT INTO table_registry_history (change, tenant, table_name, store, version, author, schema)
    VALUES (lower(TG_OP), state.tenant, state.table_name, state.store, state.version, state.author, state.schema);
    PERFORM pg_notify('tidewell_registry', state.tenant || '/' || state.table_name);
    RETURN NULL;
END
$$;
