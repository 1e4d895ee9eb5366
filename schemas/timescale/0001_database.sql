-- What the database needs before any table: the extension, and UTC as its time zone, because whoever reads
-- timestamptz as text (ClickHouse does) gets it in the zone of the session.
-- Run as the user of timescale.url.

CREATE EXTENSION IF NOT EXISTS timescaledb;

DO $$
BEGIN
    EXECUTE format('ALTER DATABASE %I SET timezone TO ''UTC''', current_database());
EXCEPTION
    -- Only the owner may. Every connection of the gateway asks for UTC itself.
    WHEN insufficient_privilege THEN
        RAISE WARNING 'the time zone of database % stays as it is: %', current_database(), SQLERRM;
END
$$;
