"""A gateway of the run's own: ports, databases and logs that nobody else uses, and what landed in its stores."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import psycopg

DATABASE = "tidewell_senders"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def get(url: str, timeout: float = 5) -> str:
    """The body of an answer."""
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def wait_until(what: str, check, seconds: float = 60) -> None:
    """Waits until `check` is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if check():
                return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.1)
    raise TimeoutError(f"{what}: not after {seconds} s")


class Gateway:
    """One gateway on the embedded stores. Its databases are made anew for each run."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program, self._folder = program, folder
        self.http, self.grpc = (f"127.0.0.1:{free_port()}" for _ in range(2))
        self._timescale = os.environ["TIDEWELL_TIMESCALE_URL"].rsplit("/", 1)[0] + "/"
        self._clickhouse = os.environ["TIDEWELL_CLICKHOUSE_URL"]
        self._process: subprocess.Popen | None = None
        with psycopg.connect(os.environ["TIDEWELL_TIMESCALE_URL"], autocommit=True) as owner:
            owner.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")
            owner.execute(f"CREATE DATABASE {DATABASE}")
        self._query_clickhouse(f"DROP DATABASE IF EXISTS {DATABASE}", "default")

    def start(self, **settings: str) -> None:
        """Starts it and waits until it takes requests. Settings are those of the environment."""
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TIDEWELL_")},
            "TIDEWELL_HTTP_LISTEN": self.http,
            "TIDEWELL_GRPC_LISTEN": self.grpc,
            "TIDEWELL_TIMESCALE_URL": self._timescale + DATABASE,
            "TIDEWELL_CLICKHOUSE_URL": self._clickhouse,
            "TIDEWELL_CLICKHOUSE_DATABASE": DATABASE,
            "TIDEWELL_WAL_DIRECTORY": str(self._folder / "wal"),
            **settings,
        }
        log = (self._folder / "gateway.log").open("ab")
        self._process = subprocess.Popen([self._program, "serve"], env=environment, stdout=log, stderr=log)
        wait_until("the gateway", lambda: get(f"http://{self.http}/readyz"))

    def stop(self) -> None:
        """Ends it in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it at once."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.wait(timeout=60)
            self._process = None

    def timescale(self, sql: str, *values) -> list[tuple]:
        """Rows of Postgres."""
        with psycopg.connect(self._timescale + DATABASE) as connection:
            return connection.execute(sql, values).fetchall()

    def clickhouse(self, sql: str) -> list[dict]:
        """Rows of ClickHouse."""
        text = self._query_clickhouse(f"{sql} FORMAT JSONEachRow", DATABASE)
        return [json.loads(line) for line in text.splitlines()]

    def _query_clickhouse(self, sql: str, database: str) -> str:
        parameters = urllib.parse.urlencode({"database": database, "output_format_json_quote_64bit_integers": 0})
        request = urllib.request.Request(f"{self._clickhouse}/?{parameters}", data=sql.encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    def refused(self) -> int:
        """Requests that were refused because a log was full."""
        lines = get(f"http://{self.http}/metrics").splitlines()
        return int(sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("tidewell_log_refused{")))

    def delivered(self) -> None:
        """Waits until the stores have everything that the gateway has taken."""

        def is_delivered() -> bool:
            lines = get(f"http://{self.http}/metrics").splitlines()
            waiting = [line for line in lines if line.startswith("tidewell_log_frames_waiting{")]
            return all(float(line.rsplit(" ", 1)[1]) == 0 for line in waiting)

        time.sleep(0.5)
        wait_until("delivery", is_delivered, 120)
        time.sleep(0.5)
