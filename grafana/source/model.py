"""Dashboards, rows, panels and variables, and the JSON that Grafana loads.

In: plain objects, as the modules beside this one write them down. Out: the classic dashboard schema, version 42, which
Grafana 12 writes (its own list: apps/dashboard/pkg/migration/schemaversion/migrations.go). The same objects always give
the same bytes, so that a test can compare them with the files.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 42
GRID_WIDTH = 24

# The types of the data sources, by the names of the variables that choose one. A dashboard never names a data source.
DATASOURCES = {"timescale": "grafana-postgresql-datasource", "clickhouse": "grafana-clickhouse-datasource"}

# How grafana-clickhouse-datasource numbers the forms of an answer (sqlds: FormatQueryOption).
CLICKHOUSE_FORMATS = {"time_series": 0, "table": 1, "logs": 2}


@dataclass
class Query:
    """SQL for one of the data sources, and the form of its answer: time_series, table or logs."""

    source: str
    sql: str
    form: str = "time_series"

    def target(self, ref_id: str) -> dict[str, Any]:
        common = {"refId": ref_id, "datasource": datasource(self.source), "rawSql": self.sql.strip()}
        if self.source == "timescale":
            return common | {"editorMode": "code", "format": self.form, "rawQuery": True}
        kinds = {"time_series": "timeseries", "table": "table", "logs": "logs"}
        return common | {
            "editorType": "sql",
            "format": CLICKHOUSE_FORMATS[self.form],
            "queryType": kinds[self.form],
        }


@dataclass
class Panel:
    """One panel. `fields` changes single columns: name to the properties of Grafana's field configuration."""

    kind: str
    title: str
    description: str
    queries: list[Query]
    unit: str = "short"
    width: int = 12
    height: int = 8
    decimals: int | None = None
    least: float | None = None
    most: float | None = None
    # (from, colour), the first from None.
    thresholds: list[tuple[float | None, str]] | None = None
    mappings: dict[str, tuple[str, str]] | None = None
    custom: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, dict[str, Any]] = field(default_factory=dict)
    links: list[dict[str, Any]] = field(default_factory=list)
    interval: str = "30s"

    def json(self, panel_id: int, x: int, y: int) -> dict[str, Any]:
        defaults: dict[str, Any] = {"unit": self.unit, "custom": self.custom}
        for key, value in (("decimals", self.decimals), ("min", self.least), ("max", self.most)):
            if value is not None:
                defaults[key] = value
        if self.thresholds:
            steps = [{"color": colour, "value": start} for start, colour in self.thresholds]
            defaults["thresholds"] = {"mode": "absolute", "steps": steps}
        if self.mappings:
            named = {
                value: {"text": text, "color": colour, "index": index}
                for index, (value, (text, colour)) in enumerate(self.mappings.items())
            }
            defaults["mappings"] = [{"type": "value", "options": named}]
        overrides = [
            {
                "matcher": {"id": "byName", "options": name},
                "properties": [{"id": key, "value": value} for key, value in properties.items()],
            }
            for name, properties in self.fields.items()
        ]
        return {
            "id": panel_id,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "datasource": self.queries[0].target("A")["datasource"],
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "interval": self.interval,
            "fieldConfig": {"defaults": defaults, "overrides": overrides},
            "options": self.options,
            "links": self.links,
            "targets": [query.target(chr(ord("A") + index)) for index, query in enumerate(self.queries)],
        }


@dataclass
class Row:
    """Panels under one heading, laid out from left to right."""

    title: str
    panels: list[Panel]


