//! Encrypted connections to both stores.

use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, SanType};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use tidewell_gateway::config::{ClickHouseConfig, Config, Secret, TimescaleConfig};
use tidewell_gateway::store::Store as _;
use tidewell_gateway::store::clickhouse::ClickHouse;
use tidewell_gateway::store::timescale::Timescale;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::harness::TestGateway;

/// What a client of Postgres asks for encryption with (protocol 3.0, SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// A certificate for this machine in PEM, and what answers with it.
fn certificate() -> (String, TlsAcceptor) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        );
    (certificate.pem(), TlsAcceptor::from(Arc::new(config.unwrap())))
}

/// A ClickHouse that speaks TLS: it passes on to the real one what it decrypts. Its port, and its certificate in PEM.
async fn encrypted_clickhouse(to: String) -> (u16, String) {
    let (certificate, acceptor) = certificate();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(to).await?;
                copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    (port, certificate)
}

/// A Postgres that speaks TLS, or says that it does not: it passes on to the real one what it decrypts. Its port, and its
/// certificate in PEM.
async fn encrypted(to: String, speaks: bool) -> (u16, String) {
    let (certificate, acceptor) = certificate();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, to) = (acceptor.clone(), to.clone());
            tokio::spawn(async move {
                let mut asked = [0; 8];
                client.read_exact(&mut asked).await?;
                assert_eq!(asked, SSL_REQUEST, "nothing is said in the clear before");
                client.write_all(if speaks { b"S" } else { b"N" }).await?;
                if !speaks {
                    let mut rest = Vec::new();
                    client.read_to_end(&mut rest).await?;
                    assert!(rest.is_empty(), "no password, not even a user name, is sent in the clear");
                    return Ok(());
                }
                let mut client = acceptor.accept(client).await?;
                let mut server = TcpStream::connect(to).await?;
                copy_bidirectional(&mut client, &mut server).await?;
                std::io::Result::Ok(())
            });
        }
    });
    (port, certificate)
}

/// Where the real one is, and the same URL with another port and `sslmode=require`.
fn addresses(config: &Config, port: u16) -> (String, Secret) {
    let url: http::Uri = config.timescale.url.reveal().parse().unwrap();
    let real = url.authority().unwrap().as_str().rsplit_once('@').unwrap().1.to_owned();
    let (user, database) = (url.authority().unwrap().as_str().split_once('@').unwrap().0, url.path());
    (real, Secret::new(format!("postgres://{user}@127.0.0.1:{port}{database}?sslmode=require")))
}

/// Scenario: Postgres speaks TLS with a certificate of an authority that is configured, of another one, and not at all.
/// Guarantees: with the first a gateway migrates, stores and reads; the others get no connection, and nothing in the clear.
#[tokio::test(flavor = "multi_thread")]
async fn postgres_is_reached_encrypted_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let databases = crate::harness::database::Databases::empty().await;
    let config = databases.config();
    let (real, _) = addresses(&config, 0);
    let (port, certificate) = encrypted(real.clone(), true).await;
    let (silent_port, _) = encrypted(real, false).await;
    let ca_file = dir.path().join("ca.pem");
    std::fs::write(&ca_file, certificate).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap().cert.pem();
    let other_file = dir.path().join("other.pem");
    std::fs::write(&other_file, other).unwrap();

    for (port, ca_file, word) in [(port, &other_file, "InvalidCertificate"), (silent_port, &ca_file, "TLS")] {
        let settings = TimescaleConfig {
            url: addresses(&config, port).1,
            ca_file: Some(ca_file.clone()),
            ..config.timescale.clone()
        };
        let pool = Timescale::new(&settings).unwrap();
        let refused = pool.ddl_pool().get().await.unwrap_err();
        assert!(format!("{refused:?}").contains(word), "{refused:?}");
    }

    let gateway = TestGateway::start_with(|config| {
        config.timescale.url = addresses(config, port).1;
        config.timescale.ca_file = Some(ca_file);
    })
    .await;
    let (status, answer) = gateway.post_json("/write/metrics", &json!({"metric": "a", "value": 1})).await;
    assert_eq!((status, &answer["accepted"], &answer["ack"]), (200, &json!(1), &json!("stored")), "{answer}");
    assert_eq!(gateway.timescale("SELECT metric FROM metrics_events").await, [json!({"metric": "a"})]);
    gateway.stop().await;
}

/// Scenario: ClickHouse speaks TLS with a certificate of an authority that is configured, and of another one.
/// Guarantees: with the first a gateway migrates and stores; with the other it keeps what it takes and says why.
#[tokio::test(flavor = "multi_thread")]
async fn clickhouse_is_reached_encrypted_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let databases = crate::harness::database::Databases::empty().await;
    let real: http::Uri = databases.config().clickhouse.url.parse().unwrap();
    let (port, certificate) = encrypted_clickhouse(real.authority().unwrap().to_string()).await;
    let ca_file = dir.path().join("ca.pem");
    let url = format!("https://127.0.0.1:{port}");

    std::fs::write(&ca_file, self::certificate().0).unwrap();
    let settings = ClickHouseConfig {
        url: url.clone(),
        ca_file: Some(ca_file.clone()),
        ..databases.config().clickhouse
    };
    let refused = ClickHouse::new(&settings).unwrap().ping().await.unwrap_err().to_string();
    assert!(refused.contains("certificate"), "{refused}");

    std::fs::write(&ca_file, certificate).unwrap();
    let gateway = TestGateway::start_with(|config| {
        config.clickhouse.url = url;
        config.clickhouse.ca_file = Some(ca_file);
    })
    .await;
    let (status, answer) = gateway.post_json("/write/logs", &json!({"message": "m"})).await;
    assert_eq!((status, &answer["ack"]), (200, &json!("stored")), "{answer}");
    gateway.stop().await;
}
