"""Panels and variables run against the stores: dashboards in, what each query gave out."""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from .expand import MacroError, Window, for_clickhouse, for_postgres, with_variables
from .stores import Answer, ClickHouse, Postgres, QueryFailed

TYPES = {"grafana-postgresql-datasource": "timescale", "grafana-clickhouse-datasource": "clickhouse"}
# What is chosen where not everything is: the rest of the dashboard should show what these have.
PREFERRED = {"metric": "node_cpu_seconds_total", "label": "mode"}
SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass
class Outcome:
    """How the queries went: sentences about those that failed or gave nothing."""

    panels: int = 0
    failed: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


@dataclass
class Run:
    """One pass over all dashboards."""

    stores: dict[str, Postgres | ClickHouse]
    # Values of typed variables, by name.
    typed: dict[str, str]
    outcome: Outcome = field(default_factory=Outcome)

    def dashboard(self, dashboard: dict[str, Any]) -> None:
        """Runs all queries of a dashboard over its own time range."""
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        reach = dashboard["time"]["from"].removeprefix("now-")
        start = end - datetime.timedelta(seconds=int(reach[:-1]) * SECONDS[reach[-1]])
        window = Window(start, end, 30)
        values: dict[str, list[str]] = {}
        for variable in dashboard["templating"]["list"]:
            name = f"{dashboard['uid']}, variable {variable['name']}"
            values[variable["name"]] = self._variable(name, variable, values, window)
        for panel in dashboard["panels"]:
            if panel["type"] == "row":
                continue
            self.outcome.panels += 1
            place = f"{dashboard['uid']}, {panel['title']}"
            answers = [self._ask(place, target, target["rawSql"], values, window) for target in panel["targets"]]
            for answer, target in zip(answers, panel["targets"]):
                if answer and (wrong := _unfit(panel, target, answer)):
                    self.outcome.failed.append(f"{place}: {wrong}")
            if any(answer and not _shows(answer) for answer in answers):
                self.outcome.empty.append(place)

    def rule(self, rule: dict[str, Any], optional: bool) -> None:
        """Runs the SQL of an alert rule: labels and one number in each row, as Grafana's alerting takes them.

        An optional one is about what not every gateway has.
        """
        place = f"alert rule {rule['title']}"
        query = rule["data"][0]
        end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
        start = end - datetime.timedelta(seconds=query["relativeTimeRange"]["from"])
        target = {"datasource": {"type": "grafana-postgresql-datasource"}}
        answer = self._ask(place, target, query["model"]["rawSql"], {}, Window(start, end, 60))
        if answer is None:
            return
        kinds = [kind for _, kind in answer.columns]
        if answer.columns[-1] != ("value", "number") or set(kinds[:-1]) != {"text"}:
            self.outcome.failed.append(f"{place}: not labels and a number, but {answer.columns}")
        elif not any(row[-1] is not None for row in answer.rows) and not optional:
            self.outcome.empty.append(place)

    def _variable(
        self, place: str, variable: dict[str, Any], values: dict[str, list[str]], window: Window
    ) -> list[str]:
        if variable["type"] == "datasource":
            return [variable["name"]]
        if variable["type"] == "custom":
            return [variable["current"]["value"]]
        if variable["type"] == "textbox":
            return [self.typed[variable["name"]]]
        query = variable["query"]
        sql = query["rawSql"] if isinstance(query, dict) else query
        answer = self._ask(place, {"datasource": variable["datasource"]}, sql, values, window)
        found = [str(row[0]) for row in answer.rows] if answer else []
        if answer and not found:
            self.outcome.empty.append(place)
        if variable["multi"]:
            return found or ["none"]
        wanted = PREFERRED.get(variable["name"])
        return [wanted] if wanted in found else (found[:1] or ["none"])

    def _ask(
        self, place: str, target: dict[str, Any], sql: str, values: dict[str, list[str]], window: Window
    ) -> Answer | None:
        source = TYPES[target["datasource"]["type"]]
        expand = for_postgres if source == "timescale" else for_clickhouse
        try:
            return self.stores[source].ask(expand(with_variables(sql, values), window))
        except (MacroError, QueryFailed) as error:
            self.outcome.failed.append(f"{place}: {error}")
            return None


def _shows(answer: Answer) -> bool:
    """Whether there is anything to see beside the time and the names of series."""
    shown = [place for place, (name, _) in enumerate(answer.columns) if name not in ("time", "metric")]
    return any(row[place] is not None for row in answer.rows for place in shown)


def _unfit(panel: dict[str, Any], target: dict[str, Any], answer: Answer) -> str | None:
    """What the data source or the panel would not take about an answer."""
    names = [name for name, _ in answer.columns]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        return f"two columns are called {twice[0]}"
    if not answer.rows:
        return None
    is_series = target.get("format") in ("time_series", 0)
    if is_series:
        if answer.kind("time") != "time":
            return f"a series needs a column time of a time type, there are {answer.columns}"
        if not any(kind == "number" for _, kind in answer.columns):
            return f"a series needs a number, there are {answer.columns}"
        # data.LongToWide refuses rows that are not in the order of time.
        times = answer.values("time")
        if times != sorted(times):
            return "the rows of a series are not in the order of time"
        if any(name not in ("time", "metric") and kind == "other" for name, kind in answer.columns):
            return f"a series has a column that is neither number nor text: {answer.columns}"
    if panel["type"] == "stat" and "value" not in names:
        return f"a stat panel shows the column value, there are {names}"
    if panel["type"] == "logs":
        if answer.columns[0][1] != "time" or answer.kind("body") != "text":
            return f"a log panel needs a time first and a text body, there are {answer.columns}"
    for override in panel["fieldConfig"]["overrides"]:
        name = override["matcher"]["options"]
        # Series are called after values of the second column.
        if panel["type"] in ("table", "logs") and name not in names:
            return f"the column {name} has properties and is not there"
    return None
