//! Keys, scopes, tables and tenants of callers, over every protocol.

use std::time::Duration;

use arrow_flight::flight_service_client::FlightServiceClient;
use arrow_flight::{Action, Criteria, Ticket};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use prost::Message as _;
use reqwest::Method;
use serde_json::{Value, json};
use tidewell_proto::v1;
use tidewell_proto::v1::ingest_client::IngestClient;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{CallersFile, caller, key_of};
use crate::harness::TestGateway;

/// A request with the key of a caller, or with none.
async fn call(gateway: &TestGateway, name: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let mut request = gateway.request(method, path);
    if !name.is_empty() {
        request = request.bearer_auth(key_of(name));
    }
    if !body.is_null() {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or_default())
}

/// A call with the key of a caller, or with none.
fn with_key<T>(name: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    if !name.is_empty() {
        let key: MetadataValue<_> = format!("Bearer {}", key_of(name)).parse().unwrap();
        request.metadata_mut().insert("authorization", key);
    }
    request
}

/// Scenario: callers are configured, and somebody calls every address of both ports without a key, with a wrong one, and
/// with the hash of a right one.
/// Guarantees: 401 and `UNAUTHENTICATED` in each protocol's words, with the challenge; health alone is told, and of that no
/// more than a word; nothing is stored or kept.
#[tokio::test(flavor = "multi_thread")]
async fn every_address_asks_who_calls() {
    let file = CallersFile::new(&caller("vector", "scopes = [\"write\"]"));
    let gateway = file.start().await;
    let record = json!({"message": "m"});
    for (method, path) in [
        (Method::POST, "/write/logs"),
        (Method::GET, "/write/logs"),
        (Method::PUT, "/write/logs"),
        (Method::POST, "/write/no_table"),
        (Method::POST, "/schema/register"),
        (Method::GET, "/schema/tables"),
        (Method::GET, "/schema/tables/logs_events"),
        (Method::GET, "/dead-letters"),
        (Method::POST, "/dead-letters/replay"),
        (Method::GET, "/tiering"),
        (Method::POST, "/tiering/metrics_events/run"),
        (Method::DELETE, "/dead-letters/0190163d-8694-739b-aea5-966c26f8ad91"),
        (Method::GET, "/"),
        (Method::GET, "/metrics"),
    ] {
        let hash = tidewell_gateway::receive::auth::hash_of_key(&key_of("vector"));
        for key in [None, Some("wrong"), Some(hash.as_str())] {
            let mut request =
                gateway.request(method.clone(), path).header("content-type", "application/json");
            if let Some(key) = key {
                request = request.bearer_auth(key);
            }
            let answer = request.body(record.to_string()).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{method} {path}");
            let challenges: Vec<_> = answer.headers().get_all("www-authenticate").iter().collect();
            assert_eq!(challenges.len(), 2, "{challenges:?}");
            let body: Value = answer.json().await.unwrap();
            assert_eq!(body["error"]["code"], "unauthenticated", "{body}");
        }
    }
    let otlp = gateway.post("/v1/logs", "application/x-protobuf", vec![]).await;
    assert_eq!(
        (otlp.status().as_u16(), &otlp.headers()["content-type"]),
        (401, &"application/x-protobuf".parse().unwrap())
    );
    let status = tonic_types::Status::decode(otlp.bytes().await.unwrap()).unwrap();
    assert_eq!(status.code, Code::Unauthenticated as i32);
    let (code, body) = call(&gateway, "", Method::POST, "/v1/logs", &json!({})).await;
    assert_eq!((code, &body["code"]), (401, &json!(Code::Unauthenticated as i32)));

    assert_eq!(call(&gateway, "", Method::GET, "/healthz", &Value::Null).await.0, 200);
    let (code, ready) = call(&gateway, "", Method::GET, "/readyz", &Value::Null).await;
    assert_eq!((code, ready), (200, json!({"service": "tidewell", "status": "ready"})));
    assert_eq!(call(&gateway, "", Method::GET, "/nothing", &Value::Null).await.0, 404);

    let channel = gateway.channel().await;
    let mut ingest = IngestClient::new(channel.clone());
    let mut flight = FlightServiceClient::new(channel.clone());
    let mut logs = LogsServiceClient::new(channel.clone());
    let codes = [
        ingest.write(v1::WriteRequest::default()).await.unwrap_err().code(),
        ingest.list_tables(v1::ListTablesRequest {}).await.unwrap_err().code(),
        ingest.register_table(v1::RegisterTableRequest::default()).await.unwrap_err().code(),
        flight.do_get(Ticket::new("logs_events")).await.unwrap_err().code(),
        flight.do_put(futures::stream::empty()).await.unwrap_err().code(),
        flight.do_action(Action::new("schema.register", "{}")).await.unwrap_err().code(),
        logs.export(ExportLogsServiceRequest::default()).await.unwrap_err().code(),
    ];
    assert_eq!(codes, [Code::Unauthenticated; 7]);
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    assert!(gateway.clickhouse("SELECT * FROM logs_events").await.is_empty());
    assert!(gateway.timescale("SELECT * FROM dead_letters").await.is_empty());
    gateway.stop().await;
}

