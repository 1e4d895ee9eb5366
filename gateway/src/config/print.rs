//! `tidewell config print`: a loaded configuration in, TOML with the origin of each value out. Secrets are masked.

use super::load::Loaded;
use super::reference::literal;
use super::schema::{Settings, lookup};

/// The settings in force as TOML, each with where it comes from.
pub fn print(loaded: &Loaded) -> String {
    let settings = Settings::all();
    let values = toml::Table::try_from(&loaded.config).unwrap_or_default();
    let mut text = String::new();
    for section in &settings.sections {
        text += &format!("{}[{}]\n", if text.is_empty() { "" } else { "\n" }, section.path);
        for setting in settings.of_section(section) {
            let origin = match loaded.origin(&setting.path) {
                Some(origin) => origin.to_string(),
                None => "default".to_owned(),
            };
            text += &match lookup(&values, &setting.path) {
                Some(value) => format!("{} = {}  # {origin}\n", setting.name(), literal(value)),
                None => format!("# {} is not set\n", setting.name()),
            };
        }
    }
    text
}
