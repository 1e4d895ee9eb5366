//! The reference of all settings, as Markdown, as an env file and as a TOML file. All three come from the types and doc
//! comments in [`super`]; tests hold the files in the repository to them.

use super::schema::{Kind, Setting, Settings};

/// A form of the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Reference {
    /// `gateway/docs/configuration.md`.
    Markdown,
    /// `deploy/.env.example`.
    Env,
    /// `deploy/tidewell.example.toml`.
    Toml,
}

/// Widest line of the two example files.
const WIDTH: usize = 100;

/// The text of the reference.
pub fn reference(form: Reference) -> String {
    match form {
        Reference::Markdown => markdown(),
        Reference::Env => env(),
        Reference::Toml => toml(),
    }
}

/// A value as TOML writes it.
pub(super) fn literal(value: &toml::Value) -> String {
    value.to_string()
}

fn markdown() -> String {
    let mut text = String::from(
        "<!-- Written by `tidewell config reference`: change the doc comments in gateway/src/config/mod.rs. -->\n\
         # Configuration\n\n\
         Tidewell reads its settings from, each one over the one before it:\n\n\
         1. the defaults below, which suit a gateway on the machine of its stores;\n\
         2. the TOML file named by `--config` or `TIDEWELL_CONFIG`;\n\
         3. the env file named by `--env-file` or `TIDEWELL_ENV_FILE`: lines of `NAME=VALUE`, nothing substituted;\n\
         4. the environment.\n\n\
         A setting stands in the file under its section (`[http]`, then `listen = \"127.0.0.1:4318\"`), and in the env\n\
         file and the environment as the variable below its name. A setting that does not exist is an error, as is\n\
         every value that makes no sense; `tidewell config check` tells all of them at once, and `tidewell config\n\
         print` shows the settings in force and where each comes from.\n\n\
         Variables that begin with `TIDEWELL_TEST_` belong to the tests; those that Kubernetes sets for a service named\n\
         `tidewell` are ignored.\n",
    );
    let settings = Settings::all();
    for section in &settings.sections {
        text += &format!("\n## {}\n\n{}\n\n", section.path, section.text);
        text.push_str("| Setting | Default | Meaning |\n|---|---|---|\n");
        for setting in settings.of_section(section) {
            text += &format!(
                "| `{}`<br>`{}` | {} | {} |\n",
                setting.path,
                setting.variable,
                default_markdown(setting),
                meaning(setting).replace('|', "\\|"),
            );
        }
    }
    text
}

fn default_markdown(setting: &Setting) -> String {
    match &setting.default {
        Some(value) => format!("`{}`", literal(value)),
        None => "not set".to_owned(),
    }
}

/// The text of a setting with what its type adds to it.
fn meaning(setting: &Setting) -> String {
    let mut text = setting.text.clone();
    if let Kind::Word(words) = &setting.kind {
        let words: Vec<_> = words
            .iter()
            .map(|(word, meaning)| format!("`{word}`: {}", meaning.trim_end_matches('.')))
            .collect();
        text += &format!(" {}.", words.join("; "));
    }
    match (setting.least.filter(|&least| least > 0), setting.most) {
        (Some(least), Some(most)) => {
            text += &format!(" From {least} to {most}.");
        }
        (Some(least), None) => {
            text += &format!(" At least {least}.");
        }
        _ => {}
    }
    if setting.secret {
        text.push_str(" A secret: it is never shown or logged.");
    }
    text
}

fn env() -> String {
    let mut text = String::from(
        "# Settings of Tidewell as variables, for `tidewell serve --env-file .env` or a container's environment.\n\
         # Every setting is here with its default; take the # away to change one. Nothing is substituted in values.\n\
         # Written by `tidewell config reference --format env`.\n",
    );
    let settings = Settings::all();
    for section in &settings.sections {
        text += &format!("\n# === {}: {}\n", section.path, section.text);
        for setting in settings.of_section(section) {
            text.push('\n');
            comment(&mut text, &meaning(setting));
            let value = match (&setting.default, &setting.kind) {
                (Some(toml::Value::String(value)), _) => value.clone(),
                (Some(value), _) => literal(value),
                (None, _) => setting.example.clone().unwrap_or_default(),
            };
            text += &format!("#{}={value}\n", setting.variable);
        }
    }
    text
}

fn toml() -> String {
    let mut text = String::from(
        "# Settings of Tidewell, for `tidewell serve --config tidewell.toml`.\n\
         # Every setting is here with its default; take the # away to change one.\n\
         # Written by `tidewell config reference --format toml`.\n",
    );
    let settings = Settings::all();
    for section in &settings.sections {
        text.push('\n');
        comment(&mut text, &section.text);
        text += &format!("[{}]\n", section.path);
        for setting in settings.of_section(section) {
            text.push('\n');
            comment(&mut text, &meaning(setting));
            let value = match &setting.default {
                Some(value) => literal(value),
                None => format!("{:?}", setting.example.clone().unwrap_or_default()),
            };
            text += &format!("#{} = {value}\n", setting.name());
        }
    }
    text
}

/// Appends `words` as comment lines.
fn comment(text: &mut String, words: &str) {
    let mut line = String::from("#");
    for word in words.split(' ') {
        if line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files in the repository, and how to bring them up to date.
    const FILES: [(Reference, &str, &str); 3] = [
        (Reference::Markdown, "markdown", "docs/configuration.md"),
        (Reference::Env, "env", "../deploy/.env.example"),
        (Reference::Toml, "toml", "../deploy/tidewell.example.toml"),
    ];

    #[test]
    fn the_files_in_the_repository_are_current() {
        for (form, word, file) in FILES {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            let written = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(
                written == reference(form),
                "{file} is not current: run `tidewell config reference --format {word} > gateway/{file}`"
            );
        }
    }

    /// What a reader gets by taking away every # before a setting is the default configuration.
    #[test]
    fn the_examples_hold_every_default() {
        let uncommented = |text: &str| {
            let lines = text.lines().map(|line| match line.strip_prefix('#') {
                Some(setting) if !setting.starts_with(' ') => setting,
                _ => line,
            });
            lines
                .filter(|line| !["_file", "_FILE", ":4319"].iter().any(|one| line.contains(one)))
                .collect::<Vec<_>>()
                .join("\n")
        };
        let dir = tempfile::tempdir().unwrap();
        for (form, name) in [(Reference::Toml, "tidewell.toml"), (Reference::Env, ".env")] {
            let path = dir.path().join(name);
            std::fs::write(&path, uncommented(&reference(form))).unwrap();
            let mut sources = crate::config::Sources::default();
            match form {
                Reference::Toml => sources.file = Some(path),
                _ => sources.env_file = Some(path),
            }
            let loaded = crate::config::load(&sources).unwrap();
            assert_eq!(loaded.config, crate::config::Config::default());
            for setting in &Settings::all().settings {
                let given = loaded.origin(&setting.path).is_some();
                assert_eq!(given, setting.default.is_some(), "{} in {name}", setting.path);
            }
        }
    }
}
