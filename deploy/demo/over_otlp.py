"""OTLP: spans, metrics and logs that the OpenTelemetry SDK for Python emits while the demo works.

Both transports run side by side, each with providers and exporters of its own, so that what each carried can be
told apart in the stores by its resource.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import Iterator

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from counts import Counts
from machine import HOST

logging.getLogger("opentelemetry").setLevel(logging.ERROR)


class Telemetry:
    """The demo's own telemetry over one transport."""

    def __init__(self, protocol: str, run: str, spans, metrics, logs) -> None:
        self.counts = Counts()
        resource = Resource.create(
            {"service.name": "tidewell-demo", "host.name": HOST, "demo_run": run, "demo_protocol": protocol}
        )
        self._traces = TracerProvider(resource=resource)
        self._traces.add_span_processor(BatchSpanProcessor(self._counting(spans, len)))
        reader = PeriodicExportingMetricReader(self._counting(metrics, _points), export_interval_millis=1000)
        self._metrics = MeterProvider(metric_readers=[reader], resource=resource)
        self._logs = LoggerProvider(resource=resource)
        self._logs.add_log_record_processor(BatchLogRecordProcessor(self._counting(logs, len)))
        self._tracer = self._traces.get_tracer("tidewell.demo", "0.1.0")
        self._logger = self._logs.get_logger("tidewell.demo", "0.1.0")
        meter = self._metrics.get_meter("tidewell.demo", "0.1.0")
        self._records = meter.create_counter("demo.records", unit="{record}", description="records the demo sent")
        self._seconds = meter.create_histogram("demo.step.duration", unit="s", description="time of one step")

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A span, a log record and a duration around a step of the demo."""
        import time

        started = time.perf_counter()
        with self._tracer.start_as_current_span(name, attributes={"demo.step": name}) as span:
            yield
            span.add_event("done")
            self._logger.emit(
                LogRecord(
                    timestamp=time.time_ns(),
                    severity_number=SeverityNumber.INFO,
                    severity_text="INFO",
                    body=f"step {name} is done",
                    attributes={"demo.step": name},
                )
            )
        self._seconds.record(time.perf_counter() - started, {"demo.step": name})

    def sent(self, protocol: str, records: int) -> None:
        """Counts records that another protocol sent."""
        self._records.add(records, {"protocol": protocol})

    def finish(self) -> Counts:
        """Exports what is left."""
        for provider in (self._traces, self._metrics, self._logs):
            provider.shutdown()
        return self.counts

    def _counting(self, exporter, size):
        """The exporter itself, with its `export` counting what it carried and what was acknowledged."""
        export = exporter.export

        def counted(batch, *args, **kwargs):
            result = export(batch, *args, **kwargs)
            self.counts.sent += size(batch)
            if result.name == "SUCCESS":
                self.counts.accepted += size(batch)
            return result

        exporter.export = counted
        return exporter


def over_grpc(address: str, run: str) -> Telemetry:
    """Telemetry over OTLP/gRPC."""
    options = {"endpoint": f"http://{address}", "insecure": True}
    return Telemetry("otlp_grpc", run, GrpcSpans(**options), GrpcMetrics(**options), GrpcLogs(**options))


def over_http(address: str, run: str) -> Telemetry:
    """Telemetry over OTLP/HTTP, protobuf."""
    base = f"http://{address}/v1"
    exporters = HttpSpans(f"{base}/traces"), HttpMetrics(f"{base}/metrics"), HttpLogs(f"{base}/logs")
    return Telemetry("otlp_http_protobuf", run, *exporters)


def _points(data) -> int:
    return sum(
        len(metric.data.data_points)
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    )
