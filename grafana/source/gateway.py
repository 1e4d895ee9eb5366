"""The gateway itself, by its own /metrics: what comes in, what waits, what is stored, what is refused."""

from .model import Dashboard, Query, Row, Variable
from .panels import RED_TO_GREEN, stat, table, timeseries
from .prometheus import INSTANCE, average, gauge, latest, quantile, rate, ratio, total

CHOSEN = f"{INSTANCE} IN (${{instance:sqlstring}})"
PROTOCOL = "labels->>'protocol'"
TABLE = "labels->>'table'"
LOG = "labels->>'log'"
STORE = "labels->>'store'"

DASHBOARD = Dashboard(
    name="gateway",
    title="Tidewell / Gateway",
    description="What the gateway takes in, holds, stores and refuses. Each metric is explained in the docs, metrics.md.",
    variables=[
        Variable(
            "instance",
            "Gateway",
            "Gateways that were scraped in the time range",
            Query(
                "timescale",
                f"""SELECT DISTINCT {INSTANCE} FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'tidewell_ready' ORDER BY 1""",
                "table",
            ),
        )
    ],
    rows=[
        Row(
            "State",
            [
                stat(
                    "Ready",
                    "Gateways that take writes.",
                    latest("tidewell_ready", where=CHOSEN),
                    each=True,
                    thresholds=RED_TO_GREEN,
                ),
                stat(
                    "Stores",
                    "1 for a store that answered the last probe.",
                    latest("tidewell_store_up", by=STORE, where=CHOSEN, how="min"),
                    each=True,
                    thresholds=RED_TO_GREEN,
                    mappings={"0": ("down", "red"), "1": ("up", "green")},
                    width=5,
                ),
                stat(
                    "Logs",
                    "1 for a log whose disk takes writes.",
                    latest("tidewell_log_writable", by=LOG, where=CHOSEN, how="min"),
                    each=True,
                    thresholds=RED_TO_GREEN,
                    mappings={"0": ("broken", "red"), "1": ("writable", "green")},
                    width=7,
                ),
                stat(
                    "Longest wait",
                    "Age of the oldest row that is durable and not yet in its store.",
                    latest("tidewell_log_lag_seconds", by="'lag'", where=CHOSEN, how="max"),
                    unit="s",
                    thresholds=[(None, "green"), (30, "orange"), (300, "red")],
                ),
                stat(
                    "Dead letters that wait",
                    "Refused records that nobody has replayed or discarded.",
                    latest("tidewell_dead_letters_waiting", by="'letters'", where=CHOSEN, how="max"),
                    thresholds=[(None, "green"), (1, "orange")],
                ),
            ],
        ),
        Row(
            "In",
            [
                timeseries(
                    "Records",
                    "Records per second by protocol, whatever became of them.",
                    rate("tidewell_records_total", by=PROTOCOL, where=CHOSEN),
                    unit="cps",
                    width=8,
                ),
                timeseries(
                    "What became of them",
                    "Records per second by disposition: stored, dead-lettered, rejected, suppressed as repetitions.",
                    rate("tidewell_records_total", by="labels->>'disposition'", where=CHOSEN),
                    unit="cps",
                    width=8,
                ),
                timeseries(
                    "Bytes",
                    "Bytes of requests per second by protocol, decompressed.",
                    rate("tidewell_request_bytes_total", by=PROTOCOL, where=CHOSEN),
                    unit="Bps",
                    width=8,
                ),
                timeseries(
                    "Requests by result",
                    "Answers per second; anything but accepted names why.",
                    rate("tidewell_requests_total", by="labels->>'result'", where=CHOSEN),
                    unit="reqps",
                    width=8,
                ),
                timeseries(
                    "Time to the answer, 99 %",
                    "All but one in a hundred requests were answered faster, by protocol.",
                    quantile(0.99, "tidewell_request_duration_seconds", by=PROTOCOL, where=CHOSEN),
                    unit="s",
                    width=8,
                ),
                timeseries(
                    "Records of a request",
                    "Average size of a request by protocol. Small requests cost more per record.",
                    average("tidewell_request_records", by=PROTOCOL, where=CHOSEN),
                    width=8,
                ),
                timeseries(
                    "Under way",
                    "Bytes of requests and their rows, and the most that may be. Beyond it senders are told to come again.",
                    [
                        total("tidewell_in_flight_bytes", by=f"'under way ' || {INSTANCE}", where=CHOSEN),
                        total("tidewell_in_flight_limit_bytes", by=f"'limit ' || {INSTANCE}", where=CHOSEN),
                    ],
                    unit="bytes",
                ),
                timeseries(
                    "Rows accepted",
                    "Rows per second by table whose senders were told that they are kept.",
                    rate("tidewell_rows_accepted_total", by=TABLE, where=CHOSEN),
                    unit="cps",
                ),
            ],
        ),
        Row(
            "Log",
            [
                timeseries(
                    "Lag",
                    "Age of the oldest row of each log that is not in its store.",
                    gauge("tidewell_log_lag_seconds", by=LOG, where=CHOSEN, how="max"),
                    unit="s",
                    width=8,
                ),
                timeseries(
                    "Rows that wait",
                    "Rows that are durable in a log and not settled, by table.",
                    total("tidewell_rows_in_log", by=TABLE, where=CHOSEN),
                    width=8,
                ),
                timeseries(
                    "Space that is needed",
                    "Bytes of log files with rows that wait, as a share of the log's budget. At 100 % writes are refused.",
                    Query(
                        "timescale",
                        f"""
SELECT $__timeGroupAlias("time", $__interval), {LOG} AS metric,
    avg(coalesce(value, value_int)) FILTER (WHERE metric = 'tidewell_log_waiting_bytes')
        / nullif(avg(coalesce(value, value_int)) FILTER (WHERE metric = 'tidewell_log_limit_bytes'), 0) AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric IN ('tidewell_log_waiting_bytes', 'tidewell_log_limit_bytes') AND {CHOSEN}
GROUP BY 1, 2
ORDER BY 1""",
                    ),
                    unit="percentunit",
                    most=1,
                    width=8,
                ),
                timeseries(
                    "Files",
                    "Bytes of each log on disk, with the tail that is kept after delivery.",
                    total("tidewell_log_bytes", by=LOG, where=CHOSEN),
                    unit="bytes",
                    width=8,
                ),
                timeseries(
                    "Syncs",
                    "Times per second that a log was synced: each makes everything durable that waits for it.",
                    rate("tidewell_log_syncs_total", by=LOG, where=CHOSEN),
                    unit="ops",
                    width=8,
                ),
                timeseries(
                    "Refusals and failures",
                    "Requests per second refused because a log was full, and writes and syncs that failed.",
                    [
                        rate("tidewell_log_refused_total", by=f"'full: ' || ({LOG})", where=CHOSEN),
                        rate("tidewell_log_failures_total", by=f"'failed: ' || ({LOG})", where=CHOSEN),
                    ],
                    unit="ops",
                    width=8,
                ),
            ],
        ),
        Row(
            "Stores",
            [
                timeseries(
                    "Rows stored",
                    "Rows per second that a store has committed, by table.",
                    rate("tidewell_store_rows_written_total", by=TABLE, where=CHOSEN),
                    unit="cps",
                    width=8,
                ),
                timeseries(
                    "Time of a write, 99 %",
                    "All but one in a hundred attempts to write a batch took less, by store.",
                    quantile(0.99, "tidewell_store_write_duration_seconds", by=STORE, where=CHOSEN),
                    unit="s",
                    width=8,
                ),
                timeseries(
                    "Rows of a batch",
                    "Average size of a batch by table.",
                    average("tidewell_store_write_rows", by=TABLE, where=CHOSEN),
                    width=8,
                ),
                timeseries(
                    "Failed writes",
                    "Share of the attempts that failed; they are made again.",
                    ratio(
                        "(metric = 'tidewell_store_writes_total' AND labels->>'result' = 'failed')",
                        "metric = 'tidewell_store_writes_total'",
                        by=STORE,
                        where=CHOSEN,
                    ),
                    unit="percentunit",
                    most=1,
                    width=8,
                ),
                timeseries(
                    "Time of a probe",
                    "How long a store took to answer a probe.",
                    gauge("tidewell_store_probe_duration_seconds", by=STORE, where=CHOSEN, how="max"),
                    unit="s",
                    width=8,
                ),
                timeseries(
                    "Connections to TimescaleDB",
                    "Connections that write rows, and tasks that wait for one.",
                    [
                        total("tidewell_pool_connections", by="labels->>'state'", where=CHOSEN),
                        total("tidewell_pool_waiting", by="'waiting'", where=CHOSEN),
                        total("tidewell_pool_limit", by="'limit'", where=CHOSEN),
                    ],
                    width=8,
                ),
            ],
        ),
        Row(
            "Accounts and process",
            [
                table(
                    "Where accepted rows are",
                    "Since each gateway started: accepted and restored rows are stored, dead-lettered, suppressed or in the log.",
                    Query(
                        "timescale",
                        f"""
SELECT {TABLE} AS "table",
    coalesce(sum(value) FILTER (WHERE metric = 'tidewell_rows_accepted_total'), 0) AS accepted,
    coalesce(sum(value) FILTER (WHERE metric = 'tidewell_rows_restored_total'), 0) AS restored,
    coalesce(sum(value) FILTER (WHERE metric = 'tidewell_rows_settled_total' AND disposition = 'stored'), 0) AS stored,
    coalesce(sum(value) FILTER (WHERE metric = 'tidewell_rows_settled_total' AND disposition <> 'stored'), 0)
        AS otherwise_settled,
    coalesce(sum(value) FILTER (WHERE metric = 'tidewell_rows_in_log'), 0) AS in_log
FROM (
    SELECT metric, labels, labels->>'disposition' AS disposition, last(coalesce(value, value_int), "time") AS value
    FROM metrics_events
    WHERE $__timeFilter("time") AND {CHOSEN} AND metric IN ('tidewell_rows_accepted_total',
        'tidewell_rows_restored_total', 'tidewell_rows_settled_total', 'tidewell_rows_in_log')
    GROUP BY 1, 2
) AS last_samples
GROUP BY 1
ORDER BY 1""",
                        "table",
                    ),
                ),
                timeseries(
                    "Dead letters",
                    "Records per second kept in dead_letters, by table.",
                    rate("tidewell_dead_letters_total", by=TABLE, where=CHOSEN),
                    unit="cps",
                ),
                timeseries(
                    "Processor",
                    "Processors in use, in seconds per second.",
                    rate("process_cpu_seconds_total", where=f"{CHOSEN} AND labels->>'job' = 'tidewell'"),
                ),
                timeseries(
                    "Memory",
                    "Memory of the process.",
                    gauge(
                        "process_resident_memory_bytes",
                        where=f"{CHOSEN} AND labels->>'job' = 'tidewell'",
                        how="max",
                    ),
                    unit="bytes",
                ),
                timeseries(
                    "Open files",
                    "Files and sockets of the process, and the most that the system allows.",
                    [
                        gauge("process_open_fds", by="'open'", where=f"{CHOSEN} AND labels->>'job' = 'tidewell'"),
                        gauge("process_max_fds", by="'limit'", where=f"{CHOSEN} AND labels->>'job' = 'tidewell'"),
                    ],
                ),
                timeseries(
                    "Repetitions that are recognised",
                    "Requests whose repetitions would be recognised (idempotency.max_keys is the most).",
                    total("tidewell_idempotency_keys", where=CHOSEN),
                ),
            ],
        ),
    ],
)
