"""Using the gateway up: bodies that become, claim or nest too much, and connections that hold on or hurry."""

import json
import os
import socket
import struct
import threading
import time

import bombs
import http2
from gateway import KEYS, Gateway
from http2 import Connection, field, frame, grpc

JSON = {"content-type": "application/json"}
PROTOBUF = {"content-type": "application/x-protobuf"}
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}
EXPORT = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
KEY = ("authorization", f"Bearer {KEYS['writer']}")

# A request that was refused for good, or whose connection was ended.
REFUSED = (400, 403, 408, 413, 415, 429, 431, -1)


def bodies(gateway: Gateway):
    """Each codec's bomb on each address, several at once."""
    for name, make in bombs.ALL.items():
        body = make()
        encoding = {"content-encoding": bombs.ENCODING.get(name, name)}
        for path, kind in (("/write/logs", JSON), ("/v1/logs", PROTOBUF), ("/v1/metrics", JSON), ("/write/logs", ARROW)):
            statuses = at_once(4, lambda: gateway.ask("POST", path, body, {**kind, **encoding}, KEYS["writer"])[0])
            # 400 would only show that the bomb is a dud; what claims too much and holds little may be one.
            held = REFUSED if name in bombs.ENCODING else (413, 429)
            yield f"{name} on {path}: {statuses}", any(status not in held for status in statuses)
    for name in ("gzip", "zstd", "zstd window"):
        # No longer than what may be sent before the other side has said how much it takes.
        body = bombs.gzipped(48 * bombs.MIB) if name == "gzip" else bombs.ALL[name]()
        message = grpc(body[:65_000], compressed=True)
        connection = Connection(gateway.grpc)
        status = connection.call(EXPORT, message, KEY, ("grpc-encoding", bombs.ENCODING.get(name, name)))
        connection.close()
        held = ("3", "8", "14") if name in bombs.ENCODING else ("8", "14")
        yield f"{name} over gRPC: {status}", status not in held


def at_once(count: int, ask) -> list:
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(ask())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def nested_value(levels: int) -> bytes:
    """An OTLP log whose body is a list in a list, and so on."""
    value = b"\x0a\x01x"
    for _ in range(levels):
        value = b"\x2a" + bombs.varint(len(value) + 1 + len(bombs.varint(len(value)))) + b"\x0a" + bombs.varint(len(value)) + value
    record = b"\x2a" + bombs.varint(len(value)) + value
    for tag in (b"\x12", b"\x12", b"\x0a"):
        record = tag + bombs.varint(len(record)) + record
    return record


def nesting(gateway: Gateway):
    """More levels than a stack has."""
    for levels in (100, 10_000, 200_000):
        for text in ("[" * levels + "]" * levels, '{"a":' * levels + "1" + "}" * levels, '{"labels":' + "[" * levels + "]" * levels + "}"):
            for path in ("/write/logs", "/v1/logs", "/v1/traces"):
                status, body = gateway.ask("POST", path, text.encode(), JSON, KEYS["writer"])
                # OTLP ignores fields that it does not know, and a label too deep is refused with its record.
                taken = status == 200 and b'"accepted":1' in body
                yield f"{levels} levels on {path}", taken or status in (500, 502)
    for levels in (100, 5_000):
        status, body = gateway.ask("POST", "/v1/logs", nested_value(levels), PROTOBUF, KEYS["writer"])
        yield f"{levels} levels of OTLP values", status == 500 or (status == 200 and b"record 0" not in body)


