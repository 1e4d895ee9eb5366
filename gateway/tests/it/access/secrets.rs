//! Nothing secret is told.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{CallersFile, caller, key_of};
use crate::harness::database::Databases;

const STORE_PASSWORD: &str = "hunter2-of-the-store";

/// Scenario: a gateway with passwords of its stores, callers with keys and a certificate's key logs everything it can;
/// requests come with right, wrong and unreadable credentials; its settings, metrics, page and errors are looked at.
/// Guarantees: none of these texts holds a password, a key, the hash of one, or a credential that was sent.
#[tokio::test(flavor = "multi_thread")]
async fn no_text_holds_a_secret() {
    let file = CallersFile::new(&caller("ops", "scopes = [\"write\", \"read\", \"observe\", \"admin\"]"));
    let databases = Databases::empty().await;
    let config = databases.config();
    let logs = tempfile::tempdir().unwrap();
    let log = logs.path().join("log");
    let password = logs.path().join("password");
    std::fs::write(&password, format!("{STORE_PASSWORD}\n")).unwrap();
    let sent =
        ["wrong-key-that-was-sent", "d3Jvbmcta2V5OnRoYXQtd2FzLXNlbnQ=", "eyJhbGciOiJub25lIn0.e30.c2VudA"];
    let variables = [
        ("TIDEWELL_HTTP_LISTEN", "127.0.0.1:0".to_owned()),
        ("TIDEWELL_GRPC_LISTEN", "127.0.0.1:0".to_owned()),
        ("TIDEWELL_TIMESCALE_URL", config.timescale.url.reveal().to_owned()),
        ("TIDEWELL_TIMESCALE_PASSWORD_FILE", password.display().to_string()),
        ("TIDEWELL_CLICKHOUSE_URL", config.clickhouse.url.clone()),
        ("TIDEWELL_CLICKHOUSE_DATABASE", config.clickhouse.database.clone()),
        ("TIDEWELL_CLICKHOUSE_PASSWORD", STORE_PASSWORD.to_owned()),
        ("TIDEWELL_AUTH_CALLERS_FILE", file.path().display().to_string()),
        ("TIDEWELL_WAL_DIRECTORY", logs.path().join("wal").display().to_string()),
        ("TIDEWELL_LOG_LEVEL", "trace".to_owned()),
        ("TIDEWELL_LOG_FORMAT", "json".to_owned()),
    ];
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidewell"));
        command
            .args(arguments)
            .env_clear()
            .envs(variables.iter().map(|(name, value)| (*name, value.as_str())));
        command
    };
    let output = std::fs::File::create(&log).unwrap();
    let mut gateway = run(&["serve"]).stdout(Stdio::null()).stderr(output).spawn().unwrap();
    let mut texts = Vec::new();
    let address = loop {
        let text = std::fs::read_to_string(&log).unwrap();
        if let Some(line) = text.lines().find(|line| line.contains("\"listening\"")) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let http = line.pointer("/fields/http").or(line.get("http")).and_then(serde_json::Value::as_str);
            break http.unwrap().to_owned();
        }
        assert!(gateway.try_wait().unwrap().is_none(), "{text}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let client = reqwest::Client::new();
    let mut headers = sent.map(|key| format!("Bearer {key}")).to_vec();
    headers.extend(sent.map(|key| format!("Basic {key}")));
    headers.extend(sent.map(|key| format!("Digest {key}")));
    headers.push(format!("Bearer {}", key_of("ops")));
    for header in &headers {
        for path in
            ["/", "/metrics", "/readyz", "/dead-letters", "/schema/tables", "/nothing", "/write/no_table"]
        {
            let answer =
                client.get(format!("http://{address}{path}")).header("authorization", header).send().await;
            let answer = answer.unwrap();
            texts.push(format!("{:?}", answer.headers()));
            texts.push(answer.text().await.unwrap());
        }
        let write = client.post(format!("http://{address}/write/logs")).header("authorization", header);
        texts.push(
            write.body("{\"message\":\"m\",\"ts\":\"never\"}").send().await.unwrap().text().await.unwrap(),
        );
    }
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    for arguments in [
        &["config", "print"][..],
        &["config", "check"],
        &["doctor"],
        &["doctor", "--json"],
        &["schema", "list"],
    ] {
        let done = run(arguments).output().unwrap();
        texts.push(String::from_utf8(done.stdout).unwrap());
        texts.push(String::from_utf8(done.stderr).unwrap());
    }
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("TRACE") && texts.iter().any(|text| text.contains("tidewell_records_total")));
    texts.push(log);
    let key = key_of("ops");
    let hash = tidewell_gateway::receive::auth::hash_of_key(&key);
    for text in &texts {
        for secret in [STORE_PASSWORD, &key, &hash].into_iter().chain(sent) {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
}
