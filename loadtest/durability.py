"""Measures what durability costs, and prints a table and one JSON object.

- acknowledgement: p99 of answers at the level `durable`, beside a probe that writes and fdatasyncs 1 MiB on the same disk
- outage: the same with both databases up and stopped in turn, and how fast what waited is delivered once they are back
- cost: throughput with and without what makes delivery exactly once, in interleaved pairs

Everything runs on this machine: a gateway, both stores, the generator. Figures are ratios within one run.
"""

import argparse
import json
import os
import pathlib
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request

PROBE_BYTES = 1 << 20
PROBE_EVERY_S = 0.05
# Most that an outage of both stores may do to the p99 of acknowledgements.
MOST_OUTAGE_RATIO = 1.2
# Least of the throughput that is left by what makes delivery exactly once.
LEAST_EXACTLY_ONCE = 0.95


class SyncProbe(threading.Thread):
    """Writes and syncs 1 MiB again and again, as the log's disk sees it; use as a context."""

    def __init__(self, folder):
        super().__init__(daemon=True)
        self.path = pathlib.Path(folder) / "probe"
        self.seconds = []
        self.stopping = threading.Event()

    def run(self):
        content = os.urandom(PROBE_BYTES)
        file = os.open(self.path, os.O_CREAT | os.O_WRONLY, 0o600)
        at = 0
        while not self.stopping.wait(PROBE_EVERY_S):
            begun = time.monotonic()
            os.pwrite(file, content, at)
            os.fdatasync(file)
            self.seconds.append(time.monotonic() - begun)
            at = (at + PROBE_BYTES) % (64 * PROBE_BYTES)
        os.close(file)
        self.path.unlink()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.join()

    def p99_ms(self):
        return 1000 * statistics.quantiles(self.seconds, n=100)[98]


class Gateway:
    """A gateway with databases and logs of its own; use as a context."""

    def __init__(self, bench, **variables):
        self.bench = bench
        self.database = f"bench_{os.getpid()}_{time.monotonic_ns()}"
        self.wal = bench.folder / "wal" / self.database
        self.variables = variables
        self.process = None

    def start(self):
        self.http, self.grpc = free_ports(2)
        environment = os.environ | {
            "TIDEWELL_TIMESCALE_URL": self.bench.postgres(self.database),
            "TIDEWELL_CLICKHOUSE_URL": self.bench.clickhouse,
            "TIDEWELL_CLICKHOUSE_DATABASE": self.database,
            "TIDEWELL_WAL_DIRECTORY": str(self.wal),
            "TIDEWELL_HTTP_LISTEN": f"127.0.0.1:{self.http}",
            "TIDEWELL_GRPC_LISTEN": f"127.0.0.1:{self.grpc}",
            "TIDEWELL_LOG_LEVEL": "error",
        } | self.variables
        log = open(self.bench.folder / "gateway.log", "ab")
        self.process = subprocess.Popen([self.bench.bin / "tidewell", "serve"], env=environment, stderr=log)
        self.wait(lambda: "tidewell_ready 1" in self.metrics(), "ready", 60)

    def metrics(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/metrics", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def metric(self, name):
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+]+)$", self.metrics(), re.MULTILINE)
        return sum(map(float, values)) if values else None

    def wait(self, holds, what, seconds):
        until = time.monotonic() + seconds
        while not holds():
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the gateway is not {what}; see {self.bench.folder}/gateway.log")
            time.sleep(0.02)

    def drain(self):
        self.wait(lambda: self.metric("tidewell_log_frames_waiting") == 0, "done with its log", 600)

    def run(self, *arguments, audit=True, wait=True):
        report = self.bench.folder / "run.json"
        where = [] if audit else ["--no-audit"] if wait else ["--no-audit", "--no-wait"]
        subprocess.run(
            [self.bench.bin / "tidewell-loadtest", "run", "--protocol", "otlp-grpc", *arguments, *where,
             "--http", f"127.0.0.1:{self.http}", "--grpc", f"127.0.0.1:{self.grpc}",
             "--gateway-pid", str(self.process.pid), "--json", report, "--seed", str(random.randrange(1 << 30)),
             "--postgres", self.bench.postgres(self.database), "--clickhouse", self.bench.clickhouse,
             "--clickhouse-database", self.database],
            check=True, stdout=subprocess.DEVNULL)
        return json.loads(report.read_text())["measurements"][0]

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait()

    def __enter__(self):
        self.bench.scratch("create", self.database)
        self.start()
        self.drain()
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.stop()
        self.bench.scratch("drop", self.database)
        subprocess.run(["rm", "-rf", self.wal], check=True)


class Bench:
    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.bin = self.folder / "bin"
        (self.folder / "wal").mkdir(parents=True, exist_ok=True)
        self.clickhouse = f"http://127.0.0.1:{os.environ['EMBEDDED_STORES_CLICKHOUSE_PORT']}"

    def postgres(self, database):
        return f"postgres://tidewell@127.0.0.1:{os.environ['EMBEDDED_STORES_TIMESCALE_PORT']}/{database}"

    def scratch(self, action, database):
        subprocess.run([self.bin / "tidewell-loadtest", "scratch", action, database, "--postgres",
                        self.postgres("tidewell"), "--clickhouse", self.clickhouse], check=True, stdout=subprocess.DEVNULL)

    def stores(self, action):
        subprocess.run([self.bin / "tidewell-embedded", action], check=True, stdout=subprocess.DEVNULL)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def p99_ms(measured):
    return measured["latency"]["p99_ms"]