def lies(gateway: Gateway):
    """Lengths and counts that are not true, and numbers of things without end."""
    huge = [
        ("content-length of 1 TiB", b"POST /write/logs HTTP/1.1\r\nhost: x\r\ncontent-length: 1099511627776\r\n", b"{"),
        ("content-length of 2^64", b"POST /write/logs HTTP/1.1\r\nhost: x\r\ncontent-length: 18446744073709551616\r\n", b"{"),
        ("a chunk of 2^63", b"POST /write/logs HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n", b"7fffffffffffffff\r\nx"),
    ]
    for name, head, body in huge:
        with socket.create_connection(gateway.http, 10) as connection:
            connection.sendall(head + f"authorization: Bearer {KEYS['writer']}\r\ncontent-type: application/json\r\n\r\n".encode() + body)
            connection.settimeout(8)
            try:
                said = connection.recv(4096)
            except TimeoutError:
                said = b"HTTP/1.1 200 still waiting"
            except OSError:
                said = b""
            yield name, said.startswith(b"HTTP/1.1 2")
    for length in (0xFFFFFFFF, 1 << 30):
        connection = Connection(gateway.grpc)
        status = connection.call(EXPORT, struct.pack(">BI", 0, length) + b"x" * 100, KEY)
        connection.close()
        yield f"a gRPC message of {length} bytes", status == "0"
    # An Arrow stream whose first message claims 2 GiB of metadata, and one whose body does.
    for claim in (b"\xff\xff\xff\xff\xff\xff\xff\x7f", b"\xff\xff\xff\xff\x00\x00\x00\x80", b"\xff\xff\xff\xff" + struct.pack("<I", 1 << 20)):
        status, _ = gateway.ask("POST", "/write/logs", claim + os.urandom(64), ARROW, KEYS["writer"])
        yield f"Arrow metadata of {claim[4:].hex()}", status not in REFUSED
    for length in (b"\x0a\xff\xff\xff\xff\x0f", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", b"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"):
        status, _ = gateway.ask("POST", "/v1/logs", length + b"x" * 10, PROTOBUF, KEYS["writer"])
        yield f"protobuf length {length.hex()}", status not in REFUSED
    many = {
        "200,000 records": ("/write/logs", b'{"message":"m"}\n' * 200_000),
        "100,000 labels": ("/write/logs", json.dumps({"message": "m", "labels": {f"l{at}": at for at in range(100_000)}}).encode()),
        "a key of 1 MiB": ("/write/logs", json.dumps({"message": "m", "labels": {"k" * (1 << 20): 1}}).encode()),
        "a value of 10 MiB": ("/write/logs", json.dumps({"message": "m", "labels": {"k": "v" * (10 << 20)}}).encode()),
        "a number of a million digits": ("/write/metrics", b'{"metric":"m","value":' + b"9" * 1_000_000 + b"}"),
        "a body of 17 MiB": ("/write/logs", b" " * (17 << 20)),
    }
    for name, (path, body) in many.items():
        status, answer = gateway.ask("POST", path, body, JSON, KEYS["writer"])
        # Labels beyond their limits may be folded or cut, which the answer says.
        held = status in REFUSED or (status == 200 and b"warnings" in answer)
        yield name, not held


def slowness(gateway: Gateway):
    """300 senders a byte at a time, in headers and in bodies, over both versions of HTTP: all are ended in time."""
    begun, open_sockets = time.monotonic(), []
    for number in range(300):
        kind = number % 4
        address = gateway.grpc if kind == 3 else gateway.http
        try:
            connection = socket.create_connection(address, 2)
        except OSError:
            continue
        if kind == 0:
            connection.sendall(b"POST /write/logs HTTP/1.1\r\nhost: x\r\nx-slow: ")
        elif kind == 1:
            connection.sendall(f"POST /write/logs HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEYS['writer']}\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n[".encode())
        elif kind == 2:
            connection.sendall(b"P")
        else:
            connection.sendall(http2.PREFACE[:10])
        open_sockets.append(connection)
    ended, deadline = 0, begun + 12
    while open_sockets and time.monotonic() < deadline:
        for connection in list(open_sockets):
            try:
                connection.settimeout(0.001)
                connection.sendall(b" ")
                if connection.recv(4096) == b"":
                    raise ConnectionError
            except TimeoutError:
                continue
            except OSError:
                open_sockets.remove(connection)
                ended += 1
        time.sleep(0.2)
    for connection in open_sockets:
        connection.close()
    for at in range(ended + len(open_sockets)):
        yield f"slow sender {at}", at >= ended
    # A stream whose messages never end: a byte of a message a second.
    connection = Connection(gateway.grpc, 1)
    connection.send(frame(http2.HEADERS, http2.END_HEADERS, 1, http2.post("/tidewell.v1.Ingest/WriteStream", KEY)))
    connection.send(frame(http2.DATA, 0, 1, struct.pack(">BI", 0, 1000)))
    alive, status = time.monotonic(), None
    while time.monotonic() - alive < 12 and status is None:
        connection.send(frame(http2.DATA, 0, 1, b"x"))
        for kind, _, stream, payload in connection.frames():
            status = status or (http2.grpc_status(payload) if kind == http2.HEADERS and stream == 1 else None)
    connection.close()
    yield "a slow message of a stream", status is None


def connections(gateway: Gateway):
    """More connections than there are places, from one address: the good sender, from another, gets in all the while."""
    held = []
    for _ in range(1500):
        try:
            held.append(socket.create_connection(gateway.http, 1))
        except OSError:
            break
    time.sleep(1)
    failures = len(gateway.failures)
    time.sleep(1)
    for connection in held:
        connection.close()
    yield "1,500 connections", len(gateway.failures) > failures


def http2_floods(gateway: Gateway):
    """Frames without end: the gateway ends each such connection, or takes them for nothing."""
    call = http2.post(EXPORT, KEY)

    def flood(name: str, begin: bytes, piece: bytes, count: int, must_end: bool):
        connection = Connection(gateway.grpc, 5)
        connection.send(begin)
        taken = 0
        while taken < count and connection.send(piece * 64):
            taken += 64
        ended = taken < count or any(kind in (http2.GOAWAY, http2.RESET) for kind, *_ in connection.frames())
        connection.close()
        return name, must_end and not ended

    opened = frame(http2.HEADERS, 0, 1, call[:10])
    yield flood("continuation", opened, frame(http2.CONTINUATION, 0, 1, field("x", "y" * 500)), 60_000, True)
    yield flood("empty continuation", opened, frame(http2.CONTINUATION, 0, 1), 200_000, True)
    # One field of 4 KiB in the table, said again and again by one byte each.
    big = frame(http2.HEADERS, 0, 1, call + field("x", "y" * 3900, kept=True))
    yield flood("header table bomb", big, frame(http2.CONTINUATION, 0, 1, b"\xbe" * 16000), 4_000, True)
    yield flood("settings", b"", frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 65535)), 200_000, False)
    yield flood("ping", b"", frame(http2.PING, 0, 0, b"12345678"), 200_000, False)
    yield flood("priority", b"", frame(2, 0, 1, b"\x00\x00\x00\x00\x10"), 200_000, False)
    yield flood("empty data", frame(http2.HEADERS, 4, 1, call), frame(http2.DATA, 0, 1), 200_000, False)
    yield flood("window", b"", frame(http2.WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)), 200, True)
    yield flood("unknown frames", b"", frame(99, 0, 0, b"x" * 1000), 60_000, False)
    yield rapid_reset(gateway, call)
    yield never_reading(gateway, call)


def rapid_reset(gateway: Gateway, call: bytes):
    connection = Connection(gateway.grpc, 5)
    stream = 1
    while stream < 200_000:
        batch = b"".join(frame(http2.HEADERS, 4, at, call) + frame(http2.RESET, 0, at, struct.pack(">I", 8)) for at in range(stream, stream + 200, 2))
        if not connection.send(batch):
            break
        stream += 200
    ended = stream < 200_000 or any(kind == http2.GOAWAY for kind, *_ in connection.frames())
    connection.close()
    return "rapid reset", not ended


def never_reading(gateway: Gateway, call: bytes):
    """Asks again and again and takes no answer: windows of 0 bytes."""
    held = []
    for _ in range(50):
        connection = Connection(gateway.grpc, 2)
        connection.send(frame(http2.SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
        for stream in range(1, 400, 2):
            if not connection.send(frame(http2.HEADERS, 4, stream, call) + frame(http2.DATA, 1, stream, grpc(b""))):
                break
        held.append(connection)
    failures = len(gateway.failures)
    time.sleep(1)
    for connection in held:
        connection.close()
    return "answers that nobody reads", len(gateway.failures) > failures
