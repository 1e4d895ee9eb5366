"""Machines, as prometheus-node-exporter sees them."""

from .model import Dashboard, Query, Row, Variable
from .panels import stat, table, timeseries, unit
from .prometheus import INSTANCE, gauge, latest, rate, ratio, total

CHOSEN = f"{INSTANCE} IN (${{instance:sqlstring}})"
# What is not a disk of its own.
REAL_FILESYSTEM = "labels->>'fstype' NOT IN ('tmpfs', 'ramfs', 'overlay', 'squashfs')"
REAL_NETWORK = "labels->>'device' NOT IN ('lo')"


def _share_left(whole: str, left: str, by: str, where: str) -> Query:
    """How much of something is used, of its size and of what is left, each a gauge."""
    return Query(
        "timescale",
        f"""
SELECT $__timeGroupAlias("time", $__interval), {by} AS metric,
    1 - avg(coalesce(value, value_int)) FILTER (WHERE metric = '{left}')
        / nullif(avg(coalesce(value, value_int)) FILTER (WHERE metric = '{whole}'), 0) AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric IN ('{whole}', '{left}') AND {where}
GROUP BY 1, 2
ORDER BY 1""",
    )


DASHBOARD = Dashboard(
    name="hosts",
    title="Tidewell / Hosts",
    description="Processor, memory, disks and network of every machine with a prometheus-node-exporter.",
    variables=[
        Variable(
            "instance",
            "Machine",
            "Node exporters that were scraped in the time range",
            Query(
                "timescale",
                f"""SELECT DISTINCT {INSTANCE} FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'node_boot_time_seconds' ORDER BY 1""",
                "table",
            ),
        )
    ],
    rows=[
        Row(
            "Overview",
            [
                stat(
                    "Booted",
                    "When the machine was started.",
                    Query(
                        "timescale",
                        f"""
SELECT to_timestamp(max(coalesce(value, value_int))) AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'node_boot_time_seconds' AND {CHOSEN}""",
                        "table",
                    ),
                    unit="dateTimeFromNow",
                    width=6,
                ),
                stat("Load, 1 minute", "Processes that run or wait.", latest("node_load1", where=CHOSEN), each=True, width=6),
                stat(
                    "Processors",
                    "Processors of the chosen machines.",
                    Query(
                        "timescale",
                        f"""
SELECT count(DISTINCT ({INSTANCE}, labels->>'cpu')) AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'node_cpu_seconds_total' AND {CHOSEN}""",
                        "table",
                    ),
                    width=6,
                ),
                stat(
                    "Memory",
                    "Memory of the chosen machines.",
                    latest("node_memory_MemTotal_bytes", where=CHOSEN),
                    each=True,
                    unit="bytes",
                    width=6,
                ),
            ],
        ),
        Row(
            "Processor and memory",
            [
                timeseries(
                    "Processor in use",
                    "Share of the processors' time that was not idle.",
                    ratio(
                        "(metric = 'node_cpu_seconds_total' AND labels->>'mode' NOT IN ('idle', 'iowait'))",
                        "metric = 'node_cpu_seconds_total'",
                        where=CHOSEN,
                    ),
                    unit="percentunit",
                    most=1,
                ),
                timeseries(
                    "Processor by mode",
                    "Processors' seconds per second, by what they were spent on.",
                    rate(
                        "node_cpu_seconds_total",
                        by="labels->>'mode'",
                        where=f"{CHOSEN} AND labels->>'mode' <> 'idle'",
                    ),
                    stacked=True,
                ),
                timeseries(
                    "Memory in use",
                    "Share of the memory that is not available to programs.",
                    _share_left("node_memory_MemTotal_bytes", "node_memory_MemAvailable_bytes", INSTANCE, CHOSEN),
                    unit="percentunit",
                    most=1,
                ),
                timeseries(
                    "Load",
                    "Processes that run or wait, averaged over one, five and fifteen minutes.",
                    [
                        gauge("node_load1", by=f"'1 min ' || {INSTANCE}", where=CHOSEN),
                        gauge("node_load5", by=f"'5 min ' || {INSTANCE}", where=CHOSEN),
                        gauge("node_load15", by=f"'15 min ' || {INSTANCE}", where=CHOSEN),
                    ],
                ),
                timeseries(
                    "Waiting for a processor, memory or disk",
                    "Seconds per second in which some process had to wait (pressure stall information).",
                    [
                        rate("node_pressure_cpu_waiting_seconds_total", by=f"'processor ' || {INSTANCE}", where=CHOSEN),
                        rate("node_pressure_memory_waiting_seconds_total", by=f"'memory ' || {INSTANCE}", where=CHOSEN),
                        rate("node_pressure_io_waiting_seconds_total", by=f"'disk ' || {INSTANCE}", where=CHOSEN),
                    ],
                    unit="percentunit",
                ),
                timeseries(
                    "Swapped and paged in",
                    "Pages per second that had to be read from a disk.",
                    [
                        rate("node_vmstat_pswpin", by=f"'swapped in ' || {INSTANCE}", where=CHOSEN),
                        rate("node_vmstat_pgmajfault", by=f"'major faults ' || {INSTANCE}", where=CHOSEN),
                    ],
                    unit="ops",
                ),
            ],
        ),
        Row(
            "Disks",
            [
                timeseries(
                    "Space in use",
                    "Share of each file system that is not available.",
                    _share_left(
                        "node_filesystem_size_bytes",
                        "node_filesystem_avail_bytes",
                        f"{INSTANCE} || ' ' || (labels->>'mountpoint')",
                        f"{CHOSEN} AND {REAL_FILESYSTEM}",
                    ),
                    unit="percentunit",
                    most=1,
                ),
                table(
                    "File systems",
                    "Size of each file system.",
                    latest(
                        "node_filesystem_size_bytes",
                        by=f"{INSTANCE} || ' ' || (labels->>'mountpoint')",
                        where=f"{CHOSEN} AND {REAL_FILESYSTEM}",
                        how="max",
                    ),
                    fields={"value": unit("bytes")},
                ),
                timeseries(
                    "Read and written",
                    "Bytes per second and disk; written below zero.",
                    [
                        rate("node_disk_read_bytes_total", by="'read ' || (labels->>'device')", where=CHOSEN),
                        rate(
                            "node_disk_written_bytes_total",
                            by="'written ' || (labels->>'device')",
                            where=CHOSEN,
                            scale=" * -1",
                        ),
                    ],
                    unit="Bps",
                    least=None,
                ),
                timeseries(
                    "Busy",
                    "Share of the time in which a disk had something to do.",
                    rate("node_disk_io_time_seconds_total", by=f"{INSTANCE} || ' ' || (labels->>'device')", where=CHOSEN),
                    unit="percentunit",
                ),
            ],
        ),
        Row(
            "Network and files",
            [
                timeseries(
                    "Received and sent",
                    "Bytes per second and interface; sent below zero.",
                    [
                        rate(
                            "node_network_receive_bytes_total",
                            by="'received ' || (labels->>'device')",
                            where=f"{CHOSEN} AND {REAL_NETWORK}",
                        ),
                        rate(
                            "node_network_transmit_bytes_total",
                            by="'sent ' || (labels->>'device')",
                            where=f"{CHOSEN} AND {REAL_NETWORK}",
                            scale=" * -1",
                        ),
                    ],
                    unit="Bps",
                    least=None,
                ),
                timeseries(
                    "Lost packets",
                    "Packets per second that were dropped or broken, received and sent.",
                    [
                        rate("node_network_receive_drop_total", by="'dropped in'", where=CHOSEN),
                        rate("node_network_transmit_drop_total", by="'dropped out'", where=CHOSEN),
                        rate("node_network_receive_errs_total", by="'broken in'", where=CHOSEN),
                        rate("node_network_transmit_errs_total", by="'broken out'", where=CHOSEN),
                    ],
                    unit="pps",
                ),
                timeseries(
                    "TCP connections",
                    "Established connections, and those that wait for their end.",
                    [
                        total("node_netstat_Tcp_CurrEstab", by=f"'established ' || {INSTANCE}", where=CHOSEN),
                        total("node_sockstat_TCP_tw", by=f"'waiting for the end ' || {INSTANCE}", where=CHOSEN),
                    ],
                ),
                timeseries(
                    "Open files",
                    "Files and sockets that are open on the whole machine.",
                    total("node_filefd_allocated", where=CHOSEN),
                ),
            ],
        ),
    ],
)
