"""Vector's own metrics (its source internal_metrics, namespace vector): is it keeping up, and is anything lost?"""

from .model import Dashboard, Query, Row, Variable
from .panels import stat, table, timeseries
from .prometheus import INSTANCE, average, gauge, latest, rate, total

# Vector tags its metrics with the host that it runs on; a scrape adds the instance.
CHOSEN = f"{INSTANCE} IN (${{instance:sqlstring}})"
COMPONENT = "labels->>'component_id'"


def _of(kind: str) -> str:
    return f"{CHOSEN} AND labels->>'component_kind' = '{kind}'"


DASHBOARD = Dashboard(
    name="vector",
    title="Tidewell / Vector",
    description="What each Vector receives and sends, what waits in its buffers, and what it drops.",
    variables=[
        Variable(
            "instance",
            "Vector",
            "Vectors that told of themselves in the time range",
            Query(
                "timescale",
                f"""SELECT DISTINCT {INSTANCE} FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'vector_uptime_seconds' ORDER BY 1""",
                "table",
            ),
        )
    ],
    rows=[
        Row(
            "State",
            [
                stat(
                    "Running for",
                    "Time since the start.",
                    latest("vector_uptime_seconds", where=CHOSEN),
                    each=True,
                    unit="dtdurations",
                    width=8,
                ),
                stat(
                    "Waiting in buffers",
                    "Events in the buffers of all sinks.",
                    latest("vector_buffer_size_events", by="'events'", where=CHOSEN),
                    width=8,
                ),
                table(
                    "Versions",
                    "The running builds.",
                    Query(
                        "timescale",
                        f"""
SELECT DISTINCT {INSTANCE} AS vector, labels->>'version' AS version, labels->>'arch' AS architecture
FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'vector_build_info' AND {CHOSEN}
ORDER BY 1""",
                        "table",
                    ),
                    width=8,
                    height=4,
                ),
            ],
        ),
        Row(
            "Flow",
            [
                timeseries(
                    "Received",
                    "Events per second that each source took in.",
                    rate("vector_component_received_events_total", by=COMPONENT, where=_of("source")),
                    unit="eps",
                ),
                timeseries(
                    "Sent",
                    "Events per second that each sink delivered.",
                    rate("vector_component_sent_events_total", by=COMPONENT, where=_of("sink")),
                    unit="eps",
                ),
                timeseries(
                    "Bytes sent",
                    "Bytes per second that each sink sent, compressed.",
                    rate("vector_component_sent_bytes_total", by=COMPONENT, where=_of("sink")),
                    unit="Bps",
                ),
                timeseries(
                    "Busy",
                    "Share of the time in which a component worked rather than waited. Near 100 % it is the bottleneck.",
                    gauge("vector_utilization", by=COMPONENT, where=CHOSEN),
                    unit="percentunit",
                    most=1,
                ),
            ],
        ),
        Row(
            "Waiting and lost",
            [
                timeseries(
                    "Events in buffers",
                    "Events that wait in the buffer of each sink.",
                    total("vector_buffer_size_events", by=COMPONENT, where=CHOSEN),
                ),
                timeseries(
                    "Bytes in buffers",
                    "Bytes that wait in the buffer of each sink; agent.yaml allows each 1 GiB.",
                    total("vector_buffer_size_bytes", by=COMPONENT, where=CHOSEN),
                    unit="bytes",
                ),
                timeseries(
                    "Dropped",
                    "Events per second that a component gave up: on purpose (a filter), or because of an error.",
                    rate(
                        "vector_component_discarded_events_total",
                        by=f"({COMPONENT}) || CASE labels->>'intentional' WHEN 'true' THEN ' on purpose' ELSE ' lost' END",
                        where=CHOSEN,
                    ),
                    unit="eps",
                ),
                timeseries(
                    "Errors",
                    "Errors per second by component and type.",
                    rate(
                        "vector_component_errors_total",
                        by=f"({COMPONENT}) || ' ' || (labels->>'error_type')",
                        where=CHOSEN,
                    ),
                    unit="ops",
                ),
            ],
        ),
        Row(
            "Requests to the gateway",
            [
                timeseries(
                    "Answers",
                    "Answers per second by status.",
                    rate("vector_http_client_responses_total", by="labels->>'status'", where=CHOSEN),
                    unit="reqps",
                ),
                timeseries(
                    "Time to the answer",
                    "Average round trip of each sink's requests.",
                    average("vector_http_client_response_rtt_seconds", by=COMPONENT, where=CHOSEN),
                    unit="s",
                ),
            ],
        ),
    ],
)
