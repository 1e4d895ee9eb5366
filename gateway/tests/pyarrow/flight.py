"""A Flight client as pyarrow's documentation shows it. Usage: flight.py grpc://HOST:PORT. Fails where something differs."""

import datetime
import json
import sys

import pyarrow as pa
import pyarrow.flight as flight

client = flight.connect(sys.argv[1])
now = datetime.datetime.now(datetime.timezone.utc)

# Actions: what there is, and a table of our own.
assert [action.type for action in client.list_actions()] == ["schema.register", "healthcheck"]
definition = {
    "table_name": "rooms",
    "columns": [
        {"name": "time", "type": "timestamp_ns"},
        {"name": "room", "type": "text"},
        {"name": "temperature", "type": "double"},
        {"name": "tags", "type": "text[]"},
        {"name": "labels", "type": "attributes"},
    ],
}
(result,) = client.do_action(flight.Action("schema.register", json.dumps(definition).encode()))
assert json.loads(result.body.to_pybytes())["result"] == "created"

# A whole table, without reading the answers.
descriptor = flight.FlightDescriptor.for_path("rooms")
rooms = pa.table(
    {
        "time": pa.array([now, now], pa.timestamp("ns", tz="UTC")),
        "room": pa.array(["cellar", "attic"]).dictionary_encode(),
        "temperature": pa.array([12, None], pa.int16()),
        "tags": pa.array([["cold", "dark"], None], pa.list_(pa.string())),
        "labels": pa.array([{"floor": -1, "dry": False}, {"floor": 3, "dry": None}]),
    }
)
writer, reader = client.do_put(descriptor, rooms.schema)
writer.write_table(rooms)
writer.close()

# Batch by batch, each with its answer.
writer, reader = client.do_put(descriptor, rooms.schema)
for offset, batch in enumerate(rooms.to_batches(max_chunksize=1)):
    writer.write_with_metadata(batch, json.dumps({"request_id": offset}).encode())
    answer = json.loads(reader.read().to_pybytes())
    assert answer["request_id"] == offset and answer["affected_rows"] == 1, answer
    assert answer["ack_up_to_offset"] == offset and answer["ack"] == "stored", answer
writer.done_writing()
assert reader.read() is None
writer.close()

# Schema, list, information, rows.
schema = client.get_schema(descriptor).schema
assert schema.field("time").type == pa.timestamp("ns", tz="UTC"), schema
assert "rooms" in [info.descriptor.path[0].decode() for info in client.list_flights()]
info = client.get_flight_info(descriptor)
read = client.do_get(info.endpoints[0].ticket).read_all()
assert read.num_rows == 4, read
ticket = {"table": "rooms", "filters": {"room": "cellar"}, "limit": 1}
(cellar,) = client.do_get(flight.Ticket(json.dumps(ticket).encode())).read_all().to_pylist()
assert cellar["temperature"] == 12.0 and cellar["tags"] == ["cold", "dark"], cellar
assert dict(cellar["labels"]) == {
    "floor": {"value": "-1", "type": 1},
    "dry": {"value": "false", "type": 3},
}, cellar

# What was read can be written as it is.
writer, _ = client.do_put(descriptor, read.schema)
writer.write_table(read)
writer.close()
assert client.do_get(info.endpoints[0].ticket).read_all().num_rows == 8

# A schema that does not fit is an error with a reason.
wrong = pa.table({"time": pa.array([True])})
writer, reader = client.do_put(descriptor, wrong.schema)
try:
    writer.write_table(wrong)
    writer.close()
    raise SystemExit("a wrong schema was taken")
except pa.ArrowInvalid as error:
    assert "time" in str(error), error

# Logs, with values of different types.
logs = pa.table(
    {
        "timestamp": pa.array([now, now], pa.timestamp("us", tz="UTC")),
        "message": pa.array(["one", "two"], pa.large_string()),
        "labels": pa.array(['{"k":1}', '{"k":"x"}']),
    }
)
writer, reader = client.do_put(flight.FlightDescriptor.for_path("logs"), logs.schema)
writer.write_table(logs)
writer.done_writing()
assert json.loads(reader.read().to_pybytes())["accepted"] == 2
writer.close()
print("pyarrow", pa.__version__, "works")
