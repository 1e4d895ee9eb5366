use serde_json::json;

use super::*;

fn readings() -> Value {
    json!({
        "table": "readings", "policy": {"cool_after_seconds": 7200}, "published": "2026-11-20T10:00:00Z",
        "hold_from": null, "lag_seconds": 0, "blocked": null, "blocked_at": null, "moves": [],
        "copying": {"expected": 0}, "hot": {"rows": 1240, "bytes": 49_152},
        "cold": {"rows": 361, "late_rows": 1, "bytes": 9_216}, "failures": 2, "succeeded_at": "2026-11-20T12:00:00Z",
        "next_run_at": null, "states": {"dropped": {"ranges": 6, "rows": 360, "bytes": 30_000}}, "task": null,
    })
}

#[test]
fn tables_are_told_a_line_each_and_why_one_does_not_move() {
    let mut stuck = readings();
    stuck["table"] = json!("rooms");
    stuck["lag_seconds"] = json!(90_000);
    stuck["blocked"] = json!("the range changes\u{1b}[2J");
    stuck["blocked_at"] = json!("2026-11-20T11:00:00Z");
    stuck["cold"] = Value::Null;
    stuck["published"] = Value::Null;
    let answer = json!({"moves_here": false, "tables": [readings(), stuck]});
    let wanted = "\
TABLE     HOT ROWS  HOT SIZE  COLD ROWS  COLD SIZE  COLD BEFORE           BEHIND   STATE
readings  1,240     48 KiB    361        9.0 KiB    2026-11-20T10:00:00Z  0 s      up to date
rooms     1,240     48 KiB    -          -          -                     1 d 1 h  blocked
rooms since 2026-11-20T11:00:00Z: the range changes\u{fffd}[2J
this gateway moves nothing by itself (tiering.enabled)
";
    assert_eq!(tables(&answer), wanted);
    assert_eq!(tables(&json!({"tables": []})), NO_TABLES);
}

#[test]
fn a_table_is_told_with_its_ranges() {
    let mut one = readings();
    one["ranges"] = json!([{
        "move": 7, "from": "2026-11-20T09:00:00Z", "until": "2026-11-20T10:00:00Z", "state": "abandoned", "seconds": 61,
        "rows": null, "bytes": 0, "reason": "the mover ended\nbefore its rows were verified",
    }]);
    one["task"] = json!({"what": "verify", "state": "done", "ended_at": "2026-11-20T12:30:00Z"});
    let wanted = "\
readings: up to date
  policy         {\"cool_after_seconds\":7200}
  hot            1,240 rows, 48 KiB
  cold           361 rows, 9.0 KiB; 1 came late
  cold before    2026-11-20T10:00:00Z
  behind         0 s
  last success   2026-11-20T12:00:00Z
  next run       -
  failures       2
  ranges         6 dropped (360 rows, 29 KiB)
  last asked     verify at 2026-11-20T12:30:00Z: done

MOVE  FROM                  UNTIL                 STATE      ROWS  BYTES  FOR    REASON
7     2026-11-20T09:00:00Z  2026-11-20T10:00:00Z  abandoned  -     0 B    1 min  the mover ended before its rows were verified
";
    assert_eq!(table(&one), wanted);
}

#[test]
fn a_plan_is_its_ranges() {
    let range = |from: &str, until: &str| json!({"from": from, "until": until, "chunks": 2, "rows": 60, "bytes": 8192});
    let answer =
        json!({"table": "t", "ranges": [range("a", "b"), range("b", "c")], "rows": 120, "bytes": 16_384});
    let wanted = "\
t: 2 ranges would move, about 120 rows, 16 KiB
FROM  UNTIL  CHUNKS  ROWS  SIZE
a     b      2       60    8.0 KiB
b     c      2       60    8.0 KiB
";
    assert_eq!(plan(&answer), wanted);
    assert_eq!(plan(&json!({"table": "t", "ranges": []})), "t: nothing is old enough to move\n");
}

#[test]
fn progress_has_ranges_rows_bytes_rate_and_what_is_left() {
    let task = json!({
        "table": "t", "phase": "copying", "ranges": 3, "of_ranges": 30, "rows": 120_000, "of_rows": 1_200_000, "bytes": 12_582_912,
        "rows_per_second": 40_000.0, "seconds_left": 26.1,
    });
    let wanted = "3 of 30 ranges, 120,000 of 1,200,000 rows, 12 MiB, 40,000 rows/s, 27 s left";
    assert_eq!(numbers(&task), wanted);
    assert_eq!(progress(&task), format!("t, copying: {wanted}"));
    assert_eq!(progress(&json!({"table": "t", "phase": "planning", "of_ranges": 0})), "t, planning");
}

#[test]
fn what_came_out_is_one_line_but_for_differences() {
    let task =
        |what: &str, result: Value| json!({"table": "t", "what": what, "state": "done", "result": result});
    let told = [
        task("run", json!({"ranges": 1, "rows": 60, "bytes": 2048, "dropped": 0, "waiting": 1})),
        task("run", json!({"ranges": 0, "rows": 0, "bytes": 0, "dropped": 2, "waiting": 0})),
        task("verify", json!({"intact": true, "rows": 60, "differences": [], "findings": [{}]})),
        task("verify", json!({"intact": false, "rows": 59, "differences": ["move 3: the cold table has 59 of 60 rows"], "findings": [{}, {}]})),
        task("restore", json!({"restored_from": "2026-11-20T09:00:00Z"})),
        task("restore", json!({"restored_from": null})),
        json!({"table": "t", "what": "run", "state": "running"}),
        json!({"table": "t", "what": "run", "state": "failed", "error": "a store is away"}),
    ]
    .map(|task| ended(&task))
    .concat();
    let wanted = "\
t: 1 range moved, 60 rows, 2.0 KiB; it keeps 1 range until tiering.grace_seconds are over
t: nothing was old enough to move; TimescaleDB gave up 2 ranges
t: 1 range, 60 rows read: nothing differs
t: 2 ranges, 59 rows read: 1 difference
  move 3: the cold table has 59 of 60 rows
t: everything from 2026-11-20T09:00:00Z on is in TimescaleDB, until `tidewell tier release t`
t: nothing of that time had moved
t: the run has begun; `tidewell tier status t` tells how far it is
t: the run could not be done: a store is away
";
    assert_eq!(told, wanted);
    let released = released(&json!({"table": "t", "released_from": "2026-11-20T09:00:00Z"}));
    assert_eq!(released, "t: rows from 2026-11-20T09:00:00Z on cool again by the policy\n");
}