def acknowledgement(bench, signal_name, seconds):
    with Gateway(bench) as gateway, SyncProbe(bench.folder) as probe:
        measured = gateway.run("--signal", signal_name, "--rate", "50000", "--seconds", str(seconds), "--connections", "32")
    return {"rate": 50000, "p99_ms": p99_ms(measured), "probe_p99_ms": probe.p99_ms(),
            "limit_ms": 6 * probe.p99_ms() + 5}


def outage(bench, signal_name, rounds, seconds):
    """Rounds with both stores up and with both stopped, in turn, then a restart of all; medians of the rounds."""
    load = ["--signal", signal_name, "--rate", "50000", "--seconds", str(seconds), "--connections", "32"]
    ups, downs = [], []
    with Gateway(bench) as gateway:
        for left in reversed(range(rounds)):
            ups.append(p99_ms(gateway.run(*load, audit=False)))
            gateway.drain()
            bench.stores("down")
            down = gateway.run(*load, audit=False, wait=False)
            downs.append(p99_ms(down))
            if left:
                bench.stores("up")
                gateway.drain()
        gateway.stop(signal.SIGKILL)
        bench.stores("up")
        begun = time.monotonic()
        gateway.start()
        gateway.drain()
        replayed_s = time.monotonic() - begun
        live = gateway.run("--signal", signal_name, "--seconds", str(seconds), "--connections", "32", "--ack", "stored", audit=False)
    up_p99_ms, down_p99_ms = statistics.median(ups), statistics.median(downs)
    return {"up_p99_ms": up_p99_ms, "down_p99_ms": down_p99_ms, "ratio": down_p99_ms / up_p99_ms,
            "ups_ms": ups, "downs_ms": downs, "replay_records_per_s": down["accepted"] / replayed_s, "live_records_per_s": live["records_per_s"]}


def cost(bench, signal_name, pairs, seconds):
    ratios = []
    load = ["--signal", signal_name, "--seconds", str(seconds), "--connections", "32", "--ack", "stored"]
    for pair in range(pairs):
        rates = {}
        kinds = [{}, {"TIDEWELL_BROKEN": "at_least_once"}]
        random.shuffle(kinds)
        for variables in kinds:
            with Gateway(bench, **variables) as gateway:
                rates[bool(variables)] = gateway.run(*load, audit=False)["records_per_s"]
        ratios.append(rates[False] / rates[True])
        print(f"  pair {pair + 1} of {pairs}: {ratios[-1]:.3f}", file=sys.stderr)
    means = sorted(statistics.mean(random.choices(ratios, k=len(ratios))) for _ in range(2000))
    return {"pairs": pairs, "mean": statistics.mean(ratios), "from": means[50], "to": means[1949]}


def report(kind, ack, out, paid):
    """Prints what was found and returns, by name, whether it is within what is promised."""
    lines = {
        "acknowledgement": (
            ack["p99_ms"] <= ack["limit_ms"],
            f"p99 {ack['p99_ms']:.1f} ms at 50,000/s, 1 MiB fdatasync {ack['probe_p99_ms']:.1f} ms, limit {ack['limit_ms']:.1f} ms"),
        "stores stopped": (
            out["ratio"] <= MOST_OUTAGE_RATIO,
            f"p99 {out['down_p99_ms']:.1f} ms, running {out['up_p99_ms']:.1f} ms, ratio {out['ratio']:.2f}, limit {MOST_OUTAGE_RATIO}"),
        "replay after SIGKILL": (
            out["replay_records_per_s"] >= out["live_records_per_s"],
            f"{out['replay_records_per_s']:,.0f} records/s, live {out['live_records_per_s']:,.0f}"),
        "exactly once": (
            paid["mean"] >= LEAST_EXACTLY_ONCE,
            f"{paid['mean']:.3f} of the throughput without ({paid['from']:.3f} to {paid['to']:.3f}, {paid['pairs']} pairs), "
            f"limit {LEAST_EXACTLY_ONCE}"),
    }
    print(kind)
    for name, (held, text) in lines.items():
        print(f"  {name:22} {'held' if held else 'NOT HELD':9} {text}")
    return {name: held for name, (held, _) in lines.items()}


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--folder", required=True)
    arguments.add_argument("--pairs", type=int, default=10)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--seconds", type=int, default=8)
    given = arguments.parse_args()
    bench = Bench(given.folder)
    found = {}
    for kind in ["logs", "metrics"]:
        print(f"{kind}: acknowledgements beside a sync probe", file=sys.stderr)
        ack = acknowledgement(bench, kind, given.seconds)
        print(f"{kind}: with both stores stopped, and back", file=sys.stderr)
        out = outage(bench, kind, given.rounds, given.seconds)
        print(f"{kind}: with and without what makes it exactly once", file=sys.stderr)
        paid = cost(bench, kind, given.pairs, given.seconds)
        found[kind] = {"acknowledgement": ack, "outage": out, "exactly_once": paid}
        found[kind]["held"] = report(kind, ack, out, paid)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
