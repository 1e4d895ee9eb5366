"""Both stores, asked as the data sources ask them: SQL in, column names, kinds and rows out."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from typing import Any

import psycopg


class QueryFailed(Exception):
    """What the store says about the SQL."""


@dataclass
class Answer:
    """Columns as (name, kind) with the kinds time, number, text and other; and the rows."""

    columns: list[tuple[str, str]]
    rows: list[list[Any]]

    def kind(self, name: str) -> str | None:
        return dict(self.columns).get(name)

    def values(self, name: str) -> list[Any]:
        place = [column for column, _ in self.columns].index(name)
        return [row[place] for row in self.rows]


class Postgres:
    """A database with TimescaleDB."""

    _KINDS = {
        **dict.fromkeys((1114, 1184, 1082), "time"),
        **dict.fromkeys((20, 21, 23, 700, 701, 1700), "number"),
        **dict.fromkeys((18, 19, 25, 1042, 1043), "text"),
    }

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True, options="-c timezone=UTC -c statement_timeout=20000")

    def ask(self, sql: str) -> Answer:
        try:
            # Without parameters it is sent as it is, by the simple protocol, as the data source does.
            cursor = self._connection.execute(sql.encode())
        except psycopg.Error as error:
            raise QueryFailed(str(error)) from error
        columns = [(column.name, self._KINDS.get(column.type_code, "other")) for column in cursor.description or []]
        return Answer(columns, [list(row) for row in cursor])


class ClickHouse:
    """A database, over HTTP."""

    def __init__(self, url: str, database: str) -> None:
        settings = {"database": database, "output_format_json_quote_64bit_integers": "0", "max_execution_time": "20"}
        self._url = f"{url}/?{urllib.parse.urlencode(settings)}"

    def ask(self, sql: str) -> Answer:
        try:
            with urllib.request.urlopen(self._url, f"{sql}\nFORMAT JSONCompact".encode(), timeout=30) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            raise QueryFailed(error.read().decode(errors="replace")) from error
        columns = [(column["name"], _kind(column["type"])) for column in document["meta"]]
        return Answer(columns, document["data"])

    def do(self, sql: str) -> None:
        """A statement without an answer."""
        with urllib.request.urlopen(self._url, sql.encode(), timeout=60) as answer:
            answer.read()


def _kind(clickhouse_type: str) -> str:
    name = clickhouse_type
    for wrapper in ("Nullable(", "LowCardinality("):
        name = name.removeprefix(wrapper)
    if name.startswith(("DateTime", "Date")):
        return "time"
    if name.startswith(("UInt", "Int", "Float", "Decimal")):
        return "number"
    return "text" if name.startswith(("String", "FixedString", "UUID", "Enum")) else "other"
