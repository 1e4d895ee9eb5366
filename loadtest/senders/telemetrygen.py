"""telemetrygen, the Collector's own generator: all three signals over gRPC and over HTTP."""

from __future__ import annotations

import subprocess
from pathlib import Path

from gateway import Gateway
from tally import Tally


def generate(tools: Path, signal: str, count: int, endpoint: str, service: str, http: bool = False) -> None:
    """Generates `count` traces of two spans, samples or log records, and waits until they are sent."""
    # Faster than that it drops spans itself, before they are sent.
    rate = "500" if signal == "traces" else "0"
    arguments = [
        tools / "bin/telemetrygen", signal, f"--{signal}", str(count), "--rate", rate, "--otlp-insecure",
        "--otlp-endpoint", endpoint, "--service", service,
    ]
    if http:
        arguments.append("--otlp-http")
    subprocess.run(arguments, check=True, capture_output=True, timeout=120)


def run(tools: Path, gateway: Gateway, http: bool) -> Tally:
    """All three signals straight to the gateway."""
    service = "telemetrygen_http" if http else "telemetrygen_grpc"
    endpoint = gateway.http if http else gateway.grpc
    count = 2000
    for signal in ("logs", "metrics", "traces"):
        generate(tools, signal, count, endpoint, service, http)
    gateway.delivered()
    logs = gateway.clickhouse(
        f"SELECT count() AS n, countIf(message = 'the message' AND level = 'info') AS good FROM logs_events WHERE app = '{service}'"
    )[0]
    metrics, = gateway.timescale("SELECT count(*) FROM metrics_events WHERE app = %s AND metric = 'gen'", service)
    spans, odd = gateway.timescale(
        "SELECT count(*), count(*) FILTER (WHERE name NOT IN ('lets-go', 'okey-dokey-0') OR duration_ns IS NULL)"
        " FROM traces_spans WHERE app = %s", service,
    )[0]
    return (
        Tally(count, logs["n"], logs["n"] - logs["good"])
        .add(Tally(count, metrics[0]))
        .add(Tally(2 * count, spans, odd))
    )
