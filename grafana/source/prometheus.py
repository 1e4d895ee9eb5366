"""SQL for metrics in Prometheus' form: samples of gauges, counters and cumulative buckets in `metrics_events`.

That is how they arrive through a scrape, be it Vector's `prometheus_scrape` or Prometheus itself, and remote write: each
series is a name and labels; `instance` says who was scraped. What PromQL has functions for (`rate`, `histogram_quantile`)
is written out here in SQL, once.
"""

from __future__ import annotations

from .model import Query

# Who was scraped; the host for senders that give no instance.
INSTANCE = "coalesce(labels->>'instance', host)"

_VALUE = "coalesce(value, value_int)"


def gauge(metric: str, by: str = INSTANCE, where: str = "true", how: str = "avg", scale: str = "") -> Query:
    """A gauge by an expression: the average of each interval and group; `scale` is appended to the value."""
    return Query(
        "timescale",
        f"""
SELECT $__timeGroupAlias("time", $__interval), {by} AS metric, {how}({_VALUE}){scale} AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric = '{metric}' AND {where}
GROUP BY 1, 2
ORDER BY 1""",
    )


def total(metric: str, by: str = INSTANCE, where: str = "true") -> Query:
    """A gauge of which a group has several series: their sum, of the last sample of each in an interval."""
    return Query(
        "timescale",
        f"""
SELECT "time", series AS metric, sum(value) AS value
FROM (
    SELECT $__timeGroupAlias("time", $__interval), {by} AS series, last({_VALUE}, "time") AS value
    FROM metrics_events
    WHERE $__timeFilter("time") AND metric = '{metric}' AND {where}
    GROUP BY 1, 2, app, host, labels
) AS last_samples
GROUP BY 1, 2
ORDER BY 1""",
    )


def latest(metric: str, by: str = INSTANCE, where: str = "true", how: str = "sum") -> Query:
    """The last value of a gauge by an expression, as a table."""
    return Query(
        "timescale",
        f"""
SELECT name, {how}(value) AS value
FROM (
    SELECT {by} AS name, last({_VALUE}, "time") AS value
    FROM metrics_events
    WHERE $__timeFilter("time") AND metric = '{metric}' AND {where}
    GROUP BY 1, app, host, labels
) AS last_samples
GROUP BY 1
ORDER BY 1""",
        "table",
    )


def rate(metric: str, by: str = INSTANCE, where: str = "true", scale: str = "") -> Query:
    """The increase of a counter per second by an expression. A counter that fell has started anew from zero."""
    return Query(
        "timescale",
        f"""
WITH samples AS (
    SELECT "time", {by} AS series, {_VALUE} AS value, lag({_VALUE}) OVER one_series AS before
    FROM metrics_events
    WHERE $__timeFilter("time") AND metric = '{metric}' AND {where}
    WINDOW one_series AS (PARTITION BY app, host, labels ORDER BY "time")
)
SELECT $__timeGroupAlias("time", $__interval), series AS metric,
    sum(CASE WHEN value < before THEN value ELSE value - before END) / ($__interval_ms / 1000.0){scale} AS value
FROM samples
WHERE before IS NOT NULL
GROUP BY 1, 2
ORDER BY 1""",
    )


def ratio(part: str, whole: str, by: str = INSTANCE, where: str = "true") -> Query:
    """The increase of counters over that of others, each named by a condition, e.g. hits over reads."""
    return Query(
        "timescale",
        f"""
WITH samples AS (
    SELECT "time", {by} AS series, {part} AS is_part, {_VALUE} AS value,
        lag({_VALUE}) OVER one_series AS before
    FROM metrics_events
    WHERE $__timeFilter("time") AND ({part} OR {whole}) AND {where}
    WINDOW one_series AS (PARTITION BY metric, app, host, labels ORDER BY "time")
), increases AS (
    SELECT "time", series, is_part, CASE WHEN value < before THEN value ELSE value - before END AS increase
    FROM samples
    WHERE before IS NOT NULL
)
SELECT $__timeGroupAlias("time", $__interval), series AS metric,
    coalesce(sum(increase) FILTER (WHERE is_part) / nullif(sum(increase), 0), 0) AS value
FROM increases
GROUP BY 1, 2
ORDER BY 1""",
    )


def average(histogram: str, by: str = INSTANCE, where: str = "true") -> Query:
    """The average of what a histogram or summary observed: the increase of its sum over that of its count."""
    return Query(
        "timescale",
        f"""
WITH samples AS (
    SELECT "time", {by} AS series, metric, {_VALUE} AS value, lag({_VALUE}) OVER one_series AS before
    FROM metrics_events
    WHERE $__timeFilter("time") AND metric IN ('{histogram}_sum', '{histogram}_count') AND {where}
    WINDOW one_series AS (PARTITION BY metric, app, host, labels ORDER BY "time")
), increases AS (
    SELECT "time", series, metric, CASE WHEN value < before THEN value ELSE value - before END AS increase
    FROM samples
    WHERE before IS NOT NULL
)
SELECT $__timeGroupAlias("time", $__interval), series AS metric,
    sum(increase) FILTER (WHERE metric = '{histogram}_sum')
        / nullif(sum(increase) FILTER (WHERE metric = '{histogram}_count'), 0) AS value
FROM increases
GROUP BY 1, 2
ORDER BY 1""",
    )


def quantile(share: float, histogram: str, by: str = INSTANCE, where: str = "true") -> Query:
    """A quantile of what a histogram observed, by an expression, interpolated in its bucket as PromQL does.

    In the last, endless bucket it is that bucket's lower bound.
    """
    return Query(
        "timescale",
        f"""
WITH samples AS (
    SELECT "time", {by} AS series, (labels->>'le')::double precision AS upper, {_VALUE} AS value,
        lag({_VALUE}) OVER one_series AS before
    FROM metrics_events
    WHERE $__timeFilter("time") AND metric = '{histogram}_bucket' AND {where}
    WINDOW one_series AS (PARTITION BY app, host, labels ORDER BY "time")
), buckets AS (
    SELECT $__timeGroupAlias("time", $__interval), series, upper,
        sum(CASE WHEN value < before THEN value ELSE value - before END) AS up_to
    FROM samples
    WHERE before IS NOT NULL
    GROUP BY 1, 2, 3
), ranked AS (
    SELECT "time", series, upper, up_to, lag(upper, 1, 0::double precision) OVER growing AS lower,
        lag(up_to, 1, 0::double precision) OVER growing AS below,
        {share} * max(up_to) OVER (PARTITION BY "time", series) AS rank
    FROM buckets
    WINDOW growing AS (PARTITION BY "time", series ORDER BY upper)
)
SELECT "time", series AS metric,
    min(CASE WHEN upper = 'Infinity' THEN lower ELSE lower + (upper - lower) * (rank - below) / (up_to - below) END)
        AS value
FROM ranked
WHERE rank > 0 AND up_to >= rank AND below < rank
GROUP BY 1, 2
ORDER BY 1""",
    )
