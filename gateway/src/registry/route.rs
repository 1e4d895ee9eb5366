//! Routes: which table a record of a signal goes to, as ordered rules. The first rule that matches decides; a record that
//! none matches goes to the signal's built-in table.
//!
//! ```json
//! {"name":"audit","table":"audit_logs","caller":"vector","header":"audit_*","resource":{"service.name":"auth*"},"labels":{"audit":"true"}}
//! ```
//!
//! All conditions of a rule must hold. A value is compared as text, whole or by its beginning when the rule's ends with `*`.
//! A rule without conditions takes what is left: the signal's default.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::builtin;
use super::identifier::Identifier;
use super::table::{TableError, TableKind};

/// Most rules of one signal: each may be asked of every record.
pub const MAX_RULES: usize = 100;
/// Most labels and resource attributes of one rule.
const MAX_CONDITIONS: usize = 8;
/// Longest key or value of a condition.
const MAX_TEXT_BYTES: usize = 256;

/// Records that are routed by rules of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signal {
    /// Samples of gauges and sums.
    Metrics,
    /// Histograms, exponential histograms and summaries.
    Histograms,
    /// Log records.
    Logs,
    /// Spans.
    Traces,
}

/// A text to compare with: whole, or its beginning when it ends with `*`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TextPattern(String);

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteRule {
    /// What it is called in dry runs and metrics.
    pub name: Identifier,
    /// The table that takes the records; by default the one that the header `tidewell-table` names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<Identifier>,
    /// The caller's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caller: Option<TextPattern>,
    /// The value of the header, or metadata key, `tidewell-table`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<TextPattern>,
    /// Attributes of the record's resource.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub resource: BTreeMap<String, TextPattern>,
    /// Labels of the record.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, TextPattern>,
}

/// What a request says of all its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RouteRequest<'r> {
    /// The caller's name.
    pub caller: &'r str,
    /// The header `tidewell-table`.
    pub header: Option<&'r str>,
}

/// The rules of a tenant, by signal.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Routes(BTreeMap<Signal, Vec<RouteRule>>);

impl Signal {
    /// All signals.
    pub const ALL: [Self; 4] = [Self::Metrics, Self::Histograms, Self::Logs, Self::Traces];

    /// The word in addresses and rows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Histograms => "histograms",
            Self::Logs => "logs",
            Self::Traces => "traces",
        }
    }

    /// The signal with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.name() == name)
    }

    /// The table that its records go to when no rule says otherwise.
    pub fn table(self) -> &'static str {
        match self {
            Self::Metrics => builtin::METRICS_EVENTS,
            Self::Histograms => builtin::METRICS_HISTOGRAMS,
            Self::Logs => builtin::LOGS_EVENTS,
            Self::Traces => builtin::TRACES_SPANS,
        }
    }

    /// The signal whose records go to this table.
    pub fn of_table(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.table() == name)
    }

    /// The kind that its tables are of.
    pub fn kind(self) -> TableKind {
        match self {
            Self::Metrics | Self::Histograms => TableKind::Metrics,
            Self::Logs => TableKind::Logs,
            Self::Traces => TableKind::Traces,
        }
    }
}

impl TextPattern {
    /// Whether `text` is meant.
    pub fn matches(&self, text: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => text.starts_with(start),
            None => self.0 == text,
        }
    }
}

impl RouteRule {
    /// Whether the rule may apply to records of this request.
    pub fn may_apply(&self, request: RouteRequest<'_>) -> bool {
        let by_caller = self.caller.as_ref().is_none_or(|caller| caller.matches(request.caller));
        let by_header = match (&self.header, request.header) {
            (None, header) => self.table.is_some() || header.is_some(),
            (Some(pattern), Some(header)) => pattern.matches(header),
            (Some(_), None) => false,
        };
        by_caller && by_header
    }

    /// Whether it asks something of each record.
    pub fn asks_of_records(&self) -> bool {
        !self.resource.is_empty() || !self.labels.is_empty()
    }

    /// The table that takes the records of a request that the rule applies to.
    pub fn target<'r>(&'r self, request: RouteRequest<'r>) -> &'r str {
        self.table.as_ref().map(Identifier::as_str).or(request.header).unwrap_or_default()
    }

