"""Real telemetry for the dashboards, beside the demo's: scrapes of exporters, spans and logs of this program's own
work, records that are refused.

In: the addresses of a running gateway and of exporters. Out: rows in the gateway's tables.
"""

from __future__ import annotations

import json
import math
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

from .stores import QueryFailed
from .vector_metrics import exposition

sys.path.append(str(Path(__file__).parents[2] / "deploy" / "demo"))
import machine  # noqa: E402


def scrape_into(http: str, jobs: dict[str, str], vector_running_s: float) -> None:
    """One scrape of every exporter, as Prometheus labels it: `job` and `instance` beside the series' own labels.

    Vector's metrics are made up, for one that has been running so long.
    """
    scraped = {job: machine.scrape(address) for job, address in jobs.items()}
    scraped["vector"] = machine.parse(exposition(vector_running_s, machine.HOST))
    for job, samples in scraped.items():
        instance = jobs.get(job, f"{machine.HOST}:9598")
        rows = [
            {
                "metric": sample.metric,
                "time": sample.time_ns,
                # JSON has no words for these; the gateway reads them from text.
                "value": sample.value if math.isfinite(sample.value) else str(sample.value).replace("inf", "Infinity"),
                "labels": {"job": job, "instance": instance, **sample.labels},
            }
            for sample in samples
        ]
        for row in rows:
            if row["value"] == "nan":
                row["value"] = "NaN"
        post(http, "/write/metrics", rows)


def refused(http: str) -> None:
    """Records that the gateway refuses and keeps: a time that is none, and a value that is no number."""
    now = time.time_ns()
    post(http, "/write/logs", [{"time": "yesterday", "message": "bad"}, {"time": now, "message": "good"}], accepted=1)
    post(http, "/write/metrics", [{"time": now, "metric": "bad", "value": "much"}], accepted=0)


def over_the_limits(http: str) -> None:
    """A record with a label that is longer than its table allows: it is cut, and that is counted."""
    post(http, "/write/logs", [{"time": time.time_ns(), "message": "long label", "long": "x" * 100_000}])


def cooled(http: str) -> None:
    """Samples of last month, moved to ClickHouse and verified."""
    old = time.time_ns() - 30 * 86_400 * 10**9
    post(http, "/write/metrics", [{"time": old + number, "metric": "old", "value": number} for number in range(100)])
    wait_until_delivered(http)
    _ask(http, "/schema/register", {"table_name": "metrics_events", "tiering": {"cool_after_seconds": 86_400}})
    for work in ("run", "verify"):
        task = _ask(http, f"/tiering/metrics_events/{work}", {})
        until = time.monotonic() + 60
        while task["state"] == "running" and time.monotonic() < until:
            time.sleep(0.1)
            task = _ask(http, "/tiering/metrics_events/task")
        if task["state"] != "done":
            raise RuntimeError(f"tiering: {task}")


def _ask(http: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Posts a body, or gets; the answer, which must be a success."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"http://{http}{path}", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def post(http: str, path: str, records: list[dict[str, Any]], accepted: int | None = None) -> None:
    """Sends records and checks how many were taken: all, unless told otherwise."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{http}{path}", json.dumps(records).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        # 400 with the same body when nothing was taken.
        told = json.load(error)
    if told["accepted"] != (len(records) if accepted is None else accepted):
        raise RuntimeError(f"{path}: {told}")


class Service:
    """A service with spans, logs and metrics of its own over OTLP."""

    def __init__(self, name: str, http: str) -> None:
        resource = Resource.create({"service.name": name, "host.name": machine.HOST, "service.version": "1"})
        base = f"http://{http}/v1"
        self._traces = TracerProvider(resource=resource)
        self._traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base}/traces")))
        self._logs = LoggerProvider(resource=resource)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter(f"{base}/logs")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{base}/metrics"), export_interval_millis=1000)
        self._metrics = MeterProvider(metric_readers=[reader], resource=resource)
        self.tracer = self._traces.get_tracer("tidewell.dashboards")
        self._logger = self._logs.get_logger("tidewell.dashboards")
        self._duration = self._metrics.get_meter("tidewell.dashboards").create_histogram(
            "store.query.duration", unit="s", description="time of one query of a store"
        )

    def tell(self, severity: SeverityNumber, text: str) -> None:
        """A log record; within a span it bears the span's ids."""
        record = LogRecord(timestamp=time.time_ns(), severity_number=severity, severity_text=severity.name, body=text)
        self._logger.emit(record)

    def took(self, seconds: float) -> None:
        """One observation, with the span it was made in as its exemplar."""
        self._duration.record(seconds)

    def finish(self) -> None:
        """Exports what is left."""
        for provider in (self._traces, self._logs, self._metrics):
            provider.shutdown()


def traced(http: str, questions: dict[str, Callable[[], object]]) -> None:
    """Asks the stores a few questions, each traced across two services; a question that fails is an error."""
    caller, called = Service("dashboards-test", http), Service("store-reader", http)
    for name, ask in questions.items():
        with caller.tracer.start_as_current_span(name, kind=SpanKind.CLIENT):
            with called.tracer.start_as_current_span(f"query {name}", kind=SpanKind.SERVER) as span:
                began = time.perf_counter()
                called.tell(SeverityNumber.INFO, f"asking for {name}")
                try:
                    ask()
                except QueryFailed as error:
                    span.record_exception(error)
                    span.set_status(Status(StatusCode.ERROR, str(error).splitlines()[0][:200]))
                    called.tell(SeverityNumber.ERROR, f"{name} failed: {str(error).splitlines()[0]}")
                called.took(time.perf_counter() - began)
    called.finish()
    caller.finish()


def wait_until_delivered(http: str, within_s: float = 60) -> None:
    """Acknowledged means durable in the gateway's log: waits until everything in it is in the stores as well."""
    until = time.monotonic() + within_s
    while time.monotonic() < until:
        waiting = [sample for sample in machine.scrape(http) if sample.metric == "tidewell_log_frames_waiting"]
        if waiting and not any(sample.value for sample in waiting):
            return
        time.sleep(0.1)
    raise RuntimeError(f"the gateway has not delivered everything within {within_s} s")