/// Scenario: a caller may send logs to one table and one of its own, another one may look and register, a third observe.
/// Guarantees: each does what it may, over HTTP, gRPC and Flight; everything else is 403 and `PERMISSION_DENIED`, of which
/// nothing is stored or kept; what it may not use it does not see; its name stands in its dead letters.
#[tokio::test(flavor = "multi_thread")]
async fn a_caller_does_what_it_may_and_nothing_else() {
    let file = CallersFile::new(
        &[
            caller("vector", "scopes = [\"write\"]\nsignals = [\"logs\"]\ntables = [\"logs_*\"]"),
            caller("analyst", "scopes = [\"read\", \"register\"]\ntables = [\"logs_events\", \"own_*\"]"),
            caller("prometheus", "scopes = [\"observe\"]"),
            caller("operator", "scopes = [\"admin\", \"observe\", \"read\"]"),
        ]
        .concat(),
    );
    let gateway = file.start().await;
    let (get, post) = (|| Method::GET, || Method::POST);
    let record = json!({"message": "m"});
    let table = |name: &str| json!({"table_name": name, "columns": [{"name": "time", "type": "timestamp"}, {"name": "v", "type": "double"}]});
    for (name, method, path, body, status) in [
        ("vector", post(), "/write/logs", &record, 200),
        ("vector", get(), "/write/logs", &Value::Null, 200),
        ("vector", post(), "/write/metrics", &json!({"metric": "a", "value": 1}), 403),
        ("vector", post(), "/schema/register", &table("own_a"), 403),
        ("vector", get(), "/schema/tables", &Value::Null, 403),
        ("vector", get(), "/metrics", &Value::Null, 403),
        ("vector", get(), "/dead-letters", &Value::Null, 403),
        ("analyst", post(), "/write/logs", &record, 403),
        ("analyst", post(), "/schema/register", &table("own_a"), 201),
        ("analyst", post(), "/schema/register", &table("other"), 403),
        ("analyst", get(), "/schema/tables/own_a", &Value::Null, 200),
        ("analyst", get(), "/schema/tables/metrics_events", &Value::Null, 404),
        ("analyst", get(), "/dead-letters", &Value::Null, 403),
        ("prometheus", get(), "/metrics", &Value::Null, 200),
        ("prometheus", get(), "/", &Value::Null, 200),
        ("prometheus", post(), "/dead-letters/replay", &Value::Null, 403),
        ("operator", get(), "/dead-letters", &Value::Null, 200),
        ("operator", post(), "/write/logs", &record, 403),
    ] {
        let (found, answer) = call(&gateway, name, method.clone(), path, body).await;
        assert_eq!(found, status, "{name}: {method} {path}: {answer}");
        if status == 403 {
            assert_eq!(answer["error"]["code"], "forbidden");
        }
    }
    let (_, tables) = call(&gateway, "analyst", get(), "/schema/tables", &Value::Null).await;
    let names: Vec<_> =
        tables["tables"].as_array().unwrap().iter().map(|table| &table["table_name"]).collect();
    assert_eq!(names, ["logs_events", "own_a"]);
    assert!(call(&gateway, "operator", get(), "/readyz", &Value::Null).await.1["stores"].is_array());
    let basic = gateway.request(post(), "/write/logs").basic_auth("vector", Some(key_of("vector")));
    assert_eq!(basic.json(&record).send().await.unwrap().status(), 200);

    let channel = gateway.channel().await;
    let (mut ingest, mut flight) =
        (IngestClient::new(channel.clone()), FlightServiceClient::new(channel.clone()));
    for (code, what) in [
        (
            ingest.write(with_key("analyst", v1::WriteRequest::default())).await.unwrap_err().code(),
            "write without the scope",
        ),
        (ingest.list_tables(with_key("vector", v1::ListTablesRequest {})).await.unwrap_err().code(), "list"),
        (flight.do_get(with_key("vector", Ticket::new("logs_events"))).await.unwrap_err().code(), "get"),
        (
            flight
                .do_action(with_key("vector", Action::new("schema.register", table("logs_x").to_string())))
                .await
                .unwrap_err()
                .code(),
            "register by an action",
        ),
        (
            flight
                .do_action(with_key("analyst", Action::new("schema.register", table("other").to_string())))
                .await
                .unwrap_err()
                .code(),
            "register another table by an action",
        ),
        (
            flight.list_flights(with_key("prometheus", Criteria::default())).await.unwrap_err().code(),
            "flights",
        ),
    ] {
        assert_eq!(code, Code::PermissionDenied, "{what}");
    }
    let listed =
        ingest.list_tables(with_key("analyst", v1::ListTablesRequest {})).await.unwrap().into_inner();
    assert_eq!(listed.tables.len(), 2);

    // A bad record is kept under the caller's name, and none of the refused above is.
    let (status, _) =
        call(&gateway, "vector", post(), "/write/logs", &json!({"message": "m", "ts": "never"})).await;
    assert_eq!(status, 400);
    let letters = loop {
        let letters = gateway.timescale("SELECT caller, target FROM dead_letters").await;
        if !letters.is_empty() {
            break letters;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(letters, [json!({"caller": "vector", "target": "logs_events"})]);
    let rows = gateway.clickhouse("SELECT count() AS n FROM logs_events").await;
    assert_eq!(rows, [json!({"n": 2})]);
    assert!(gateway.timescale("SELECT * FROM metrics_events").await.is_empty());
    gateway.stop().await;
}

/// Scenario: two callers of different tenants, both with all rights of theirs.
/// Guarantees: the tenant comes from the key: one does not find, read or write the other's tables, whatever it sends; the
/// same idempotency key of both is two requests.
#[tokio::test(flavor = "multi_thread")]
async fn the_tenant_comes_from_the_key() {
    let all = "scopes = [\"write\", \"read\", \"register\"]";
    let file = CallersFile::new(&format!(
        "{}{}{}",
        caller("home", all),
        caller("second", all),
        caller("guest", &format!("{all}\ntenant = \"acme\""))
    ));
    let gateway = file.start().await;
    let record = json!({"message": "m", "tenant": "default"});
    let (status, answer) = call(&gateway, "guest", Method::POST, "/write/logs", &record).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("not_found")), "{answer}");
    let (_, tables) = call(&gateway, "guest", Method::GET, "/schema/tables", &Value::Null).await;
    assert_eq!(tables, json!({"tables": []}));
    for name in ["home", "second", "home"] {
        let request = gateway.request(Method::POST, "/write/logs").bearer_auth(key_of(name));
        let answer = request.header("idempotency-key", "one").json(&record).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    assert_eq!(gateway.clickhouse("SELECT count() AS n FROM logs_events").await, [json!({"n": 2})]);
    gateway.stop().await;
}

/// Scenario: operators have an address of their own.
/// Guarantees: metrics, the page and dead letters are there and nowhere else, behind the same door; health is on both.
#[tokio::test(flavor = "multi_thread")]
async fn administration_may_have_an_address_of_its_own() {
    let file = CallersFile::new(&caller("ops", "scopes = [\"admin\", \"observe\", \"write\"]"));
    let gateway = TestGateway::start_with(|config| {
        config.auth.callers_file = Some(file.path());
        config.admin.listen = Some("127.0.0.1:0".parse().unwrap());
    })
    .await;
    let admin = gateway.server.admin_address().unwrap();
    for (path, on_http, on_admin) in [
        ("/metrics", 404, 200),
        ("/", 404, 200),
        ("/dead-letters", 404, 200),
        ("/healthz", 200, 200),
        ("/readyz", 200, 200),
        ("/write/logs", 200, 404),
        ("/schema/tables", 403, 404),
    ] {
        assert_eq!(call(&gateway, "ops", Method::GET, path, &Value::Null).await.0, on_http, "{path}");
        let ask = |key: Option<String>| {
            let request = reqwest::Client::new().get(format!("http://{admin}{path}"));
            key.map_or(request.try_clone().unwrap(), |key| request.bearer_auth(key)).send()
        };
        assert_eq!(ask(Some(key_of("ops"))).await.unwrap().status(), on_admin, "{path}");
        let without = ask(None).await.unwrap().status().as_u16();
        assert!(without == 401 || without == 404 || path.ends_with('z'), "{path}: {without}");
    }
    // The command of operators takes a key from a file.
    let key_file = file.path().with_file_name("key");
    for (key, code) in [(key_of("ops"), 0), ("wrong".to_owned(), 1)] {
        std::fs::write(&key_file, format!("{key}\n")).unwrap();
        let address = format!("http://{admin}");
        let command = async || {
            let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_tidewell"));
            command.args(["dead-letters", "list", "--gateway", &address, "--key-file"]).arg(&key_file);
            command.output().await.unwrap()
        };
        let ended = command().await;
        assert_eq!(ended.status.code(), Some(code), "{ended:?}");
        assert!(!String::from_utf8_lossy(&ended.stderr).contains("wrong"));
    }
    gateway.stop().await;
}

/// Scenario: a caller's key is rotated under requests: the new one is added, the senders change, the old one goes; then the
/// file is broken.
/// Guarantees: no request with a valid key is refused; the old key is refused within seconds of its removal, without a
/// restart; a broken file changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_rotated_without_a_restart() {
    let (old, new) = (caller("old", "scopes = [\"write\"]"), caller("new", "scopes = [\"write\"]"));
    let file = CallersFile::new(&old);
    let gateway = file.start().await;
    let record = json!({"message": "m"});
    let status = async |name: &str| call(&gateway, name, Method::POST, "/write/logs", &record).await.0;
    let becomes = async |name: &str, wanted: u16| {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while status(name).await != wanted {
            assert!(tokio::time::Instant::now() < deadline, "{name} never becomes {wanted}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert_eq!((status("old").await, status("new").await), (200, 401));
    file.put(&format!("{old}{new}"));
    // The old one holds all the while.
    let sender = async {
        for _ in 0..100 {
            assert_eq!(status("old").await, 200);
        }
    };
    tokio::join!(sender, becomes("new", 200));
    file.put(&new);
    becomes("old", 401).await;
    assert_eq!(status("new").await, 200);
    file.put("[[caller]]\nname = ");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((status("old").await, status("new").await), (401, 200));
    gateway.stop().await;
}
