"""Loads telemetry into a running gateway, runs all panels and variables, lints, compares signals; the last line is JSON.

Exit code 0 only when nothing failed, nothing is empty, nothing is found by the lint, and enough signals are there.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import dashboards as source  # noqa: E402

from . import lint, signals, telemetry  # noqa: E402
from .panels import Run  # noqa: E402
from .stores import ClickHouse, Postgres, QueryFailed  # noqa: E402

# Rates need two samples of a series; a few more show that they grow.
SCRAPES = 4
SECONDS_BETWEEN = 1.5


def main() -> int:
    arguments = _arguments()
    stores = {
        "timescale": Postgres(arguments.timescale),
        "clickhouse": ClickHouse(arguments.clickhouse, arguments.database),
    }
    _load(arguments, stores)
    trace = stores["clickhouse"].ask(
        "SELECT trace_id FROM logs_events WHERE level = 'error' AND trace_id != '' ORDER BY timestamp DESC LIMIT 1"
    )
    run = Run(stores, {"trace_id": trace.rows[0][0], "search": ""})
    loaded = [json.loads(path.read_text()) for path in sorted(source.FOLDER.glob("*.json"))]
    for dashboard in loaded:
        run.dashboard(dashboard)
    optional = {rule.name for rule in source.alerts.RULES if rule.only_with}
    # The comment on top is the only line that is no JSON.
    for rule in json.loads(source.GRAFANA_RULES.read_text().partition("\n")[2])["groups"][0]["rules"]:
        run.rule(rule, rule["title"] in optional)
    linted = lint.findings(loaded) + [f"{name} is not as its source says" for name in source.differences()]
    linted += _unlisted(loaded)
    linted += lint.without_runbook(source.alerts.RULES, source.HERE.parent / source.alerts.RUNBOOKS)

    outcome = run.outcome
    for heading, lines in (("failed", outcome.failed), ("empty", outcome.empty), ("lint", linted)):
        for line in lines:
            print(f"{heading}: {line}")
    components = signals.compare(stores["timescale"], stores["clickhouse"])
    for component in components:
        missing = f", missing: {', '.join(component.missing)}" if component.missing else ""
        print(f"signals of {component.name}: {component.percent:.1f} % of {component.listed}{missing}")
    result = {
        "dashboards": len(loaded),
        "panels": outcome.panels,
        "empty": len(outcome.empty),
        "failed": len(outcome.failed),
        "lint": len(linted),
    }
    print(json.dumps(result))
    fine = not (outcome.failed or outcome.empty or linted) and all(component.enough for component in components)
    return 0 if fine else 1


def _unlisted(loaded: list[dict]) -> list[str]:
    """Metrics that panels of exporters ask for and that no list of signals has."""
    jobs = {"node", "postgres", "tidewell", "vector"}
    listed = {one for job in jobs for one in signals.signals(signals.FOLDER / f"{job}.txt")}
    asked = set()
    for dashboard in loaded:
        for statement in lint.all_sql(dashboard):
            asked |= set(lint.metrics_of(statement))
    return [f"the metric {name} is shown and in no list of signals" for name in sorted(asked - listed)]


def _load(arguments: argparse.Namespace, stores: dict[str, Postgres | ClickHouse]) -> None:
    jobs = {"node": arguments.node_exporter, "postgres": arguments.postgres_exporter, "tidewell": arguments.http}
    began = time.monotonic()
    telemetry.refused(arguments.http)
    telemetry.over_the_limits(arguments.http)
    telemetry.cooled(arguments.http)
    telemetry.traced(
        arguments.http,
        {
            "the number of samples": lambda: stores["timescale"].ask("SELECT count(*) FROM metrics_events"),
            "the number of log records": lambda: stores["clickhouse"].ask("SELECT count() FROM logs_events"),
            "what cannot be answered": lambda: stores["timescale"].ask("SELECT 1 / 0"),
        },
    )
    for _ in range(SCRAPES):
        telemetry.scrape_into(arguments.http, jobs, vector_running_s=60 + time.monotonic() - began)
        time.sleep(SECONDS_BETWEEN)
    # What a rate shows needs the scrapes themselves to have been counted.
    telemetry.wait_until_delivered(arguments.http)
    try:
        stores["clickhouse"].ask("SELECT throwIf(1, 'asked for by the dashboards test')")
    except QueryFailed:
        pass  # now the server's list of errors has one


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("http", "node-exporter", "postgres-exporter", "timescale", "clickhouse", "database"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
