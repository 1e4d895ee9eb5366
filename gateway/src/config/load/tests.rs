//! Precedence, problems and secrets, through [`load`] as `serve` calls it.

use std::ffi::OsString;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::config::{ProtocolFamily, print};

/// Sources made of these texts. The folder lives as long as the result.
fn sources(file: &str, env_file: &str, environment: &[(&str, &str)]) -> (Sources, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let sources = Sources {
        file: Some(write("tidewell.toml", file)),
        env_file: Some(write(".env", env_file)),
        environment: environment.iter().map(|(a, b)| (OsString::from(a), OsString::from(b))).collect(),
    };
    (sources, dir)
}

/// The text of the error, without the name of the temporary folder.
fn error_of(file: &str, env_file: &str, environment: &[(&str, &str)]) -> String {
    let (sources, dir) = sources(file, env_file, environment);
    let text = load(&sources).unwrap_err().to_string();
    text.replace(&format!("{}/", dir.path().display()), "")
}

#[test]
fn nothing_given_is_the_default_configuration() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.origin("http.listen"), None);
}

#[test]
fn later_sources_win_and_the_origin_is_known() {
    let file = "[timescale]\npool_size = 11\nstatement_timeout_ms = 12\nconnect_timeout_ms = 13\n[timescale.batch]\nmax_rows = 14\n";
    let env_file =
        "TIDEWELL_TIMESCALE_STATEMENT_TIMEOUT_MS=22\nTIDEWELL_TIMESCALE_CONNECT_TIMEOUT_MS=23\nOTHER=x\n";
    let (sources, _dir) =
        sources(file, env_file, &[("TIDEWELL_TIMESCALE_CONNECT_TIMEOUT_MS", "33"), ("PATH", "x")]);
    let loaded = load(&sources).unwrap();
    let timescale = &loaded.config.timescale;
    assert_eq!(
        (timescale.pool_size, timescale.statement_timeout_ms, timescale.connect_timeout_ms),
        (11, 22, 33)
    );
    assert_eq!(timescale.batch.max_rows, 14);
    assert_eq!(
        timescale.batch.writers,
        Config::default().timescale.batch.writers,
        "the rest of the section stays"
    );
    let origin = |path: &str| loaded.origin(path).map(Origin::to_string).unwrap_or_default();
    assert!(origin("timescale.pool_size").ends_with("tidewell.toml:2"));
    assert!(origin("timescale.statement_timeout_ms").ends_with(".env:1"));
    assert_eq!(origin("timescale.connect_timeout_ms"), "TIDEWELL_TIMESCALE_CONNECT_TIMEOUT_MS");
    assert_eq!(origin("timescale.url"), "");
}

#[test]
fn all_problems_are_told_at_once_with_their_place() {
    let file = "[http]\nlisten = \"localhost:4318\"\nlisten_address = \"127.0.0.1:1\"\n\n[clickhose]\nurl = \"x\"\n\n\
                [log]\nformat = \"xml\"\nlevel = \"inof\"\n\n[timescale]\nbatch = 5\npool_size = \"ten\"\n";
    let env_file = "TIDEWELL_GRPC_LISTEN=0.0.0.0:4317\nTIDEWELL_HTTP_LISTN=x\n";
    let environment = [
        ("TIDEWELL_INGEST_MAX_DEPTH", "0"),
        ("TIDEWELL_LOG_LEVL", "info"),
        ("TIDEWELL_SHUTDOWN_TIMEOUT_SECONDS", "soon"),
    ];
    insta::assert_snapshot!(error_of(file, env_file, &environment));
}

#[test]
fn lists_are_given_in_the_file_and_in_variables() {
    let bodies = |file: &str, env_file: &str| {
        let (sources, _dir) = sources(file, env_file, &[]);
        load(&sources).unwrap().config.idempotency.identical_bodies
    };
    let file = "[idempotency]\nidentical_bodies = [\"otlp\", \"rest\"]\n";
    assert_eq!(bodies(file, ""), [ProtocolFamily::Otlp, ProtocolFamily::Rest]);
    assert_eq!(bodies(file, "TIDEWELL_IDEMPOTENCY_IDENTICAL_BODIES=[]\n"), []);
    for wrong in ["otlp", "[\"udp\"]", "1"] {
        let error = error_of("", &format!("TIDEWELL_IDEMPOTENCY_IDENTICAL_BODIES={wrong}\n"), &[]);
        assert!(error.contains("is not a list such as [\"otlp\", \"rest\", \"grpc\", "), "{error}");
    }
}

#[test]
fn a_file_that_is_not_there_or_not_toml_is_named() {
    let missing = Sources { file: Some(PathBuf::from("/nowhere/tidewell.toml")), ..Sources::default() };
    let texts = [
        load(&missing).unwrap_err().to_string(),
        error_of("[http\n", "", &[]),
        error_of("[http]\nlisten = \"a\"\nlisten = \"b\"\n", "", &[]),
        error_of("[timescale]\npassword = hunter2\n", "", &[]),
        error_of("", "TIDEWELL_HTTP_LISTEN\n", &[]),
        error_of("", "TIDEWELL_LISTEN=a\n", &[]),
    ];
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn passwords_are_read_from_their_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("password");
    let file = format!("[clickhouse]\npassword_file = {path:?}\n");
    for (content, password) in [("hunter2\n", "hunter2"), ("hunter2\r\n", "hunter2"), (" a b\n\n", " a b\n")]
    {
        fs::write(&path, content).unwrap();
        let (sources, _dir) = sources(&file, "", &[]);
        assert_eq!(load(&sources).unwrap().config.clickhouse.password.reveal(), password);
    }
    fs::write(&path, "\n").unwrap();
    assert!(error_of(&file, "", &[]).ends_with("is empty: a password was expected"));
    fs::write(&path, "x".repeat(5000)).unwrap();
    assert!(error_of(&file, "", &[]).ends_with("is longer than 4096 bytes: a password was expected"));
    let both = error_of(&file, "TIDEWELL_CLICKHOUSE_PASSWORD=hunter2", &[]);
    assert!(both.ends_with("there is a password as well: leave out one of the two"), "{both}");
    assert!(!both.contains("hunter2"));
}

