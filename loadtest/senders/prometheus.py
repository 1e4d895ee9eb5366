"""Prometheus with remote write 1.0 and 2.0, by the configurations of deploy/prometheus: what it holds is compared with
what landed, sample by sample."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import time
import urllib.parse
from pathlib import Path

from gateway import Gateway, free_port, get, wait_until
from tally import Tally


class Prometheus:
    """One Prometheus that scrapes itself and a node exporter."""

    def __init__(self, program: Path, folder: Path, version: int, gateway: Gateway, node_exporter: str) -> None:
        self._program, self._version = program, version
        self.folder = folder / f"prometheus_{version}"
        self.folder.mkdir(parents=True)
        self.address = f"127.0.0.1:{free_port()}"
        text = Path(f"deploy/prometheus/remote-write-{version}.yaml").read_text()
        for old, new in [
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("127.0.0.1:9100", node_exporter),
            ("127.0.0.1:9090", self.address),
            ("127.0.0.1:4318", gateway.http),
        ]:
            assert old in text, old
            text = text.replace(old, new)
        self._configuration = self.folder / "prometheus.yaml"
        self._configuration.write_text(text)
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Starts it."""
        features = "native-histograms,exemplar-storage" if self._version == 1 else "exemplar-storage,metadata-wal-records"
        log = (self.folder / "prometheus.log").open("ab")
        self._process = subprocess.Popen(
            [
                self._program, f"--config.file={self._configuration}", f"--storage.tsdb.path={self.folder / 'tsdb'}",
                f"--web.listen-address={self.address}", f"--enable-feature={features}",
            ],
            stdout=log, stderr=log,
        )
        wait_until("Prometheus", lambda: get(f"http://{self.address}/-/ready"))

    def end(self) -> None:
        """Ends it."""
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=60)

    def query(self, query: str, at: float) -> list[dict]:
        """The result of a query at a time."""
        parameters = urllib.parse.urlencode({"query": query, "time": f"{at:.3f}"})
        return json.loads(get(f"http://{self.address}/api/v1/query?{parameters}", 60))["data"]["result"]

    def exemplars(self, query: str, at: float) -> list[dict]:
        """The exemplars of the minute before a time."""
        parameters = urllib.parse.urlencode({"query": query, "start": f"{at - 60:.3f}", "end": f"{at:.3f}"})
        return json.loads(get(f"http://{self.address}/api/v1/query_exemplars?{parameters}", 60))["data"]


def key(labels: dict, at_ms: int) -> tuple:
    """What tells two samples apart."""
    return (tuple(sorted((name, value) for name, value in labels.items() if name != "sender")), at_ms)


def value(text: str) -> float | str:
    """A value that equals itself."""
    number = float(text)
    return "NaN" if math.isnan(number) else number


def run(program: Path, folder: Path, version: int, gateway: Gateway, node_exporter: str) -> Tally:
    """Scrapes for a while, then compares everything up to a moment."""
    prometheus = Prometheus(program, folder, version, gateway, node_exporter)
    prometheus.start()
    try:
        time.sleep(15)
        until = time.time() - 0.5
        time.sleep(7)
        series = prometheus.query('{job=~".+"}[1m]', until)
        exemplars = prometheus.exemplars('{job=~".+"}', until)
    finally:
        prometheus.end()
    gateway.delivered()
    sender = f"prometheus-{version}"
    sent, histograms_sent = {}, {}
    for one in series:
        for at, text in one.get("values", []):
            sent[key(one["metric"], round(at * 1000))] = value(text)
        for at, histogram in one.get("histograms", []):
            histograms_sent[key(one["metric"], round(at * 1000))] = (float(histogram["count"]), float(histogram["sum"]))
    found = {
        key({"__name__": metric, **labels}, at): value(text)
        for metric, labels, at, text in gateway.timescale(
            "SELECT metric, labels, (extract(epoch FROM time) * 1000)::bigint, value::text FROM metrics_events"
            " WHERE labels->>'sender' = %s AND value IS NOT NULL", sender,
        )
    }
    histograms_found = {
        key({"__name__": metric, **labels}, at): (float(count), total)
        for metric, labels, at, count, total in gateway.timescale(
            "SELECT metric, labels, (extract(epoch FROM time) * 1000)::bigint, count, sum FROM metrics_histograms"
            " WHERE labels->>'sender' = %s AND sum IS NOT NULL", sender,
        )
    }
    exemplars_found, = gateway.timescale(
        "SELECT count(*) FROM metrics_exemplars WHERE labels->>'sender' = %s", sender
    )[0]
    tally = Tally()
    for wanted, present in [(sent, found), (histograms_sent, histograms_found)]:
        there = [record for record in wanted if record in present]
        different = sum(wanted[record] != present[record] for record in there)
        tally = tally.add(Tally(len(wanted), len(there), different))
    metadata, = gateway.timescale("SELECT count(*) FROM metrics_metadata WHERE metric LIKE 'node_%%'")[0]
    tally.notes = {
        "histograms": len(histograms_sent),
        "exemplars_sent": sum(len(one["exemplars"]) for one in exemplars),
        "exemplars_found": exemplars_found,
        "metadata": metadata,
    }
    return tally
