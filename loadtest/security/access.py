"""Getting in without leave: without a key, with a wrong one, with one for something else, and by odd ways to say a path."""

import base64
import hashlib
import json
import socket
import threading

from gateway import KEYS, Gateway
from http2 import Connection, grpc

RECORD = json.dumps({"message": "attack"}).encode()
JSON = {"content-type": "application/json"}
TABLE = json.dumps({"table_name": "attack", "columns": [{"name": "time", "type": "timestamp"}]}).encode()


def without_a_credential(gateway: Gateway):
    """Every address, by every method, without a key and with those that are none."""
    hashed = hashlib.sha256(KEYS["writer"].encode()).hexdigest()
    basic = base64.b64encode(f"reader:{KEYS['writer']}".encode()).decode()
    credentials = [None, "Bearer", "Bearer ", "Bearer x", f"Bearer {hashed}", f"Basic {basic}", "Basic Og==", "Digest a", f"Bearer {KEYS['writer'][:-1]}"]
    credentials += [f"Bearer {KEYS['writer']} x", "Bearer " + "x" * 30000, "Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJ3cml0ZXIifQ."]
    paths = ["/write/logs", "/write/metrics", "/v1/logs", "/v1/traces", "/schema/register", "/schema/tables", "/schema/tables/logs_events"]
    paths += ["/dead-letters", "/dead-letters/replay", "/metrics", "/"]
    for credential in credentials:
        for path in paths:
            for method in ("GET", "POST"):
                headers = {**JSON, **({"authorization": credential} if credential is not None else {})}
                status, _ = gateway.ask(method, path, RECORD if method == "POST" else b"", headers)
                yield f"{method} {path} as {str(credential)[:20]!r}", status not in (401, 431, -1)


def beyond_a_scope(gateway: Gateway):
    """Right keys for what they are not for."""
    asked = [
        ("limited", "POST", "/write/metrics", RECORD),
        ("limited", "POST", "/v1/metrics", b"{}"),
        ("limited", "POST", "/schema/register", TABLE),
        ("limited", "GET", "/schema/tables", b""),
        ("limited", "GET", "/metrics", b""),
        ("limited", "GET", "/dead-letters", b""),
        ("limited", "GET", "/", b""),
        ("reader", "POST", "/write/logs", RECORD),
        ("reader", "POST", "/schema/register", TABLE),
        ("reader", "POST", "/dead-letters/replay", b""),
        ("reader", "GET", "/schema/tables/metrics_events", b""),
        ("writer", "GET", "/metrics", b""),
        ("writer", "DELETE", "/dead-letters/0190163d-8694-739b-aea5-966c26f8ad91", b""),
        # Another tenant's tables are not there.
        ("guest", "POST", "/write/logs", RECORD),
        ("guest", "GET", "/schema/tables/logs_events", b""),
    ]
    for name, method, path, body in asked:
        # An empty OTLP request names no table, and there is nothing of it to refuse.
        allowed = (200,) if body == b"{}" else ()
        status, _ = gateway.ask(method, path, body, JSON, KEYS[name])
        yield f"{name}: {method} {path}", status not in (403, 404, *allowed)
    for header in ("tenant", "x-tenant", "x-scope-orgid", "x-tidewell-tenant", "x-forwarded-user", "x-client-cert", "x-original-url"):
        status, _ = gateway.ask("GET", "/schema/tables/logs_events", b"", {header: "default"}, KEYS["guest"])
        yield f"guest with {header}", status != 404


