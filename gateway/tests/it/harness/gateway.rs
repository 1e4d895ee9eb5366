//! A whole gateway in this process: own ports, own databases, and the clients that tests use.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use tidewell_gateway::config::{AckSetting, Config, Secret};
use tidewell_gateway::server::Server;
use tonic::transport::Channel;

use super::database::Databases;

/// A running gateway with databases of its own, which go with it. End a test with [`TestGateway::stop`].
pub(crate) struct TestGateway {
    pub(crate) server: Server,
    pub(crate) databases: Databases,
    http: reqwest::Client,
}

impl TestGateway {
    /// A ready gateway with default settings.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A ready gateway with some settings changed.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let gateway = Self::start_unready(change).await;
        let ready = tokio::time::timeout(Duration::from_secs(60), gateway.server.ready()).await;
        ready.expect("the gateway is ready within a minute");
        gateway
    }

    /// A gateway whose ports are open, whether its stores are there or not.
    pub(crate) async fn start_unready(change: impl FnOnce(&mut Config)) -> Self {
        let databases = Databases::empty().await;
        let mut config = databases.config();
        config.http.listen.set_port(0);
        config.grpc.listen.set_port(0);
        config.clickhouse.batch.max_age_ms = 20;
        change(&mut config);
        let server = Server::start(config).await.expect("the gateway starts");
        Self { server, databases, http: reqwest::Client::new() }
    }

    /// A gateway whose stores do not answer.
    pub(crate) async fn start_without_stores() -> Self {
        Self::start_unready(|config| {
            config.timescale.url = Secret::new("postgres://tidewell@127.0.0.1:1/none");
            config.clickhouse.url = "http://127.0.0.1:1".to_owned();
            config.ingest.ack = AckSetting::Durable;
        })
        .await
    }

    /// Stops the gateway and starts another one on its databases and logs, ready, with the databases' own settings.
    pub(crate) async fn restart(self, change: impl FnOnce(&mut Config)) -> Self {
        let Self { server, databases, http } = self;
        server.stop().await;
        let mut config = databases.config();
        config.http.listen.set_port(0);
        config.grpc.listen.set_port(0);
        config.clickhouse.batch.max_age_ms = 20;
        change(&mut config);
        let server = Server::start(config).await.expect("the gateway starts again");
        let ready = tokio::time::timeout(Duration::from_secs(60), server.ready()).await;
        ready.expect("the gateway is ready within a minute");
        Self { server, databases, http }
    }

    /// Takes the directory of the logs away: from now on nothing can be made durable.
    pub(crate) fn lose_logs(&self) {
        let directory = &self.server.shared().config.wal.directory;
        std::fs::remove_dir_all(directory).expect("the directory of the logs is there");
    }

    /// The address of a path on the HTTP port.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.server.http_address())
    }

    /// A request to the HTTP port.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    /// Posts a body.
    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Response {
        let request = self.request(Method::POST, path).header("content-type", content_type);
        request.body(body.into()).send().await.expect("the gateway answers")
    }

    /// Posts JSON and reads the answer, whatever its status.
    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        let answer = self.post(path, "application/json", body.to_string()).await;
        let status = answer.status().as_u16();
        (status, answer.json().await.expect("the answer is JSON"))
    }

    /// A connection to the gRPC port.
    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.server.grpc_address());
        Channel::from_shared(address).expect("an address").connect().await.expect("the gRPC port is open")
    }

    /// Rows of a query of Postgres as JSON objects, so that types show.
    pub(crate) async fn timescale(&self, sql: &str) -> Vec<Value> {
        let client = self.databases.postgres().await;
        client.batch_execute("SET timezone = 'UTC'").await.expect("the time zone can be set");
        let rows = client.query(&format!("SELECT to_jsonb(q) FROM ({sql}) q"), &[]).await;
        rows.unwrap_or_else(|error| panic!("{sql}: {error:?}")).iter().map(|row| row.get(0)).collect()
    }

    /// Rows of a query of ClickHouse as JSON objects; 64-bit integers are numbers.
    pub(crate) async fn clickhouse(&self, sql: &str) -> Vec<Value> {
        let settings = "output_format_json_quote_64bit_integers=0";
        let text = self.databases.clickhouse(&format!("{sql} FORMAT JSONEachRow SETTINGS {settings}")).await;
        text.lines().map(|line| serde_json::from_str(line).expect("a row is JSON")).collect()
    }

    /// Ends the gateway in good order.
    pub(crate) async fn stop(self) {
        self.server.stop().await;
    }
}
