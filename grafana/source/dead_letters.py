"""Records that were refused and kept: how many, why, from whom, and what became of them."""

from .model import Dashboard, Query, Row, Variable
from .panels import bars, stat, table

STATE = "coalesce(states.state, 'waiting')"
LETTERS = """dead_letters AS letters
LEFT JOIN tidewell_dead_letter_states AS states USING (id)
WHERE $__timeFilter(letters.time) AND letters.target IN (${target:sqlstring})"""


def _overall(value: str) -> Query:
    return Query("timescale", f"SELECT {value} AS value\nFROM {LETTERS}", "table")


def _over_time(by: str) -> Query:
    return Query(
        "timescale",
        f"""
SELECT $__timeGroupAlias(letters.time, $__interval), {by} AS metric, count(DISTINCT id) AS value
FROM {LETTERS}
GROUP BY 1, 2
ORDER BY 1""",
    )


DASHBOARD = Dashboard(
    name="dead-letters",
    title="Tidewell / Dead letters",
    description="Refused records: why, from whom, and what became of them. `tidewell dead-letters` mends and replays them.",
    hours=24,
    variables=[
        Variable(
            "target",
            "Table",
            "Tables whose records were refused in the time range",
            Query(
                "timescale",
                'SELECT DISTINCT target FROM dead_letters WHERE $__timeFilter("time") ORDER BY 1',
                "table",
            ),
        )
    ],
    rows=[
        Row(
            "How many",
            [
                stat(
                    "Waiting",
                    "Neither replayed nor discarded.",
                    _overall(f"count(DISTINCT id) FILTER (WHERE {STATE} = 'waiting')"),
                    thresholds=[(None, "green"), (1, "orange")],
                    width=6,
                ),
                stat(
                    "Replayed",
                    "Sent again with success.",
                    _overall(f"count(DISTINCT id) FILTER (WHERE {STATE} = 'replayed')"),
                    width=6,
                ),
                stat(
                    "Discarded",
                    "Given up by hand.",
                    _overall(f"count(DISTINCT id) FILTER (WHERE {STATE} = 'discarded')"),
                    width=6,
                ),
                stat("Bytes", "Size of what was sent.", _overall("sum(length(letters.payload))"), unit="bytes", width=6),
                bars("By protocol", "Letters in each interval by the protocol that brought them.", _over_time("protocol")),
                bars("By table", "Letters in each interval by the table that they were meant for.", _over_time("target")),
            ],
        ),
        Row(
            "Why",
            [
                table(
                    "Reasons",
                    "Letters by reason and field, values left out; the most frequent first.",
                    Query(
                        "timescale",
                        f"""
SELECT count(DISTINCT id) AS letters, letters.target, field, protocol, caller,
    regexp_replace(reason, '[0-9]+|"[^"]*"', '#', 'g') AS reason, min(reason) AS example, max(letters.time) AS latest
FROM {LETTERS}
GROUP BY 2, 3, 4, 5, 6
ORDER BY 1 DESC
LIMIT 100""",
                        "table",
                    ),
                    width=24,
                ),
                table(
                    "Latest letters",
                    "What was sent, its first 500 bytes, with the id that `tidewell dead-letters` takes.",
                    Query(
                        "timescale",
                        f"""
SELECT letters.time, {STATE} AS state, protocol, caller, letters.target, field, reason, content_type,
    encode(substring(letters.payload FROM 1 FOR 500), 'escape') AS payload, id
FROM {LETTERS}
ORDER BY letters.time DESC
LIMIT 200""",
                        "table",
                    ),
                    width=24,
                    height=12,
                ),
            ],
        ),
    ],
)
