"""What makes each rule fire: a gateway to do it to, and what is done."""

from __future__ import annotations

import gzip
import os
import shutil
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

from .gateways import Gateway

MIB = 1 << 20


@dataclass
class Cause:
    """The rules that must fire once `happen` has begun; `allowed` may fire as well."""

    gateway: Gateway
    fires: list[str]
    happen: Callable[[Gateway], None]
    allowed: list[str] = field(default_factory=list)


class Load:
    """Repeats something in the background until it is stopped."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def repeat(self, work: Callable[[], object], every_s: float = 0, times: int = 1) -> None:
        def run() -> None:
            while not self._stop.is_set():
                work()
                self._stop.wait(every_s)

        for _ in range(times):
            thread = threading.Thread(target=run, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(timeout=30)


def all_causes(new: Callable[..., Gateway], load: Load) -> list[Cause]:
    """Every cause, each with a gateway of its own."""
    small_log = {"TIDEWELL_WAL_SEGMENT_BYTES": str(MIB), "TIDEWELL_WAL_TIMESCALE_MAX_BYTES": str(8 * MIB)}

    small_memory = {
        "TIDEWELL_INGEST_MAX_REQUEST_BYTES": str(MIB),
        "TIDEWELL_INGEST_MAX_DECODED_BYTES": str(MIB),
        "TIDEWELL_INGEST_IN_FLIGHT_BYTES": str(2 * MIB),
        "TIDEWELL_INGEST_CALLER_SHARE_PERCENT": "100",
    }

    def killed(gateway: Gateway) -> None:
        gateway.kill()

    def store_gone(gateway: Gateway) -> None:
        gateway.timescale.cut()
        gateway.samples(10)

    def budget_used(gateway: Gateway) -> None:
        gateway.timescale.cut()
        load.repeat(lambda: gateway.samples(50, size=4096), every_s=0.1)

    def disk_gone(gateway: Gateway) -> None:
        shutil.rmtree(gateway.wal)
        load.repeat(lambda: gateway.samples(1), every_s=0.5)

    def refused_records(gateway: Gateway) -> None:
        gateway.post("/write/logs", b'{"time":"yesterday","message":"bad"}\n{"message":"good"}')

    def many_refused_records(gateway: Gateway) -> None:
        gateway.post("/write/logs", b'{"message":"good"}')
        bad = b'{"time":"yesterday","message":"' + b"x" * 4000 + b'"}\n'
        load.repeat(lambda: gateway.post("/write/logs", bad * 100), every_s=1)

    def slow_store(gateway: Gateway) -> None:
        gateway.timescale.delay_s = 0.3
        load.repeat(lambda: gateway.samples(1, headers={"tidewell-ack": "stored"}), times=2)

    def stalled_senders(gateway: Gateway) -> None:
        load.repeat(lambda: _stall(gateway.http, claimed=900_000, sent=800_000), times=4)

    def hard_work(gateway: Gateway) -> None:
        bomb = gzip.compress(b" " * (60 * MIB) + b'{"time":1}', 9)
        load.repeat(lambda: gateway.post("/write/metrics", bomb, {"Content-Encoding": "gzip"}, timeout_s=60), times=3)

    def older_database(gateway: Gateway) -> None:
        for _ in range(5):
            gateway.samples(10, headers={"tidewell-ack": "stored"})
        # As after a restore of a backup: what the database knows of the log is what it was some time ago.
        gateway.sql("UPDATE tidewell_progress SET cut = 1")
        load.repeat(lambda: gateway.samples(1), every_s=0.5)

    def paused_policy(gateway: Gateway) -> None:
        gateway.cool("metrics_events", {"paused": True})
        gateway.samples(10, days_old=30)

    def foreign_writer(gateway: Gateway) -> None:
        # Their chunk must be there, or the transaction below would make it and the gateway wait for it.
        gateway.samples(10, days_old=30, headers={"tidewell-ack": "stored"})
        # A row whose transaction does not end: nobody knows what the range will hold.
        gateway.hold_open("INSERT INTO metrics_events (time, metric, app, host) VALUES (now() - interval '30 days', 'm', '', '')")
        gateway.cool("metrics_events", {})

    def lost_partition(gateway: Gateway) -> None:
        gateway.samples(10, days_old=30, headers={"tidewell-ack": "stored"})
        gateway.cool("metrics_events", {})
        gateway.wait_until(lambda: gateway.tiering("metrics_events")["published"] is not None)
        gateway.clickhouse_sql("TRUNCATE TABLE metrics_events_cold")
        gateway.post("/tiering/metrics_events/verify", b"")

    def broken_log(gateway: Gateway) -> None:
        gateway.timescale.cut()
        time.sleep(0.5)
        for _ in range(20):
            gateway.samples(10, size=1000)
        gateway.kill()
        segment = max((gateway.wal / "timescale").glob("*"), key=lambda path: path.stat().st_size)
        with open(segment, "r+b") as file:
            file.seek(20_000)
            file.write(b"\x00damage\x00" * 8)
        gateway.start()

    def lost_notes(gateway: Gateway) -> None:
        gateway.timescale.cut()
        time.sleep(0.5)
        gateway.samples(10)
        # Its plan is durable a moment later, in both copies, and nothing answers.
        time.sleep(2)
        gateway.kill()
        for segment in (gateway.wal / "timescale").glob("*.wal"):
            content = segment.read_bytes()
            segment.write_bytes(content.replace(b"metrics_events", b"metrics_damage"))
        gateway.start()

    causes = [
        Cause(new("down"), ["TidewellDown"], killed),
        Cause(new("store"), ["TidewellStoreDown", "TidewellDeliveryLag"], store_gone),
        Cause(
            new("budget", small_log),
            ["TidewellDiskBudgetHalf", "TidewellDiskBudgetNearlyUsed", "TidewellRefusing"],
            budget_used,
            ["TidewellStoreDown", "TidewellDeliveryLag", "TidewellAcknowledgementSlow"],
        ),
        Cause(
            new("disk"),
            ["TidewellLogNotWritable", "TidewellNotReady"],
            disk_gone,
            ["TidewellRefusing"],
        ),
        Cause(new("letters"), ["TidewellDeadLetters"], refused_records),
        Cause(
            new("removed", {"TIDEWELL_DEAD_LETTERS_MAX_BYTES": str(MIB)}),
            ["TidewellDeadLettersRemoved"],
            many_refused_records,
            ["TidewellDeadLetters"],
        ),
        Cause(
            new("slow"),
            ["TidewellAcknowledgementSlow"],
            slow_store,
            ["TidewellDeliveryLag"],
        ),
        Cause(
            new("crowded", small_memory),
            ["TidewellMemoryUnderWay"],
            stalled_senders,
            ["TidewellRefusing", "TidewellAcknowledgementSlow"],
        ),
        Cause(
            new("busy", wrapper=["taskset", "--cpu-list", "0"]),
            ["TidewellProcessorBusy"],
            hard_work,
            ["TidewellAcknowledgementSlow", "TidewellRefusing", "TidewellStoreDown", "TidewellDeliveryLag", "TidewellDeadLetters", "TidewellDown"],
        ),
        Cause(new("older"), ["TidewellStoreLostRows"], older_database),
        Cause(
            new("damaged"),
            ["TidewellLogDamaged"],
            broken_log,
            ["TidewellStoreDown", "TidewellDown", "TidewellNotReady", "TidewellDeliveryLag"],
        ),
    ]
    looks_often = {"TIDEWELL_TIERING_LOOK_EVERY_SECONDS": "1"}
    causes += [
        Cause(new("paused", looks_often), ["TidewellTieringBehind"], paused_policy),
        Cause(new("blocked", looks_often), ["TidewellTieringBlocked"], foreign_writer, ["TidewellTieringBehind"]),
        Cause(new("lost", looks_often), ["TidewellTieringDamaged"], lost_partition),
    ]
    causes.append(
        Cause(
            new("held"),
            ["TidewellLogHeld"],
            lost_notes,
            ["TidewellLogDamaged", "TidewellStoreDown", "TidewellDown", "TidewellNotReady", "TidewellDeliveryLag"],
        )
    )
    # Nothing has to happen: it expires next week all the time, and everything else is well.
    causes.append(Cause(new("expiring", tls_days=7), ["TidewellCertificateExpires"], lambda _: None))
    if group := MemoryGroup.make():
        causes.append(Cause(new("memory"), ["TidewellMemory"], group.limit, ["TidewellAcknowledgementSlow"]))
    return causes


def _stall(port: int, claimed: int, sent: int) -> None:
    """A sender that stops in the middle of its body for some seconds, as over a line that broke."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        head = f"POST /write/metrics HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: {claimed}\r\n\r\n"
        try:
            connection.sendall(head.encode() + b" " * sent)
            time.sleep(8)
        except OSError:
            time.sleep(0.2)


