-- What the roles may do. Tables that are registered later are granted when they are created.

DO $$
BEGIN
    IF to_regrole('tidewell_ingest') IS NOT NULL THEN
        GRANT INSERT ON metrics_events, metrics_histograms, metrics_exemplars, traces_spans, dead_letters
            TO tidewell_ingest;
        -- Replacing a row by its key reads the key.
        GRANT SELECT, INSERT, UPDATE ON metrics_metadata TO tidewell_ingest;
        GRANT SELECT, INSERT, DELETE ON tidewell_cuts TO tidewell_ingest;
        GRANT SELECT ON table_registry TO tidewell_ingest;
    END IF;
    IF to_regrole('tidewell_read') IS NOT NULL THEN
        GRANT SELECT ON metrics_events, metrics_histograms, metrics_exemplars, metrics_metadata, traces_spans,
            dead_letters, table_registry, table_registry_history TO tidewell_read;
    END IF;
END
$$;