    fn check(&self) -> Result<(), (&'static str, String)> {
        if self.table.is_none() && self.header.is_none() {
            return Err(("table", "is missing: name a table, or a header whose value is one".to_owned()));
        }
        if self.table.as_ref().is_some_and(|table| builtin::is_written_by_gateway(table.as_str())) {
            return Err(("table", "is written by the gateway itself".to_owned()));
        }
        if self.resource.len() + self.labels.len() > MAX_CONDITIONS {
            return Err((
                "labels",
                format!("a rule asks for {MAX_CONDITIONS} labels and attributes at most"),
            ));
        }
        let conditions = self.resource.iter().chain(&self.labels).flat_map(|(key, value)| [key, &value.0]);
        let patterns = self.caller.iter().chain(&self.header).map(|pattern| &pattern.0);
        match conditions.chain(patterns).find(|text| text.len() > MAX_TEXT_BYTES) {
            Some(text) => {
                Err(("labels", format!("{} bytes are too long: {MAX_TEXT_BYTES} are allowed", text.len())))
            }
            None => Ok(()),
        }
    }
}

impl Routes {
    /// The rules of a signal, in order.
    pub fn of(&self, signal: Signal) -> &[RouteRule] {
        self.0.get(&signal).map_or(&[], Vec::as_slice)
    }

    /// All rules that there are.
    pub fn all(&self) -> impl Iterator<Item = (Signal, &RouteRule)> {
        self.0.iter().flat_map(|(signal, rules)| rules.iter().map(move |rule| (*signal, rule)))
    }

    /// Puts these rules in place of the signal's.
    pub fn set(&mut self, signal: Signal, rules: Vec<RouteRule>) {
        if rules.is_empty() {
            self.0.remove(&signal);
        } else {
            self.0.insert(signal, rules);
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Whether rules can be in force; says which one cannot.
pub fn check(rules: &[RouteRule]) -> Result<(), TableError> {
    if rules.len() > MAX_RULES {
        return Err(TableError::new("rules", format!("are more than {MAX_RULES}")));
    }
    for (at, rule) in rules.iter().enumerate() {
        let place = |field: &str| format!("rules[{at}].{field}");
        rule.check().map_err(|(field, reason)| TableError::new(place(field), reason))?;
        if rules.iter().take(at).any(|other| other.name == rule.name) {
            return Err(TableError::new(place("name"), format!("{:?} is used twice", rule.name)));
        }
        let takes_all =
            |rule: &RouteRule| !rule.asks_of_records() && rule.caller.is_none() && rule.header.is_none();
        if rules.iter().take(at).any(takes_all) {
            let reason = "never applies: a rule before it has no conditions and takes what is left";
            return Err(TableError::new(place("name"), reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rules(rules: serde_json::Value) -> Vec<RouteRule> {
        serde_json::from_value(rules).unwrap()
    }

    #[test]
    fn a_rule_applies_when_all_that_it_asks_is_so() {
        let rules = rules(json!([
            {"name": "of_vector", "table": "a", "caller": "vector*"},
            {"name": "by_header", "header": "audit_*"},
            {"name": "both", "table": "b", "caller": "vector", "header": "b"},
            {"name": "rest", "table": "c"},
        ]));
        let applying = |caller, header| {
            let request = RouteRequest { caller, header };
            let applying = rules.iter().filter(move |rule| rule.may_apply(request));
            applying.map(|rule| (rule.name.as_str(), rule.target(request))).collect::<Vec<_>>()
        };
        assert_eq!(applying("vector-1", None), [("of_vector", "a"), ("rest", "c")]);
        assert_eq!(applying("otel", Some("audit_x")), [("by_header", "audit_x"), ("rest", "c")]);
        assert_eq!(applying("vector", Some("b")), [("of_vector", "a"), ("both", "b"), ("rest", "c")]);
    }

    #[test]
    fn rules_that_cannot_be_are_named() {
        for (given, field) in [
            (json!([{"name": "a"}]), "rules[0].table"),
            (json!([{"name": "a", "table": "dead_letters"}]), "rules[0].table"),
            (json!([{"name": "a", "table": "t"}, {"name": "b", "table": "u"}]), "rules[1].name"),
            (
                json!([{"name": "a", "table": "t", "caller": "x"}, {"name": "a", "table": "u"}]),
                "rules[1].name",
            ),
            (json!([{"name": "a", "table": "t", "labels": {"k": "v".repeat(300)}}]), "rules[0].labels"),
        ] {
            assert_eq!(check(&rules(given.clone())).unwrap_err().field, field, "{given}");
        }
        assert!(
            serde_json::from_value::<RouteRule>(json!({"name": "a", "table": "t", "colour": "x"})).is_err()
        );
    }
}
