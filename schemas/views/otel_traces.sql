-- Spans in ClickHouse under the names of the Collector's clickhouse exporter (clickhouseexporter, sqltemplates/traces_table.sql),
-- for Grafana's OTel mode and ClickStack. {source} is a table with the columns of a cold traces_spans: what tiering publishes
-- makes this view over it, since only then it exists.
--
-- Timestamp has microseconds: with time_nanos added to it, a time range would not reach the partitions.

CREATE OR REPLACE VIEW `otel_traces` AS
WITH
    JSONExtractArrayRaw(ifNull(`events`, '[]')) AS `events_json`,
    JSONExtractArrayRaw(ifNull(`links`, '[]')) AS `links_json`
SELECT
    `time` AS `Timestamp`,
    `trace_id` AS `TraceId`,
    `span_id` AS `SpanId`,
    ifNull(`parent_span_id`, '') AS `ParentSpanId`,
    ifNull(`trace_state`, '') AS `TraceState`,
    `name` AS `SpanName`,
    initcap(`kind`) AS `SpanKind`,
    `app` AS `ServiceName`,
    `resource` AS `ResourceAttributes`,
    ifNull(`scope_name`, '') AS `ScopeName`,
    ifNull(`scope_version`, '') AS `ScopeVersion`,
    `labels` AS `SpanAttributes`,
    toUInt64(greatest(ifNull(`duration_ns`, 0), 0)) AS `Duration`,
    initcap(`status`) AS `StatusCode`,
    ifNull(`status_message`, '') AS `StatusMessage`,
    arrayMap(event -> fromUnixTimestamp64Nano(toInt64OrZero(trim(BOTH '"' FROM JSONExtractRaw(event, 'time_unix_nano'))), 'UTC'), `events_json`) AS `Events.Timestamp`,
    arrayMap(event -> JSONExtractString(event, 'name'), `events_json`) AS `Events.Name`,
    arrayMap(event -> JSONExtract(event, 'attributes', 'Map(String, String)'), `events_json`) AS `Events.Attributes`,
    arrayMap(link -> JSONExtractString(link, 'trace_id'), `links_json`) AS `Links.TraceId`,
    arrayMap(link -> JSONExtractString(link, 'span_id'), `links_json`) AS `Links.SpanId`,
    arrayMap(link -> JSONExtractString(link, 'trace_state'), `links_json`) AS `Links.TraceState`,
    arrayMap(link -> JSONExtract(link, 'attributes', 'Map(String, String)'), `links_json`) AS `Links.Attributes`
FROM {source}
