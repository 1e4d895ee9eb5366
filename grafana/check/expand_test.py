"""The expansion of macros and variables against examples whose results follow from the data sources' rules."""

import datetime
import unittest

from .expand import MacroError, Window, for_clickhouse, for_postgres, with_variables

WINDOW = Window(
    datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.timezone.utc),
    datetime.datetime(2026, 11, 20, 13, 0, tzinfo=datetime.timezone.utc),
    30,
)


class Variables(unittest.TestCase):
    def test_sqlstring_quotes_and_joins(self) -> None:
        values = {"app": ["a", "o'b"], "how": ["avg"]}
        self.assertEqual(with_variables("IN (${app:sqlstring}) ${how}(x) $how", values), "IN ('a','o''b') avg(x) avg")

    def test_macros_and_unknown_formats(self) -> None:
        self.assertEqual(with_variables("$__timeFilter(t)", {}), "$__timeFilter(t)")
        with self.assertRaises(MacroError):
            with_variables("${app:csv}", {"app": ["a"]})


class Postgres(unittest.TestCase):
    def test_time_filter_and_group(self) -> None:
        self.assertEqual(
            for_postgres('$__timeFilter("time")', WINDOW),
            "\"time\" BETWEEN '2026-11-20T12:00:00.000000Z' AND '2026-11-20T13:00:00.000000Z'",
        )
        self.assertEqual(
            for_postgres("SELECT $__timeGroupAlias(t, $__interval), 1", WINDOW),
            "SELECT time_bucket('30.000s',t) AS \"time\", 1",
        )

    def test_a_comma_right_after_time_group_gives_the_alias(self) -> None:
        self.assertEqual(for_postgres("$__timeGroup(t, '1m'), x", WINDOW), "time_bucket('60.000s',t) AS \"time\", x")
        self.assertEqual(for_postgres("GROUP BY $__timeGroup(t, 1m)", WINDOW), "GROUP BY time_bucket('60.000s',t)")

    def test_milliseconds_are_not_the_interval_with_a_suffix(self) -> None:
        self.assertEqual(for_postgres("$__interval_ms / 1000.0", WINDOW), "30000 / 1000.0")

    def test_an_unknown_macro_is_refused(self) -> None:
        with self.assertRaisesRegex(MacroError, "unknown macro"):
            for_postgres("$__fromTime()", WINDOW)


class ClickHouse(unittest.TestCase):
    def test_time_filter_and_interval(self) -> None:
        self.assertEqual(
            for_clickhouse("$__timeFilter(timestamp)", WINDOW),
            "timestamp >= toDateTime(1795176000) AND timestamp <= toDateTime(1795179600)",
        )
        self.assertEqual(
            for_clickhouse("$__timeInterval(min(t)) AS time", WINDOW),
            "toStartOfInterval(toDateTime(min(t)), INTERVAL 30 second) AS time",
        )

    def test_names_that_begin_alike_are_told_apart(self) -> None:
        self.assertEqual(for_clickhouse("INTERVAL $__interval_s second", WINDOW), "INTERVAL 30 second")
        self.assertIn("fromUnixTimestamp64Milli", for_clickhouse("$__timeFilter_ms(t)", WINDOW))

    def test_macros_of_the_other_data_source_are_refused(self) -> None:
        with self.assertRaisesRegex(MacroError, "no macro"):
            for_clickhouse("$__timeGroupAlias(t, 1m)", WINDOW)


if __name__ == "__main__":
    unittest.main()
