"""Starts gateways and a Prometheus, causes what each rule waits for, and measures the time until it fires.

Out: a table, and as the last line JSON. Exit code 0 only when every rule fired on its gateway, and none did on the healthy
one, nor one on another gateway that is no consequence of its cause.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any

from .causes import Load, MemoryGroup, all_causes
from .gateways import Gateway, Stores, free_port
from .prometheus import Prometheus, faster

# How long everything is left alone before anything is caused: the rules' windows must hold samples and stay silent.
QUIET_S = 15
# Beyond what a rule waits for: looks at dead letters come once a minute.
FIRES_WITHIN_S = 90


def main() -> int:
    arguments = _arguments()
    folder = Path(arguments.folder).resolve()
    stores = Stores(arguments.timescale, arguments.clickhouse)
    gateways: list[Gateway] = []

    def new(name: str, settings: dict[str, str] | None = None, **options: Any) -> Gateway:
        gateway = Gateway(name, stores, arguments.binary, folder, settings or {}, **options)
        gateways.append(gateway)
        return gateway

    load, prometheus = Load(), None
    healthy = new("healthy")
    causes = all_causes(new, load)
    rules = Path(arguments.rules).read_text()
    names = re.findall(r"- alert: (\w+)", rules)
    if arguments.only:
        causes = [cause for cause in causes if cause.gateway.name in arguments.only]
        gateways = [healthy] + [cause.gateway for cause in causes]
        names = [name for name in names if any(name in cause.fires for cause in causes)]
    # A signal ends the program as an exception does, so that everything is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        for gateway in gateways:
            gateway.prepare()
            gateway.start()
        for gateway in gateways:
            gateway.wait_until_ready()
        fast = faster(rules, arguments.scale)
        prometheus = Prometheus(folder / "prometheus", Path(arguments.programs), fast, gateways, free_port())
        prometheus.wait_until_scraped(len(gateways))
        load.repeat(lambda: healthy.samples(100), every_s=0.2)
        # Every counter of a request is there before it matters.
        for gateway in gateways:
            gateway.samples(1)
        time.sleep(QUIET_S)
        early = sorted(key for key, state in prometheus.alerts().items() if state == "firing" and key[1] != "expiring")
        fired, wrong = _watch(prometheus, causes, arguments.scale)
    finally:
        load.stop()
        if prometheus:
            prometheus.process.terminate()
            prometheus.process.wait()
        for gateway in gateways:
            gateway.kill()
            stores.drop(gateway.database)
        MemoryGroup.remove_all()
    return _report(names, causes, fired, [f"{rule} on {name} before anything was caused" for rule, name in early] + wrong, arguments.scale)


def _watch(prometheus: Prometheus, causes: list, scale: float) -> tuple[dict[str, float], list[str]]:
    """Seconds until each rule fired, and sentences about those that should not have."""
    began: dict[str, float] = {}
    for cause in causes:
        began[cause.gateway.name] = time.monotonic()
        cause.happen(cause.gateway)
    expected = {cause.gateway.name: (cause.fires, cause.allowed) for cause in causes}
    waiting = {(rule, cause.gateway.name) for cause in causes for rule in cause.fires}
    fired: dict[str, float] = {}
    wrong: set[str] = set()
    until = time.monotonic() + FIRES_WITHIN_S + 10 * 60 / scale
    while waiting and time.monotonic() < until:
        for (rule, name), state in prometheus.alerts().items():
            if state != "firing":
                continue
            if (rule, name) in waiting:
                fired[rule] = time.monotonic() - began[name]
                waiting.discard((rule, name))
            fires, allowed = expected.get(name, ([], []))
            if rule not in fires and rule not in allowed:
                wrong.add(f"{rule} on {name}, which is no consequence of its cause")
        time.sleep(0.2)
    return fired, sorted(wrong)


def _report(names: list[str], causes: list, fired: dict[str, float], wrong: list[str], scale: float) -> int:
    caused = {rule: cause.gateway.name for cause in causes for rule in cause.fires}
    print(f"{'rule':32} {'on gateway':10} fired after (a minute of the rules took {60 / scale:g} s)")
    for name in names:
        seconds = fired.get(name)
        told = f"{seconds:5.1f} s" if seconds is not None else "not at all"
        print(f"{name:32} {caused.get(name, '-'):10} {told}")
    for sentence in wrong:
        print(f"wrong: {sentence}")
    silent = [name for name in names if name not in fired]
    print(json.dumps({"rules": len(names), "fired": len(fired), "silent": silent, "wrong": len(wrong)}))
    return 1 if silent or wrong else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("binary", "folder", "programs", "rules", "timescale", "clickhouse"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--scale", type=float, default=10, help="how much faster than the rules time runs")
    parser.add_argument("--only", nargs="*", help="causes to look at, by their gateways' names")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
