//! `tidewell config` and the errors of arguments and settings.

use super::run;

/// Scenario: settings come from a file, an env file and the environment.
/// Guarantees: later ones win, `print` says where each comes from, and empty variables for the files name none.
#[test]
fn settings_come_from_three_places() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tidewell.toml");
    let env_file = dir.path().join("settings.env");
    std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:1\"\nbody_timeout_seconds = 7\n").unwrap();
    std::fs::write(&env_file, "TIDEWELL_HTTP_LISTEN=127.0.0.1:2\n").unwrap();
    let (file, env_file) = (file.to_str().unwrap(), env_file.to_str().unwrap());
    let arguments = ["config", "print", "--config", file, "--env-file", env_file];
    let printed = run(&arguments, &[("TIDEWELL_HTTP_HEADER_TIMEOUT_SECONDS", "9")]);
    assert_eq!(printed.code, Some(0), "{}", printed.stderr);
    let begin = format!(
        "[http]\nlisten = \"127.0.0.1:2\"  # {env_file}:1\n\
         header_timeout_seconds = 9  # TIDEWELL_HTTP_HEADER_TIMEOUT_SECONDS\n\
         body_timeout_seconds = 7  # {file}:3\n"
    );
    assert!(printed.stdout.starts_with(&begin), "{}", printed.stdout);

    let by_variable = run(&["config", "print"], &[("TIDEWELL_CONFIG", file), ("TIDEWELL_ENV_FILE", "")]);
    assert!(by_variable.stdout.contains("listen = \"127.0.0.1:1\""), "{}", by_variable.all());
}

/// Scenario: the configuration has several mistakes.
/// Guarantees: all are told on standard error with the way out, nothing goes to standard output, and the exit code is 2.
#[test]
fn mistakes_end_with_code_2_and_are_all_told() {
    let variables = [("TIDEWELL_HTTP_LISTN", "x"), ("TIDEWELL_TIMESCALE_POOL_SIZE", "many")];
    for arguments in
        [&["config", "check"][..], &["config", "print"], &["serve"], &["migrate"], &["schema", "list"]]
    {
        let ended = run(arguments, &variables);
        assert_eq!(ended.code, Some(2), "{arguments:?}");
        assert_eq!(ended.stdout, "", "{arguments:?}");
        for part in ["did you mean TIDEWELL_HTTP_LISTEN?", "\"many\" is not a whole number", "next: "] {
            assert!(ended.stderr.contains(part), "{arguments:?}: {}", ended.stderr);
        }
    }
    assert_eq!(run(&["serve", "--prot", "1"], &[]).code, Some(2));
    assert_eq!(run(&[], &[]).code, Some(2));
    assert_eq!(run(&["--help"], &[]).code, Some(0));
    assert_eq!(run(&["--version"], &[]).stdout, format!("tidewell {}\n", env!("CARGO_PKG_VERSION")));
}

/// Scenario: nothing is configured and no store is there.
/// Guarantees: what needs no store works, and the reference is the file in the repository.
#[test]
fn what_needs_no_store_asks_for_none() {
    assert_eq!(run(&["config", "check"], &[]).stdout, "the configuration can be used\n");
    let reference = run(&["config", "reference"], &[]);
    assert_eq!(reference.stdout, include_str!("../../../docs/configuration.md"));
    let env = run(&["config", "reference", "--format", "env"], &[]);
    assert_eq!(env.stdout, include_str!("../../../../deploy/.env.example"));
    let statements = run(&["migrate", "--print"], &[]);
    assert_eq!(statements.code, Some(0));
    for part in ["tidewell_migrations", "CREATE ROLE", "metrics_events", "logs_events"] {
        assert!(statements.stdout.contains(part), "{part}");
    }
}

/// Scenario: passwords are configured, rightly and wrongly, and the stores are not there.
/// Guarantees: no output of any command holds one.
#[test]
fn no_output_holds_a_password() {
    const PASSWORD: &str = "hunter2-hunter2";
    let url = format!("postgres://tidewell:{PASSWORD}@127.0.0.1:1/tidewell?connect_timeout=1");
    let right = [
        ("TIDEWELL_TIMESCALE_URL", url.as_str()),
        ("TIDEWELL_CLICKHOUSE_URL", "http://127.0.0.1:1"),
        ("TIDEWELL_CLICKHOUSE_PASSWORD", PASSWORD),
        ("TIDEWELL_LOG_LEVEL", "trace"),
    ];
    let wrong = [
        ("TIDEWELL_TIMESCALE_URL", "postgres://tidewell:hunter2-hunter2@"),
        ("TIDEWELL_TIMESCALE_PASSWORD", PASSWORD),
        ("TIDEWELL_CLICKHOUSE_URL", "http://default:hunter2-hunter2@127.0.0.1:8123"),
    ];
    for variables in [&right[..], &wrong] {
        for arguments in [
            &["config", "check"][..],
            &["config", "print"],
            &["doctor"],
            &["doctor", "--json"],
            &["migrate"],
            &["schema", "list"],
        ] {
            let ended = run(arguments, variables);
            assert!(!ended.all().is_empty(), "{arguments:?}");
            assert!(!ended.all().contains("hunter2"), "{arguments:?}: {}", ended.all());
        }
    }
}
