//! Who a request is from, by each credential and by none.

use http::Request;

use super::*;

fn config(dir: &tempfile::TempDir) -> AuthConfig {
    let path = dir.path().join("callers.toml");
    let text = format!(
        "[[caller]]\nname = \"vector\"\nkeys_sha256 = [\"{}\"]\ncertificates = [\"spiffe://a/vector\"]\nscopes = [\"write\"]\n",
        hash_of_key("the-key")
    );
    std::fs::write(&path, text).unwrap();
    AuthConfig { callers_file: Some(path), ..AuthConfig::default() }
}

/// The caller of a request with this header and these names in its client's certificate, and what is left of the header.
fn identify(
    authenticator: &Authenticator,
    authorization: Option<&str>,
    names: Option<&[&str]>,
) -> Result<String, String> {
    let mut request = Request::builder();
    if let Some(authorization) = authorization {
        request = request.header(AUTHORIZATION, authorization);
    }
    let (mut parts, ()) = request.body(()).unwrap().into_parts();
    if let Some(names) = names {
        parts.extensions.insert(PeerNames::of_names(names));
    }
    let found = authenticator.identify(&mut parts);
    assert!(found.is_err() || !parts.headers.contains_key(AUTHORIZATION), "the key goes no further");
    match found {
        Ok(principal) => Ok(principal.name.to_string()),
        Err(rejection) => {
            assert!(matches!(rejection, Rejection::Unauthenticated(_)));
            Err(rejection.to_string())
        }
    }
}

#[test]
fn callers_are_asked_once_there_is_a_file_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let asks = Authenticator::new(&config(&dir)).unwrap();
    // vector:the-key, other:the-key, vector:no-key
    let [right, other, wrong] = ["dmVjdG9yOnRoZS1rZXk=", "b3RoZXI6dGhlLWtleQ==", "dmVjdG9yOm5vLWtleQ=="];
    for header in ["Bearer the-key".to_owned(), "Token the-key".to_owned(), format!("Basic {right}")] {
        assert_eq!(identify(&asks, Some(&header), None).unwrap(), "vector", "{header}");
    }
    assert_eq!(identify(&asks, None, Some(&["dns.example", "spiffe://a/vector"])).unwrap(), "vector");
    for header in
        ["Bearer no-key".to_owned(), format!("Basic {other}"), format!("Basic {wrong}"), "Bearer ".to_owned()]
    {
        // A certificate does not make up for a wrong key.
        let refused = identify(&asks, Some(&header), Some(&["spiffe://a/vector"])).unwrap_err();
        assert!(!refused.contains("no-key"), "{refused}");
    }
    assert!(identify(&asks, None, None).unwrap_err().contains("say who you are"));
    assert!(identify(&asks, None, Some(&["spiffe://a/other"])).unwrap_err().contains("certificate"));
    assert!(identify(&asks, None, Some(&[])).is_err());
}

#[test]
fn without_a_file_or_with_leave_everyone_may_call_but_not_with_a_wrong_key() {
    let dir = tempfile::tempdir().unwrap();
    let open = Authenticator::new(&AuthConfig::default()).unwrap();
    let with_leave = Authenticator::new(&AuthConfig { allow_unauthenticated: true, ..config(&dir) }).unwrap();
    for authenticator in [&open, &with_leave] {
        assert_eq!(identify(authenticator, None, None).unwrap(), "anonymous");
        assert!(identify(authenticator, Some("Bearer no-key"), None).is_err());
    }
    assert_eq!(identify(&with_leave, Some("Bearer the-key"), None).unwrap(), "vector");
}
