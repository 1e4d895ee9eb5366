"""Prometheus on the rules as they are checked in, with time running faster: a scale of 10 makes a minute 6 seconds."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path

from .gateways import Gateway

SECONDS = {"s": 1, "m": 60, "h": 3600}


def faster(rules: str, scale: float) -> str:
    """The rules with every duration divided: `for`, windows of rates, and the threshold of the lag."""

    def seconds(match: re.Match[str]) -> str:
        return f"{match[1]}{max(round(int(match[2]) * SECONDS[match[3]] / scale), 0)}s{match[4]}"

    rules = re.sub(r"(for: )(\d+)([smh])()$", seconds, rules, flags=re.MULTILINE)
    rules = re.sub(r"(\[)(\d+)([smh])(\])", seconds, rules)
    return re.sub(r"(lag_seconds > )(\d+)", lambda match: f"{match[1]}{int(match[2]) / scale:g}", rules)


class Prometheus:
    """A server that scrapes the gateways once a second and evaluates the rules as often."""

    def __init__(self, folder: Path, programs: Path, rules: str, targets: list[Gateway], port: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "alerts.yaml").write_text(rules)
        scrapes = "\n".join(
            f"      - targets: ['127.0.0.1:{gateway.http}']\n"
            f"        labels: {{instance: {gateway.name}, __scheme__: {gateway.scheme}}}"
            for gateway in targets
        )
        (folder / "prometheus.yaml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
            "rule_files: [alerts.yaml]\n"
            "scrape_configs:\n  - job_name: tidewell\n    tls_config: {insecure_skip_verify: true}\n"
            f"    static_configs:\n{scrapes}\n"
        )
        check = [programs / "promtool", "check", "config", folder / "prometheus.yaml"]
        subprocess.run(check, check=True, stdout=subprocess.DEVNULL)
        self._url = f"http://127.0.0.1:{port}"
        with open(folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [
                    programs / "prometheus",
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdout=log,
                stderr=log,
            )

    def alerts(self) -> dict[tuple[str, str], str]:
        """State by rule and gateway; firing wins over pending where a rule has several alerts."""
        document = self._get("/api/v1/alerts")
        states: dict[tuple[str, str], str] = {}
        for alert in document["data"]["alerts"]:
            key = alert["labels"]["alertname"], alert["labels"]["instance"]
            if states.get(key) != "firing":
                states[key] = alert["state"]
        return states

    def wait_until_scraped(self, targets: int) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                active = self._get("/api/v1/targets")["data"]["activeTargets"]
                if sum(target["health"] == "up" for target in active) == targets:
                    return
            except OSError:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"Prometheus does not reach all {targets} gateways")

    def _get(self, path: str) -> dict:
        with urllib.request.urlopen(self._url + path, timeout=10) as answer:
            return json.load(answer)
