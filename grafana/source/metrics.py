"""Any metric: its values over time by any of its labels, as a gauge, as the rate of a counter, as a histogram."""

from .model import Dashboard, Query, Row, Variable
from .panels import stat, table, timeseries, trace_link

GROUP = "coalesce(nullif(labels->>${label:sqlstring}, ''), CASE ${label:sqlstring} WHEN 'app' THEN app ELSE host END)"
CHOSEN = """$__timeFilter("time") AND metric = ${metric:sqlstring}
    AND app IN (${app:sqlstring}) AND host IN (${host:sqlstring})"""
VALUE = "coalesce(value, value_int)"
DISTRIBUTION = """$__timeFilter("time") AND metric = ${histogram:sqlstring}"""


def _chosen_from(name: str, label: str, description: str, sql: str, many: bool = True) -> Variable:
    return Variable(name, label, description, Query("timescale", sql, "table"), many=many)


DASHBOARD = Dashboard(
    name="metrics",
    title="Tidewell / Metrics",
    description="Any metric by any of its labels: gauges, rates of counters, histograms, and exemplars with their traces.",
    variables=[
        _chosen_from(
            "metric",
            "Metric",
            "Metrics with samples in the time range",
            """SELECT DISTINCT metric FROM metrics_events WHERE $__timeFilter("time") ORDER BY 1""",
            many=False,
        ),
        _chosen_from(
            "app",
            "Application",
            "Who sent the metric",
            """SELECT DISTINCT app FROM metrics_events
WHERE $__timeFilter("time") AND metric = ${metric:sqlstring} ORDER BY 1""",
        ),
        _chosen_from(
            "host",
            "Host",
            "Where it was measured",
            """SELECT DISTINCT host FROM metrics_events
WHERE $__timeFilter("time") AND metric = ${metric:sqlstring} ORDER BY 1""",
        ),
        _chosen_from(
            "label",
            "Group by",
            "A label of the metric, or host or app",
            """SELECT DISTINCT label FROM (
    SELECT jsonb_object_keys(labels) AS label FROM metrics_events
    WHERE $__timeFilter("time") AND metric = ${metric:sqlstring}
    UNION ALL VALUES ('host'), ('app')
) AS labels ORDER BY 1""",
            many=False,
        ),
        Variable("how", "Aggregate", "How the samples of an interval become one", choices=["avg", "max", "min", "sum"]),
        _chosen_from(
            "histogram",
            "Histogram",
            "Histograms and summaries with points in the time range",
            """SELECT DISTINCT metric FROM metrics_histograms WHERE $__timeFilter("time") ORDER BY 1""",
            many=False,
        ),
    ],
    rows=[
        Row(
            "${metric}",
            [
                stat(
                    "Series",
                    "Combinations of labels, hosts and applications.",
                    Query(
                        "timescale",
                        f"SELECT count(DISTINCT (app, host, labels)) AS value\nFROM metrics_events\nWHERE {CHOSEN}",
                        "table",
                    ),
                ),
                stat(
                    "Samples",
                    "Samples in the time range.",
                    Query("timescale", f"SELECT count(*) AS value\nFROM metrics_events\nWHERE {CHOSEN}", "table"),
                ),
                table(
                    "What is known of it",
                    "Type, unit and description, as its senders told.",
                    Query(
                        "timescale",
                        """
SELECT metric, coalesce(known.type, '') AS type, coalesce(known.unit, '') AS unit,
    coalesce(known.temporality, '') AS temporality, coalesce(known.description, 'not told by its sender') AS description
FROM (VALUES (${metric:sqlstring})) AS chosen (metric)
LEFT JOIN metrics_metadata AS known USING (metric)""",
                        "table",
                    ),
                    width=16,
                    height=4,
                ),
                timeseries(
                    "Values by ${label}",
                    "The samples of each interval, aggregated as chosen.",
                    Query(
                        "timescale",
                        f"""
SELECT $__timeGroupAlias("time", $__interval), {GROUP} AS metric, ${{how}}({VALUE}) AS value
FROM metrics_events
WHERE {CHOSEN}
GROUP BY 1, 2
ORDER BY 1""",
                    ),
                    least=None,
                ),
                timeseries(
                    "Rate by ${label}",
                    "Increase per second, for counters; one that fell has started anew from zero.",
                    Query(
                        "timescale",
                        f"""
WITH samples AS (
    SELECT "time", {GROUP} AS series, {VALUE} AS value, lag({VALUE}) OVER one_series AS before
    FROM metrics_events
    WHERE {CHOSEN}
    WINDOW one_series AS (PARTITION BY app, host, labels ORDER BY "time")
)
SELECT $__timeGroupAlias("time", $__interval), series AS metric,
    sum(CASE WHEN value < before THEN value ELSE value - before END) / ($__interval_ms / 1000.0) AS value
FROM samples
WHERE before IS NOT NULL
GROUP BY 1, 2
ORDER BY 1""",
                    ),
                ),
                table(
                    "Last values",
                    "The last sample of each series.",
                    Query(
                        "timescale",
                        f"""
SELECT last({VALUE}, "time") AS value, max("time") AS "time", app, host, labels
FROM metrics_events
WHERE {CHOSEN}
GROUP BY app, host, labels
ORDER BY value DESC
LIMIT 200""",
                        "table",
                    ),
                    width=24,
                ),
            ],
        ),
        Row(
            "${histogram}",
            [
                timeseries(
                    "Average and rate",
                    "Sum over count of the points of each interval; delta and cumulative points alike.",
                    Query(
                        "timescale",
                        f"""
SELECT $__timeGroupAlias("time", $__interval), app AS metric, sum(sum) / nullif(sum(count), 0) AS value
FROM metrics_histograms
WHERE {DISTRIBUTION}
GROUP BY 1, 2
ORDER BY 1""",
                    ),
                    least=None,
                ),
                table(
                    "Buckets",
                    "What the last point of each series counted in each of its buckets.",
                    Query(
                        "timescale",
                        f"""
SELECT app, labels, bucket.upper AS up_to, bucket.observed
FROM (
    SELECT DISTINCT ON (app, host, labels) app, labels, bounds, counts
    FROM metrics_histograms
    WHERE {DISTRIBUTION}
    ORDER BY app, host, labels, "time" DESC
) AS point, unnest(point.bounds || 'Infinity'::double precision, point.counts) AS bucket (upper, observed)
WHERE bucket.observed > 0
ORDER BY 1, 2, 3
LIMIT 500""",
                        "table",
                    ),
                ),
                table(
                    "Exemplars",
                    "Single observations of any metric with the trace that they were made in.",
                    Query(
                        "timescale",
                        """
SELECT "time", metric, app, coalesce(value, value_int) AS value, trace_id
FROM metrics_exemplars
WHERE $__timeFilter("time") AND trace_id <> ''
ORDER BY "time" DESC
LIMIT 100""",
                        "table",
                    ),
                    width=24,
                    height=6,
                    fields={"trace_id": trace_link()},
                ),
            ],
        ),
    ],
)
