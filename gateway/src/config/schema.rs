//! The list of all settings, derived from the types in [`super`]: path, variable, type, default and text.
//!
//! Guaranteed: every leaf of [`Config`] is in the list, in the order of its fields, and no two share a variable.

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;
use super::field_order::Fields;

/// What begins the name of every variable.
pub(super) const PREFIX: &str = "TIDEWELL_";

/// One setting.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// Its place in the file, `timescale.batch.max_rows`.
    pub(super) path: String,
    /// Its variable, `TIDEWELL_TIMESCALE_BATCH_MAX_ROWS`.
    pub(super) variable: String,
    /// What its value is.
    pub(super) kind: Kind,
    /// The least number allowed.
    pub(super) least: Option<i64>,
    /// The greatest number allowed.
    pub(super) most: Option<i64>,
    /// Its doc comment on one line.
    pub(super) text: String,
    /// The value when none is given; none where that means "not used".
    pub(super) default: Option<toml::Value>,
    /// A value that shows the form where there is no default.
    pub(super) example: Option<String>,
    /// Whether its value may not be shown.
    pub(super) secret: bool,
}

/// What the value of a setting is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text. In a variable it stands as it is, in the file in quotes.
    Text,
    /// One of these words, each with its meaning.
    Word(Vec<(String, String)>),
    /// Anything else: a number, `true` or `false`. In a variable and in the file it is written alike.
    Literal(String),
}

/// A table of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Section {
    /// Its path, `timescale.batch`.
    pub(super) path: String,
    /// Its doc comment on one line.
    pub(super) text: String,
}

/// All settings and the sections that hold them.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub(super) sections: Vec<Section>,
    pub(super) settings: Vec<Setting>,
}

impl Setting {
    /// The last part of its path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit_once('.').map_or(self.path.as_str(), |(_, name)| name)
    }

    /// The rest of its path.
    pub(super) fn section(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }
}

impl Settings {
    /// The settings of [`Config`].
    pub(super) fn all() -> &'static Self {
        static ALL: OnceLock<Settings> = OnceLock::new();
        ALL.get_or_init(|| {
            let generator = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
            let schema = generator.into_generator().into_root_schema_for::<Config>();
            let mut all = Self::default();
            all.add("", schema.as_value(), &Fields::of(&Config::default()), &defaults());
            all
        })
    }

    /// The setting at `path`.
    pub(super) fn at(&self, path: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.path == path)
    }

    /// The setting with this variable.
    pub(super) fn of_variable(&self, variable: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.variable == variable)
    }

    /// The settings that stand directly in a section.
    pub(super) fn of_section(&self, section: &Section) -> impl Iterator<Item = &Setting> {
        self.settings.iter().filter(|setting| setting.section() == section.path)
    }

    /// Whether `path` is a section.
    pub(super) fn is_section(&self, path: &str) -> bool {
        self.sections.iter().any(|section| section.path == path)
    }

    fn add(&mut self, path: &str, schema: &Value, fields: &Fields, defaults: &toml::Table) {
        if schema.get("properties").is_some() {
            if !path.is_empty() {
                self.sections.push(Section { path: path.to_owned(), text: text(schema) });
            }
            for (name, below) in &fields.0 {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                let property = schema.get("properties").and_then(|properties| properties.get(name));
                self.add(&path, property.unwrap_or(&Value::Null), below, defaults);
            }
            return;
        }
        self.settings.push(Setting {
            path: path.to_owned(),
            variable: format!("{PREFIX}{}", path.replace('.', "_").to_ascii_uppercase()),
            kind: kind(schema),
            least: schema.get("minimum").and_then(Value::as_i64),
            most: schema.get("maximum").and_then(Value::as_i64),
            text: text(schema),
            default: lookup(defaults, path).cloned(),
            example: schema.pointer("/examples/0").and_then(Value::as_str).map(str::to_owned),
            secret: schema.get("writeOnly").and_then(Value::as_bool).unwrap_or(false),
        });
    }
}

