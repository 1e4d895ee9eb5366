-- Three roles of least privilege. None can log in: grant them to the users that connect.
--
--   tidewell_ddl     creates and alters tables       GRANT tidewell_ddl TO gateway_user    (timescale.ddl_role)
--   tidewell_ingest  writes rows, reads none         GRANT tidewell_ingest TO gateway_user (timescale.ingest_role)
--   tidewell_read    reads rows                      GRANT tidewell_read TO grafana_user
--
-- Roles belong to the whole cluster: another database may be creating the same ones right now, and an administrator
-- may have made them long ago. A user that may not create roles goes on without those that are missing.
-- Run as the user of timescale.url.

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['tidewell_ddl', 'tidewell_ingest', 'tidewell_read'] LOOP
        BEGIN
            IF to_regrole(role_name) IS NULL THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN', role_name);
            END IF;
        EXCEPTION
            WHEN duplicate_object OR unique_violation THEN
                NULL;
            WHEN insufficient_privilege THEN
                RAISE WARNING 'role % is missing: %', role_name, SQLERRM;
        END;
    END LOOP;
END
$$;

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['tidewell_ddl', 'tidewell_ingest', 'tidewell_read'] LOOP
        BEGIN
            IF to_regrole(role_name) IS NOT NULL AND NOT EXISTS (
                SELECT FROM pg_db_role_setting
                WHERE setrole = to_regrole(role_name) AND setdatabase = 0 AND 'TimeZone=UTC' = ANY (setconfig)
            ) THEN
                EXECUTE format('ALTER ROLE %I SET timezone TO ''UTC''', role_name);
            END IF;
        EXCEPTION
            WHEN unique_violation THEN
                NULL;
            WHEN insufficient_privilege THEN
                RAISE WARNING 'the time zone of role % stays as it is: %', role_name, SQLERRM;
        END;
    END LOOP;
END
$$;

DO $$
BEGIN
    IF to_regrole('tidewell_ddl') IS NOT NULL THEN
        GRANT USAGE, CREATE ON SCHEMA public TO tidewell_ddl;
    END IF;
    IF to_regrole('tidewell_ingest') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA public TO tidewell_ingest;
        -- Rows of tables with a key are copied into a temporary table first.
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO tidewell_ingest', current_database());
    END IF;
    IF to_regrole('tidewell_read') IS NOT NULL THEN
        GRANT USAGE ON SCHEMA public TO tidewell_read;
    END IF;
EXCEPTION
    WHEN insufficient_privilege THEN
        RAISE WARNING 'the roles get no rights in schema public: %', SQLERRM;
END
$$;
