//! Variables: name and text in, the value of a setting out. The env file and the environment share it.

use super::error::did_you_mean;
use super::schema::{Kind, PREFIX, Setting, Settings};

/// Variables of the `tidewell` command line: they say where the other sources are and stand in none of them.
pub(super) const COMMAND_LINE: [&str; 3] = ["TIDEWELL_CONFIG", "TIDEWELL_ENV_FILE", "TIDEWELL_KEY_FILE"];

/// Variables that begin so belong to the tests and to the embedded stores.
const OTHERS: [&str; 1] = ["TIDEWELL_TEST_"];

/// Variables that ask a build for fault tests for faults; any other build refuses them.
#[cfg(feature = "fault-injection")]
const FAULTS: &[&str] = &crate::fault_point::VARIABLES;
#[cfg(not(feature = "fault-injection"))]
const FAULTS: &[&str] = &[];

/// What a variable means.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// Nothing to us.
    None,
    /// A setting's value.
    Value(&'static Setting, toml::Value),
    /// A mistake: the setting, as far as it is known, and what is wrong.
    Mistake(Option<&'static Setting>, String),
}

/// What the variable `name` with this text means.
pub(super) fn meaning(name: &str, text: &str) -> Meaning {
    let settings = Settings::all();
    if let Some(setting) = settings.of_variable(name) {
        return match value(setting, text) {
            Ok(Some(value)) => Meaning::Value(setting, value),
            Ok(None) => Meaning::None,
            Err(reason) => Meaning::Mistake(Some(setting), reason),
        };
    }
    let is_ours = name.starts_with(PREFIX)
        && !COMMAND_LINE.contains(&name)
        && !FAULTS.contains(&name)
        && !OTHERS.iter().any(|other| name.starts_with(other))
        && !is_service_link(name, text);
    if !is_ours {
        return Meaning::None;
    }
    let known = settings.settings.iter().map(|setting| setting.variable.as_str());
    Meaning::Mistake(None, format!("is no setting; {}", did_you_mean(name, known)))
}

/// The value of a setting from a variable's text; none when an empty text leaves the setting out.
fn value(setting: &Setting, text: &str) -> Result<Option<toml::Value>, String> {
    match &setting.kind {
        Kind::Text | Kind::Word(_) if text.is_empty() && setting.default.is_none() => Ok(None),
        Kind::Text | Kind::Word(_) => Ok(Some(toml::Value::String(text.to_owned()))),
        Kind::Literal(what) => match text.trim().parse::<toml::Value>() {
            Ok(value) if !value.is_str() => Ok(Some(value)),
            _ => Err(format!("{text:?} is not {what}")),
        },
    }
}

/// Whether Kubernetes put the variable there for a service that is named `tidewell` or `tidewell-...`: these describe
/// the service's addresses to every container of the namespace and set nothing.
fn is_service_link(name: &str, text: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| text.starts_with(scheme));
    let of_port = |suffix: &str| {
        name.split_once("_PORT_").is_some_and(|(_, rest)| {
            rest.starts_with(|first: char| first.is_ascii_digit()) && rest.ends_with(suffix)
        })
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (is_url && (name.ends_with("_PORT") || name.contains("_PORT_")))
        || of_port("_PROTO")
        || of_port("_PORT")
        || of_port("_ADDR")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_has_a_variable_that_means_it() {
        for setting in &Settings::all().settings {
            let text = match &setting.kind {
                Kind::Text => "some text".to_owned(),
                Kind::Word(words) => words[0].0.clone(),
                Kind::Literal(what) if what.contains("true") => "true".to_owned(),
                Kind::Literal(_) => "1_000".to_owned(),
            };
            let Meaning::Value(meant, value) = meaning(&setting.variable, &text) else {
                panic!("{} means nothing", setting.variable);
            };
            assert_eq!(meant.path, setting.path);
            assert_eq!(value.is_str(), matches!(setting.kind, Kind::Text | Kind::Word(_)));
        }
    }

    #[test]
    fn variables_of_others_mean_nothing() {
        for (name, text) in [
            ("PATH", "/bin"),
            ("TIDEWELL_CONFIG", "x.toml"),
            ("TIDEWELL_TEST_POSTGRES_URL", "x"),
            ("TIDEWELL_SERVICE_HOST", "10.0.0.1"),
            ("TIDEWELL_SERVICE_PORT", "4318"),
            ("TIDEWELL_SERVICE_PORT_GRPC", "4317"),
            ("TIDEWELL_PORT", "tcp://10.0.0.1:4318"),
            ("TIDEWELL_GATEWAY_PORT_4318_TCP", "tcp://10.0.0.1:4318"),
            ("TIDEWELL_GATEWAY_PORT_4318_TCP_ADDR", "10.0.0.1"),
            ("TIDEWELL_GATEWAY_PORT_4318_TCP_PORT", "4318"),
            ("TIDEWELL_GATEWAY_PORT_4318_TCP_PROTO", "tcp"),
            ("TIDEWELL_TIMESCALE_PASSWORD_FILE", ""),
        ] {
            assert_eq!(meaning(name, text), Meaning::None, "{name}");
        }
    }

    #[test]
    fn mistakes_name_the_nearest_setting() {
        let mistake = |name: &str, text: &str| match meaning(name, text) {
            Meaning::Mistake(_, reason) => reason,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(mistake("TIDEWELL_HTTP_LISTN", "x"), "is no setting; did you mean TIDEWELL_HTTP_LISTEN?");
        assert_eq!(
            mistake("TIDEWELL_ZZZ", "x"),
            "is no setting; `tidewell config reference` lists all settings"
        );
        assert_eq!(
            mistake("TIDEWELL_PORT", "4318"),
            "is no setting; `tidewell config reference` lists all settings"
        );
        assert_eq!(mistake("TIDEWELL_TIMESCALE_POOL_SIZE", "ten"), "\"ten\" is not a whole number");
        assert_eq!(mistake("TIDEWELL_TIMESCALE_POOL_SIZE", ""), "\"\" is not a whole number");
    }
}
