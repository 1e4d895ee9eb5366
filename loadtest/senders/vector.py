"""Vector's request shapes, byte for byte, and a Vector of the user's own when there is one on the PATH."""

from __future__ import annotations

import gzip
import json
import urllib.request

from gateway import Gateway
from tally import Tally

COUNT = 2000


def post(address: str, body: bytes, content_type: str, encoding: str = "") -> int:
    """Posts a body as Vector's sinks do."""
    headers = {"content-type": content_type, "user-agent": "Vector/0.58.0"}
    if encoding:
        headers["content-encoding"] = encoding
    with urllib.request.urlopen(urllib.request.Request(address, data=body, headers=headers), timeout=30) as answer:
        return answer.status


def events(app: str) -> list[dict]:
    """Log events as a `file` source makes them."""
    return [
        {"app": app, "file": "/var/log/app.log", "host": "web-1", "message": f"number {number}",
         "source_type": "file", "timestamp": "2026-11-01T22:13:20.123456789Z"}
        for number in range(COUNT)
    ]


def probe(address: str, method: str) -> None:
    """A health check of Vector's wants exactly 200."""
    with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=5) as answer:
        assert answer.status == 200, answer.status


def http_sink(gateway: Gateway) -> Tally:
    """The `http` sink: a JSON array, which is its default, and NDJSON with gzip."""
    address = f"http://{gateway.http}/write/logs"
    probe(address, "HEAD")
    post(address, json.dumps(events("vector_http_array")).encode(), "application/json")
    lines = "".join(json.dumps(event) + "\n" for event in events("vector_http_lines"))
    post(address, gzip.compress(lines.encode()), "application/x-ndjson", "gzip")
    return found(gateway, "vector_http_array").add(found(gateway, "vector_http_lines"))


def opentelemetry_sink(gateway: Gateway) -> Tally:
    """The `opentelemetry` sink with `codec: json`, whose batches are arrays of requests and no OTLP/JSON at all."""
    def request(event: dict) -> dict:
        resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "vector_opentelemetry"}}]}
        record = {"timeUnixNano": "1793571200123456789", "body": {"stringValue": event["message"]}}
        return {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [record]}]}]}

    requests = [request(event) for event in events("")]
    address = f"http://{gateway.http}/v1/logs"
    half = len(requests) // 2
    post(address, json.dumps(requests[:half]).encode(), "application/json")
    post(address, "".join(json.dumps(one) + "\n" for one in requests[half:]).encode(), "application/json")
    return found(gateway, "vector_opentelemetry")


def loki_sink(gateway: Gateway) -> Tally:
    """The `loki` sink: JSON, one stream."""
    probe(f"http://{gateway.http}/ready", "GET")
    values = [["1793571200123456789", event["message"]] for event in events("")]
    body = {"streams": [{"stream": {"app": "vector_loki"}, "values": values}]}
    post(f"http://{gateway.http}/loki/api/v1/push", gzip.compress(json.dumps(body).encode()), "application/json", "gzip")
    return found(gateway, "vector_loki")


def elasticsearch_sink(gateway: Gateway) -> Tally:
    """The `elasticsearch` sink."""
    address = f"http://{gateway.http}/elasticsearch"
    probe(f"{address}/_cluster/health", "GET")
    action = json.dumps({"create": {"_index": "vector-2026.11.01", "_type": "_doc"}})
    lines = "".join(f"{action}\n{json.dumps(event)}\n" for event in events("vector_elasticsearch"))
    post(f"{address}/_bulk", lines.encode(), "application/x-ndjson")
    return found(gateway, "vector_elasticsearch")


def found(gateway: Gateway, app: str) -> Tally:
    """What landed of an app, by message."""
    gateway.delivered()
    rows = gateway.clickhouse(f"SELECT message FROM logs_events WHERE app = '{app}'")
    return Tally.of((f"number {number}" for number in range(COUNT)), (row["message"] for row in rows))
