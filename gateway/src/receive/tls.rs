//! TLS of both ports: certificates in files in, encrypted connections out, with the names of the client's certificate.
//!
//! Guaranteed: TLS 1.2 or 1.3; a certificate that is replaced is used by the next connection, and the connections that are
//! there go on; a client whose certificate no authority of `tls.client_ca_file` signed gets no connection.

use std::path::Path;
use std::sync::Arc;

use http::Extensions;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::config::{ClientCertificates, TlsConfig};
use crate::reload::{FromFiles, ReadError};

/// The names in the certificate of a connection's client, which an authority of ours signed; an extension of each request.
#[derive(Debug, Clone)]
pub struct PeerNames(Arc<[String]>);

impl PeerNames {
    /// Those of the client that sent a request, if it has a certificate.
    pub(super) fn of(extensions: &Extensions) -> Option<&[String]> {
        extensions.get::<Self>().map(|Self(names)| &**names)
    }

    /// These names, as if they were a certificate's.
    #[cfg(test)]
    pub(super) fn of_names(names: &[&str]) -> Self {
        Self(names.iter().map(|&name| name.to_owned()).collect())
    }

    /// Those of a certificate that was checked in the handshake: its URIs and its DNS names. The subject's common name is
    /// none of them (RFC 6125, 6.4.4).
    pub(super) fn in_certificate(certificate: &CertificateDer<'_>) -> Self {
        let names = webpki::EndEntityCert::try_from(certificate).map(|certificate| {
            certificate.valid_uri_names().chain(certificate.valid_dns_names()).map(str::to_owned).collect()
        });
        Self(names.unwrap_or_default())
    }
}

/// What a listener's connections begin with, kept in step with its files. `protocols` are those of ALPN, best first.
pub fn server_config(
    config: &TlsConfig,
    protocols: &'static [&'static [u8]],
) -> Result<Option<FromFiles<ServerConfig>>, ReadError> {
    let (Some(certificate), Some(key)) = (&config.certificate_file, &config.key_file) else {
        return Ok(None);
    };
    let mut files = vec![("tls.certificate_file", certificate.clone()), ("tls.key_file", key.clone())];
    files.extend(config.client_ca_file.iter().map(|path| ("tls.client_ca_file", path.clone())));
    let clients = config.client_certificates;
    FromFiles::of_several(files, move |texts| make(texts, clients, protocols)).map(Some)
}

fn make(
    texts: &[String],
    clients: ClientCertificates,
    protocols: &[&[u8]],
) -> Result<ServerConfig, (usize, String)> {
    let [certificate, key, authorities @ ..] = texts else {
        return Err((0, "lacks a key".to_owned()));
    };
    let chain = certificates(certificate).map_err(|reason| (0, reason))?;
    // What the parser says of a private key is not repeated.
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|_| (1, "holds no private key in PEM (PKCS #8, PKCS #1 or SEC 1)".to_owned()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| (0, error.to_string()))?;
    let config = match authorities.first() {
        None => config.with_no_client_auth(),
        Some(text) => {
            let mut roots = RootCertStore::empty();
            for authority in certificates(text).map_err(|reason| (2, reason))? {
                roots.add(authority).map_err(|error| (2, format!("holds no authority: {error}")))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match clients {
                ClientCertificates::Optional => verifier.allow_unauthenticated(),
                ClientCertificates::Required => verifier,
            };
            config.with_client_cert_verifier(verifier.build().map_err(|error| (2, error.to_string()))?)
        }
    };
    let mut config = config
        .with_single_cert(chain, key)
        .map_err(|error| (1, format!("is not the key of the certificate: {error}")))?;
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

/// When the certificate of a file expires, the first of its chain, in seconds since 1970; none when it cannot be read.
pub(super) fn expires_at(certificate_file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(certificate_file).ok()?;
    let first = certificates(&text).ok()?.into_iter().next()?;
    let certificate = Certificate::from_der(&first).ok()?;
    Some(certificate.tbs_certificate.validity.not_after.to_unix_duration().as_secs())
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("holds no certificate in PEM".to_owned()),
        Err(error) => Err(format!("is no PEM: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_says_when_it_expires() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("certificate.pem");
        assert_eq!(expires_at(&file), None);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(["gateway".to_owned()]).unwrap();
        parameters.not_after = rcgen::date_time_ymd(2031, 5, 1);
        let certificate = parameters.self_signed(&key).unwrap();
        std::fs::write(&file, certificate.pem()).unwrap();
        assert_eq!(expires_at(&file), Some(1_935_360_000));
        std::fs::write(&file, "no certificate").unwrap();
        assert_eq!(expires_at(&file), None);
    }
}
