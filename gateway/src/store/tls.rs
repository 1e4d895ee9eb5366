//! Encryption of connections to the stores: which authorities vouch for a store in, settings of TLS out.
//!
//! Guaranteed: TLS 1.2 or 1.3, and a store is who its address says, or there is no connection.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// How to connect to a store whose certificate an authority of `ca_file` signed, a PEM file; without one, an authority that
/// the system trusts. `setting` names the file in errors.
pub fn client_config(setting: &str, ca_file: Option<&Path>) -> Result<ClientConfig, String> {
    let roots = match ca_file {
        Some(path) => {
            authorities(path).map_err(|reason| format!("{setting} {}: {reason}", path.display()))?
        }
        None => of_the_system(setting)?,
    };
    with_roots(roots)
}

/// TLS that connects to nobody, for a client whose URL asks for none.
pub fn trusting_nobody() -> Result<ClientConfig, String> {
    with_roots(RootCertStore::empty())
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| error.to_string())?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| format!("is no PEM: {error}"))?;
        roots.add(certificate).map_err(|error| format!("holds no authority: {error}"))?;
    }
    if roots.is_empty() { Err("holds no certificate in PEM".to_owned()) } else { Ok(roots) }
}

fn of_the_system(setting: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let reason =
            format!("the system trusts no authority: install ca-certificates, or name one in {setting}");
        return Err(reason);
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_hold_no_authority_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let refused = |text: Option<&str>| {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            client_config("timescale.ca_file", Some(&path)).unwrap_err()
        };
        assert!(refused(None).contains("timescale.ca_file"));
        for text in ["", "nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(refused(Some(text)).contains("ca.pem"), "{text}");
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let authority = rcgen::CertificateParams::default().self_signed(&key).unwrap().pem();
        std::fs::write(&path, authority).unwrap();
        client_config("timescale.ca_file", Some(&path)).unwrap();
    }
}
