-- One table of events for queries that were written for one: when, on which machine, and everything else as JSON.
--
-- Made of the samples and spans that are here, newest tables first; logs are in ClickHouse (its view logs). A filter by
-- event_time reaches the chunks of both, one by node is a filter by host. raw has the record's columns, and its labels on the same
-- level: a label wins over a column of the same name. source is the application unless a label says otherwise.

CREATE OR REPLACE VIEW observability_events AS
SELECT
    "time" AS event_time,
    host AS node,
    jsonb_strip_nulls(jsonb_build_object(
        'event', 'metric', 'source', app, 'app', app, 'host', host, 'metric', metric, 'value', coalesce(value, value_int),
        'type', type, 'unit', unit, 'level', level, 'trace_id', trace_id, 'resource', nullif(resource, '{}'::jsonb)
    )) || labels AS raw
FROM metrics_events
UNION ALL
SELECT
    "time",
    host,
    jsonb_strip_nulls(jsonb_build_object(
        'event', 'span', 'source', app, 'app', app, 'host', host, 'name', name, 'kind', kind, 'status', status,
        'status_message', status_message, 'duration_ns', duration_ns, 'trace_id', trace_id, 'span_id', span_id,
        'parent_span_id', parent_span_id, 'resource', nullif(resource, '{}'::jsonb)
    )) || labels
FROM traces_spans;

DO $$
BEGIN
    IF to_regrole('tidewell_read') IS NOT NULL THEN
        GRANT SELECT ON observability_events TO tidewell_read;
    END IF;
END
$$;
