//! What is wrong with a configuration: every problem with its setting, its place and the way out.

use std::fmt;

use super::load::Origin;
use super::schema::PREFIX;

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the value comes from; none when it is about a default or about no single value.
    pub origin: Option<Origin>,
    /// The setting, or what was taken for one; empty for a file as a whole.
    pub setting: String,
    /// What is wrong, and the way out. Never holds the value of a secret.
    pub reason: String,
}

/// A configuration that cannot be used. Lists all of its problems.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError {
    /// The problems, at least one.
    pub problems: Vec<Problem>,
}

/// The known names that are most like `name`, at most `most`, best first.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>, most: usize) -> Vec<&'n str> {
    let mut scored: Vec<(f64, &str)> =
        known.map(|one| (likeness(name, one), one)).filter(|(score, _)| *score >= 0.6).collect();
    scored.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    // What is much worse than the best is no candidate.
    let best = scored.first().map_or(0.0, |(score, _)| *score);
    scored.into_iter().take_while(|(score, _)| *score >= best - 0.05).take(most).map(|(_, one)| one).collect()
}

/// From 0 for names that have nothing in common to 1 for equal ones.
fn likeness(name: &str, known: &str) -> f64 {
    // What all variables begin with says nothing about any.
    let [name, known] = [name, known]
        .map(|one| one.strip_prefix(PREFIX).unwrap_or(one).to_ascii_lowercase().replace('_', "."));
    let spelling = strsim::normalized_damerau_levenshtein(&name, &known);
    // `listen` alone means a setting that ends so, `http.listen.address` one that begins so.
    let is_part = known.ends_with(&format!(".{name}")) || name.starts_with(&format!("{known}."));
    if is_part { spelling.max(0.9) } else { spelling }
}

/// The sentence that offers the names found by [`nearest`].
pub(super) fn did_you_mean<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    match nearest(name, known, 3).as_slice() {
        [] => "`tidewell config reference` lists all settings".to_owned(),
        names => format!("did you mean {}?", names.join(" or ")),
    }
}

// === impl ConfigError, Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.setting.is_empty()) {
            (Some(origin), true) => write!(f, "{origin}: {}", self.reason),
            (Some(origin), false) => write!(f, "{} ({origin}): {}", self.setting, self.reason),
            (None, true) => f.write_str(&self.reason),
            (None, false) => write!(f, "{}: {}", self.setting, self.reason),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] => write!(f, "the configuration cannot be used: {one}"),
            many => {
                write!(f, "the configuration cannot be used, it has {} problems:", many.len())?;
                many.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}
