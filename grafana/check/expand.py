"""What Grafana and its two data sources make of a panel's SQL: variables and macros in, SQL for the store out.

The rules are those of the sources, written anew:

| what | rule | where it is defined |
|---|---|---|
| `${name:sqlstring}` | each value in single quotes, quotes in it doubled; several joined by commas | Grafana, public/app/features/variables/utils and `@grafana/schema` VariableFormatID.SQLString |
| `${name}` | the value as it is | the same, without a format |
| `$__interval`, `$__interval_ms` | replaced before any macro is looked for | grafana-postgresql-datasource, sqleng/sql_engine.go, Interpolate |
| macros of PostgreSQL | `$name(arguments)`: a closing bracket ends the arguments, commas part them, an unknown name is an error | grafana-postgresql-datasource, macros.go |
| macros of ClickHouse | `$__name(arguments)`, brackets balanced; unknown names stay | clickhouse-datasource 4.20, pkg/macros/macros.go |
| intervals of at least a second | `$__timeInterval` takes whole seconds | the same, TimeInterval |
"""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass


class MacroError(ValueError):
    """A macro that the data source would refuse, or would leave for the store to stumble over."""


@dataclass
class Window:
    """The time range of a dashboard and the interval of a panel."""

    start: datetime.datetime
    end: datetime.datetime
    interval_s: int


def with_variables(text: str, values: dict[str, list[str]]) -> str:
    """Variables replaced by what is chosen."""

    def value(match: re.Match[str]) -> str:
        name, form = match["name"] or match["bare"], match["form"]
        if name not in values:
            # A macro or one of Grafana's own, which are replaced elsewhere.
            return match[0]
        if form == "sqlstring":
            return ",".join("'" + one.replace("'", "''") + "'" for one in values[name])
        if form:
            raise MacroError(f"the format of ${{{name}:{form}}} is not known to this test")
        return ",".join(values[name])

    return re.sub(r"\$\{(?P<name>\w+)(?::(?P<form>\w+))?\}|\$(?P<bare>\w+)", value, text)


def for_postgres(sql: str, window: Window) -> str:
    """SQL as grafana-postgresql-datasource sends it, for a data source with `timescaledb: true`."""
    sql = sql.replace("$__interval_ms", str(window.interval_s * 1000)).replace("$__interval", f"{window.interval_s}s")
    epochs = {"$__unixEpochFrom()": window.start, "$__unixEpochTo()": window.end}
    for macro, time in epochs.items():
        sql = sql.replace(macro, str(int(time.timestamp())))

    def macro(match: re.Match[str]) -> str:
        name, arguments = match[1], [argument.strip(" ") for argument in match[2].split(",")]
        # For queries of before Grafana 5.3: a comma right after it means that the alias is wanted.
        if name == "__timeGroup" and sql[match.end() : match.end() + 1] == ",":
            name = "__timeGroupAlias"
        return _postgres_macro(name, arguments, window)

    return re.sub(r"\$([_a-zA-Z0-9]+)\(([^)]*)\)", macro, sql)


def _postgres_macro(name: str, arguments: list[str], window: Window) -> str:
    start, end = _rfc3339(window.start), _rfc3339(window.end)
    first = arguments[0]
    if name == "__timeFilter":
        return f"{first} BETWEEN '{start}' AND '{end}'"
    if name == "__timeFrom":
        return f"'{start}'"
    if name == "__timeTo":
        return f"'{end}'"
    if name in ("__timeGroup", "__timeGroupAlias"):
        if len(arguments) < 2:
            raise MacroError(f"macro {name} needs time column and interval and optional fill value")
        seconds = _seconds(arguments[1].strip("'"))
        bucket = f"time_bucket('{seconds:.3f}s',{first})"
        return bucket if name == "__timeGroup" else f'{bucket} AS "time"'
    if name == "__time":
        return f'{first} AS "time"'
    raise MacroError(f'unknown macro "{name}"')


def for_clickhouse(sql: str, window: Window) -> str:
    """SQL as grafana-clickhouse-datasource sends it."""
    start, end = int(window.start.timestamp()), int(window.end.timestamp())
    expansions = {
        "__timeFilter": lambda column: f"{column} >= toDateTime({start}) AND {column} <= toDateTime({end})",
        "__timeFilter_ms": lambda column: f"{column} >= fromUnixTimestamp64Milli({start * 1000})"
        f" AND {column} <= fromUnixTimestamp64Milli({end * 1000})",
        "__timeInterval": lambda column: (
            f"toStartOfInterval(toDateTime({column}), INTERVAL {max(window.interval_s, 1)} second)"
        ),
        "__fromTime": lambda: f"toDateTime({start})",
        "__toTime": lambda: f"toDateTime({end})",
        "__interval_s": lambda: str(max(window.interval_s, 1)),
    }
    names = "|".join(sorted(expansions, key=len, reverse=True))
    expanded, rest = "", sql
    while match := re.search(rf"\$({names})(?![A-Za-z0-9_])", rest):
        expanded += rest[: match.start()]
        rest = rest[match.end() :]
        arguments: list[str] = []
        if rest.startswith("("):
            inner, rest = _balanced(rest)
            arguments = [argument.strip() for argument in inner.split(",")] if inner.strip() else []
        try:
            expanded += expansions[match[1]](*arguments)
        except TypeError as error:
            raise MacroError(f"${match[1]}: {error}") from error
    expanded += rest
    if left := re.search(r"\$__\w+", expanded):
        raise MacroError(f"{left[0]} is no macro of the ClickHouse data source")
    return expanded


def _balanced(text: str) -> tuple[str, str]:
    """What is between the bracket that the text starts with and its closing one, and what follows."""
    depth = 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0:
            return text[1:place], text[place + 1 :]
    raise MacroError("a bracket is not closed")


def _rfc3339(time: datetime.datetime) -> str:
    return time.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _seconds(interval: str) -> float:
    """An interval as gtime.ParseInterval reads it: digits and a unit."""
    match = re.fullmatch(r"(\d+)(ms|s|m|h|d|w)", interval)
    if not match:
        raise MacroError(f"error parsing interval {interval}")
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
    return int(match[1]) * units[match[2]]
