"""REST: system log files as NDJSON to /write/logs, kernel metrics as a JSON array to /write/metrics."""

from __future__ import annotations

import gzip
import json
import math
import urllib.request
from datetime import datetime, timezone

from counts import Counts
from machine import HOST, LogLine, Sample, requests

_NAMES = {math.inf: "Infinity", -math.inf: "-Infinity"}


def send(http: str, run: str, logs: list[LogLine], samples: list[Sample]) -> Counts:
    """Sends all records; waits until the stores have them."""
    counts = Counts()
    for batch in requests(logs, most_lines=2000):
        lines = "\n".join(json.dumps(_log(line, run)) for line in batch)
        counts += _post(f"http://{http}/write/logs", "application/x-ndjson", lines, len(batch))
    metrics = json.dumps([_metric(sample, run) for sample in samples])
    counts += _post(f"http://{http}/write/metrics", "application/json", metrics, len(samples))
    return counts


def _log(line: LogLine, run: str) -> dict:
    time = datetime.fromtimestamp(line.time_ns / 1e9, timezone.utc).isoformat()
    return {
        "timestamp": time,
        "app": line.app,
        "host": HOST,
        "message": line.message,
        "file": line.path,
        "line": line.line_number,
        "demo_run": run,
        "demo_protocol": "rest",
    }


def _metric(sample: Sample, run: str) -> dict:
    return {
        "time": sample.time_ns,
        "metric": sample.metric,
        # JSON has no words for these; the gateway reads them from text.
        "value": sample.value if math.isfinite(sample.value) else _NAMES.get(sample.value, "NaN"),
        "app": "node_exporter",
        "host": HOST,
        "labels": {**sample.labels, "demo_run": run, "demo_protocol": "rest"},
    }


def _post(url: str, content_type: str, body: str, sent: int) -> Counts:
    headers = {"Content-Type": content_type, "Content-Encoding": "gzip", "tidewell-ack": "stored"}
    request = urllib.request.Request(url, gzip.compress(body.encode()), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return Counts(sent=sent, accepted=json.load(answer)["accepted"])
