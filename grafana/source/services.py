"""Services seen through their spans: rate, errors and duration."""

from .model import Dashboard, Query, Row, Variable
from .panels import app_logs_link, stat, table, timeseries, trace_link, unit

# What a service was asked to do: its server and consumer spans, and the roots of its own work.
ENTRY = "(kind IN ('server', 'consumer') OR parent_span_id IS NULL)"
CHOSEN = f"""$__timeFilter("time") AND app IN (${{app:sqlstring}}) AND {ENTRY}"""


def _over_time(value: str, by: str = "app") -> Query:
    return Query(
        "timescale",
        f"""
SELECT $__timeGroupAlias("time", $__interval), {by} AS metric, {value} AS value
FROM traces_spans
WHERE {CHOSEN}
GROUP BY 1, 2
ORDER BY 1""",
    )


def _overall(value: str) -> Query:
    return Query("timescale", f"SELECT {value} AS value\nFROM traces_spans\nWHERE {CHOSEN}", "table")


def _p(share: float) -> str:
    return f"percentile_cont({share}) WITHIN GROUP (ORDER BY duration_ns) / 1e9"


FAILED = "count(*) FILTER (WHERE status = 'error')"

DASHBOARD = Dashboard(
    name="services",
    title="Tidewell / Services",
    description="Rate, errors and duration of every service, from its spans: server and consumer spans, and roots.",
    variables=[
        Variable(
            "app",
            "Service",
            "Services with spans in the time range",
            Query("timescale", 'SELECT DISTINCT app FROM traces_spans WHERE $__timeFilter("time") ORDER BY 1', "table"),
        )
    ],
    rows=[
        Row(
            "All chosen services",
            [
                stat("Spans", "Requests and other entries in the time range.", _overall("count(*)")),
                stat(
                    "Failed",
                    "Share of them with status error.",
                    _overall(f"coalesce({FAILED}::double precision / nullif(count(*), 0), 0)"),
                    unit="percentunit",
                    thresholds=[(None, "green"), (0.01, "orange"), (0.05, "red")],
                ),
                stat("Median", "Half of them took less.", _overall(_p(0.5)), unit="s"),
                stat("95 %", "Nineteen of twenty took less.", _overall(_p(0.95)), unit="s"),
                stat("99 %", "All but one in a hundred took less.", _overall(_p(0.99)), unit="s"),
                stat("Services", "Services that have such spans.", _overall("count(DISTINCT app)")),
            ],
        ),
        Row(
            "Rate, errors, duration",
            [
                timeseries(
                    "Rate",
                    "Entries per second and service.",
                    _over_time("count(*) / ($__interval_ms / 1000.0)"),
                    unit="ops",
                    width=8,
                ),
                timeseries(
                    "Errors",
                    "Share of a service's entries with status error.",
                    _over_time(f"{FAILED}::double precision / count(*)"),
                    unit="percentunit",
                    most=1,
                    width=8,
                ),
                timeseries(
                    "Duration, 95 %",
                    "Nineteen of twenty entries of a service took less.",
                    _over_time(_p(0.95)),
                    unit="s",
                    width=8,
                ),
            ],
        ),
        Row(
            "Operations",
            [
                table(
                    "Operations",
                    "Entries by service and name; the busiest first.",
                    Query(
                        "timescale",
                        f"""
SELECT app, name, count(*) AS spans, {FAILED}::double precision / count(*) AS failed,
    {_p(0.5)} AS median, {_p(0.95)} AS p95, max(duration_ns) / 1e9 AS longest
FROM traces_spans
WHERE {CHOSEN}
GROUP BY 1, 2
ORDER BY 3 DESC
LIMIT 100""",
                        "table",
                    ),
                    width=24,
                    fields={
                        "app": app_logs_link(),
                        "failed": unit("percentunit"),
                        "median": unit("s"),
                        "p95": unit("s"),
                        "longest": unit("s"),
                    },
                ),
                table(
                    "Slowest",
                    "The entries that took longest; the trace id opens the trace.",
                    Query(
                        "timescale",
                        f"""
SELECT "time", app, name, duration_ns / 1e9 AS duration, status, trace_id
FROM traces_spans
WHERE {CHOSEN} AND duration_ns IS NOT NULL
ORDER BY duration_ns DESC
LIMIT 50""",
                        "table",
                    ),
                    fields={"duration": unit("s"), "trace_id": trace_link()},
                ),
                table(
                    "Failed last",
                    "The latest spans of any kind with status error; the trace id opens the trace.",
                    Query(
                        "timescale",
                        """
SELECT "time", app, name, kind, status_message, trace_id
FROM traces_spans
WHERE $__timeFilter("time") AND app IN (${app:sqlstring}) AND status = 'error'
ORDER BY "time" DESC
LIMIT 50""",
                        "table",
                    ),
                    fields={"trace_id": trace_link()},
                ),
            ],
        ),
        Row(
            "Calls between services",
            [
                table(
                    "Who calls whom",
                    "Spans whose parent belongs to another service.",
                    Query(
                        "timescale",
                        """
SELECT parent.app AS caller, child.app AS called, count(*) AS calls,
    count(*) FILTER (WHERE child.status = 'error') AS failed,
    percentile_cont(0.95) WITHIN GROUP (ORDER BY child.duration_ns) / 1e9 AS p95
FROM traces_spans AS child
JOIN traces_spans AS parent ON parent.trace_id = child.trace_id AND parent.span_id = child.parent_span_id
WHERE $__timeFilter(child.time) AND $__timeFilter(parent.time)
    AND child.app IN (${app:sqlstring}) AND parent.app <> child.app
GROUP BY 1, 2
ORDER BY 3 DESC""",
                        "table",
                    ),
                    width=24,
                    height=6,
                    fields={"p95": unit("s")},
                ),
            ],
        ),
    ],
)
