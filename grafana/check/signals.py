"""The signals that each component must show, in signals/*.txt, against what live data has.

A line names a signal, a comment follows a #. In files called after an exporter's job it is the name of a metric; in
`clickhouse.txt` it is `system.table` or `system.table:name`, the value of its first column; in `tables.txt` it is
`table.column` of one of the gateway's own tables, which must have a value in some row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .stores import ClickHouse, Postgres, QueryFailed

FOLDER = Path(__file__).parent / "signals"
# Of a component's signals so many must be there.
LEAST_PERCENT = 95


@dataclass
class Component:
    """How many signals of a component are listed and which of them are missing."""

    name: str
    listed: int
    missing: list[str] = field(default_factory=list)

    @property
    def percent(self) -> float:
        return 100 * (self.listed - len(self.missing)) / max(self.listed, 1)

    @property
    def enough(self) -> bool:
        return self.percent >= LEAST_PERCENT


def compare(postgres: Postgres, clickhouse: ClickHouse) -> list[Component]:
    """Every component of the list."""
    there = {
        "clickhouse": lambda signals: _of_clickhouse(clickhouse, signals),
        "tables": lambda signals: _of_tables(postgres, clickhouse, signals),
    }
    components = []
    for path in sorted(FOLDER.glob("*.txt")):
        listed = signals(path)
        present = there.get(path.stem, lambda _, job=path.stem: _of_job(postgres, job))(listed)
        components.append(Component(path.stem, len(listed), sorted(set(listed) - present)))
    return components


def signals(path: Path) -> list[str]:
    """The signals of a list."""
    lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
    return [line for line in lines if line]


def _of_job(postgres: Postgres, job: str) -> set[str]:
    sql = f"SELECT DISTINCT metric FROM metrics_events WHERE labels->>'job' = '{job}' AND coalesce(value, value_int) IS NOT NULL"
    return set(postgres.ask(sql).values("metric"))


def _of_clickhouse(clickhouse: ClickHouse, listed: list[str]) -> set[str]:
    present = set()
    for signal in listed:
        table, _, name = signal.partition(":")
        column = {"system.metrics": "metric", "system.events": "event"}.get(table)
        sql = f"SELECT 1 FROM {table} WHERE {column} = '{name}'" if name else f"SELECT count() FROM {table}"
        try:
            if clickhouse.ask(sql).rows:
                present.add(signal)
        except QueryFailed:
            continue
    return present


def _of_tables(postgres: Postgres, clickhouse: ClickHouse, listed: list[str]) -> set[str]:
    present = set()
    for signal in listed:
        table, _, column = signal.partition(".")
        store = clickhouse if table == "logs_events" else postgres
        has_value = f"notEmpty({column})" if store is clickhouse else f"coalesce({column}::text, '') NOT IN ('', '{{}}')"
        if column in ("timestamp", "severity_number"):
            has_value = f"toInt64({column}) != 0"
        if store.ask(f"SELECT 1 AS one FROM {table} WHERE {has_value} LIMIT 1").rows:
            present.add(signal)
    return present