class MemoryGroup:
    """A control group with a limit just above what a gateway uses."""

    def __init__(self, folder: Path, limit_file: str) -> None:
        self._folder, self._limit_file = folder, limit_file

    @classmethod
    def make(cls) -> MemoryGroup | None:
        """A new group; none where this machine lets nobody make one."""
        name = f"tidewell_alerts_test_{os.getpid()}"
        for root, file in (("/sys/fs/cgroup/memory", "memory.limit_in_bytes"), ("/sys/fs/cgroup", "memory.max")):
            folder = Path(root) / name
            try:
                folder.mkdir()
            except OSError:
                continue
            if (folder / file).exists():
                return cls(folder, file)
            folder.rmdir()
        return None

    def limit(self, gateway: Gateway) -> None:
        """Puts a gateway into the group, with hardly more memory than it uses; that of its files can be taken back."""
        assert gateway.process
        resident = next(
            int(line.split()[1]) * 1024
            for line in Path(f"/proc/{gateway.process.pid}/status").read_text().splitlines()
            if line.startswith("VmRSS")
        )
        (self._folder / self._limit_file).write_text(str(resident * 101 // 100))
        (self._folder / "cgroup.procs").write_text(str(gateway.process.pid))

    @staticmethod
    def remove_all() -> None:
        """Removes what `make` has made; its processes have ended."""
        for root in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup"):
            folder = Path(root) / f"tidewell_alerts_test_{os.getpid()}"
            if folder.exists():
                folder.rmdir()
