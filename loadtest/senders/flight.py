"""Arrow Flight clients: pyarrow here, and the programs in other languages that put the same batches."""

from __future__ import annotations

import datetime
import subprocess

import pyarrow
import pyarrow.flight

from gateway import Gateway
from tally import Tally

COUNT = 20_000


def with_pyarrow(gateway: Gateway) -> Tally:
    """Log lines in batches of a thousand."""
    now = datetime.datetime.now(datetime.timezone.utc)
    table = pyarrow.table(
        {
            "timestamp": pyarrow.array([now] * COUNT, pyarrow.timestamp("ns", tz="UTC")),
            "app": pyarrow.array(["flight_pyarrow"] * COUNT),
            "message": pyarrow.array([f"number {number}" for number in range(COUNT)]),
        }
    )
    client = pyarrow.flight.connect(f"grpc://{gateway.grpc}")
    writer, _ = client.do_put(pyarrow.flight.FlightDescriptor.for_path("logs_events"), table.schema)
    writer.write_table(table, max_chunksize=1000)
    writer.close()
    return found(gateway, "flight_pyarrow")


def program(gateway: Gateway, service: str, command: list) -> Tally:
    """The same by a program, which is told the address, the app and the number."""
    subprocess.run([*map(str, command), gateway.grpc, service, str(COUNT)], check=True, timeout=180)
    return found(gateway, service)


def found(gateway: Gateway, app: str) -> Tally:
    """What landed of an app, by message."""
    gateway.delivered()
    rows = gateway.clickhouse(f"SELECT message FROM logs_events WHERE app = '{app}'")
    return Tally.of((f"number {number}" for number in range(COUNT)), (row["message"] for row in rows))
