//! Answers about dead letters as people read them: JSON in, lines out.

use serde_json::Value;

use crate::command::columns::{columns, printable};

/// Longest text of a cell, in characters.
const MAX_CELL: usize = 60;

const HEADINGS: [(&str, &str); 6] = [
    ("ID", "id"),
    ("TIME", "time"),
    ("STATE", "state"),
    ("PROTOCOL", "protocol"),
    ("TABLE", "target"),
    ("REASON", "reason"),
];

/// A line for each letter.
pub(super) fn listed(answer: &Value) -> String {
    let empty = Vec::new();
    let letters = answer["letters"].as_array().unwrap_or(&empty);
    if letters.is_empty() {
        return "no dead letters match\n".to_owned();
    }
    let mut rows = vec![HEADINGS.map(|(heading, _)| heading.to_owned())];
    rows.extend(letters.iter().map(|letter| {
        HEADINGS.map(|(heading, name)| match (heading, text(&letter["field"])) {
            ("REASON", field) if !field.is_empty() => cell(&format!("{field}: {}", text(&letter[name]))),
            _ => cell(&text(&letter[name])),
        })
    }));
    let mut lines = columns(&rows);
    if answer["more"] == true {
        lines += "more match: narrow them down, or raise --limit\n";
    }
    lines
}

/// Every member of a letter, its payload last.
pub(super) fn shown(letter: &Value) -> String {
    let mut lines = String::new();
    for (name, value) in letter.as_object().into_iter().flatten() {
        if !name.starts_with("payload") || name == "payload_bytes" {
            lines += &format!("{name:14}  {}\n", text(value));
        }
    }
    for name in ["payload", "payload_base64"] {
        if let Some(payload) = letter[name].as_str() {
            lines += &format!("\n{}\n", printable(payload));
        }
    }
    lines
}

/// What became of one letter or of many.
pub(super) fn replayed(answer: &Value) -> String {
    if answer["matched"].is_null() {
        let again = if answer["suppressed"] == true { " before: nothing was stored again" } else { "" };
        return format!("{}: {}{again}\n", text(&answer["id"]), text(&answer["state"]));
    }
    let mut lines = format!(
        "{} replayed, {} refused again, {} remain\n",
        answer["replayed"], answer["refused"], answer["remaining"]
    );
    for error in answer["errors"].as_array().into_iter().flatten() {
        let (id, field, reason) = (text(&error["id"]), text(&error["field"]), text(&error["reason"]));
        lines += &format!("{id}  {}\n", cell(&format!("{field}: {reason}")));
    }
    if let Some(reason) = answer["stopped"].as_str() {
        lines += &format!("stopped: {}\n", printable(reason));
    }
    lines
}

/// How many were discarded.
pub(super) fn discarded(answer: &Value) -> String {
    match &answer["remaining"] {
        Value::Null => format!("{} discarded\n", answer["discarded"]),
        remaining => format!("{} discarded, {remaining} remain\n", answer["discarded"]),
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => printable(text),
        other => other.to_string(),
    }
}

fn cell(text: &str) -> String {
    let text = text.replace('\n', " ");
    match text.char_indices().nth(MAX_CELL) {
        Some((end, _)) => format!("{}..", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_are_tables_and_senders_do_not_write_on_the_terminal() {
        let letter = |reason: &str| {
            json!({"id": "0192", "time": "2026-11-20T10:00:00Z", "state": "kept", "protocol": "rest",
                   "target": "logs_events", "field": "ts", "reason": reason})
        };
        let answer = json!({"letters": [letter("never"), letter("\u{1b}[2Jx")], "more": true});
        let wanted = "\
ID    TIME                  STATE  PROTOCOL  TABLE        REASON
0192  2026-11-20T10:00:00Z  kept   rest      logs_events  ts: never
0192  2026-11-20T10:00:00Z  kept   rest      logs_events  ts: \u{fffd}[2Jx
more match: narrow them down, or raise --limit
";
        assert_eq!(listed(&answer), wanted);
        assert_eq!(listed(&json!({"letters": []})), "no dead letters match\n");
    }

    #[test]
    fn replays_are_told_in_one_line() {
        let one = json!({"id": "0192", "state": "replayed", "suppressed": true});
        assert_eq!(replayed(&one), "0192: replayed before: nothing was stored again\n");
        let many = json!({"matched": 2, "replayed": 1, "refused": 1, "remaining": 1,
                          "errors": [{"id": "0192", "field": "ts", "reason": "never"}]});
        assert_eq!(replayed(&many), "1 replayed, 1 refused again, 1 remain\n0192  ts: never\n");
    }
}
