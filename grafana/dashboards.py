#!/usr/bin/env python3
"""Writes what source/ says, dashboards and alert rules, or compares it with the files: dashboards.py [--check].

Grafana is given the files; what is changed is the code. Needs nothing but Python.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from source import alerts, clickhouse, dead_letters, gateway, hosts, logs, metrics, postgres, services, tiering, trace, vector  # noqa: E402

ALL = [
    module.DASHBOARD
    for module in (services, logs, trace, metrics, hosts, gateway, dead_letters, tiering, postgres, clickhouse, vector)
]
HERE = Path(__file__).parent
FOLDER = HERE / "dashboards"
GRAFANA_RULES = HERE / "provisioning" / "alerting" / "tidewell.yaml"
RULES = {HERE.parent / "deploy" / "prometheus" / "alerts.yaml": alerts.prometheus, GRAFANA_RULES: alerts.grafana}


def files() -> dict[Path, str]:
    """What each file should say."""
    wanted = {FOLDER / f"{dashboard.name}.json": json.dumps(dashboard.json(), indent=1) + "\n" for dashboard in ALL}
    return wanted | {path: written() for path, written in RULES.items()}


def differences() -> list[str]:
    """The names of files that are missing, left over, or say something else than their source."""
    wanted = files()
    there = {path: path.read_text() for path in [*FOLDER.glob("*.json"), *RULES] if path.exists()}
    return sorted(path.name for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path))


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        changed = differences()
        if changed:
            print(f"not as their source says: {', '.join(changed)}; run grafana/dashboards.py", file=sys.stderr)
        return 1 if changed else 0
    wanted = files()
    for path in set(FOLDER.glob("*.json")) - wanted.keys():
        path.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    panels = sum(len(row.panels) for one in ALL for row in one.rows)
    print(f"{len(ALL)} dashboards, {panels} panels, {len(alerts.RULES)} alert rules")
    return 0


if __name__ == "__main__":
    sys.exit(main())
