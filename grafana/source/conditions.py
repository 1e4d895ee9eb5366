"""What alerts wait for, said once: as PromQL for Prometheus, as SQL on `metrics_events` for Grafana without Prometheus.

Both give one value per gateway and labels; the alert fires where it is beyond the threshold. SQL answers in rows of
labels and a `value`, which Grafana takes as one alert each; `$__timeFilter` reaches over the window of the rule.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .prometheus import INSTANCE

_VALUE = "coalesce(value, value_int)"
# Samples older than this say nothing of now.
_NOW_SECONDS = 180


@dataclass
class Condition:
    """A condition of which the kinds below say what is compared; `above` or `below` is the threshold."""

    above: float | None = None
    below: float | None = None
    by: list[str] = field(default_factory=list)

    @property
    def window_seconds(self) -> int:
        """How far back SQL has to look."""
        return _NOW_SECONDS

    def promql(self) -> str:
        sign, threshold = (">", self.above) if self.above is not None else ("<", self.below)
        return f"{self._promql()} {sign} {threshold:.15g}"

    def sql(self) -> str:
        return self._sql().strip()

    def _promql(self) -> str:
        raise NotImplementedError

    def _sql(self) -> str:
        raise NotImplementedError

    @property
    def _groups(self) -> str:
        """The labels of an answer in SQL."""
        columns = [f"{INSTANCE} AS instance"] + [f"labels->>'{label}' AS \"{label}\"" for label in self.by]
        return ", ".join(columns)

    @property
    def _numbers(self) -> str:
        return ", ".join(str(place) for place in range(1, len(self.by) + 2))

    @property
    def _columns(self) -> str:
        """The same, where they are asked for again."""
        return ", ".join(["instance", *(f'"{label}"' for label in self.by)])

    @property
    def _names(self) -> str:
        """The labels of an answer in PromQL."""
        return ", ".join(["instance", *self.by])


def _filter(where: dict[str, list[str]]) -> tuple[str, str]:
    """A choice of labels as a PromQL matcher and as an SQL condition."""
    matchers = [f'{label}=~"{"|".join(values)}"' for label, values in where.items()]
    wanted = {label: ", ".join(f"'{value}'" for value in values) for label, values in where.items()}
    conditions = [f" AND labels->>'{label}' IN ({values})" for label, values in wanted.items()]
    return "{" + ",".join(matchers) + "}" if matchers else "", "".join(conditions)


@dataclass
class Last(Condition):
    """The last value of a gauge."""

    metric: str = ""

    def _promql(self) -> str:
        return self.metric

    def _sql(self) -> str:
        return f"""
SELECT {self._groups}, last({_VALUE}, "time") AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric = '{self.metric}'
GROUP BY {self._numbers}"""


@dataclass
class Left(Condition):
    """How many seconds are left until the time that a gauge tells, in seconds since 1970."""

    metric: str = ""

    def _promql(self) -> str:
        return f"{self.metric} - time()"

    def _sql(self) -> str:
        return f"""
SELECT {self._groups}, last({_VALUE}, "time") - extract(epoch FROM now()) AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric = '{self.metric}'
GROUP BY {self._numbers}"""


@dataclass
class Share(Condition):
    """The last value of one gauge as a share of another's with the same labels."""

    part: str = ""
    whole: str = ""

    def _promql(self) -> str:
        return f"{self.part} / {self.whole}"

    def _sql(self) -> str:
        last = f'last({_VALUE}, "time")'
        return f"""
SELECT {self._groups},
    {last} FILTER (WHERE metric = '{self.part}')
        / nullif({last} FILTER (WHERE metric = '{self.whole}'), 0) AS value
FROM metrics_events
WHERE $__timeFilter("time") AND metric IN ('{self.part}', '{self.whole}')
GROUP BY {self._numbers}"""


@dataclass
class Increase(Condition):
    """By how much a counter has grown within some minutes."""

    metric: str = ""
    minutes: int = 5
    where: dict[str, list[str]] = field(default_factory=dict)

    @property
    def window_seconds(self) -> int:
        return self.minutes * 60

    def _promql(self) -> str:
        matchers, _ = _filter(self.where)
        return f"sum by ({self._names}) (increase({self.metric}{matchers}[{self.minutes}m]))"

    def _sql(self) -> str:
        _, conditions = _filter(self.where)
        return f"""
SELECT {self._columns}, sum(CASE WHEN value < before THEN value ELSE value - before END) AS value
FROM (
    SELECT {self._groups}, {_VALUE} AS value,
        lag({_VALUE}) OVER (PARTITION BY app, host, labels ORDER BY "time") AS before
    FROM metrics_events
    WHERE $__timeFilter("time") AND metric = '{self.metric}'{conditions}
) AS samples
WHERE before IS NOT NULL
GROUP BY {self._numbers}"""


@dataclass
class Used(Condition):
    """A counter of seconds per second, as a share of a gauge that says how many there can be."""

    metric: str = ""
    limit: str = ""
    minutes: int = 5

    @property
    def window_seconds(self) -> int:
        return self.minutes * 60

    def _promql(self) -> str:
        return f"rate({self.metric}[{self.minutes}m]) / on (job, instance) {self.limit}"

    def _sql(self) -> str:
        return f"""
SELECT instance, (max(value) FILTER (WHERE metric = '{self.metric}') - min(value) FILTER (WHERE metric = '{self.metric}'))
    / nullif(extract(epoch FROM max("time") - min("time")), 0) / max(value) FILTER (WHERE metric = '{self.limit}') AS value
FROM (
    SELECT {INSTANCE} AS instance, "time", metric, {_VALUE} AS value
    FROM metrics_events
    WHERE $__timeFilter("time") AND metric IN ('{self.metric}', '{self.limit}')
) AS samples
GROUP BY 1
HAVING count(*) FILTER (WHERE metric = '{self.limit}') > 0"""


@dataclass
class Slowest(Condition):
    """A quantile of what a histogram observed within some minutes, to the upper bound of its bucket in SQL."""

    histogram: str = ""
    share: float = 0.99
    minutes: int = 5

    @property
    def window_seconds(self) -> int:
        return self.minutes * 60

    def _promql(self) -> str:
        rate = f"rate({self.histogram}_bucket[{self.minutes}m])"
        return f"histogram_quantile({self.share}, sum by ({self._names}, le) ({rate}))"

    def _sql(self) -> str:
        return f"""
SELECT {self._columns}, min(upper) FILTER (WHERE up_to >= {self.share} * whole AND whole > 0) AS value
FROM (
    SELECT {self._columns}, upper, up_to, max(up_to) OVER (PARTITION BY {self._columns}) AS whole
    FROM (
        SELECT {self._groups}, (labels->>'le')::double precision AS upper, max({_VALUE}) - min({_VALUE}) AS up_to
        FROM metrics_events
        WHERE $__timeFilter("time") AND metric = '{self.histogram}_bucket'
        GROUP BY {self._numbers}, upper
    ) AS buckets
) AS ranked
GROUP BY {self._numbers}
HAVING max(whole) > 0"""
