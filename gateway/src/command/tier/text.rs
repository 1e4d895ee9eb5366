//! Answers about tiering as people read them: JSON in, lines out.

use serde_json::Value;

use crate::command::columns::{columns, printable};
use crate::units::{bytes, duration, number, per_second};

/// What is said where nothing cools.
pub(super) const NO_TABLES: &str = "no table has a policy of tiering\n";

/// A line for each table, and why one does not move.
pub(super) fn tables(answer: &Value) -> String {
    let tables = list(&answer["tables"]);
    if tables.is_empty() {
        return NO_TABLES.to_owned();
    }
    let headings =
        ["TABLE", "HOT ROWS", "HOT SIZE", "COLD ROWS", "COLD SIZE", "COLD BEFORE", "BEHIND", "STATE"];
    let mut rows = vec![headings.map(str::to_owned)];
    rows.extend(tables.iter().map(|table| {
        [
            of(&table["table"]),
            count(&table["hot"]["rows"]),
            size(&table["hot"]["bytes"]),
            count(&table["cold"]["rows"]),
            size(&table["cold"]["bytes"]),
            or_dash(&table["published"]),
            lasting(&table["lag_seconds"]),
            state(table),
        ]
    }));
    let mut lines = columns(&rows);
    for table in tables {
        lines += &blocked(table, &of(&table["table"]));
    }
    if answer["moves_here"] == false {
        lines += "this gateway moves nothing by itself (tiering.enabled)\n";
    }
    lines
}

/// Everything about a table, its newest ranges last.
pub(super) fn table(table: &Value) -> String {
    let mut lines = format!("{}: {}\n", of(&table["table"]), state(table));
    lines += &blocked(table, "  does not move");
    let (hot, cold) = (&table["hot"], &table["cold"]);
    let cold = if cold.is_null() {
        "not known: ClickHouse does not answer".to_owned()
    } else {
        format!(
            "{} rows, {}; {} came late",
            count(&cold["rows"]),
            size(&cold["bytes"]),
            count(&cold["late_rows"])
        )
    };
    let states = table["states"].as_object().into_iter().flatten();
    let states: Vec<String> = states
        .map(|(state, total)| {
            format!("{} {state} ({} rows, {})", total["ranges"], count(&total["rows"]), size(&total["bytes"]))
        })
        .collect();
    for (name, value) in [
        ("policy", of(&table["policy"])),
        ("hot", format!("{} rows, {}", count(&hot["rows"]), size(&hot["bytes"]))),
        ("cold", cold),
        ("cold before", or_dash(&table["published"])),
        ("behind", lasting(&table["lag_seconds"])),
        ("stays hot", of(&table["hold_from"])),
        ("uncompressed", of(&table["uncompressed"])),
        ("last success", or_dash(&table["succeeded_at"])),
        ("next run", or_dash(&table["next_run_at"])),
        ("failures", count(&table["failures"])),
        ("ranges", if states.is_empty() { "none has moved".to_owned() } else { states.join(", ") }),
        ("last asked", last_asked(&table["task"])),
    ] {
        if !value.is_empty() {
            lines += &format!("  {name:13}  {value}\n");
        }
    }
    let ranges = list(&table["ranges"]);
    if !ranges.is_empty() {
        let headings = ["MOVE", "FROM", "UNTIL", "STATE", "ROWS", "BYTES", "FOR", "REASON"];
        let mut rows = vec![headings.map(str::to_owned)];
        rows.extend(ranges.iter().map(|range| {
            [
                of(&range["move"]),
                of(&range["from"]),
                of(&range["until"]),
                of(&range["state"]),
                count(&range["rows"]),
                size(&range["bytes"]),
                lasting(&range["seconds"]),
                of(&range["reason"]).replace('\n', " "),
            ]
        }));
        lines += &format!("\n{}", columns(&rows));
    }
    lines
}

/// What would move now.
pub(super) fn plan(plan: &Value) -> String {
    let (table, ranges) = (of(&plan["table"]), list(&plan["ranges"]));
    if ranges.is_empty() {
        return format!("{table}: nothing is old enough to move\n");
    }
    let mut rows = vec![["FROM", "UNTIL", "CHUNKS", "ROWS", "SIZE"].map(str::to_owned)];
    rows.extend(ranges.iter().map(|range| {
        [
            of(&range["from"]),
            of(&range["until"]),
            count(&range["chunks"]),
            count(&range["rows"]),
            size(&range["bytes"]),
        ]
    }));
    format!(
        "{table}: {} would move, about {} rows, {}\n{}",
        plural(ranges.len() as u64, "range"),
        count(&plan["rows"]),
        size(&plan["bytes"]),
        columns(&rows)
    )
}

/// How far a task is, in one line.
pub(super) fn progress(task: &Value) -> String {
    let numbers = numbers(task);
    let separator = if numbers.is_empty() { "" } else { ": " };
    format!("{}{separator}{numbers}", under_way(task))
}

/// What a task is at.
pub(super) fn under_way(task: &Value) -> String {
    format!("{}, {}", of(&task["table"]), of(&task["phase"]))
}

