"""Real gateways with databases of their own, each reaching its stores through proxies that can be cut."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable
from urllib.parse import urlsplit

import psycopg

from .proxy import Proxy


# The certificates are signed by nobody else.
_UNCHECKED = ssl._create_unverified_context()


@dataclass
class Stores:
    """The stores that all gateways share, each in a database of its own."""

    timescale: str
    clickhouse: str

    def database(self, name: str) -> str:
        """The address of a database of TimescaleDB."""
        return f"{self.timescale.rpartition('/')[0]}/{name}"

    def create(self, name: str) -> None:
        with psycopg.connect(self.timescale, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            connection.execute(f"CREATE DATABASE {name}")

    def drop(self, name: str) -> None:
        with psycopg.connect(self.timescale, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        urllib.request.urlopen(self.clickhouse, f"DROP DATABASE IF EXISTS {name}".encode(), timeout=60).read()


@dataclass
class Gateway:
    """One gateway. Prometheus knows it by its name."""

    name: str
    stores: Stores
    binary: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)
    # Whether its ports speak TLS, with a certificate that it signs itself for so many days.
    tls_days: int | None = None
    # What the program is started with, for example taskset.
    wrapper: list[str] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None
    _held: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.database = f"alerts_test_{os.getpid()}_{self.name}"
        timescale, clickhouse = urlsplit(self.stores.timescale), urlsplit(self.stores.clickhouse)
        self.timescale = Proxy((timescale.hostname or "", timescale.port or 5432))
        self.clickhouse = Proxy((clickhouse.hostname or "", clickhouse.port or 8123))
        self.http, self.grpc = free_port(), free_port()
        self.wal = self.folder / self.name / "wal"
        self.scheme = "https" if self.tls_days else "http"
        self.url = f"{self.scheme}://127.0.0.1:{self.http}"

    def prepare(self) -> None:
        self.stores.create(self.database)
        shutil.rmtree(self.wal.parent, ignore_errors=True)
        self.wal.mkdir(parents=True)
        if self.tls_days:
            certificate, key = self.wal.parent / "certificate.pem", self.wal.parent / "key.pem"
            made = f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days {self.tls_days} -subj /CN=gateway"
            command = [*made.split(), "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
            subprocess.run(command, check=True, capture_output=True)
            self.settings |= {"TIDEWELL_TLS_CERTIFICATE_FILE": str(certificate), "TIDEWELL_TLS_KEY_FILE": str(key)}

    def start(self) -> None:
        user = urlsplit(self.stores.timescale).username
        settings = {
            "TIDEWELL_HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "TIDEWELL_GRPC_LISTEN": f"127.0.0.1:{self.grpc}",
            "TIDEWELL_TIMESCALE_URL": f"postgres://{user}@127.0.0.1:{self.timescale.port}/{self.database}",
            "TIDEWELL_CLICKHOUSE_URL": f"http://127.0.0.1:{self.clickhouse.port}",
            "TIDEWELL_CLICKHOUSE_DATABASE": self.database,
            "TIDEWELL_WAL_DIRECTORY": str(self.wal),
        }
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEWELL_")}
        with open(self.wal.parent / "log", "ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, self.binary, "serve"],
                env=inherited | settings | self.settings,
                stdout=log,
                stderr=log,
            )

    def wait_until_ready(self) -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until and self.process and self.process.poll() is None:
            try:
                with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=_UNCHECKED) as answer:
                    if json.load(answer)["status"] == "ready":
                        return
            except (OSError, urllib.error.HTTPError):
                pass
            time.sleep(0.1)
        raise RuntimeError(f"gateway {self.name} is not ready; see {self.wal.parent / 'log'}")

    def kill(self) -> None:
        """As a crash does."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def post(self, path: str, body: bytes, headers: dict[str, str] | None = None, timeout_s: float = 15) -> int:
        """Sends a body; the status, 0 without an answer."""
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/x-ndjson"} | (headers or {}))
        try:
            with urllib.request.urlopen(request, timeout=timeout_s, context=_UNCHECKED) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def samples(self, rows: int, size: int = 0, headers: dict[str, str] | None = None, days_old: int = 0) -> int:
        """Sends samples of a metric, each with a label of so many bytes."""
        now = time.time_ns() - days_old * 86_400 * 10**9
        lines = (
            json.dumps({"time": now + row, "metric": "filler", "value": row, "labels": {"filler": "x" * size}})
            for row in range(rows)
        )
        return self.post("/write/metrics", "\n".join(lines).encode(), headers)

    def sql(self, statement: str) -> None:
        with psycopg.connect(self.stores.database(self.database), autocommit=True) as connection:
            connection.execute(statement)

    def hold_open(self, statement: str) -> None:
        """Executes a statement of a transaction that does not end before the program does."""
        connection = psycopg.connect(self.stores.database(self.database))
        connection.execute(statement)
        self._held.append(connection)

    def clickhouse_sql(self, statement: str) -> None:
        address = f"{self.stores.clickhouse}/?database={self.database}"
        urllib.request.urlopen(address, statement.encode(), timeout=60).read()

    def cool(self, table: str, policy: dict[str, Any]) -> None:
        """Lets the rows of a table move when they are an hour old."""
        definition = {"table_name": table, "tiering": {"cool_after_seconds": 3600} | policy}
        status = self.post("/schema/register", json.dumps(definition).encode())
        if status != 200:
            raise RuntimeError(f"gateway {self.name} answers {status} to a policy")

    def tiering(self, table: str) -> dict[str, Any]:
        """Where a table stands."""
        with urllib.request.urlopen(f"{self.url}/tiering/{table}", timeout=15, context=_UNCHECKED) as answer:
            return json.load(answer)

    def wait_until(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 30
        while not condition():
            if time.monotonic() > until:
                raise RuntimeError(f"gateway {self.name}: what was waited for does not come")
            time.sleep(0.2)


def free_port() -> int:
    """A port of nobody, below those that the system gives to outgoing connections."""
    for port in range(20000 + os.getpid() % 5000, 32000):
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port
    raise RuntimeError("no port is free")


_taken: set[int] = set()
