"""Arrow Flight: kernel metrics and a log file as record batches, with pyarrow as it is."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.flight as flight

from counts import Counts
from machine import HOST, LogLine, Sample, requests

BATCH = 250
LABELS = pa.map_(pa.string(), pa.string())
TIME = pa.timestamp("ns", tz="UTC")


def send(address: str, run: str, logs: list[LogLine], samples: list[Sample]) -> Counts:
    """Puts all records and reads the acknowledgement of every batch."""
    marks = [("demo_run", run), ("demo_protocol", "flight")]
    metrics = pa.table(
        {
            "time": pa.array([sample.time_ns for sample in samples], TIME),
            "metric": [sample.metric for sample in samples],
            "value": pa.array([sample.value for sample in samples], pa.float64()),
            "app": ["node_exporter"] * len(samples),
            "host": [HOST] * len(samples),
            "labels": pa.array([[*sample.labels.items(), *marks] for sample in samples], LABELS),
        }
    )
    lines = [
        pa.record_batch(
            {
                "timestamp": pa.array([line.time_ns for line in batch], TIME),
                "app": [line.app for line in batch],
                "host": [HOST] * len(batch),
                "message": [line.message for line in batch],
                "labels": pa.array([[("file", line.path), *marks] for line in batch], LABELS),
            }
        )
        for batch in requests(logs, most_lines=BATCH)
    ]
    with flight.connect(f"grpc://{address}") as client:
        return _put(client, "metrics_events", metrics.to_batches(BATCH)) + _put(client, "logs_events", lines)


def _put(client: flight.FlightClient, table: str, batches: list[pa.RecordBatch]) -> Counts:
    options = flight.FlightCallOptions(timeout=60, headers=[(b"tidewell-ack", b"stored")])
    descriptor = flight.FlightDescriptor.for_path(table)
    writer, answers = client.do_put(descriptor, batches[0].schema, options)
    with writer:
        for number, batch in enumerate(batches):
            writer.write_with_metadata(batch, json.dumps({"request_id": number}).encode())
        writer.done_writing()
        accepted = 0
        while (answer := answers.read()) is not None:
            accepted += json.loads(answer.to_pybytes())["accepted"]
    return Counts(sent=sum(batch.num_rows for batch in batches), accepted=accepted)
