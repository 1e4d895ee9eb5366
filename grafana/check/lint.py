"""What a dashboard must have whatever it shows: the JSON of all dashboards in, sentences about what is wrong out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

SCHEMA_VERSION = 42
# Those of Grafana's units that are used here; a misspelt unit is shown as text behind the number.
UNITS = {
    *("short", "percentunit", "bytes", "Bps", "s", "ops", "cps", "eps", "pps", "reqps", "dtdurations"),
    *("dateTimeAsIso", "dateTimeFromNow"),
}
# Variables and macros of Grafana's own.
BUILT_IN = re.compile(r"__\w+$")
# A number, date or name that belongs to one installation.
HARD_CODED = re.compile(r"127\.0\.0\.1|localhost|tidewell\.\w|\d{4}-\d{2}-\d{2}|:\d{4,5}\b")
# Panels that say what is now, from catalogues: they have no time to filter by.
TIMELESS = re.compile(r"\b(system\.\w+|pg_\w+|timescaledb_information|tidewell_progress|metrics_metadata|version\(\))|WHERE trace_id = ")


def findings(dashboards: list[dict[str, Any]]) -> list[str]:
    """Everything that is wrong, each with its place."""
    found: list[str] = []
    uids = {dashboard["uid"] for dashboard in dashboards}
    for dashboard in dashboards:
        found += [f"{dashboard['uid']}: {what}" for what in _dashboard(dashboard, uids)]
    for name in ("uid", "title"):
        values = [dashboard[name] for dashboard in dashboards]
        found += [f"{name} {value} is there twice" for value in sorted(set(values)) if values.count(value) > 1]
    return found


def without_runbook(rules: list[Any], pages: Path) -> list[str]:
    """Alert rules without a page that names them, with the minutes that they wait for."""
    found = []
    table = (pages / "README.md").read_text()
    for rule in rules:
        page = pages / f"{rule.page}.md"
        if not page.exists() or f"`{rule.name}`" not in page.read_text():
            found.append(f"alert rule {rule.name} is not on {page.name}")
        if f"| `{rule.name}` | {rule.severity} | {rule.minutes:g} min | [{rule.page}]({rule.page}.md) |" not in table:
            found.append(f"alert rule {rule.name} is not in the table of the runbooks as it is")
    return found


def all_sql(dashboard: dict[str, Any]) -> list[str]:
    """The SQL of all panels and variables."""
    statements = [target["rawSql"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    for variable in dashboard["templating"]["list"]:
        query = variable.get("query")
        if variable["type"] == "query":
            statements.append(query["rawSql"] if isinstance(query, dict) else query)
    return statements


def metrics_of(sql: str) -> list[str]:
    """The names of metrics that a statement asks for."""
    if "metrics_events" not in sql:
        return []
    names = re.findall(r"metric = '(\w+)'", sql)
    for several in re.findall(r"metric IN \(([^)]*)\)", sql):
        names += re.findall(r"'(\w+)'", several)
    return names


def _dashboard(dashboard: dict[str, Any], uids: set[str]) -> list[str]:
    found = []
    if dashboard["schemaVersion"] != SCHEMA_VERSION:
        found.append(f"schemaVersion is {dashboard['schemaVersion']} and not {SCHEMA_VERSION}")
    if not re.fullmatch(r"[a-z][a-z0-9-]{1,39}", dashboard["uid"]):
        found.append("the uid is not made of lower-case letters, digits and hyphens, at most 40")
    for part in ("title", "description", "tags", "refresh"):
        if not dashboard.get(part):
            found.append(f"no {part}")
    found += _variables(dashboard)
    panels = dashboard["panels"]
    ids = [panel["id"] for panel in panels]
    if len(set(ids)) != len(ids):
        found.append("two panels have the same id")
    found += _overlaps(panels)
    titles = [panel["title"] for panel in panels if panel["type"] != "row"]
    found += [f"two panels are called {title}" for title in sorted(set(titles)) if titles.count(title) > 1]
    for panel in panels:
        if panel["type"] != "row":
            found += [f"{panel['title']}: {what}" for what in _panel(panel, uids)]
    return found


def _variables(dashboard: dict[str, Any]) -> list[str]:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    found = []
    for name, variable in variables.items():
        for part in ("label", "description"):
            if not variable.get(part):
                found.append(f"variable {name} has no {part}")
    texts = [str(dashboard["panels"])] + [str(variable.get("query")) + str(variable.get("datasource")) for variable in variables.values()]
    named = {match[1] or match[2] for text in texts for match in re.finditer(r"\$\{(\w+)[^}]*\}|\$(\w+)", text)}
    found += [f"variable {name} is not defined" for name in sorted(named - variables.keys()) if not BUILT_IN.match(name)]
    found += [f"variable {name} is not used" for name in sorted(variables.keys() - named)]
    # Text of a reader in SQL is quoted; only what comes from a list of the dashboard's own may stand there as it is.
    free = {name for name, variable in variables.items() if variable["type"] != "custom"}
    for sql in all_sql(dashboard):
        for match in re.finditer(r"\$\{(\w+)\}|\$(\w+)", sql):
            if (match[1] or match[2]) in free:
                found.append(f"variable {match[0]} stands unquoted in SQL: write ${{{match[1] or match[2]}:sqlstring}}")
    return found


def _panel(panel: dict[str, Any], uids: set[str]) -> list[str]:
    found = []
    if not panel["description"].endswith("."):
        found.append("the description is missing or no sentence")
    unit = panel["fieldConfig"]["defaults"].get("unit")
    units = {unit} | {
        one["value"]
        for override in panel["fieldConfig"]["overrides"]
        for one in override["properties"]
        if one["id"] == "unit"
    }
    found += [f"{one} is no unit that Grafana knows" for one in sorted(map(str, units - UNITS))]
    for reference in [panel["datasource"]] + [target["datasource"] for target in panel["targets"]]:
        if not re.fullmatch(r"\$\{\w+\}", reference["uid"]):
            found.append(f"the data source {reference['uid']} is named and not chosen by a variable")
    for link in re.findall(r"/d/([\w-]+)", str(panel)):
        if link not in uids:
            found.append(f"a link goes to {link}, which is no dashboard here")
    for target in panel["targets"]:
        sql = target["rawSql"]
        if match := HARD_CODED.search(sql):
            found.append(f"{match[0]} belongs to one installation")
        if "$__timeFilter(" not in sql and not TIMELESS.search(sql):
            found.append("the time range is not used")
        if panel["type"] == "logs" and "LIMIT" not in sql:
            found.append("the rows are not limited")
    return found


def _overlaps(panels: list[dict[str, Any]]) -> list[str]:
    taken: dict[tuple[int, int], str] = {}
    found = []
    for panel in panels:
        place = panel["gridPos"]
        if place["x"] + place["w"] > 24:
            found.append(f"{panel['title']} reaches over the edge")
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                other = taken.setdefault((x, y), panel["title"])
                if other != panel["title"]:
                    found.append(f"{panel['title']} covers {other}")
    return sorted(set(found))
