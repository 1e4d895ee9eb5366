//! TLS of both ports, certificates of clients, and certificates that are replaced.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tidewell_gateway::config::{ClientCertificates, TlsConfig};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::caller;
use crate::harness::TestGateway;

/// An authority and the files that a gateway reads.
struct Authority {
    dir: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        let certificate = certificate.der().clone();
        Self { dir, issuer: Issuer::new(params, key), certificate }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Certificate and key in PEM for these names.
    fn sign(&self, names: Vec<SanType>) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.subject_alt_names = names;
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// Gives the gateway a new certificate; both its files change, one after the other.
    fn put_server_certificate(&self) -> CertificateDer<'static> {
        let (certificate, key) = self.sign(vec![SanType::IpAddress([127, 0, 0, 1].into())]);
        for (name, text) in [("server.key", &key), ("server.pem", &certificate)] {
            std::fs::write(self.path("new"), text).unwrap();
            std::fs::rename(self.path("new"), self.path(name)).unwrap();
        }
        CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()
    }

    /// The settings of a gateway with these files.
    fn settings(&self, clients: Option<ClientCertificates>) -> TlsConfig {
        TlsConfig {
            certificate_file: Some(self.path("server.pem")),
            key_file: Some(self.path("server.key")),
            client_ca_file: clients.map(|_| self.path("ca.pem")),
            client_certificates: clients.unwrap_or_default(),
        }
    }

    /// A client that trusts this authority and shows a certificate with this URI, by `by`, or none.
    fn client(&self, alpn: &[u8], uri: Option<(&Self, &str)>) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match uri {
            None => config.with_no_client_auth(),
            Some((by, uri)) => {
                let (certificate, key) = by.sign(vec![SanType::URI(uri.try_into().unwrap())]);
                let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        config
    }
}

async fn connect(to: SocketAddr, config: ClientConfig) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(to.ip().to_string()).unwrap();
    let socket = TcpStream::connect(to).await?;
    TlsConnector::from(Arc::new(config)).connect(name, socket).await
}

fn certificate_of(stream: &TlsStream<TcpStream>) -> CertificateDer<'static> {
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// The status of a write over HTTP/1; an error when there is no connection.
async fn write_over_http1(to: SocketAddr, config: ClientConfig) -> Result<u16, Box<dyn std::error::Error>> {
    let stream = connect(to, config).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::post("/write/logs").header("host", "x").header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from_static(b"{\"message\":\"m\"}")))?;
    let status = sender.send_request(request).await?.status().as_u16();
    drop(sender);
    connection.abort();
    Ok(status)
}

