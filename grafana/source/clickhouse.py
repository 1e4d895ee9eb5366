"""ClickHouse, by its own system tables: parts, merges, sizes, memory, errors. Every server from 24.4 on has them."""

from .model import Dashboard, Query, Row
from .panels import bars, stat, table, unit

HERE = "database = currentDatabase()"


def _one(sql: str) -> Query:
    return Query("clickhouse", sql, "table")


def _metric(name: str) -> Query:
    return _one(f"SELECT value\nFROM system.metrics\nWHERE metric = '{name}'")


DASHBOARD = Dashboard(
    name="clickhouse",
    title="Tidewell / ClickHouse",
    description="The server that keeps logs: parts and merges, sizes and compression, queries, errors.",
    rows=[
        Row(
            "State",
            [
                stat("Version", "Of the server.", _one("SELECT version() AS value")),
                stat(
                    "Rows",
                    "Rows in all tables of this database.",
                    _one(f"SELECT sum(rows) AS value\nFROM system.parts\nWHERE active AND {HERE}"),
                ),
                stat(
                    "On disk",
                    "Bytes of their parts.",
                    _one(f"SELECT sum(bytes_on_disk) AS value\nFROM system.parts\nWHERE active AND {HERE}"),
                    unit="bytes",
                ),
                stat(
                    "Disk in use",
                    "Share of the fullest disk that is used.",
                    _one("SELECT max(1 - free_space / total_space) AS value\nFROM system.disks"),
                    unit="percentunit",
                    thresholds=[(None, "green"), (0.8, "orange"), (0.9, "red")],
                ),
                stat(
                    "Most parts of a partition",
                    "Writes slow down at parts_to_delay_insert, and fail at parts_to_throw_insert (3000).",
                    _one(
                        "SELECT max(parts) AS value\nFROM (SELECT count() AS parts FROM system.parts "
                        f"WHERE active AND {HERE} GROUP BY table, partition)"
                    ),
                    thresholds=[(None, "green"), (300, "orange"), (1000, "red")],
                ),
                stat(
                    "Memory of queries",
                    "Bytes that the server has counted as in use.",
                    _metric("MemoryTracking"),
                    unit="bytes",
                ),
                stat("Queries", "Queries that run now, this one among them.", _metric("Query")),
                stat("Merges", "Merges that run now.", _metric("Merge")),
                stat("Mutations", "Changes of whole parts that run now.", _metric("PartMutation")),
                stat(
                    "Unfinished mutations",
                    "Changes of whole parts that are not done; one with a reason has failed.",
                    _one(f"SELECT countIf(NOT is_done) AS value\nFROM system.mutations\nWHERE {HERE}"),
                    thresholds=[(None, "green"), (1, "orange")],
                ),
                stat(
                    "Detached parts",
                    "Parts that were put aside, broken ones among them.",
                    _one(f"SELECT count() AS value\nFROM system.detached_parts\nWHERE {HERE}"),
                    thresholds=[(None, "green"), (1, "orange")],
                ),
                stat(
                    "Delayed inserts",
                    "Inserts that wait because there are too many parts.",
                    _metric("DelayedInserts"),
                    thresholds=[(None, "green"), (1, "red")],
                ),
            ],
        ),
        Row(
            "Tables",
            [
                table(
                    "Tables",
                    "Rows, parts, bytes and compression of each table.",
                    _one(
                        f"""
SELECT table, sum(rows) AS total_rows, count() AS parts, uniqExact(partition) AS partitions, sum(bytes_on_disk) AS on_disk,
    sum(data_uncompressed_bytes) AS uncompressed,
    sum(data_uncompressed_bytes) / greatest(sum(data_compressed_bytes), 1) AS ratio,
    sum(bytes_on_disk) / greatest(sum(rows), 1) AS bytes_a_row
FROM system.parts
WHERE active AND {HERE}
GROUP BY table
ORDER BY on_disk DESC"""
                    ),
                    width=24,
                    height=6,
                    fields={
                        "on_disk": unit("bytes"),
                        "uncompressed": unit("bytes"),
                        "bytes_a_row": unit("bytes"),
                        "ratio": {"decimals": 1},
                    },
                ),
                table(
                    "Partitions of logs_events",
                    "One a day: rows, parts, bytes and the range of time.",
                    _one(
                        f"""
SELECT partition, sum(rows) AS total_rows, count() AS parts, sum(bytes_on_disk) AS on_disk,
    min(min_time) AS first, max(max_time) AS last
FROM system.parts
WHERE active AND {HERE} AND table = 'logs_events'
GROUP BY partition
ORDER BY partition DESC
LIMIT 60"""
                    ),
                    fields={"on_disk": unit("bytes")},
                ),
                table(
                    "Columns of logs_events",
                    "What each column takes on disk, the largest first. Small parts, which keep all columns in one file, count as 0.",
                    _one(
                        f"""
SELECT name, type, data_compressed_bytes AS on_disk, data_uncompressed_bytes AS uncompressed,
    data_uncompressed_bytes / greatest(data_compressed_bytes, 1) AS ratio
FROM system.columns
WHERE {HERE} AND table = 'logs_events'
ORDER BY on_disk DESC"""
                    ),
                    fields={"on_disk": unit("bytes"), "uncompressed": unit("bytes"), "ratio": {"decimals": 1}},
                ),
            ],
        ),
        Row(
            "Work",
            [
                bars(
                    "New parts",
                    "Parts that were written in each interval and are not merged away, by table.",
                    Query(
                        "clickhouse",
                        f"""
SELECT $__timeInterval(modification_time) AS time, table, count() AS parts
FROM system.parts
WHERE $__timeFilter(modification_time) AND {HERE}
GROUP BY time, table
ORDER BY time""",
                    ),
                ),
                bars(
                    "Rows in new parts",
                    "Rows of these parts, by table and level: level 0 was inserted, the others were merged.",
                    Query(
                        "clickhouse",
                        f"""
SELECT $__timeInterval(modification_time) AS time, concat(table, if(level = 0, ' inserted', ' merged')) AS what,
    sum(rows) AS written_rows
FROM system.parts
WHERE $__timeFilter(modification_time) AND {HERE}
GROUP BY time, what
ORDER BY time""",
                    ),
                ),
                table(
                    "Queries that run",
                    "Who asks what now, the longest first.",
                    _one(
                        """
SELECT elapsed, user, read_rows, memory_usage, substring(query, 1, 300) AS query
FROM system.processes
ORDER BY elapsed DESC
LIMIT 50"""
                    ),
                    width=24,
                    height=6,
                    fields={"elapsed": unit("s"), "memory_usage": unit("bytes")},
                ),
                table(
                    "Since the start",
                    "Events that tell of health: inserts, selects, merges, waits, failures.",
                    _one(
                        """
SELECT event, value, description
FROM system.events
WHERE event IN ('Query', 'SelectQuery', 'InsertQuery', 'FailedQuery', 'FailedInsertQuery', 'FailedSelectQuery',
    'InsertedRows', 'InsertedBytes', 'SelectedRows', 'SelectedBytes', 'Merge', 'MergedRows', 'MergeTotalMilliseconds',
    'DelayedInserts', 'RejectedInserts', 'DelayedInsertsMilliseconds', 'DuplicatedInsertedBlocks', 'SlowRead',
    'ReadBackoff', 'QueryMemoryLimitExceeded', 'OSIOWaitMicroseconds', 'OSCPUWaitMicroseconds')
ORDER BY event"""
                    ),
                ),
                table(
                    "Errors",
                    "Errors since the start, the latest first. A number that grows wants a look at the server's log.",
                    _one(
                        """
SELECT name, value, last_error_time, substring(last_error_message, 1, 300) AS message
FROM system.errors
ORDER BY last_error_time DESC
LIMIT 50"""
                    ),
                ),
            ],
        ),
    ],
)
