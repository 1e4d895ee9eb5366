"""Real senders against a gateway on the embedded stores, each audited in the stores. Usage: run.py GATEWAY TOOLS FOLDER
[SENDER ..], where the names of senders are those of the last line. The last line is one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import traceback
from pathlib import Path

import collector
import flight
import prometheus
import sdk
import telemetrygen
import vector
from gateway import Gateway, free_port
from tally import Tally


def main() -> int:
    """Runs the senders that are asked for, or all of them."""
    program, tools, folder = map(Path, sys.argv[1:4])
    wanted = sys.argv[4:]
    gateway = Gateway(program, folder)
    gateway.start()
    node_exporter = f"127.0.0.1:{free_port()}"
    exporter = subprocess.Popen(
        [tools / "node-exporter/usr/bin/prometheus-node-exporter", f"--web.listen-address={node_exporter}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )

    def through(name: str, *files: str, **variables: str):
        return lambda: collector.run(tools, folder, gateway, name, ["collector.yaml", *files], **variables)

    def program_of(kind: str, service: str, command: list):
        return lambda: (flight if kind == "flight" else sdk).program(gateway, service, command)

    node, go = ["node", tools / "node/sender.mjs"], [tools / "bin/senders"]
    debian = tools / "prometheus/usr/bin/prometheus"
    senders = {
        "collector_otlp_grpc": through("collector_otlp_grpc", COLLECTOR_COMPRESSION="gzip"),
        "collector_otlp_grpc_zstd": through("collector_otlp_grpc_zstd", COLLECTOR_COMPRESSION="zstd"),
        "collector_otlp_grpc_plain": through("collector_otlp_grpc_plain", COLLECTOR_COMPRESSION="none"),
        "collector_otlp_http": through("collector_otlp_http", "http.yaml", COLLECTOR_ENCODING="proto"),
        "collector_otlp_http_json": through("collector_otlp_http_json", "http.yaml", COLLECTOR_ENCODING="json"),
        "collector_remote_write": through("collector_remote_write", "remote-write.yaml"),
        "collector_disturbed": lambda: collector.through_disturbances(tools, folder, gateway),
        "telemetrygen_grpc": lambda: telemetrygen.run(tools, gateway, http=False),
        "telemetrygen_http": lambda: telemetrygen.run(tools, gateway, http=True),
        "prometheus_remote_write_1": lambda: prometheus.run(debian, folder, 1, gateway, node_exporter),
        "prometheus_remote_write_2": lambda: prometheus.run(tools / "bin/prometheus", folder, 2, gateway, node_exporter),
        "sdk_python_grpc": lambda: sdk.python(gateway, http=False),
        "sdk_python_http": lambda: sdk.python(gateway, http=True),
        "sdk_node_grpc": program_of("sdk", "sdk_node_grpc", [*node, "grpc"]),
        "sdk_node_http": program_of("sdk", "sdk_node_http", [*node, "proto"]),
        "sdk_node_http_json": program_of("sdk", "sdk_node_http_json", [*node, "json"]),
        "sdk_go_grpc": program_of("sdk", "sdk_go_grpc", [*go, "sdk-grpc"]),
        "sdk_go_http": program_of("sdk", "sdk_go_http", [*go, "sdk-http"]),
        "flight_pyarrow": lambda: flight.with_pyarrow(gateway),
        "flight_go": program_of("flight", "flight_go", [*go, "flight"]),
        "vector_http": lambda: vector.http_sink(gateway),
        "vector_opentelemetry": lambda: vector.opentelemetry_sink(gateway),
        "vector_loki": lambda: vector.loki_sink(gateway),
        "vector_elasticsearch": lambda: vector.elasticsearch_sink(gateway),
    }
    unknown = set(wanted) - set(senders)
    if unknown:
        sys.exit(f"{', '.join(sorted(unknown))}: unknown; there are {', '.join(senders)}")
    tallies: dict[str, Tally] = {}
    try:
        for name, send in senders.items():
            if wanted and name not in wanted:
                continue
            started = time.monotonic()
            try:
                tallies[name] = send()
            except Exception as error:  # One sender that cannot be run leaves the others alone.
                traceback.print_exc()
                tallies[name] = Tally(notes={"error": str(error)})
            seconds = time.monotonic() - started
            word = "ok" if tallies[name].is_good else "FAILED"
            print(f"{word:7} {name:28} {json.dumps(tallies[name].document())} {seconds:.0f} s", flush=True)
    finally:
        exporter.terminate()
        gateway.stop()
    print(json.dumps({"senders": {name: tally.document() for name, tally in tallies.items()}}))
    return 0 if all(tally.is_good for tally in tallies.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
