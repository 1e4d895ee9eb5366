"""One trace: its spans as a tree, their events, and the log records that name it."""

from .model import Dashboard, Query, Row, Variable
from .panels import logs, stat, table, trace_link, unit

OF_TRACE = "trace_id = lower(${trace_id:sqlstring})"

# A typed trace id is looked up whenever it was: the index on trace_id finds it without a time range.
CHOSEN = f"WHERE {OF_TRACE}"


def _overall(value: str) -> Query:
    return Query("timescale", f"SELECT {value} AS value\nFROM traces_spans\n{CHOSEN}", "table")


DASHBOARD = Dashboard(
    name="trace",
    title="Tidewell / Trace",
    description="A trace by its id, whenever it was, with its log records; and traces to choose from.",
    variables=[Variable("trace_id", "Trace id", "32 hexadecimal digits; other dashboards fill it in")],
    rows=[
        Row(
            "Trace ${trace_id}",
            [
                stat("Number of spans", "Spans of the trace.", _overall("count(*)")),
                stat("Services", "Services that took part.", _overall("count(DISTINCT app)")),
                stat(
                    "Duration",
                    "From the start of the first span to the end of the last.",
                    _overall(
                        "extract(epoch FROM max(time + coalesce(duration_ns, 0) / 1000 * INTERVAL '1 microsecond')"
                        " - min(time))"
                    ),
                    unit="s",
                ),
                stat(
                    "Failed spans",
                    "Spans with status error.",
                    _overall("count(*) FILTER (WHERE status = 'error')"),
                    thresholds=[(None, "green"), (1, "red")],
                ),
                stat("Began", "Start of the first span.", _overall("min(time)"), unit="dateTimeAsIso", width=8),
                table(
                    "Spans",
                    "The spans as a tree: children below their parent, by start. Offsets count from the first span.",
                    Query(
                        "timescale",
                        f"""
WITH RECURSIVE spans AS (
    SELECT DISTINCT ON (span_id) *, min("time") OVER () AS began
    FROM traces_spans
    {CHOSEN}
), tree AS (
    SELECT span_id, 0 AS depth, ARRAY["time"::text || span_id] AS path
    FROM spans
    WHERE parent_span_id IS NULL OR parent_span_id NOT IN (SELECT span_id FROM spans)
    UNION ALL
    SELECT child.span_id, tree.depth + 1, tree.path || ("time"::text || child.span_id)
    FROM spans AS child
    JOIN tree ON child.parent_span_id = tree.span_id
    WHERE tree.depth < 100
)
SELECT repeat('    ', depth) || name AS span, app, kind, status, extract(epoch FROM "time" - began) AS starts_after,
    duration_ns / 1e9 AS duration, labels, span_id
FROM tree
JOIN spans USING (span_id)
ORDER BY path
LIMIT 2000""",
                        "table",
                    ),
                    width=24,
                    height=12,
                    fields={
                        "starts_after": unit("s"),
                        "duration": unit("s") | {"custom.cellOptions": {"type": "gauge", "mode": "basic"}},
                        "status": {"custom.cellOptions": {"type": "color-text"}},
                    },
                ),
                table(
                    "Events",
                    "Events of the spans, exceptions among them.",
                    Query(
                        "timescale",
                        f"""
SELECT app, name AS span, event->>'name' AS event, event AS details
FROM traces_spans, jsonb_array_elements(CASE WHEN jsonb_typeof(events) = 'array' THEN events ELSE '[]' END) AS event
{CHOSEN}
ORDER BY "time"
LIMIT 500""",
                        "table",
                    ),
                    width=24,
                    height=6,
                ),
                logs(
                    "Log records",
                    "Records that name the trace, in the order in which they were written.",
                    Query(
                        "clickhouse",
                        f"""
SELECT timestamp, message AS body, level, labels, app, host, span_id
FROM logs_events
WHERE {OF_TRACE}
ORDER BY timestamp
LIMIT 2000""",
                        "logs",
                    ),
                ),
            ],
        ),
        Row(
            "Traces in the time range",
            [
                table(
                    "Latest traces",
                    "Traces by their first span; the trace id opens one.",
                    Query(
                        "timescale",
                        """
SELECT min("time") AS began, (array_agg(app ORDER BY "time"))[1] AS app, (array_agg(name ORDER BY "time"))[1] AS name,
    count(*) AS spans, count(*) FILTER (WHERE status = 'error') AS failed, max(duration_ns) / 1e9 AS longest_span, trace_id
FROM traces_spans
WHERE $__timeFilter("time")
GROUP BY trace_id
ORDER BY began DESC
LIMIT 100""",
                        "table",
                    ),
                    width=24,
                    fields={"longest_span": unit("s"), "trace_id": trace_link()},
                ),
            ],
        ),
    ],
)
