"""The OpenTelemetry Collector with the configurations of deploy/collector: log files, host metrics and spans in."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from gateway import Gateway, free_port, get, wait_until
from tally import Tally
from telemetrygen import generate

CONFIGURATIONS = Path("deploy/collector")


def line(number: int) -> str:
    """A line whose content follows from its number."""
    return f"line {number:08d} " + hashlib.sha256(str(number).encode()).hexdigest()


class Collector:
    """One Collector with a queue on disk."""

    def __init__(self, tools: Path, folder: Path, name: str, gateway: Gateway, files: list[str], **variables: str) -> None:
        self._program, self._files = tools / "collector/collector", files
        self.folder = folder / name
        self.logs = self.folder / "app.log"
        self.folder.mkdir(parents=True)
        self.logs.touch()
        self.grpc, self._metrics_port = f"127.0.0.1:{free_port()}", free_port()
        self._environment = {
            **os.environ,
            "COLLECTOR_STORAGE": str((self.folder / "storage").absolute()),
            "COLLECTOR_LOGS": str(self.logs.absolute()),
            "COLLECTOR_GRPC": self.grpc,
            "COLLECTOR_HTTP": f"127.0.0.1:{free_port()}",
            "COLLECTOR_METRICS_PORT": str(self._metrics_port),
            "COLLECTOR_INTERVAL": "1s",
            "SERVICE_NAME": name,
            "TIDEWELL_GRPC": gateway.grpc,
            "TIDEWELL_HTTP": gateway.http,
            **variables,
        }
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts it and waits until it takes spans."""
        arguments = [argument for file in self._files for argument in ("--config", str(CONFIGURATIONS / file))]
        log = (self.folder / "collector.log").open("ab")
        self._process = subprocess.Popen([self._program, *arguments], env=self._environment, stdout=log, stderr=log)
        wait_until("the Collector", lambda: self.metrics() is not None, 60)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it."""
        if self._process:
            self._process.send_signal(how)
            self._process.wait(timeout=120)
            self._process = None

    def metrics(self) -> str:
        """Its own metrics."""
        return get(f"http://127.0.0.1:{self._metrics_port}/metrics")

    def sum_of(self, metric: str) -> int:
        """The sum over all series of a metric of its own."""
        pattern = rf"^{metric}(?:_total)?(?:__[a-z_]+_)?(?:_total)?\{{.*\}} (\S+)$"
        return int(sum(float(value) for value in re.findall(pattern, self.metrics(), re.MULTILINE)))

    def is_idle(self) -> bool:
        """Whether its queues are empty."""
        return self.sum_of("otelcol_exporter_queue_size") == 0


def logs_found(gateway: Gateway, service: str) -> list[str]:
    """The messages of a service."""
    return [row["message"] for row in gateway.clickhouse(f"SELECT message FROM logs_events WHERE app = '{service}'")]


def run(tools: Path, folder: Path, gateway: Gateway, name: str, files: list[str], **variables: str) -> Tally:
    """Lines of a file, spans and metrics of the machine through one Collector."""
    collector = Collector(tools, folder, name, gateway, files, **variables)
    numbers, spans, samples = range(5000), 500, 300
    collector.start()
    try:
        with collector.logs.open("a") as file:
            file.writelines(line(number) + "\n" for number in numbers)
        generate(tools, "traces", spans, collector.grpc, name)
        generate(tools, "metrics", samples, collector.grpc, name)
        wait_until("all lines to be read", lambda: collector.sum_of("otelcol_receiver_accepted_log_records") >= len(numbers))
        time.sleep(2)
        wait_until("the Collector's queue", collector.is_idle, 120)
    finally:
        collector.end()
    gateway.delivered()
    lines = Tally.of(map(line, numbers), logs_found(gateway, name))
    found = gateway.timescale("SELECT count(*) FROM traces_spans WHERE app = %s", name)[0][0]
    # What remote write brings has its labels only.
    points = gateway.timescale(
        "SELECT count(*) FROM metrics_events WHERE metric = 'gen' AND (app = %s OR labels->>'service_name' = %s)", name, name
    )[0][0]
    return lines.add(Tally(2 * spans, found)).add(Tally(samples, points))


def through_disturbances(tools: Path, folder: Path, gateway: Gateway) -> Tally:
    """Lines of a growing file while the gateway is overloaded, restarted and away, and the Collector is killed twice."""
    name = "collector_disturbed"
    collector = Collector(tools, folder, name, gateway, ["collector.yaml"])
    numbers = range(40_000)

    def write() -> None:
        with collector.logs.open("a") as file:
            for number in numbers:
                file.write(line(number) + "\n")
                if number % 100 == 99:
                    file.flush()
                    time.sleep(0.05)

    collector.start()
    writer = threading.Thread(target=write)
    writer.start()
    time.sleep(3)
    gateway.stop()
    # A log of a megabyte and no store behind it: soon everything is refused as overload.
    gateway.start(
        TIDEWELL_CLICKHOUSE_URL="http://127.0.0.1:1", TIDEWELL_WAL_SEGMENT_BYTES="262144",
        TIDEWELL_WAL_CLICKHOUSE_MAX_BYTES="1048576",
    )
    time.sleep(5)
    collector.end(signal.SIGKILL)
    collector.start()
    time.sleep(3)
    refused = gateway.refused()
    gateway.kill()
    time.sleep(4)
    collector.end(signal.SIGKILL)
    collector.start()
    gateway.start()
    writer.join()
    wait_until("the last line", lambda: line(numbers[-1]) in set(logs_found(gateway, name)), 180)
    wait_until("the Collector's queue", collector.is_idle, 180)
    collector.end()
    gateway.delivered()
    tally = Tally.of(map(line, numbers), logs_found(gateway, name), repeated=True)
    tally.notes["refused_requests"] = refused
    return tally
