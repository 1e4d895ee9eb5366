"""What landed: counts by protocol and the last rows of each table, asked of the stores in SQL."""

from __future__ import annotations

import csv
import io
import urllib.parse
import urllib.request
from dataclasses import dataclass

import psycopg

MARKED_TIMESCALE_TABLES = ("metrics_events", "metrics_histograms", "traces_spans")

# Where each table keeps the marks of the demo's run: OTLP sends them as resource attributes, the others as labels.
_MARK = "coalesce(labels->>'{0}', resource->>'{0}')"
_MARK_CLICKHOUSE = "if(labels['{0}'] != '', labels['{0}'], resource['{0}'])"

# What is shown of each table, newest first.
TIMESCALE_TABLES = {
    "metrics_events": ("time, app, metric, value, unit", "time"),
    "metrics_histograms": ("time, app, metric, type, count, sum", "time"),
    "metrics_exemplars": ("time, metric, value, left(trace_id, 8) AS trace", "time"),
    "metrics_metadata": ("updated_at, metric, type, unit, temporality, description", "updated_at"),
    "traces_spans": ("time, app, name, kind, round(duration_ns / 1e6, 3) AS ms, left(trace_id, 8) AS trace", "time"),
    "dead_letters": ("time, protocol, target, field, reason", "time"),
}
CLICKHOUSE_TABLES = {"logs_events": ("timestamp, app, level, left(message, 70) AS message", "timestamp")}


@dataclass
class Landed:
    """Records of one protocol in one table."""

    store: str
    table: str
    count: int
    first: str
    last: str


class Stores:
    """Both stores, read as any user would."""

    def __init__(self, timescale: str, clickhouse: str, database: str) -> None:
        self._timescale = psycopg.connect(timescale, autocommit=True, options="-c timezone=UTC")
        self._clickhouse = f"{clickhouse}/?{urllib.parse.urlencode({'database': database})}"

    def found(self, run: str) -> dict[str, list[Landed]]:
        """What this run left in the stores, by protocol."""
        landed: dict[str, list[Landed]] = {}
        protocol, of_run = _MARK.format("demo_protocol"), _MARK.format("demo_run")
        for table in MARKED_TIMESCALE_TABLES:
            sql = f"SELECT {protocol}, count(*), min(time), max(time) FROM {table} WHERE {of_run} = %s GROUP BY 1"
            for name, count, first, last in self._timescale.execute(sql, [run]):
                landed.setdefault(name, []).append(Landed("TimescaleDB", table, count, str(first), str(last)))
        protocol, of_run = _MARK_CLICKHOUSE.format("demo_protocol"), _MARK_CLICKHOUSE.format("demo_run")
        for table in CLICKHOUSE_TABLES:
            sql = f"SELECT {protocol}, count(), min(timestamp), max(timestamp) FROM {table} WHERE {of_run} = '{run}' GROUP BY 1"
            for name, count, first, last in self._ask_clickhouse(sql)[1]:
                landed.setdefault(name, []).append(Landed("ClickHouse", table, int(count), first, last))
        return landed

    def last_rows(self, limit: int = 10) -> dict[str, tuple[list[str], list[list[str]]]]:
        """The last rows of every table: column names and values."""
        rows = {}
        for table, (columns, newest) in TIMESCALE_TABLES.items():
            cursor = self._timescale.execute(f"SELECT {columns} FROM {table} ORDER BY {newest} DESC LIMIT {limit}")
            names = [column.name for column in cursor.description]
            rows[table] = names, [["" if value is None else str(value) for value in row] for row in cursor]
        for table, (columns, newest) in CLICKHOUSE_TABLES.items():
            rows[table] = self._ask_clickhouse(f"SELECT {columns} FROM {table} ORDER BY {newest} DESC LIMIT {limit}")
        return rows

    def _ask_clickhouse(self, sql: str) -> tuple[list[str], list[list[str]]]:
        body = f"{sql} FORMAT CSVWithNames".encode()
        with urllib.request.urlopen(self._clickhouse, body, timeout=30) as answer:
            names, *rows = csv.reader(io.StringIO(answer.read().decode()))
        return names, rows