@dataclass
class Variable:
    """A value that the reader chooses: from a query, of a fixed list, or typed."""

    name: str
    label: str
    description: str
    query: Query | None = None
    choices: list[str] = field(default_factory=list)
    many: bool = True

    def json(self) -> dict[str, Any]:
        common = {"name": self.name, "label": self.label, "description": self.description, "hide": 0}
        common["skipUrlSync"] = False
        if self.query:
            sql = self.query.sql.strip()
            # The PostgreSQL data source takes the SQL itself, the ClickHouse one an object.
            query: Any = sql
            if self.query.source == "clickhouse":
                query = {"editorType": "sql", "rawSql": sql, "refId": self.name}
            return common | {
                "type": "query",
                "datasource": datasource(self.query.source),
                "query": query,
                "definition": sql,
                "refresh": 2,
                "regex": "",
                "sort": 0,
                "multi": self.many,
                "includeAll": self.many,
                "current": {"text": ["All"], "value": ["$__all"]} if self.many else {},
                "options": [],
            }
        if self.choices:
            first = self.choices[0]
            options = [{"text": choice, "value": choice, "selected": choice == first} for choice in self.choices]
            return common | {
                "type": "custom",
                "query": ",".join(self.choices),
                "multi": False,
                "includeAll": False,
                "current": {"text": first, "value": first},
                "options": options,
            }
        return common | {"type": "textbox", "query": "", "current": {"text": "", "value": ""}, "options": []}


@dataclass
class Dashboard:
    """A dashboard. Its file and its address are called after `name`."""

    name: str
    title: str
    description: str
    rows: list[Row]
    variables: list[Variable] = field(default_factory=list)
    hours: int = 1

    @property
    def uid(self) -> str:
        return f"tidewell-{self.name}"

    def json(self) -> dict[str, Any]:
        panels = _laid_out(self.rows)
        sources = [source for source in DATASOURCES if self._uses(source)]
        variables = [_datasource_variable(source) for source in sources]
        variables += [variable.json() for variable in self.variables]
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["tidewell"],
            "schemaVersion": SCHEMA_VERSION,
            "version": 1,
            "editable": True,
            "fiscalYearStartMonth": 0,
            "graphTooltip": 1,
            "time": {"from": f"now-{self.hours}h", "to": "now"},
            "timepicker": {},
            "refresh": "30s",
            "timezone": "utc",
            "weekStart": "",
            "annotations": {"list": []},
            "links": [_all_dashboards()],
            "templating": {"list": variables},
            "panels": panels,
        }

    def _uses(self, source: str) -> bool:
        queries = [query for row in self.rows for panel in row.panels for query in panel.queries]
        queries += [variable.query for variable in self.variables if variable.query]
        return any(query.source == source for query in queries)


def datasource(source: str) -> dict[str, str]:
    """The data source that the reader chose."""
    return {"type": DATASOURCES[source], "uid": f"${{{source}}}"}


def _datasource_variable(source: str) -> dict[str, Any]:
    return {
        "name": source,
        "label": {"timescale": "TimescaleDB", "clickhouse": "ClickHouse"}[source],
        "description": "The data source that is asked",
        "type": "datasource",
        "query": DATASOURCES[source],
        "regex": "/Tidewell/",
        "hide": 0,
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "skipUrlSync": False,
        "current": {},
        "options": [],
    }


def _all_dashboards() -> dict[str, Any]:
    return {
        "title": "Tidewell",
        "type": "dashboards",
        "tags": ["tidewell"],
        "asDropdown": True,
        "icon": "external link",
        "includeVars": False,
        "keepTime": True,
        "targetBlank": False,
        "tooltip": "The other dashboards",
        "url": "",
    }


def _laid_out(rows: list[Row]) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row in rows:
        heading = {"id": len(panels) + 1, "type": "row", "title": row.title, "collapsed": False, "panels": []}
        panels.append(heading | {"gridPos": {"x": 0, "y": y, "w": GRID_WIDTH, "h": 1}})
        y += 1
        x = height = 0
        for panel in row.panels:
            if x + panel.width > GRID_WIDTH:
                x, y, height = 0, y + height, 0
            panels.append(panel.json(len(panels) + 1, x, y))
            x += panel.width
            height = max(height, panel.height)
        y += height
    return panels
