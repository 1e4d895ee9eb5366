//! Which letters a request means: parameters of its address in, a filter and a limit out.

use std::time::SystemTime;

use chrono::DateTime;

use crate::decode::timestamp;
use crate::rejection::Rejection;
use crate::store::timescale::letters::{LetterFilter, LetterState, MAX_LETTERS};

/// Letters that a list has when nobody says how many.
pub(super) const LISTED: usize = 100;
/// Letters that are replayed or discarded by one request when nobody says how many.
pub(super) const REPLAYED: usize = 1_000;

/// Letters, and how many of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Selection {
    pub(super) filter: LetterFilter,
    pub(super) limit: usize,
}

impl Selection {
    /// Reads parameters. Letters that wait are meant unless another state is named.
    pub(super) fn of(parameters: &[(String, String)], limit: usize) -> Result<Self, Rejection> {
        let mut selection = Self { filter: LetterFilter::waiting(), limit };
        for (name, value) in parameters {
            if value.contains('\0') {
                return Err(Rejection::Malformed(format!("parameter {name:?} contains a NUL character")));
            }
            let filter = &mut selection.filter;
            match name.as_str() {
                "target" => filter.target = Some(value.clone()),
                "protocol" => filter.protocol = Some(value.clone()),
                "reason" => filter.reason = Some(value.clone()),
                "since" => filter.since = Some(time(name, value)?),
                "until" => filter.until = Some(time(name, value)?),
                "state" => filter.state = state(value)?,
                "limit" => selection.limit = count(value)?,
                _ => {
                    return Err(Rejection::Malformed(format!(
                        "parameter {name:?} is unknown: target, protocol, reason, since, until, state and limit are known"
                    )));
                }
            }
        }
        Ok(selection)
    }
}

fn time(name: &str, value: &str) -> Result<SystemTime, Rejection> {
    let time = timestamp::parse(value)
        .map_err(|error| Rejection::Malformed(format!("{name}={value:?}: {error}")))?;
    Ok(DateTime::from_timestamp_nanos(time.nanos).into())
}

fn state(value: &str) -> Result<Option<LetterState>, Rejection> {
    if value == "all" {
        return Ok(None);
    }
    LetterState::from_name(value).map(Some).ok_or_else(|| {
        Rejection::Malformed(format!(
            "state={value:?} is unknown: kept, replaying, replayed, discarded and all are known"
        ))
    })
}

fn count(value: &str) -> Result<usize, Rejection> {
    value.parse().ok().filter(|limit| (1..=MAX_LETTERS).contains(limit)).ok_or_else(|| {
        Rejection::Malformed(format!("limit={value:?}: give a number from 1 to {MAX_LETTERS}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<Selection, String> {
        let owned: Vec<_> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Selection::of(&owned, LISTED).map_err(|rejection| rejection.to_string())
    }

    #[test]
    fn letters_that_wait_are_meant_unless_said_otherwise() {
        let plain = read(&[]).unwrap();
        assert_eq!((plain.filter, plain.limit), (LetterFilter::waiting(), LISTED));
        let all =
            read(&[("state", "all"), ("target", "t"), ("since", "2026-01-01T00:00:00Z"), ("limit", "5")]);
        let all = all.unwrap();
        assert_eq!((all.filter.state, all.filter.target.as_deref(), all.limit), (None, Some("t"), 5));
        assert!(all.filter.since.is_some());
    }

    #[test]
    fn mistakes_are_named() {
        for (parameter, reason) in [
            (("colour", "red"), "colour"),
            (("state", "lost"), "kept"),
            (("since", "never"), "since"),
            (("limit", "0"), "10000"),
            (("limit", "10001"), "10000"),
            (("reason", "a\0"), "NUL"),
        ] {
            let refused = read(&[parameter]).unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
