"""Kinds of panels, with the options that all of them share here."""

from __future__ import annotations

from typing import Any

from .model import Panel, Query

GREEN_TO_RED = [(None, "green"), (1, "red")]
RED_TO_GREEN = [(None, "red"), (1, "green")]


def timeseries(title: str, description: str, queries: Query | list[Query], stacked: bool = False, **rest: Any) -> Panel:
    """Lines over time; stacked areas for shares of a whole."""
    custom = {"lineWidth": 1, "fillOpacity": 30 if stacked else 10, "showPoints": "auto", "spanNulls": 120_000}
    if stacked:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    options = {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    rest.setdefault("least", 0)
    return Panel("timeseries", title, description, _list(queries), custom=custom, options=options, **rest)


def bars(title: str, description: str, queries: Query | list[Query], **rest: Any) -> Panel:
    """Stacked bars over time, for counts per interval."""
    panel = timeseries(title, description, queries, stacked=True, **rest)
    panel.custom |= {"drawStyle": "bars", "fillOpacity": 80, "lineWidth": 0}
    return panel


def stat(title: str, description: str, query: Query, each: bool = False, **rest: Any) -> Panel:
    """The column `value`, large; with `each`, that of every row, under the text of the row's other column."""
    options = {
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "/^value$/", "values": each},
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
    }
    rest.setdefault("width", 4)
    rest.setdefault("height", 4)
    rest.setdefault("thresholds", [(None, "text")])
    return Panel("stat", title, description, [query], options=options, **rest)


def table(title: str, description: str, query: Query, **rest: Any) -> Panel:
    """Rows and columns."""
    options = {"showHeader": True, "cellHeight": "sm"}
    return Panel("table", title, description, [query], options=options, custom={"filterable": True}, **rest)


def logs(title: str, description: str, query: Query, **rest: Any) -> Panel:
    """Log lines with their labels."""
    options = {
        "showTime": True,
        "showLabels": False,
        "wrapLogMessage": True,
        "enableLogDetails": True,
        "prettifyLogMessage": False,
        "dedupStrategy": "none",
        "sortOrder": "Descending",
    }
    rest.setdefault("width", 24)
    rest.setdefault("height", 12)
    return Panel("logs", title, description, [query], options=options, **rest)


def trace_link() -> dict[str, Any]:
    """Properties of a column whose cells are trace ids: a click opens the trace."""
    return {"links": [_link("Open the trace", "/d/tidewell-trace?var-trace_id=${__value.raw}&${__url_time_range}")]}


def app_logs_link() -> dict[str, Any]:
    """Properties of a column whose cells are applications: a click opens their logs."""
    return {"links": [_link("Open the logs", "/d/tidewell-logs?var-app=${__value.raw}&${__url_time_range}")]}


def unit(name: str) -> dict[str, Any]:
    """Properties of a column with a unit of its own."""
    return {"unit": name}


def _link(title: str, url: str) -> dict[str, Any]:
    return {"title": title, "url": url, "targetBlank": False}


def _list(queries: Query | list[Query]) -> list[Query]:
    return queries if isinstance(queries, list) else [queries]
