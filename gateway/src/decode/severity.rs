//! Log levels: the many spellings of senders in, OpenTelemetry's severity number and one spelling out.
//!
//! The numbers are those of OpenTelemetry's log data model, "Severity Fields" and its appendix B for syslog. Numeric
//! levels are read as syslog's 0 to 7, and as those of pino and bunyan, 10 to 60.

use std::borrow::Cow;

/// A severity: its number (1 to 24) and the name of its range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Severity {
    /// OpenTelemetry's number.
    pub number: i32,
    /// `trace`, `debug`, `info`, `warn`, `error` or `fatal`.
    pub level: &'static str,
}

/// The name of the range that a severity number lies in; none for 0 (unspecified) and numbers that do not exist.
pub fn level_of(number: i32) -> Option<&'static str> {
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

/// Reads a level as senders spell it.
pub fn parse(text: &str) -> Option<Severity> {
    let mut lower = [0; 16];
    let text = text.trim().as_bytes();
    let lower = lower.get_mut(..text.len())?;
    lower.copy_from_slice(text);
    lower.make_ascii_lowercase();
    let number = match &*lower {
        b"trace" | b"verbose" | b"finest" | b"finer" | b"10" => 1,
        b"debug" | b"dbg" | b"d" | b"fine" | b"7" | b"20" => 5,
        b"info" | b"information" | b"informational" | b"inf" | b"i" | b"6" | b"30" => 9,
        b"notice" | b"5" => 10,
        b"warn" | b"warning" | b"wrn" | b"w" | b"4" | b"40" => 13,
        b"error" | b"err" | b"eror" | b"e" | b"severe" | b"3" | b"50" => 17,
        b"critical" | b"crit" | b"2" => 18,
        b"alert" | b"1" => 19,
        b"fatal" | b"f" | b"panic" | b"dpanic" | b"emerg" | b"emergency" | b"0" | b"60" => 21,
        _ => return None,
    };
    Some(Severity { number, level: level_of(number)? })
}

/// The level of a log record: by its severity number, or else by its text, which is kept in lower case when it is
/// none of the known spellings.
pub fn level(number: i32, text: &str) -> Cow<'_, str> {
    match level_of(number).or_else(|| parse(text).map(|severity| severity.level)) {
        Some(level) => Cow::Borrowed(level),
        None => Cow::Owned(text.to_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_decides_before_the_text() {
        for (number, text, wanted) in
            [(17, "INFO", "error"), (0, "Warning", "warn"), (99, "Audit", "audit"), (0, "", "")]
        {
            assert_eq!(level(number, text), wanted);
        }
    }

    #[test]
    fn spellings_meet_in_one_level() {
        for (texts, level) in [
            (["trace", "TRACE", "Verbose"], "trace"),
            (["debug", "D", "7"], "debug"),
            (["Info", "notice", "30"], "info"),
            (["WARNING", "warn", "4"], "warn"),
            (["ERROR", "err", "crit"], "error"),
            (["Fatal", "emerg", "60"], "fatal"),
        ] {
            for text in texts {
                assert_eq!(parse(text).unwrap().level, level, "{text}");
            }
        }
        for text in ["", "audit", "11", "a level with a very long name indeed", "\u{130}nfo"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