/// The configuration with nothing given, as a tree. The defaults hold no secrets: what would be masked is shown.
pub(super) fn defaults() -> toml::Table {
    toml::Table::try_from(Config::default()).unwrap_or_default()
}

/// The value at `path`.
pub(super) fn lookup<'t>(table: &'t toml::Table, path: &str) -> Option<&'t toml::Value> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let mut inner = table;
    for step in section.split('.').filter(|step| !step.is_empty()) {
        inner = inner.get(step)?.as_table()?;
    }
    inner.get(name)
}

/// Puts `value` at `path`, creating the sections above it.
pub(super) fn insert(table: &mut toml::Table, path: &str, value: toml::Value) {
    match path.split_once('.') {
        None => {
            table.insert(path.to_owned(), value);
        }
        Some((section, rest)) => {
            let inner =
                table.entry(section.to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            if let toml::Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

fn text(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn kind(schema: &Value) -> Kind {
    if let Some(variants) = schema.get("oneOf").and_then(Value::as_array) {
        let word = |variant: &Value| Some((variant.get("const")?.as_str()?.to_owned(), text(variant)));
        return Kind::Word(variants.iter().filter_map(word).collect());
    }
    let of_type = match schema.get("type") {
        Some(Value::Array(types)) => types.iter().find_map(|one| one.as_str().filter(|&one| one != "null")),
        Some(one) => one.as_str(),
        None => None,
    };
    match of_type {
        Some("string") | None => Kind::Text,
        Some("boolean") => Kind::Literal("true or false".to_owned()),
        Some("integer") => Kind::Literal("a whole number".to_owned()),
        Some("array") => Kind::Literal(list(schema)),
        Some(other) => Kind::Literal(format!("a TOML {other}")),
    }
}

/// What a list may hold, as an error says it.
fn list(schema: &Value) -> String {
    let words = schema.pointer("/items/oneOf").and_then(Value::as_array);
    let words = words.into_iter().flatten().filter_map(|word| word.get("const")?.as_str());
    let words: Vec<_> = words.map(|word| format!("{word:?}")).collect();
    format!("a list such as [{}]", words.join(", "))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_leaf_has_a_text_and_a_variable_of_its_own() {
        let all = Settings::all();
        let variables: HashSet<_> = all.settings.iter().map(|setting| setting.variable.as_str()).collect();
        assert_eq!(variables.len(), all.settings.len());
        for setting in &all.settings {
            assert!(!setting.text.is_empty(), "{} has no doc comment", setting.path);
        }
        for section in &all.sections {
            assert!(!section.text.is_empty(), "{} has no doc comment", section.path);
        }
    }

    /// The list comes from the schema, the defaults from serialization: a leaf that one of them lacks shows here.
    #[test]
    fn the_list_and_the_defaults_have_the_same_leaves() {
        fn leaves(path: &str, table: &toml::Table, found: &mut Vec<String>) {
            for (name, value) in table {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                match value {
                    toml::Value::Table(inner) => leaves(&path, inner, found),
                    _ => found.push(path),
                }
            }
        }
        let mut found = Vec::new();
        leaves("", &defaults(), &mut found);
        let all = Settings::all();
        assert!(found.len() > 30);
        for path in &found {
            assert!(all.at(path).is_some(), "{path} is not in the list");
        }
        for setting in &all.settings {
            let optional = setting.path.ends_with("_file") || setting.path == "admin.listen";
            assert_eq!(found.contains(&setting.path), !optional, "{}", setting.path);
        }
    }

    #[test]
    fn secrets_and_words_are_known_as_such() {
        let all = Settings::all();
        let secrets: Vec<_> =
            all.settings.iter().filter(|one| one.secret).map(|one| one.path.as_str()).collect();
        let wanted =
            ["timescale.url", "timescale.password", "clickhouse.password", "clickhouse.timescale.password"];
        assert_eq!(secrets, wanted);
        let Some(Kind::Word(words)) = all.at("log.format").map(|setting| setting.kind.clone()) else {
            panic!("log.format is not a list of words");
        };
        assert_eq!(words.iter().map(|(word, _)| word.as_str()).collect::<Vec<_>>(), ["text", "json"]);
    }
}
