"""What landed: counts by protocol and the last rows of each table, asked of the stores in SQL."""

from __future__ import annotations

import csv
import io
import urllib.parse
import urllib.request

import psycopg

# Where each table keeps the marks of the demo's run: OTLP sends them as resource attributes, the others as labels.
_MARK = "coalesce(labels->>'{0}', resource->>'{0}')"
_MARK_CLICKHOUSE = "if(labels['{0}'] != '', labels['{0}'], resource['{0}'])"

TIMESCALE_TABLES = {
    "metrics_events": "time, app, metric, value, unit",
    "metrics_histograms": "time, app, metric, type, count, sum",
    "traces_spans": "time, app, name, kind, round(duration_ns / 1e6, 3) AS ms, left(trace_id, 8) AS trace",
}
CLICKHOUSE_TABLES = {"logs_events": "timestamp, app, level, left(message, 70) AS message"}


class Stores:
    """Both stores, read as any user would."""

    def __init__(self, timescale: str, clickhouse: str, database: str) -> None:
        self._timescale = psycopg.connect(timescale, autocommit=True, options="-c timezone=UTC")
        self._clickhouse = f"{clickhouse}/?{urllib.parse.urlencode({'database': database})}"

    def found(self, run: str) -> dict[str, int]:
        """Records of this run in all tables, by protocol."""
        counts: dict[str, int] = {}
        for table in TIMESCALE_TABLES:
            protocol, of_run = _MARK.format("demo_protocol"), _MARK.format("demo_run")
            sql = f"SELECT {protocol}, count(*) FROM {table} WHERE {of_run} = %s GROUP BY 1"
            for name, count in self._timescale.execute(sql, [run]):
                counts[name] = counts.get(name, 0) + count
        for table in CLICKHOUSE_TABLES:
            protocol, of_run = _MARK_CLICKHOUSE.format("demo_protocol"), _MARK_CLICKHOUSE.format("demo_run")
            sql = f"SELECT {protocol}, count() FROM {table} WHERE {of_run} = '{run}' GROUP BY 1"
            for name, count in self._ask_clickhouse(sql)[1]:
                counts[name] = counts.get(name, 0) + int(count)
        return counts

    def last_rows(self, run: str, limit: int = 10) -> dict[str, tuple[list[str], list[list[str]]]]:
        """The last rows of this run by table: column names and values."""
        rows = {}
        for table, columns in TIMESCALE_TABLES.items():
            where = f"{_MARK.format('demo_run')} = %s"
            sql = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY time DESC LIMIT {limit}"
            cursor = self._timescale.execute(sql, [run])
            names = [column.name for column in cursor.description]
            rows[table] = names, [["" if value is None else str(value) for value in row] for row in cursor]
        for table, columns in CLICKHOUSE_TABLES.items():
            where = f"{_MARK_CLICKHOUSE.format('demo_run')} = '{run}'"
            sql = f"SELECT {columns} FROM {table} WHERE {where} ORDER BY timestamp DESC LIMIT {limit}"
            rows[table] = self._ask_clickhouse(sql)
        return rows

    def _ask_clickhouse(self, sql: str) -> tuple[list[str], list[list[str]]]:
        body = f"{sql} FORMAT CSVWithNames".encode()
        with urllib.request.urlopen(self._clickhouse, body, timeout=30) as answer:
            names, *rows = csv.reader(io.StringIO(answer.read().decode()))
        return names, rows
