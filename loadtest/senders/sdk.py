"""The OpenTelemetry SDK for Python over gRPC and over HTTP, and the programs in Node.js and Go that do the same."""

from __future__ import annotations

import logging
import subprocess
from pathlib import Path

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

from gateway import Gateway
from tally import Tally

logging.getLogger("opentelemetry").setLevel(logging.ERROR)

COUNT = 1000


def python(gateway: Gateway, http: bool) -> Tally:
    """Spans, log records and a counter with this many series, each numbered."""
    service = "sdk_python_http" if http else "sdk_python_grpc"
    if http:
        base = f"http://{gateway.http}/v1"
        exporters = HttpSpans(f"{base}/traces"), HttpMetrics(f"{base}/metrics"), HttpLogs(f"{base}/logs")
    else:
        options = {"endpoint": gateway.grpc, "insecure": True}
        exporters = GrpcSpans(**options), GrpcMetrics(**options), GrpcLogs(**options)
    resource = Resource.create({"service.name": service})
    traces, logs = TracerProvider(resource=resource), LoggerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(exporters[0], max_queue_size=4 * COUNT))
    reader = PeriodicExportingMetricReader(exporters[1], export_interval_millis=3_600_000)
    metrics = MeterProvider(metric_readers=[reader], resource=resource)
    logs.add_log_record_processor(BatchLogRecordProcessor(exporters[2], max_queue_size=4 * COUNT))
    tracer, logger = traces.get_tracer("senders"), logs.get_logger("senders")
    counter = metrics.get_meter("senders").create_counter("numbers")
    for number in range(COUNT):
        with tracer.start_as_current_span("step", attributes={"number": number}):
            logger.emit(LogRecord(body=f"number {number}", severity_number=SeverityNumber.INFO, attributes={"number": number}))
        counter.add(number, {"number": number})
    # Which flushes; a flush before it would export the counter twice.
    for provider in (traces, metrics, logs):
        provider.shutdown()
    return found(gateway, service)


def program(gateway: Gateway, service: str, command: list) -> Tally:
    """The same by a program, which is told the addresses and the service."""
    subprocess.run([*map(str, command), gateway.grpc, gateway.http, service, str(COUNT)], check=True, timeout=180)
    return found(gateway, service)


def found(gateway: Gateway, service: str) -> Tally:
    """What landed of a service: spans, log records and points by number, with the content that follows from it."""
    gateway.delivered()
    numbers = [(str(number), str(number)) for number in range(COUNT)]
    spans = gateway.timescale(
        "SELECT labels->>'number', labels->>'number' FROM traces_spans WHERE app = %s AND name = 'step'", service
    )
    points = gateway.timescale(
        "SELECT labels->>'number', coalesce(value_int, value::bigint)::text FROM metrics_events WHERE app = %s AND metric = 'numbers'", service
    )
    logs = [
        (row["number"], row["message"].removeprefix("number "))
        for row in gateway.clickhouse(f"SELECT labels['number'] AS number, message FROM logs_events WHERE app = '{service}'")
    ]
    tallies = [Tally.of(numbers, landed) for landed in (spans, points, logs)]
    return tallies[0].add(tallies[1]).add(tallies[2])