/// Every way to get a secret wrong, and none of the texts that come of it holds the secret.
#[test]
fn secrets_are_in_no_error() {
    const SECRET: &str = "hunter2";
    let files = [
        "[timescale]\npassword = hunter2\n",
        "[timescale]\npassword = \"hunter2\n",
        "[timescale]\npassword = \"\\hunter2\"\n",
        "[timescale]\npassword = 'a' hunter2\n",
        "[timescale]\npassword = 1979-hunter2\n",
        "[timescale]\npassword = 0xhunter2\n",
        "[timescale]\npassword = [\"hunter2\"]\n",
        "[timescale]\npassword = { hunter2 = \"hunter2\" }\n",
        "[timescale]\nurl = \"hunter2\"\n",
        "[timescale]\nurl = \"postgres://u:hunter2@\"\n",
        "[timescale]\nurl = \"postgres://u:pass@hunter2@db/x\"\npassword = \"hunter2\"\n",
        "[timescale]\nurl = \"postgres://u@db:hunter2/x\"\n",
        "[timescale]\nurl = \"postgres://u:hunter2@db/x?sslmode=sometimes\"\n",
        "[timescale]\nurl = \"postgres://u:hunter2@db/x\"\npassword = \"hunter2\"\n",
        "[clickhouse]\nurl = \"http://u:hunter2@127.0.0.1:8123\"\n",
        "[clickhouse]\nurl = \"http://127.0.0.1:8123?password=hunter2\"\n",
        "[clickhouse]\nurl = \"hunter2 hunter2\"\n",
    ];
    for file in files {
        let (sources, _dir) = sources(file, "", &[]);
        let error = load(&sources).expect_err(file);
        assert!(!error.to_string().contains(SECRET), "{file} => {error}");
        assert!(!format!("{error:?}").contains(SECRET), "{file} => {error:?}");
    }
    for text in ["TIDEWELL_TIMESCALE_PASSWORD='hunter2\n", "TIDEWELL_TIMESCALE_URL=hunter2\n", "hunter2\n"] {
        let error = error_of("", text, &[]);
        assert!(!error.contains(SECRET), "{text} => {error}");
    }
}

#[test]
fn secrets_are_in_no_print() {
    let environment = [
        ("TIDEWELL_TIMESCALE_URL", "postgres://tidewell:hunter2@db.example:5432/tidewell"),
        ("TIDEWELL_CLICKHOUSE_PASSWORD", "hunter2"),
    ];
    let (sources, _dir) = sources("", "", &environment);
    let loaded = load(&sources).unwrap();
    let printed = print(&loaded);
    assert!(!printed.contains("hunter2"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
    assert!(
        printed
            .contains("url = \"postgres://tidewell:***@db.example:5432/tidewell\"  # TIDEWELL_TIMESCALE_URL")
    );
    assert!(printed.contains("password = \"***\"  # TIDEWELL_CLICKHOUSE_PASSWORD"));
    assert!(printed.contains("[http]\nlisten = \"127.0.0.1:4318\"  # default\n"));
    let parsed: toml::Table = printed.parse().unwrap();
    assert_eq!(parsed.len(), defaults().len(), "what is printed is TOML");
}

/// A value for a setting, in the TOML of the file; some fit and some do not.
fn values() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..100_000_i64).prop_map(|number| number.to_string()),
        "[a-z0-9:./ ]{0,12}".prop_map(|text| format!("{text:?}")),
        Just("true".to_owned()),
    ]
}

proptest! {
    /// A value means the same, or is refused, whether it stands in the file or in a variable.
    #[test]
    fn the_file_and_the_environment_agree(at in 0..Settings::all().settings.len(), value in values()) {
        let setting = &Settings::all().settings[at];
        let quoted = value.starts_with('"');
        // A text needs quotes in the file and none in a variable; other values are written alike.
        prop_assume!(quoted == matches!(setting.kind, Kind::Text | Kind::Word(_)));
        let optional = setting.default.is_none();
        prop_assume!(!(optional && value == "\"\""));
        let (file, _dir) = sources(&format!("{} = {value}\n", setting.path), "", &[]);
        let (variable, _dir) = sources("", "", &[(&setting.variable, value.trim_matches('"'))]);
        match (load(&file), load(&variable)) {
            (Ok(a), Ok(b)) => prop_assert_eq!(a.config, b.config),
            (Err(a), Err(b)) => {
                let reasons = |error: ConfigError| error.problems.into_iter().map(|one| one.reason).collect::<Vec<_>>();
                prop_assert_eq!(reasons(a), reasons(b));
            }
            (a, b) => prop_assert!(false, "{a:?} against {b:?}"),
        }
    }

    /// No file makes reading it panic.
    #[test]
    fn no_file_panics(text in "[\\[\\]a-z.={}\"'# \\n0-9]{0,80}") {
        drop(crate::config::file::parse(&text, &|line| Origin::File(PathBuf::new(), line)));
    }
}