/// How much of it is done, how fast, and what is left; nothing before that is known.
pub(super) fn numbers(task: &Value) -> String {
    if task["of_ranges"] == 0 {
        return String::new();
    }
    let mut parts = vec![
        format!("{} of {} ranges", count(&task["ranges"]), count(&task["of_ranges"])),
        format!("{} of {} rows", count(&task["rows"]), count(&task["of_rows"])),
    ];
    if task["bytes"] != 0 {
        parts.push(size(&task["bytes"]));
    }
    parts.push(format!("{} rows/s", per_second(task["rows_per_second"].as_f64().unwrap_or(0.0))));
    if let Some(left) = task["seconds_left"].as_f64() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time that is left is not negative, and read by people"
        )]
        let left = left.ceil() as u64;
        parts.push(format!("{} left", duration(left)));
    }
    parts.join(", ")
}

/// What came out of a task, or that it goes on.
pub(super) fn ended(task: &Value) -> String {
    let (table, result) = (of(&task["table"]), &task["result"]);
    match (task["state"].as_str(), task["what"].as_str()) {
        (Some("running"), _) => {
            format!(
                "{table}: the {} has begun; `tidewell tier status {table}` tells how far it is\n",
                of(&task["what"])
            )
        }
        (Some("failed"), _) => format!("{}\n", failed(task)),
        (_, Some("run")) => ran(&table, result),
        (_, Some("verify")) => verified(&table, result),
        (_, Some("restore")) => match result["restored_from"].as_str() {
            Some(from) => format!(
                "{table}: everything from {from} on is in TimescaleDB, until `tidewell tier release {table}`\n"
            ),
            None => format!("{table}: nothing of that time had moved\n"),
        },
        _ => format!("{table}: done\n"),
    }
}

/// Why a task could not be done.
pub(super) fn failed(task: &Value) -> String {
    format!("{}: the {} could not be done: {}", of(&task["table"]), of(&task["what"]), of(&task["error"]))
}

/// That the schedule may take what was brought back.
pub(super) fn released(answer: &Value) -> String {
    format!(
        "{}: rows from {} on cool again by the policy\n",
        of(&answer["table"]),
        of(&answer["released_from"])
    )
}

fn ran(table: &str, result: &Value) -> String {
    let (ranges, dropped, waiting) =
        (of_number(&result["ranges"]), of_number(&result["dropped"]), of_number(&result["waiting"]));
    let mut line = match ranges {
        0 => format!("{table}: nothing was old enough to move"),
        _ => format!(
            "{table}: {} moved, {} rows, {}",
            plural(ranges, "range"),
            count(&result["rows"]),
            size(&result["bytes"])
        ),
    };
    if dropped > 0 {
        line += &format!("; TimescaleDB gave up {}", plural(dropped, "range"));
    }
    if waiting > 0 {
        line += &format!("; it keeps {} until tiering.grace_seconds are over", plural(waiting, "range"));
    }
    line + "\n"
}

fn verified(table: &str, result: &Value) -> String {
    let differences = list(&result["differences"]);
    let found = match differences.len() {
        0 => "nothing differs".to_owned(),
        some => plural(some as u64, "difference"),
    };
    let ranges = list(&result["findings"]).len() as u64;
    let mut lines =
        format!("{table}: {}, {} rows read: {found}\n", plural(ranges, "range"), count(&result["rows"]));
    for difference in differences {
        lines += &format!("  {}\n", of(difference));
    }
    lines
}

fn last_asked(task: &Value) -> String {
    match task["state"].as_str() {
        Some("running") => {
            format!("{} since {}: {}", of(&task["what"]), of(&task["began_at"]), numbers(task))
        }
        Some(state) => format!("{} at {}: {state}", of(&task["what"]), of(&task["ended_at"])),
        None => String::new(),
    }
}

/// A word for what a table is at.
fn state(table: &Value) -> String {
    let moves = |state: &str| list(&table["moves"]).iter().any(|known| known["state"] == state);
    let word = if !table["blocked"].is_null() {
        "blocked"
    } else if table["policy"]["paused"] == true {
        "paused"
    } else if of_number(&table["copying"]["expected"]) > 0 || moves("closed") || moves("loaded") {
        "moving"
    } else if table["policy"]["cool_after_seconds"].is_null() {
        "never cools"
    } else if of_number(&table["lag_seconds"]) > 0 {
        "waits"
    } else {
        "up to date"
    };
    word.to_owned()
}

fn blocked(table: &Value, before: &str) -> String {
    match table["blocked"].as_str() {
        Some(reason) => format!("{before} since {}: {}\n", of(&table["blocked_at"]), printable(reason)),
        None => String::new(),
    }
}

fn plural(count: u64, what: &str) -> String {
    format!("{} {what}{}", number(count), if count == 1 { "" } else { "s" })
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A value as it is read: nothing for null.
pub(super) fn of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

fn of_number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn count(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), number)
}

fn size(value: &Value) -> String {
    value.as_u64().map_or_else(|| "-".to_owned(), bytes)
}

fn lasting(value: &Value) -> String {
    value.as_i64().map_or_else(|| "-".to_owned(), |seconds| duration(u64::try_from(seconds).unwrap_or(0)))
}

fn or_dash(value: &Value) -> String {
    if value.is_null() { "-".to_owned() } else { of(value) }
}

#[cfg(test)]
mod tests;
