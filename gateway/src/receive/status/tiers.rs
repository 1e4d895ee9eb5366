//! The section of tables that cool: where they stood when they were measured last, with the progress of this moment.

use super::html::escaped;
use crate::tier::{Overview, TaskReport, TaskState};
use crate::units::{bytes, duration, number, per_second};

/// The section.
pub(super) fn html(tiers: &[(Overview, Option<TaskReport>)]) -> String {
    if tiers.is_empty() {
        return "<p class=\"soft\">No table has a policy of tiering, or none was measured yet.</p>"
            .to_owned();
    }
    let rows: String = tiers.iter().map(|(overview, task)| row(overview, task.as_ref())).collect();
    format!(
        "<table><tr><th>Table</th><th>Hot</th><th>Cold</th><th>Cold before</th><th>Behind</th><th>Next run</th>\
         <th>Now</th></tr>{rows}</table>"
    )
}

fn row(overview: &Overview, task: Option<&TaskReport>) -> String {
    let status = &overview.status;
    let lag = u64::try_from(status.lag_seconds).unwrap_or(0);
    let class = if lag > 0 { " class=\"fair\"" } else { "" };
    let held = |rows: u64, size: u64| format!("{} rows, {}", number(rows), bytes(size));
    let cold = overview.cold.map_or_else(|| "not known".to_owned(), |cold| held(cold.rows, cold.bytes));
    format!(
        "<tr><td><code>{}</code></td><td>{}</td><td>{cold}</td><td>{}</td><td{class}>{}</td><td>{}</td>{}</tr>",
        escaped(&status.table),
        held(overview.hot.rows, overview.hot.bytes),
        status.published.as_deref().unwrap_or("nothing"),
        duration(lag),
        overview.next_run_at.as_deref().unwrap_or("none"),
        now(overview, task)
    )
}

/// What is going on, else what keeps it from going on, else nothing.
fn now(overview: &Overview, task: Option<&TaskReport>) -> String {
    let copying = &overview.status.copying;
    if let Some(task) = task.filter(|task| task.state == TaskState::Running) {
        let words = format!(
            "{}: {} of {} ranges, {} of {} rows, {} rows/s",
            task.phase.unwrap_or(task.what),
            number(task.ranges),
            number(task.of_ranges),
            number(task.rows),
            number(task.of_rows),
            per_second(task.rows_per_second)
        );
        return bar(task.rows, task.of_rows, &words);
    }
    if copying.expected > 0 {
        let words = format!(
            "{} of {} rows of a range; {} ranges moved",
            number(copying.rows),
            number(copying.expected),
            number(copying.ranges)
        );
        return bar(copying.rows, copying.expected, &words);
    }
    match &overview.status.blocked {
        Some(reason) => format!("<td class=\"long bad\">does not move: {}</td>", escaped(reason)),
        None => "<td class=\"soft\">nothing</td>".to_owned(),
    }
}

fn bar(part: u64, whole: u64, words: &str) -> String {
    format!("<td class=\"long\"><progress max=\"{}\" value=\"{part}\"></progress> {words}</td>", whole.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tier::Copied;
    use crate::tier::tiering::{Cold, Held, TableStatus};

    fn overview() -> Overview {
        let status = TableStatus {
            table: "readings".to_owned(),
            policy: serde_json::from_str(r#"{"cool_after_seconds": 60}"#).unwrap(),
            closing: None,
            published: None,
            generation: 0,
            hold_from: None,
            lag_seconds: 0,
            moved_at: None,
            blocked: None,
            uncompressed: None,
            copying: Copied::default(),
            moves: Vec::new(),
            cold_ranges: 0,
            cold_rows: 0,
        };
        Overview {
            status,
            looked_at: None,
            succeeded_at: None,
            next_run_at: None,
            blocked_at: None,
            failures: 0,
            hot: Held { rows: 1_240, bytes: 2_048 },
            cold: Some(Cold::default()),
            states: std::collections::BTreeMap::new(),
        }
    }

    #[test]
    fn a_table_shows_what_goes_on_or_what_is_wrong() {
        assert!(html(&[]).contains("No table"));
        let idle = html(&[(overview(), None)]);
        assert!(idle.contains("1,240 rows, 2.0 KiB") && idle.contains(">nothing</td>"), "{idle}");

        let mut stuck = overview();
        stuck.status.lag_seconds = 7_200;
        stuck.status.blocked = Some("<b>".to_owned());
        stuck.cold = None;
        let told = html(&[(stuck, None)]);
        assert!(
            told.contains("<td class=\"fair\">2 h</td>") && told.contains("does not move: &lt;b&gt;"),
            "{told}"
        );
        assert!(told.contains("not known"), "{told}");

        let mut moving = overview();
        moving.status.copying = Copied { ranges: 3, expected: 100, rows: 25, ..Copied::default() };
        let told = html(&[(moving, None)]);
        assert!(
            told.contains("<progress max=\"100\" value=\"25\">") && told.contains("3 ranges moved"),
            "{told}"
        );
    }
}