def odd_paths(gateway: Gateway):
    """Ways to say a path or a method that one part may read otherwise than another."""
    for path in ("//metrics", "/metrics/", "/./metrics", "/healthz/../metrics", "/healthz/..%2fmetrics", "/%6detrics", "/metrics%00", "/metrics;/healthz",
                 "/healthz#/metrics", "/METRICS", "/readyz/../dead-letters", "/write/../schema/tables", "http://x/metrics", "/metrics?/healthz", "*"):
        for method in ("GET", "HEAD", "OPTIONS", "TRACE", "CONNECT"):
            status, body = raw(gateway, f"{method} {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode())
            # What follows a # is no part of the path, and /healthz is open.
            is_open = path.startswith("/healthz#")
            yield f"{method} {path}", (status in range(200, 400) and not is_open) or b"tidewell_" in body
    smuggled = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n"
    for framing in (
        b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"content-length: 0\r\ncontent-length: 30\r\n\r\n",
        b"transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\n",
        b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"transfer-encoding : chunked\r\n\r\n0\r\n\r\n",
        b"content-length: +0\r\n\r\n",
    ):
        _, body = raw(gateway, b"POST /healthz HTTP/1.1\r\nhost: x\r\n" + framing + smuggled)
        yield f"smuggled behind {framing[:40]!r}", b"tidewell_" in body


def raw(gateway: Gateway, data: bytes) -> tuple[int, bytes]:
    """What is answered to these bytes."""
    said = b""
    with socket.create_connection(gateway.http, 5) as connection:
        connection.settimeout(1)
        try:
            connection.sendall(data)
            while more := connection.recv(65536):
                said += more
        except OSError:
            pass
    status = said.split(b" ", 2)[1] if said.startswith(b"HTTP/") else b"-1"
    return int(status), said


def over_grpc(gateway: Gateway):
    """Every service, without a key and with one for something else."""
    services = [
        "/tidewell.v1.Ingest/Write", "/tidewell.v1.Ingest/WriteStream", "/tidewell.v1.Ingest/ListTables", "/tidewell.v1.Ingest/RegisterTable",
        "/arrow.flight.protocol.FlightService/DoGet", "/arrow.flight.protocol.FlightService/DoPut", "/arrow.flight.protocol.FlightService/DoAction",
        "/arrow.flight.protocol.FlightService/ListFlights", "/arrow.flight.protocol.FlightService/Handshake",
        "/opentelemetry.proto.collector.logs.v1.LogsService/Export", "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "/nothing.Here/Either",
    ]
    for path in services:
        for credential in (None, "Bearer x", "Basic Og=="):
            fields = [("authorization", credential)] if credential else []
            connection = Connection(gateway.grpc)
            status = connection.call(path, grpc(b""), *fields)
            connection.close()
            yield f"{path} as {credential}", status != "16"
    for name, path in (("reader", services[0]), ("writer", services[2]), ("writer", services[4]), ("limited", services[3]), ("reader", services[5])):
        connection = Connection(gateway.grpc)
        status = connection.call(path, grpc(b""), ("authorization", f"Bearer {KEYS[name]}"))
        connection.close()
        yield f"{name}: {path}", status != "7"


def other_hosts(gateway: Gateway):
    """Addresses in every place of a request: the gateway connects to none of them."""
    met = []
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.5)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/x"
        ended = threading.Event()

        def wait() -> None:
            while not ended.is_set():
                try:
                    met.append(trap.accept())
                except TimeoutError:
                    pass

        waiting = threading.Thread(target=wait)
        waiting.start()
        bodies = [
            json.dumps({"message": url, "app": url, "host": url, "url": url, "labels": {"x": url}}),
            json.dumps({"message": f"'; SELECT * FROM url('{url}', CSV); --", "app": f"{{{{ url('{url}') }}}}"}),
            json.dumps({"message": f"${{jndi:ldap://127.0.0.1:{trap.getsockname()[1]}/a}}"}),
        ]
        tried = 0
        for body in bodies:
            headers = {**JSON, "referer": url, "origin": url, "x-forwarded-host": url, "traceparent": url, "link": url, "host": url[7:-2]}
            gateway.ask("POST", "/write/logs", body.encode(), headers, KEYS["writer"])
            tried += 1
        for name in (url, f"remote('{url}')", f"../{url}"):
            gateway.ask("POST", "/schema/register", json.dumps({"table_name": name, "columns": []}).encode(), JSON, KEYS["guest"])
            tried += 1
        raw(gateway, f"GET {url} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEYS['writer']}\r\n\r\n".encode())
        threading.Event().wait(2)
        ended.set()
        waiting.join()
    for at in range(tried + 1):
        yield f"address {at} in a request", bool(met)


def injection(gateway: Gateway):
    """Names and values that would mean something in SQL, in a path or in a log."""
    names = ["a\"; DROP TABLE logs_events; --", "a`b", "logs_events\x00", "../../etc/passwd", "a' OR '1'='1", "a\nb", "A", "1a", "a" * 200, "pg_class", "select", "system.users", "\u202ea"]
    for name in names:
        spec = {"table_name": name, "columns": [{"name": "time", "type": "timestamp"}]}
        status, _ = gateway.ask("POST", "/schema/register", json.dumps(spec).encode(), JSON, KEYS["guest"])
        yield f"table {name[:20]!r}", status in range(200, 300) and name not in ("select", "pg_class")
        spec = {"table_name": "fine", "columns": [{"name": "time", "type": "timestamp"}, {"name": name, "type": "text"}]}
        status, _ = gateway.ask("POST", "/schema/register", json.dumps(spec).encode(), JSON, KEYS["guest"])
        yield f"column {name[:20]!r}", status in range(200, 300) and name not in ("select", "pg_class")
    forged = "x\n{\"level\":\"ERROR\",\"message\":\"forged\"}\r\n2026-01-01 forged"
    gateway.ask("POST", "/write/" + "%0aforged", RECORD, JSON, KEYS["writer"])
    gateway.ask("POST", "/write/logs", json.dumps({"message": forged, "ts": forged}).encode(), JSON, KEYS["writer"])
    lines = gateway.log.read_text(errors="replace").splitlines()
    yield "a line in the log", any(line.startswith(("forged", "2026-01-01 forged", "{\"level\":\"ERROR\",\"message\":\"forged\"")) for line in lines)
