//! Severity levels: what senders call them in, one of six words out where one fits.

use std::borrow::Cow;

/// Names that senders use for each level. `notice` is OpenTelemetry's INFO2 and syslog's levels above `err` are
/// its FATAL range, see the log data model's appendix on mappings.
const NAMES: [(&str, &[&str]); 6] = [
    ("info", &["info", "information", "informational", "inf", "notice"]),
    ("error", &["error", "err", "severe", "failure"]),
    ("warn", &["warn", "warning", "wrn"]),
    ("debug", &["debug", "dbg", "fine"]),
    ("trace", &["trace", "trc", "verbose", "finer", "finest"]),
    ("fatal", &["fatal", "critical", "crit", "alert", "emerg", "emergency", "panic"]),
];

/// The level that a sender's word means; a word that means none of the six is kept in lower case.
pub fn from_text(text: &str) -> Cow<'_, str> {
    let text = text.trim();
    for (level, names) in NAMES {
        if names.iter().any(|name| name.eq_ignore_ascii_case(text)) {
            return Cow::Borrowed(level);
        }
    }
    if text.chars().any(char::is_uppercase) { Cow::Owned(text.to_lowercase()) } else { Cow::Borrowed(text) }
}

/// The level of an OpenTelemetry severity number; none outside of 1 to 24.
pub fn from_severity_number(number: i32) -> Option<&'static str> {
    match number {
        1..=4 => Some("trace"),
        5..=8 => Some("debug"),
        9..=12 => Some("info"),
        13..=16 => Some("warn"),
        17..=20 => Some("error"),
        21..=24 => Some("fatal"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_numbers_mean_one_of_six_levels() {
        for (text, level) in [
            ("INFO", "info"),
            (" Warning ", "warn"),
            ("CRIT", "fatal"),
            ("", ""),
            ("Audit", "audit"),
            ("err", "error"),
        ] {
            assert_eq!(from_text(text), level);
        }
        let levels: Vec<_> = (0..=25).map(from_severity_number).collect();
        assert_eq!(levels.iter().flatten().count(), 24);
        assert_eq!(
            (levels[0], levels[10], levels[17], levels[25]),
            (None, Some("info"), Some("error"), None)
        );
    }
}
