"""Tables whose rows move to ClickHouse: what each tier holds, side by side, and how the moving goes, by the gateways' /metrics."""

from .model import Dashboard, Query, Row, Variable
from .panels import GREEN_TO_RED, stat, table, timeseries, unit
from .prometheus import gauge, latest, rate

TABLE = "labels->>'table'"
CHOSEN = f"{TABLE} IN (${{table:sqlstring}})"


def _of_tier(metric: str, tier: str) -> Query:
    """Every gateway measures the same: the largest of what they say."""
    return gauge(metric, by=TABLE, where=f"{CHOSEN} AND labels->>'tier' = '{tier}'", how="max")


def _last(what: str, tier: str) -> str:
    """The last of what a tier holds, as a column."""
    wanted = f"metric = 'tidewell_tiering_stored_{what}' AND labels->>'tier' = '{tier}'"
    return f'last(coalesce(value, value_int), "time") FILTER (WHERE {wanted}) AS {tier}_{what}'


DASHBOARD = Dashboard(
    name="tiering",
    title="Tidewell / Tiering",
    description="Rows in TimescaleDB and in ClickHouse, what moves, and what does not. `tidewell tier status` tells more.",
    hours=24,
    variables=[
        Variable(
            "table",
            "Table",
            "Tables with a policy of tiering in the time range",
            Query(
                "timescale",
                f"""SELECT DISTINCT {TABLE} FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'tidewell_tiering_lag_seconds' ORDER BY 1""",
                "table",
            ),
        )
    ],
    rows=[
        Row(
            "State",
            [
                stat(
                    "Behind the policy",
                    "How much older than its policy says the oldest range of a table is that has not moved.",
                    latest("tidewell_tiering_lag_seconds", by=TABLE, where=CHOSEN, how="max"),
                    each=True,
                    unit="s",
                    thresholds=[(None, "green"), (86_400, "orange"), (129_600, "red")],
                    width=8,
                ),
                stat(
                    "Moves",
                    "Tables whose oldest range does not move are blocked; GET /tiering says why.",
                    latest("tidewell_tiering_blocked", by=TABLE, where=CHOSEN, how="max"),
                    each=True,
                    thresholds=GREEN_TO_RED,
                    mappings={"0": ("moves", "green"), "1": ("blocked", "red")},
                    width=8,
                ),
                stat(
                    "Damaged moves",
                    "Moves whose cold rows were not what was moved, when the table was verified last.",
                    latest("tidewell_tiering_damaged_moves", by="'moves'", where=CHOSEN, how="max"),
                    thresholds=GREEN_TO_RED,
                ),
                stat(
                    "Last success",
                    "When a run of any gateway last ended well.",
                    Query(
                        "timescale",
                        f"""
SELECT max(coalesce(value, value_int)) * 1000 AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric = 'tidewell_tiering_last_success_timestamp_seconds' AND {CHOSEN}""",
                        "table",
                    ),
                    unit="dateTimeFromNow",
                ),
            ],
        ),
        Row(
            "Hot and cold",
            [
                timeseries(
                    "Rows in TimescaleDB",
                    "Hot rows by table; an estimate where there are many.",
                    _of_tier("tidewell_tiering_stored_rows", "hot"),
                ),
                timeseries(
                    "Rows in ClickHouse",
                    "Cold rows by table, those that arrived late as well.",
                    _of_tier("tidewell_tiering_stored_rows", "cold"),
                ),
                timeseries(
                    "Size in TimescaleDB",
                    "Bytes on disk by table, indexes included.",
                    _of_tier("tidewell_tiering_stored_bytes", "hot"),
                    unit="bytes",
                ),
                timeseries(
                    "Size in ClickHouse",
                    "Bytes on disk by table, compressed.",
                    _of_tier("tidewell_tiering_stored_bytes", "cold"),
                    unit="bytes",
                ),
                table(
                    "Each table",
                    "What both tiers hold now, and what a row takes in each.",
                    Query(
                        "timescale",
                        f"""
SELECT name AS "table", hot_rows, cold_rows, hot_bytes, cold_bytes,
    hot_bytes / nullif(hot_rows, 0) AS hot_row, cold_bytes / nullif(cold_rows, 0) AS cold_row
FROM (
    SELECT {TABLE} AS name,
        {_last("rows", "hot")},
        {_last("rows", "cold")},
        {_last("bytes", "hot")},
        {_last("bytes", "cold")}
    FROM metrics_events
    WHERE $__timeFilter("time") AND metric IN ('tidewell_tiering_stored_rows', 'tidewell_tiering_stored_bytes') AND {CHOSEN}
    GROUP BY 1
) AS last_samples
ORDER BY 1""",
                        "table",
                    ),
                    width=24,
                    fields={name: unit("bytes") for name in ("hot_bytes", "cold_bytes", "hot_row", "cold_row")},
                ),
            ],
        ),
        Row(
            "Moving",
            [
                timeseries(
                    "How far behind",
                    "How much older than its policy says the oldest range of each table is that has not moved.",
                    gauge("tidewell_tiering_lag_seconds", by=TABLE, where=CHOSEN, how="max"),
                    unit="s",
                    width=8,
                ),
                timeseries(
                    "Rows that move",
                    "Rows per second by table, counted when their range is published.",
                    rate("tidewell_tiering_rows_total", by=TABLE, where=CHOSEN),
                    unit="cps",
                    width=8,
                ),
                timeseries(
                    "Bytes that move",
                    "Bytes per second by table, as Postgres gives them.",
                    rate("tidewell_tiering_bytes_total", by=TABLE, where=CHOSEN),
                    unit="Bps",
                    width=8,
                ),
                timeseries(
                    "Ranges by state",
                    "Ranges by the state of their move: published ones are in both stores, dropped ones in ClickHouse alone.",
                    gauge(
                        "tidewell_tiering_ranges_in_state",
                        by=f"({TABLE}) || ' ' || (labels->>'state')",
                        where=f"{CHOSEN} AND coalesce(value, value_int) > 0",
                        how="max",
                    ),
                    width=12,
                ),
                timeseries(
                    "Ranges and failures",
                    "Ranges per second that were published, and runs per second that ended with an error.",
                    [
                        rate("tidewell_tiering_ranges_total", by=f"'ranges: ' || ({TABLE})", where=CHOSEN),
                        rate("tidewell_tiering_failures_total", by=f"'failures: ' || ({TABLE})", where=CHOSEN),
                    ],
                    unit="ops",
                    width=12,
                ),
            ],
        ),
    ],
)
