"""Log records: how many, of which level, from whom, and the records themselves."""

from .model import Dashboard, Query, Row, Variable
from .panels import app_logs_link, bars, logs, stat, table, timeseries, trace_link, unit

# Records without a severity have an empty level, which reads badly in a list.
LEVEL = "if(level = '', 'none', level)"
CHOSEN = f"""$__timeFilter(timestamp)
    AND app IN (${{app:sqlstring}}) AND host IN (${{host:sqlstring}}) AND {LEVEL} IN (${{level:sqlstring}})
    AND positionCaseInsensitive(message, ${{search:sqlstring}}) > 0"""
FAILED = "level IN ('error', 'fatal')"


def _over_time(name: str, by: str, value: str = "count()") -> Query:
    return Query(
        "clickhouse",
        f"""
SELECT $__timeInterval(timestamp) AS time, {by} AS {name}, {value} AS records
FROM logs_events
WHERE {CHOSEN}
GROUP BY time, {name}
ORDER BY time""",
    )


def _overall(value: str) -> Query:
    return Query("clickhouse", f"SELECT {value} AS value\nFROM logs_events\nWHERE {CHOSEN}", "table")


def _chosen_from(name: str, label: str, description: str, column: str) -> Variable:
    sql = f"SELECT DISTINCT {column} FROM logs_events WHERE $__timeFilter(timestamp) ORDER BY 1 LIMIT 1000"
    return Variable(name, label, description, Query("clickhouse", sql, "table"))


LEVEL_COLOURS = {
    level: {"color": {"mode": "fixed", "fixedColor": colour}}
    for level, colour in [
        ("fatal", "purple"),
        ("error", "red"),
        ("warn", "orange"),
        ("info", "green"),
        ("debug", "blue"),
        ("trace", "light-blue"),
        ("none", "text"),
    ]
}

DASHBOARD = Dashboard(
    name="logs",
    title="Tidewell / Logs",
    description="Log records by level, application and host, with a search, and the way to their traces.",
    variables=[
        _chosen_from("app", "Application", "Applications with records in the time range", "app"),
        _chosen_from("host", "Host", "Hosts with records in the time range", "host"),
        _chosen_from("level", "Level", "Levels of records in the time range", LEVEL),
        Variable("search", "Search", "Text that the message contains, in any case; empty for all records"),
    ],
    rows=[
        Row(
            "How many",
            [
                stat("Number of records", "Records that were chosen.", _overall("count()"), width=6),
                stat(
                    "Errors",
                    "Share of them that are errors or fatal.",
                    _overall(f"countIf({FAILED}) / greatest(count(), 1)"),
                    unit="percentunit",
                    width=6,
                    thresholds=[(None, "green"), (0.01, "orange"), (0.1, "red")],
                ),
                stat("Number of applications", "Applications that wrote them.", _overall("uniqExact(app)"), width=6),
                stat("With a trace", "Records that name a trace.", _overall("countIf(trace_id != '')"), width=6),
                bars(
                    "By level",
                    "Records in each interval by level.",
                    _over_time("level", LEVEL),
                    fields=LEVEL_COLOURS,
                ),
                bars("By application", "Records in each interval by application.", _over_time("app", "app")),
                timeseries(
                    "Errors by application",
                    "Share of an application's records that are errors or fatal.",
                    _over_time("app", "app", f"countIf({FAILED}) / count()"),
                    unit="percentunit",
                    most=1,
                ),
                table(
                    "Applications",
                    "Records, errors and bytes of messages by application.",
                    Query(
                        "clickhouse",
                        f"""
SELECT app, count() AS records, countIf({FAILED}) AS errors, sum(length(message)) AS bytes, max(timestamp) AS latest
FROM logs_events
WHERE {CHOSEN}
GROUP BY app
ORDER BY records DESC
LIMIT 100""",
                        "table",
                    ),
                    fields={"app": app_logs_link(), "bytes": unit("bytes")},
                ),
            ],
        ),
        Row(
            "What they say",
            [
                table(
                    "Patterns",
                    "Messages with their numbers taken out, the most frequent first.",
                    Query(
                        "clickhouse",
                        f"""
SELECT count() AS records, app, replaceRegexpAll(substring(message, 1, 200), '[0-9a-f]*[0-9]+[0-9a-f]*', '#') AS pattern,
    any(message) AS example
FROM logs_events
WHERE {CHOSEN}
GROUP BY app, pattern
ORDER BY records DESC
LIMIT 50""",
                        "table",
                    ),
                    width=24,
                ),
                table(
                    "Traces with errors",
                    "The latest traces that wrote an error; the trace id opens the trace.",
                    Query(
                        "clickhouse",
                        f"""
SELECT max(timestamp) AS latest, any(app) AS wrote_it, count() AS errors, any(message) AS first_words, trace_id
FROM logs_events
WHERE {CHOSEN} AND {FAILED} AND trace_id != ''
GROUP BY trace_id
ORDER BY latest DESC
LIMIT 50""",
                        "table",
                    ),
                    width=24,
                    height=6,
                    fields={"trace_id": trace_link()},
                ),
                logs(
                    "Records",
                    "The latest 500 records that were chosen. Details of a record have its labels and its trace.",
                    Query(
                        "clickhouse",
                        f"""
SELECT timestamp, message AS body, level, labels, app, host, resource, trace_id, span_id
FROM logs_events
WHERE {CHOSEN}
ORDER BY timestamp DESC
LIMIT 500""",
                        "logs",
                    ),
                    fields={"trace_id": trace_link()},
                ),
            ],
        ),
    ],
)
