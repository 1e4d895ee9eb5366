//! All sources in, one checked [`Config`] out, or every problem that there is.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;

use super::environment::{self, Meaning};
use super::error::{ConfigError, Problem};
use super::schema::{Kind, Setting, Settings, defaults, insert};
use super::{Config, Secret, env_file, file, validate};

/// Where the settings are looked for, besides the defaults. Later ones win.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The TOML file.
    pub file: Option<PathBuf>,
    /// The env file.
    pub env_file: Option<PathBuf>,
    /// The environment, as name and value.
    pub environment: Vec<(OsString, OsString)>,
}

impl Sources {
    /// These files and the environment of this process.
    pub fn of_process(file: Option<PathBuf>, env_file: Option<PathBuf>) -> Self {
        Self { file, env_file, environment: std::env::vars_os().collect() }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file.
    File(PathBuf, usize),
    /// A line of the env file.
    EnvFile(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
}

/// A configuration that can be used.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The settings; passwords have been read from their files.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Loaded {
    /// Where the value of the setting at `path` comes from; none for a default.
    pub fn origin(&self, path: &str) -> Option<&Origin> {
        self.origins.get(path)
    }
}

/// A setting that a source gives.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) path: String,
    pub(super) value: toml::Value,
    pub(super) origin: Origin,
}

/// Reads all sources and checks the result.
pub fn load(sources: &Sources) -> Result<Loaded, ConfigError> {
    let (given, mut problems) = read(sources);
    let mut tree = defaults();
    let mut origins = BTreeMap::new();
    for one in given {
        let Some(setting) = Settings::all().at(&one.path) else { continue };
        // Each value by itself, so that all that do not fit are named, each with its origin.
        if let Err(reason) = fits(setting, &one.value) {
            problems.push(Problem { origin: Some(one.origin), setting: one.path, reason });
            continue;
        }
        insert(&mut tree, &one.path, one.value);
        origins.insert(one.path, one.origin);
    }
    let mut config = match Config::deserialize(tree) {
        Ok(config) => config,
        Err(error) => {
            problems.push(Problem {
                origin: None,
                setting: String::new(),
                reason: error.message().to_owned(),
            });
            return Err(ConfigError { problems });
        }
    };
    let mut add = |setting: &str, reason: String| {
        problems.push(Problem { origin: origins.get(setting).cloned(), setting: setting.to_owned(), reason });
    };
    for (setting, reason) in validate::problems(&config) {
        add(setting, reason);
    }
    for (setting, reason) in read_passwords(&mut config) {
        add(setting, reason);
    }
    for store in ["timescale", "clickhouse"] {
        if let Some(origin) = origins.get(&format!("{store}.password_file")).cloned() {
            origins.insert(format!("{store}.password"), origin);
        }
    }
    if problems.is_empty() { Ok(Loaded { config, origins }) } else { Err(ConfigError { problems }) }
}

