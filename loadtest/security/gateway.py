"""A gateway that is attacked: started with small limits and callers, watched while it is, and asked whether it still serves."""

import hashlib
import http.client
import json
import os
import subprocess
import threading
import time
from pathlib import Path

# A small gateway: what it may hold at once, and what one request may be.
LIMITS = {
    "TIDEWELL_INGEST_IN_FLIGHT_BYTES": str(96 << 20),
    "TIDEWELL_INGEST_MAX_REQUEST_BYTES": str(16 << 20),
    "TIDEWELL_INGEST_MAX_DECODED_BYTES": str(64 << 20),
    "TIDEWELL_INGEST_MAX_REQUEST_RECORDS": "100000",
    "TIDEWELL_HTTP_HEADER_TIMEOUT_SECONDS": "2",
    "TIDEWELL_HTTP_BODY_TIMEOUT_SECONDS": "4",
    "TIDEWELL_HTTP_MAX_CONNECTIONS": "400",
    "TIDEWELL_GRPC_MAX_CONNECTIONS": "400",
}

# What it may take in memory: what may be under way twice over, and what an idle gateway takes.
MOST_MEMORY_MB = 384

KEYS = {name: f"key-of-{name}-" + "0123456789" * 4 for name in ("writer", "limited", "reader", "guest")}

RIGHTS = {
    "writer": 'scopes = ["write"]',
    "limited": 'scopes = ["write"]\nsignals = ["logs"]\ntables = ["logs_events"]',
    "reader": 'scopes = ["read"]\ntables = ["logs_events"]',
    "guest": 'scopes = ["write", "read", "register"]\ntenant = "guests"',
}


class Gateway:
    """The process, and a good sender beside the attackers."""

    def __init__(self, program: str, folder: Path, http_port: int, grpc_port: int) -> None:
        self.http, self.grpc, self.folder = ("127.0.0.1", http_port), ("127.0.0.1", grpc_port), folder
        callers = folder / "callers.toml"
        entries = (
            f'[[caller]]\nname = "{name}"\nkeys_sha256 = ["{hashlib.sha256(key.encode()).hexdigest()}"]\n{RIGHTS[name]}\n'
            for name, key in KEYS.items()
        )
        callers.write_text("".join(entries))
        settings = {
            **LIMITS,
            "TIDEWELL_HTTP_LISTEN": f"127.0.0.1:{http_port}",
            "TIDEWELL_GRPC_LISTEN": f"127.0.0.1:{grpc_port}",
            "TIDEWELL_AUTH_CALLERS_FILE": str(callers),
            "TIDEWELL_WAL_DIRECTORY": str(folder / "wal"),
            "TIDEWELL_LOG_LEVEL": "info,tidewell_gateway=debug",
        }
        self.log = folder / "gateway.log"
        self.process = subprocess.Popen(
            [program, "serve"], env={**os.environ, **settings}, stdout=subprocess.DEVNULL, stderr=self.log.open("wb")
        )
        self.slowest, self.failures, self.sent, self.stopping = 0.0, [], 0, threading.Event()
        self.sender = threading.Thread(target=self.send_on, daemon=True)

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise SystemExit(f"the gateway does not get ready: {self.log.read_text()[-2000:]}")

    def ask(self, method: str, path: str, body: bytes = b"", headers: dict | None = None, key: str | None = None) -> tuple[int, bytes]:
        """One request; status and body of its answer. -1 when the connection ends without one."""
        connection = http.client.HTTPConnection(*self.http, timeout=20)
        try:
            headers = dict(headers or {})
            if key is not None:
                headers["authorization"] = f"Bearer {key}"
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, ConnectionError, TimeoutError):
            return -1, b""
        finally:
            connection.close()

    def send_on(self) -> None:
        """A good sender, from another address than the attackers: each of its records has to be taken."""
        while not self.stopping.is_set():
            begun = time.monotonic()
            try:
                connection = http.client.HTTPConnection(*self.http, timeout=20, source_address=("127.0.0.2", 0))
                headers = {"authorization": f"Bearer {KEYS['writer']}", "content-type": "application/json"}
                record = json.dumps({"app": "good", "message": str(self.sent)})
                connection.request("POST", "/write/logs", record, headers)
                status = connection.getresponse().status
                connection.close()
                if status != 200:
                    self.failures.append(f"a good sender was answered {status}")
            except OSError as error:
                self.failures.append(f"a good sender was not answered: {error}")
            self.sent += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            self.stopping.wait(0.05)

    def peak_memory_mb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) // 1024

    def end(self) -> int:
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
