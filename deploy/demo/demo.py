"""The demo: this machine's own telemetry through every protocol, and what landed in the stores.

In: the addresses of a running gateway, of its stores and of a node exporter. Out: readable tables, and a file with one
JSON object, the counts per protocol. Exit code 0 only when every record sent was acknowledged and found.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

import machine
import over_flight
import over_grpc
import over_otlp
import over_rest
from counts import Counts
from verify import Landed, Stores


# Longer than a gateway takes to deliver what a demo sends, stores that are slow to start included.
DELIVERED_WITHIN_S = 60


def _wait_until_delivered(http: str) -> None:
    """Acknowledged means durable in the gateway's log: waits until everything in it is in the stores as well."""
    until = time.monotonic() + DELIVERED_WITHIN_S
    while time.monotonic() < until:
        with urllib.request.urlopen(f"http://{http}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        waiting = [line.split()[-1] for line in lines if line.startswith("tidewell_log_frames_waiting{")]
        if waiting and all(float(frames) == 0 for frames in waiting):
            return
        time.sleep(0.1)


def main() -> int:
    arguments = _arguments()
    run = uuid.uuid4().hex
    grpc_telemetry = over_otlp.over_grpc(arguments.grpc, run)
    http_telemetry = over_otlp.over_http(arguments.http, run)
    protocols: dict[str, Counts] = {}

    def step(name: str, work):
        print(f"  {name} ...", flush=True)
        with grpc_telemetry.step(name), http_telemetry.step(name):
            return work()

    def send(protocol: str, what: str, work) -> None:
        protocols[protocol] = step(f"send {what} over {protocol}", work)
        for telemetry in (grpc_telemetry, http_telemetry):
            telemetry.sent(protocol, protocols[protocol].sent)

    logs = step("read the system log files", lambda: machine.log_lines(limit_per_file=2000))
    files = sorted(logs, key=lambda path: -len(logs[path]))
    if not files:
        print("this machine has no readable log file under /var/log: nothing to send", file=sys.stderr)
        return 1
    for path in files:
        print(f"    {len(logs[path]):6} lines of {path}")
    # The largest file goes over REST; gRPC and Flight take the others, or it again where there are no others.
    rest_logs = logs[files[0]]
    grpc_logs = logs[files[1 % len(files)]]
    flight_logs = logs[files[2 % len(files)]]

    def samples():
        return machine.scrape(arguments.node_exporter)

    send("rest", "log lines and kernel metrics", lambda: over_rest.send(arguments.http, run, rest_logs, samples()))
    send("grpc", "log lines and kernel metrics", lambda: over_grpc.send(arguments.grpc, run, grpc_logs, samples()))
    send("flight", "log lines and kernel metrics", lambda: over_flight.send(arguments.grpc, run, flight_logs, samples()))
    send("otlp_http_json", "what the OpenTelemetry SDK for Node.js emits", lambda: _node(arguments, run))
    print("  export what the OpenTelemetry SDK for Python emitted meanwhile ...", flush=True)
    protocols["otlp_grpc"] = grpc_telemetry.finish()
    protocols["otlp_http_protobuf"] = http_telemetry.finish()

    stores = Stores(arguments.timescale, arguments.clickhouse, arguments.clickhouse_database)
    _wait_until_delivered(arguments.http)
    landed = stores.found(run)
    for protocol, tables in landed.items():
        protocols[protocol].found = sum(table.count for table in tables)
    _show(stores.last_rows(), protocols, landed)
    return _report(protocols, Path(arguments.result))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("http", "grpc", "node-exporter", "timescale", "clickhouse", "clickhouse-database", "node-modules", "result"):
        parser.add_argument(f"--{name}", required=True)
    return parser.parse_args()


def _node(arguments: argparse.Namespace, run: str) -> Counts:
    script = Path(arguments.node_modules) / "over_otlp_json.mjs"
    command = ["node", str(script), arguments.http, run]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    return Counts(**json.loads(done.stdout.splitlines()[-1]))


def _show(
    tables: dict[str, tuple[list[str], list[list[str]]]],
    protocols: dict[str, Counts],
    landed: dict[str, list[Landed]],
) -> None:
    for table, (names, rows) in tables.items():
        print(f"\nThe last {len(rows)} rows of {table}" if rows else f"\n{table} is empty")
        if rows:
            _table(names, rows)
    for protocol in protocols:
        print(f"\nWhat came over {protocol}")
        names = ["store", "table", "records", "from", "to"]
        _table(names, [[l.store, l.table, str(l.count), l.first, l.last] for l in landed.get(protocol, [])])
    print("\nRecords by protocol")
    rows = [[name, str(c.sent), str(c.accepted), str(c.found)] for name, c in protocols.items()]
    _table(["protocol", "sent", "acknowledged", "found by SQL"], rows)


def _table(names: list[str], rows: list[list[str]]) -> None:
    cells = [[" ".join(cell.split())[:72] for cell in row] for row in [names, *rows]]
    widths = [max(len(row[at]) for row in cells) for at in range(len(names))]
    for number, row in enumerate(cells):
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        if number == 0:
            print("  " + "  ".join("-" * width for width in widths))


def _report(protocols: dict[str, Counts], result_file: Path) -> int:
    order = ("rest", "grpc", "otlp_grpc", "otlp_http_protobuf", "otlp_http_json", "flight")
    whole = all(c.sent > 0 and c.sent == c.accepted == c.found for c in protocols.values())
    result = {
        "demo": "ok" if whole else "incomplete",
        "protocols": {name: vars(protocols[name]) for name in order},
    }
    result_file.write_text(json.dumps(result) + "\n")
    return 0 if whole else 1


if __name__ == "__main__":
    sys.exit(main())