/// The gRPC code of an empty write over HTTP/2.
async fn write_over_grpc(to: SocketAddr, config: ClientConfig) -> Result<String, Box<dyn std::error::Error>> {
    let stream = connect(to, config).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request =
        Request::post(format!("https://{to}/opentelemetry.proto.collector.logs.v1.LogsService/Export"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(Full::new(Bytes::from_static(&[0; 5])))?;
    let answer = sender.send_request(request).await?;
    let in_headers = answer.headers().get("grpc-status").cloned();
    let trailers = answer.into_body().collect().await?.trailers().cloned().unwrap_or_default();
    let status = in_headers.or_else(|| trailers.get("grpc-status").cloned()).ok_or("no grpc-status")?;
    Ok(status.to_str()?.to_owned())
}

/// Scenario: both ports speak TLS; clients come with TLS, in the clear, and with half of a handshake.
/// Guarantees: TLS is served on both, HTTP/1 and HTTP/2 as the client asks; a client in the clear and one that says
/// nothing get no answer and are closed in time.
#[tokio::test(flavor = "multi_thread")]
async fn both_ports_speak_tls_and_nothing_else() {
    let authority = Authority::new();
    authority.put_server_certificate();
    let gateway = TestGateway::start_with(|config| {
        config.tls = authority.settings(None);
        config.http.header_timeout_seconds = 1;
    })
    .await;
    let (http, grpc) = (gateway.server.http_address(), gateway.server.grpc_address());
    assert_eq!(write_over_http1(http, authority.client(b"http/1.1", None)).await.unwrap(), 200);
    assert_eq!(write_over_grpc(grpc, authority.client(b"h2", None)).await.unwrap(), "0");
    assert!(
        write_over_http1(http, Authority::new().client(b"http/1.1", None)).await.is_err(),
        "another authority"
    );
    assert!(gateway.request(reqwest::Method::GET, "/healthz").send().await.is_err(), "in the clear");
    let begun = tokio::time::Instant::now();
    let mut silent = TcpStream::connect(grpc).await.unwrap();
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(5), silent.read(&mut byte)).await;
    assert!(matches!(read.unwrap(), Ok(0) | Err(_)) && begun.elapsed() > Duration::from_millis(900));
    gateway.stop().await;
}

/// Scenario: a caller is known by its certificate; others show one of another authority, one that no caller lists, or none.
/// Guarantees: the first gets in on both ports; the second gets no connection; the others get 401, or no connection where
/// certificates are required.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_says_who_calls() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.put_server_certificate();
    let name = "spiffe://example.org/vector";
    let callers = caller("vector", &format!("certificates = [\"{name}\"]\nscopes = [\"write\"]"));
    std::fs::write(authority.path("callers.toml"), callers).unwrap();
    for clients in [ClientCertificates::Optional, ClientCertificates::Required] {
        let gateway = TestGateway::start_with(|config| {
            config.tls = authority.settings(Some(clients));
            config.auth.callers_file = Some(authority.path("callers.toml"));
        })
        .await;
        let (http, grpc) = (gateway.server.http_address(), gateway.server.grpc_address());
        let over_http = async |uri| write_over_http1(http, authority.client(b"http/1.1", uri)).await.ok();
        let over_grpc = async |uri| write_over_grpc(grpc, authority.client(b"h2", uri)).await.ok();
        let known = Some((&authority, name));
        assert_eq!((over_http(known).await, over_grpc(known).await.as_deref()), (Some(200), Some("0")));
        let forged = Some((&stranger, name));
        assert_eq!((over_http(forged).await, over_grpc(forged).await), (None, None));
        let other = Some((&authority, "spiffe://example.org/other"));
        assert_eq!((over_http(other).await, over_grpc(other).await.as_deref()), (Some(401), Some("16")));
        let none = (over_http(None).await, over_grpc(None).await);
        match clients {
            ClientCertificates::Optional => assert_eq!(none, (Some(401), Some("16".to_owned()))),
            ClientCertificates::Required => assert_eq!(none, (None, None)),
        }
        gateway.stop().await;
    }
}

/// Scenario: the certificate is replaced while connections are open, key first, so that the two do not fit for a moment; then
/// by a file that is none.
/// Guarantees: connections that are there go on; new ones get the new certificate within seconds, and none fails at any
/// time; what cannot be used changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_replaced_under_connections() {
    let authority = Authority::new();
    let first = authority.put_server_certificate();
    let gateway = TestGateway::start_with(|config| config.tls = authority.settings(None)).await;
    let http = gateway.server.http_address();
    let stream = connect(http, authority.client(b"http/1.1", None)).await.unwrap();
    assert_eq!(certificate_of(&stream), first);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut ask = async || {
        let request = Request::get("/healthz").header("host", "x").body(Full::<Bytes>::default()).unwrap();
        sender.ready().await.unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        answer.into_body().collect().await.unwrap();
    };
    ask().await;
    let second = authority.put_server_certificate();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while certificate_of(&connect(http, authority.client(b"h2", None)).await.unwrap()) != second {
        assert!(tokio::time::Instant::now() < deadline, "the new certificate is not used");
        tokio::time::sleep(Duration::from_millis(20)).await;
        ask().await;
    }
    ask().await;
    std::fs::write(authority.path("server.pem"), "nonsense").unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(certificate_of(&connect(http, authority.client(b"h2", None)).await.unwrap()), second);
    ask().await;
    gateway.stop().await;
}
