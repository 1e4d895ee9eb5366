"""Postgres and TimescaleDB: prometheus-postgres-exporter's metrics, and what the catalogue says of hypertables."""

from .model import Dashboard, Query, Row, Variable
from .panels import RED_TO_GREEN, stat, table, timeseries, unit
from .prometheus import INSTANCE, gauge, latest, rate, ratio, total

CHOSEN = f"{INSTANCE} IN (${{instance:sqlstring}})"
DATABASE = "labels->>'datname'"
# Templates and rows of no database say nothing that is asked here.
REAL_DATABASE = f"{CHOSEN} AND coalesce({DATABASE}, '') NOT IN ('', 'template0', 'template1')"


DASHBOARD = Dashboard(
    name="postgres",
    title="Tidewell / Postgres",
    description="The server behind TimescaleDB: connections, transactions, cache, locks, WAL, and the size of hypertables.",
    variables=[
        Variable(
            "instance",
            "Exporter",
            "Postgres exporters that were scraped in the time range",
            Query(
                "timescale",
                f"""SELECT DISTINCT {INSTANCE} FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'pg_up' ORDER BY 1""",
                "table",
            ),
        )
    ],
    rows=[
        Row(
            "State",
            [
                stat("Up", "Servers that answer.", latest("pg_up", where=CHOSEN), each=True, thresholds=RED_TO_GREEN, width=6),
                stat(
                    "Version",
                    "Of Postgres and of the extension.",
                    Query(
                        "timescale",
                        """
SELECT current_setting('server_version') || ', TimescaleDB ' || extversion AS value
FROM pg_extension
WHERE extname = 'timescaledb'""",
                        "table",
                    ),
                    width=6,
                ),
                stat(
                    "Connections in use",
                    "Connections as a share of max_connections.",
                    Query(
                        "timescale",
                        """
SELECT count(*)::double precision / current_setting('max_connections')::integer AS value
FROM pg_stat_activity""",
                        "table",
                    ),
                    unit="percentunit",
                    thresholds=[(None, "green"), (0.7, "orange"), (0.9, "red")],
                    width=6,
                ),
                stat(
                    "Database",
                    "Size of this database.",
                    Query("timescale", "SELECT pg_database_size(current_database()) AS value", "table"),
                    unit="bytes",
                    width=6,
                ),
            ],
        ),
        Row(
            "Work",
            [
                timeseries(
                    "Transactions",
                    "Commits and rollbacks per second.",
                    [
                        rate("pg_stat_database_xact_commit", by=f"'commits ' || ({DATABASE})", where=REAL_DATABASE),
                        rate("pg_stat_database_xact_rollback", by=f"'rollbacks ' || ({DATABASE})", where=REAL_DATABASE),
                    ],
                    unit="ops",
                    width=8,
                ),
                timeseries(
                    "Rows",
                    "Rows per second that were inserted, updated, deleted, and fetched by queries.",
                    [
                        rate("pg_stat_database_tup_inserted", by="'inserted'", where=REAL_DATABASE),
                        rate("pg_stat_database_tup_updated", by="'updated'", where=REAL_DATABASE),
                        rate("pg_stat_database_tup_deleted", by="'deleted'", where=REAL_DATABASE),
                        rate("pg_stat_database_tup_fetched", by="'fetched'", where=REAL_DATABASE),
                    ],
                    unit="cps",
                    width=8,
                ),
                timeseries(
                    "Found in memory",
                    "Share of the blocks that were read without asking the disk.",
                    ratio(
                        "metric = 'pg_stat_database_blks_hit'",
                        "metric = 'pg_stat_database_blks_read'",
                        by=DATABASE,
                        where=REAL_DATABASE,
                    ),
                    unit="percentunit",
                    most=1,
                    width=8,
                ),
                timeseries(
                    "Connections",
                    "Connections by what they do.",
                    total("pg_stat_activity_count", by="labels->>'state'", where=REAL_DATABASE),
                    width=8,
                ),
                timeseries(
                    "Longest transaction",
                    "Age of the oldest transaction by state. An old one keeps dead rows and blocks changes of tables.",
                    gauge("pg_stat_activity_max_tx_duration", by="labels->>'state'", where=REAL_DATABASE, how="max"),
                    unit="s",
                    width=8,
                ),
                timeseries(
                    "Locks",
                    "Locks by mode.",
                    total("pg_locks_count", by="labels->>'mode'", where=REAL_DATABASE),
                    width=8,
                ),
            ],
        ),
        Row(
            "Disk",
            [
                timeseries(
                    "Databases",
                    "Size of each database.",
                    total("pg_database_size_bytes", by=DATABASE, where=REAL_DATABASE),
                    unit="bytes",
                    width=8,
                ),
                timeseries(
                    "Write-ahead log",
                    "Bytes per second that Postgres writes to its log.",
                    rate("pg_wal_bytes", where=CHOSEN),
                    unit="Bps",
                    width=8,
                ),
                timeseries(
                    "Checkpoints",
                    "Checkpoints per second: by the clock, and asked for because the log grew. Many of the second kind: "
                    "max_wal_size is small.",
                    [
                        rate("pg_checkpoints_timed", by="'by the clock'", where=CHOSEN),
                        rate("pg_checkpoints_requested", by="'asked for'", where=CHOSEN),
                    ],
                    unit="ops",
                    width=8,
                ),
                timeseries(
                    "Temporary files",
                    "Bytes per second that sorts and joins put on disk.",
                    rate("pg_stat_database_temp_bytes", by=DATABASE, where=REAL_DATABASE),
                    unit="Bps",
                    width=8,
                ),
                timeseries(
                    "Conflicts and deadlocks",
                    "Queries per second that were ended by either.",
                    [
                        rate("pg_stat_database_deadlocks", by="'deadlocks'", where=REAL_DATABASE),
                        rate("pg_stat_database_conflicts", by="'conflicts'", where=REAL_DATABASE),
                    ],
                    unit="ops",
                    width=8,
                ),
                timeseries(
                    "Waiting for the disk",
                    "Seconds per second that queries read and wrote blocks; needs track_io_timing.",
                    [
                        rate("pg_stat_database_blk_read_time", by="'reading'", where=REAL_DATABASE, scale=" / 1000"),
                        rate("pg_stat_database_blk_write_time", by="'writing'", where=REAL_DATABASE, scale=" / 1000"),
                    ],
                    unit="s",
                    width=8,
                ),
            ],
        ),
        Row(
            "Hypertables",
            [
                table(
                    "Hypertables",
                    "Size, chunks and estimated rows of each hypertable, and the range of its chunks.",
                    Query(
                        "timescale",
                        """
SELECT hypertable_name AS name, hypertable_size(format('%I.%I', hypertable_schema, hypertable_name)::regclass) AS size,
    num_chunks AS chunks, approximate_row_count(format('%I.%I', hypertable_schema, hypertable_name)::regclass) AS rows,
    (SELECT min(range_start) FROM timescaledb_information.chunks AS chunk
        WHERE chunk.hypertable_name = hypertables.hypertable_name) AS first,
    (SELECT max(range_end) FROM timescaledb_information.chunks AS chunk
        WHERE chunk.hypertable_name = hypertables.hypertable_name) AS last
FROM timescaledb_information.hypertables
ORDER BY 2 DESC""",
                        "table",
                    ),
                    fields={"size": unit("bytes")},
                ),
                table(
                    "Tables that are written to",
                    "Rows inserted, dead rows, and when a table was last cleaned, the most written first.",
                    Query(
                        "timescale",
                        """
SELECT schemaname AS schema, relname AS name, n_tup_ins AS inserted, n_tup_upd AS updated, n_live_tup AS live,
    n_dead_tup AS dead, greatest(last_vacuum, last_autovacuum) AS cleaned
FROM pg_stat_user_tables
ORDER BY 3 DESC
LIMIT 50""",
                        "table",
                    ),
                ),
                table(
                    "How far each log is committed",
                    "The last cut of each lane of each gateway's log.",
                    Query(
                        "timescale",
                        """
SELECT to_hex(log) AS log, lane, cut, updated_at
FROM tidewell_progress
ORDER BY 4 DESC
LIMIT 50""",
                        "table",
                    ),
                    width=24,
                    height=6,
                ),
            ],
        ),
    ],
)