/// What the sources give, lowest precedence first.
fn read(sources: &Sources) -> (Vec<Given>, Vec<Problem>) {
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    if let Some(path) = &sources.file {
        match text_of(path) {
            Ok(text) => {
                let (found, wrong) = file::parse(&text, &|line| Origin::File(path.clone(), line));
                given.extend(found);
                problems.extend(wrong);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if let Some(path) = &sources.env_file {
        match text_of(path).map(|text| env_file::parse(&text)) {
            Ok(Ok(assignments)) => {
                for one in assignments {
                    let origin = Origin::EnvFile(path.clone(), one.line);
                    add_variable(&one.name, &one.value, origin, &mut given, &mut problems);
                }
            }
            Ok(Err((line, reason))) => {
                let origin = Some(Origin::EnvFile(path.clone(), line));
                problems.push(Problem { origin, setting: String::new(), reason });
            }
            Err(problem) => problems.push(problem),
        }
    }
    // The order of the environment is an accident; that of the problems shall not be.
    let mut environment: Vec<_> = sources.environment.iter().collect();
    environment.sort();
    for (name, value) in environment {
        let Some(name) = name.to_str() else { continue };
        let origin = Origin::Variable(name.to_owned());
        match value.to_str() {
            Some(value) => add_variable(name, value, origin, &mut given, &mut problems),
            None if Settings::all().of_variable(name).is_some() => {
                problems.push(Problem {
                    origin: None,
                    setting: name.to_owned(),
                    reason: "is not UTF-8".to_owned(),
                });
            }
            None => {}
        }
    }
    (given, problems)
}

fn add_variable(name: &str, text: &str, origin: Origin, given: &mut Vec<Given>, problems: &mut Vec<Problem>) {
    match environment::meaning(name, text) {
        Meaning::None => {}
        Meaning::Value(setting, value) => given.push(Given { path: setting.path.clone(), value, origin }),
        Meaning::Mistake(Some(setting), reason) => {
            problems.push(Problem { origin: Some(origin), setting: setting.path.clone(), reason });
        }
        // The name is all there is to say of an unknown variable, unless it stands in a file.
        Meaning::Mistake(None, reason) => {
            let origin = Some(origin).filter(|origin| matches!(origin, Origin::EnvFile(..)));
            problems.push(Problem { origin, setting: name.to_owned(), reason });
        }
    }
}

fn text_of(path: &Path) -> Result<String, Problem> {
    fs::read_to_string(path).map_err(|error| Problem {
        origin: None,
        setting: String::new(),
        reason: format!("{} cannot be read: {error}", path.display()),
    })
}

/// Whether the value is of the setting's type and in its range.
fn fits(setting: &Setting, value: &toml::Value) -> Result<(), String> {
    match (&setting.kind, value.as_integer()) {
        // No message of the deserializer about a secret: it would show the value.
        (Kind::Text | Kind::Word(_), _) if !value.is_str() && setting.secret => {
            return Err("is not a text: put it in quotes".to_owned());
        }
        (Kind::Text | Kind::Word(_), _) if !value.is_str() => {
            return Err(format!("{value} is not a text: put it in quotes"));
        }
        (Kind::Literal(_), Some(number)) => in_range(setting, number)?,
        _ => {}
    }
    let mut tree = defaults();
    insert(&mut tree, &setting.path, value.clone());
    let Err(error) = Config::deserialize(tree) else { return Ok(()) };
    Err(match (&setting.kind, &setting.default) {
        (Kind::Literal(what), _) => format!("{value} is not {what}"),
        (Kind::Text, Some(toml::Value::String(text))) => format!("{}; for example {text:?}", error.message()),
        _ => error.message().to_owned(),
    })
}

fn in_range(setting: &Setting, number: i64) -> Result<(), String> {
    match (setting.least, setting.most) {
        (Some(least), _) if number < least => {
            Err(format!("{number} is too little: {least} is the least allowed"))
        }
        (_, Some(most)) if number > most => Err(format!("{number} is too much: {most} is the most allowed")),
        _ => Ok(()),
    }
}

/// Longest password that is read from a file: what is longer is not a password but the wrong file.
const MAX_PASSWORD_BYTES: u64 = 4096;

/// Puts the content of each password file in the place of the password.
fn read_passwords(config: &mut Config) -> Vec<(&'static str, String)> {
    let (timescale, clickhouse) = (&mut config.timescale, &mut config.clickhouse);
    let mut problems = Vec::new();
    for (setting, file, password) in [
        ("timescale.password_file", &timescale.password_file, &mut timescale.password),
        ("clickhouse.password_file", &clickhouse.password_file, &mut clickhouse.password),
    ] {
        let Some(path) = file else { continue };
        if !password.is_empty() {
            problems.push((setting, "there is a password as well: leave out one of the two".to_owned()));
            continue;
        }
        match password_of(path) {
            Ok(text) => *password = Secret::new(text),
            Err(reason) => problems.push((setting, format!("{} {reason}", path.display()))),
        }
    }
    problems
}

fn password_of(path: &Path) -> Result<String, String> {
    let file = fs::File::open(path).map_err(|error| format!("cannot be read: {error}"))?;
    let mut text = String::new();
    file.take(MAX_PASSWORD_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|error| format!("cannot be read: {error}"))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err("is empty: a password was expected".to_owned());
    }
    if text.len() as u64 > MAX_PASSWORD_BYTES {
        return Err(format!("is longer than {MAX_PASSWORD_BYTES} bytes: a password was expected"));
    }
    Ok(password.to_owned())
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) | Self::EnvFile(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests;
