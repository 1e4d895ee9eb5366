-- logs_events under the names that queries and tools elsewhere know. Each column is a plain one of logs_events where
-- it can be, so that filters reach its sort key, its partitions and its index on trace_id.

-- For queries by node.
CREATE VIEW IF NOT EXISTS `logs` AS
SELECT
    `timestamp`,
    `host` AS `node`,
    `app`,
    `level`,
    `message`,
    `trace_id`,
    `span_id`,
    `event_name`,
    `labels`,
    `resource`
FROM `logs_events`;

-- As the Collector's clickhouse exporter names them since its version 0.151 (clickhouseexporter, sqltemplates/logs_table.sql): without
-- TimestampTime, by whose absence Grafana's ClickHouse data source knows to filter by Timestamp.
CREATE VIEW IF NOT EXISTS `otel_logs` AS
SELECT
    `timestamp` AS `Timestamp`,
    `trace_id` AS `TraceId`,
    `span_id` AS `SpanId`,
    toUInt8(bitAnd(ifNull(`flags`, 0), 255)) AS `TraceFlags`,
    if(`severity_text` = '', upper(`level`), `severity_text`) AS `SeverityText`,
    toUInt8(`severity_number`) AS `SeverityNumber`,
    `app` AS `ServiceName`,
    `message` AS `Body`,
    JSONExtractString(ifNull(`envelope`, ''), 'resource_schema_url') AS `ResourceSchemaUrl`,
    `resource` AS `ResourceAttributes`,
    JSONExtractString(ifNull(`envelope`, ''), 'scope_schema_url') AS `ScopeSchemaUrl`,
    `scope_name` AS `ScopeName`,
    `scope_version` AS `ScopeVersion`,
    `scope` AS `ScopeAttributes`,
    `labels` AS `LogAttributes`,
    `event_name` AS `EventName`
FROM `logs_events`;
