"""tidewell.v1.Ingest: kernel metrics in one Write, a log file as batches of one WriteStream.

The client code is generated from the gateway's own .proto file by grpcio-tools when the demo is set up.
"""

from __future__ import annotations

import grpc
from tidewell.v1 import ingest_pb2 as pb
from tidewell.v1 import ingest_pb2_grpc as rpc

from counts import Counts
from machine import HOST, LogLine, Sample, requests

BATCH = 200
STORED = (("tidewell-ack", "stored"),)


def send(address: str, run: str, logs: list[LogLine], samples: list[Sample]) -> Counts:
    """Sends all records; waits until the stores have them."""
    marks = {"demo_run": _text(run), "demo_protocol": _text("grpc")}
    with grpc.insecure_channel(address) as channel:
        ingest = rpc.IngestStub(channel)
        metrics = pb.MetricSamples(samples=[_sample(sample, marks) for sample in samples])
        written = ingest.Write(pb.WriteRequest(metrics=metrics), metadata=STORED, timeout=60)
        counts = Counts(sent=len(samples), accepted=written.accepted)

        batches = requests(logs, most_lines=BATCH)
        stream = (
            pb.WriteStreamRequest(
                offset=offset,
                batch=pb.WriteRequest(logs=pb.LogRecords(records=[_log(line, marks) for line in batch])),
            )
            for offset, batch in enumerate(batches)
        )
        accepted = 0
        for answer in ingest.WriteStream(stream, metadata=STORED, timeout=60):
            accepted = answer.accepted  # cumulative
        return counts + Counts(sent=len(logs), accepted=accepted)


def _text(value: str) -> pb.Value:
    return pb.Value(string_value=value)


def _sample(sample: Sample, marks: dict[str, pb.Value]) -> pb.MetricSample:
    labels = {key: _text(value) for key, value in sample.labels.items()} | marks
    kind = pb.METRIC_TYPE_SUM if sample.kind == "counter" else pb.METRIC_TYPE_GAUGE
    return pb.MetricSample(
        time_unix_nano=sample.time_ns,
        metric=sample.metric,
        double_value=sample.value,
        app="node_exporter",
        host=HOST,
        labels=labels,
        type=kind,
        monotonic=True if sample.kind == "counter" else None,
        temporality=pb.TEMPORALITY_CUMULATIVE if sample.kind == "counter" else pb.TEMPORALITY_UNSPECIFIED,
    )


def _log(line: LogLine, marks: dict[str, pb.Value]) -> pb.LogRecord:
    place = {"file": _text(line.path), "line": pb.Value(int_value=line.line_number)}
    return pb.LogRecord(
        time_unix_nano=line.time_ns, app=line.app, host=HOST, message=_text(line.message), labels=place | marks
    )
