"""Holds the ClickHouse server of tidewell-embedded to what the Python client clickhouse-connect expects.

Usage: python_client.py HOST PORT, with clickhouse-connect and pyarrow installed. Uses a database of its own.
"""

import datetime
import logging
import sys
import uuid

import clickhouse_connect
import pyarrow
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

COLUMNS = ["id", "name", "labels", "time", "value", "list"]
CREATE = """CREATE OR REPLACE TABLE t (id UInt64, name LowCardinality(String), labels Map(String, String),
    time DateTime64(9, 'UTC'), value Nullable(Float64), list Array(Int32)) ENGINE = MergeTree ORDER BY id"""


def rows(count):
    time = datetime.datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=datetime.timezone.utc)
    return [[n, f"s{n % 3}", {"k": str(n)}, time, None if n % 2 else n / 2, [n, n + 1]] for n in range(count)]


def round_trip(client):
    client.command(CREATE)
    sent = rows(50_000)
    client.insert("t", sent, column_names=COLUMNS)
    # The client gives times in UTC without a zone.
    expected = [(*row[:3], row[3].replace(tzinfo=None), *row[4:]) for row in sent]
    assert client.query("SELECT * FROM t ORDER BY id").result_rows == expected
    found = client.query("SELECT count() FROM t WHERE id < {limit:UInt32}", parameters={"limit": 10})
    assert found.result_rows == [(10,)]
    client.insert_arrow("t", pyarrow.table({"id": pyarrow.array([70_000], pyarrow.uint64()), "name": ["x"]}))
    assert client.query_arrow("SELECT id, name FROM t WHERE id >= 70000").num_rows == 1


def failures(client):
    try:
        client.query("SELECT nosuch")
        raise AssertionError("an unknown column was accepted")
    except DatabaseError as error:
        assert "UNKNOWN_IDENTIFIER" in str(error)
    settings = {"max_block_size": 65536}
    try:
        with client.query_row_block_stream("SELECT throwIf(number = 2500000) FROM numbers(3000000)", settings=settings) as blocks:
            for _ in blocks:
                pass
        raise AssertionError("an error in the middle of a result was missed")
    except StreamFailureError as error:
        assert "Code: 395" in str(error)


def main():
    host, port = sys.argv[1], int(sys.argv[2])
    logging.disable(logging.CRITICAL)
    admin = clickhouse_connect.get_client(host=host, port=port)
    database = f"connect_{uuid.uuid4().hex}"
    admin.command(f"CREATE DATABASE {database}")
    try:
        for compress in ("lz4", "zstd", "gzip", False):
            client = clickhouse_connect.get_client(host=host, port=port, database=database, compress=compress)
            round_trip(client)
            failures(client)
            print(f"compress={compress}: ok")
        session = clickhouse_connect.get_client(host=host, port=port, session_id=database)
        session.command("CREATE TEMPORARY TABLE t (a Int32)")
        session.insert("t", [[1], [2]], column_names=["a"])
        assert session.query("SELECT sum(a) FROM t").result_rows == [(3,)]
        external = ExternalData(file_name="names.csv", fmt="CSV", structure="name String", data=b"b\na\n")
        names = admin.query("SELECT name FROM names ORDER BY name", external_data=external)
        assert names.result_rows == [("a",), ("b",)]
        print(f"sessions and external data: ok; server {admin.server_version}, zone {admin.server_tz}")
    finally:
        admin.command(f"DROP DATABASE {database} SYNC")


if __name__ == "__main__":
    main()
