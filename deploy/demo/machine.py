"""This machine's own telemetry: what its kernel measures and what its system logs say.

In: a node exporter's address, the files under /var/log. Out: samples and log lines as plain objects, so that each
protocol of the demo sends real records in its own form.
"""

from __future__ import annotations

import datetime
import os
import re
import socket
import time
import urllib.request
from dataclasses import dataclass, field

HOST = socket.gethostname()

# Where Debian keeps its logs, and the application that writes each.
LOG_FILES = {
    "/var/log/dpkg.log": "dpkg",
    "/var/log/apt/history.log": "apt",
    "/var/log/apt/term.log": "apt",
    "/var/log/alternatives.log": "update-alternatives",
    "/var/log/syslog": "syslog",
    "/var/log/kern.log": "kernel",
    "/var/log/auth.log": "auth",
    "/var/log/boot.log": "boot",
    "/var/log/fontconfig.log": "fontconfig",
}

_TIME = re.compile(r"(\d{4}-\d{2}-\d{2})[ T]+(\d{2}:\d{2}:\d{2})")
_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


@dataclass
class Sample:
    """One value of one series, as the node exporter shows it."""

    metric: str
    kind: str  # gauge, counter, summary or untyped
    value: float
    time_ns: int
    labels: dict[str, str] = field(default_factory=dict)


@dataclass
class LogLine:
    """One line of a log file, with the time it bears."""

    app: str
    path: str
    line_number: int
    message: str
    time_ns: int


def scrape(address: str) -> list[Sample]:
    """The machine's metrics at this moment."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
        return parse(answer.read().decode())


def parse(text: str) -> list[Sample]:
    """The samples of an exporter's text, with the time of this moment."""
    now = time.time_ns()
    kinds: dict[str, str] = {}
    samples = []
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(maxsplit=3)
            kinds[name] = kind
        match = None if line.startswith("#") else _SAMPLE.match(line)
        if match:
            labels = {
                key: value.replace(r"\"", '"').replace(r"\\", "\\")
                for key, value in _LABEL.findall(match["labels"] or "")
            }
            name = match["name"]
            base = re.sub(r"_(sum|count|bucket)$", "", name)
            kind = kinds.get(name) or kinds.get(base, "untyped")
            samples.append(Sample(name, kind, float(match["value"]), now, labels))
    return samples


def log_lines(limit_per_file: int) -> dict[str, list[LogLine]]:
    """The last lines of each system log file of this machine that can be read."""
    return {
        path: lines
        for path, app in LOG_FILES.items()
        if (lines := _read(path, app)[-limit_per_file:])
    }


def requests(lines: list[LogLine], most_lines: int, most_days: int = 50) -> list[list[LogLine]]:
    """The lines in requests of at most so many: old logs spread over more days than one request may touch."""
    split: list[list[LogLine]] = []
    days: set[int] = set()
    for line in lines:
        day = line.time_ns // 86_400_000_000_000
        if not split or len(split[-1]) == most_lines or (day not in days and len(days) == most_days):
            split.append([])
            days = set()
        split[-1].append(line)
        days.add(day)
    return split


def _read(path: str, app: str) -> list[LogLine]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        written = int(os.stat(path).st_mtime * 1e9)
    except OSError:
        return []
    # A line without a time of its own (the output of a package's scripts) happened when the line before it did.
    read, at = [], None
    for number, line in enumerate(lines, 1):
        if match := _TIME.search(line):
            local = datetime.datetime.fromisoformat(f"{match[1]} {match[2]}").astimezone()
            at = int(local.timestamp()) * 1_000_000_000
        if line.strip():
            read.append(LogLine(app, path, number, line, written if at is None else at))
    return read
