//! Tokens of each kind of key, and everything that can be wrong with one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://id.example";

/// Until 2100, by a key of 2048 bits made for this test, PKCS #1 v1.5 and PSS.
const RSA_MODULUS: &str = "rKn4kRU9mypUk61zQ0bTxsKy0ZqBokopF9EAOmpgeSJmrkWbRICrt86S7ca-uOCzc362TdYIhGBPFVQeuH_a11XbV-ekx2gj2QviGDoo2-OGNumc14h16uyPYrbx42bPmU7MOIQsVBxVoJiGxjD6Q1dRSUEkFG6cofWdxJZRHZ6_NYCz6WkL9TBOVa4PmsQHPLMs3tzcTA81ObhugQG5r9-xcklQBFIQy7haYzJeAPiba_B0WGYYdVUN-LokDHD-qx-jh7QtyVxJObXwHLa84JQflAkt5B1bFlmX3nbvYPJqaoX_-p5g0MoWO93uFXUo2XZI70maVLx6n8dy_ERtew";
const RS256: &str = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJ0aWRld2VsbCIsInN1YiI6InNhOnZlY3RvciIsImV4cCI6NDEwMjQ0NDgwMH0.POBZeTCEPEVPvzvjJpYFL1xfH1oEUSG74Sj30RtqQNFsv5tbhaeo337OuDLsHGC44MJPtBVJA7H8FWkA07I9A7C8kMe_9Qx6l0Nlx1osim3z6N4Bn-q9MdUFoqTivju85icffXkGD5h6NQCfGnEfp05D-Y2qb3BhHqUL7xJRv58PSZnAQ2nbkqt1ka0YjZyCAAbnPHOl1BsQvnJ5Qlj0VQLnQpNdYMZ28wi_T0UE1DAtXPsqR1isNNWXV2tbteqDpSafd_o4X6KVBtSEXjbTssgYxCPGO0CpkAxMiIxXoYusGMfDrCkbX1bIhgTMTghAZrvpolNs8xFXs4Of6VSj3g";
const PS256: &str = "eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYSJ9.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUiLCJhdWQiOiJ0aWRld2VsbCIsInN1YiI6InNhOnZlY3RvciIsImV4cCI6NDEwMjQ0NDgwMH0.HThXX2nMZV9gCgeypQc7g60qoe5fiHOMqfULJzs5hnJhv3ka58RlHtuHqRzN5PUsZQ6mOI4WH0rHUTyAWRMbAxEEWSuJ3a8rMywYeCvUR2jyvx1QH-V4I1oUV5trB0_kHFL1HYUOOp0hBssLU8fNJK5nRYCcoYc6ff-pRbQitDZsy8EJ33_lfe7GkBKyfDEGvuZApiywY370Q2eGgAaYHqSMpNSaMXXsRofRZU2h4MNxAYTFQLciuAnm1PMGlBAKebX2TyHxcAcsHgJH2fpS76Io5ooBZubBtU4CtZTR4jHJEsOnDUi0p7pLag6xiyPtrR-ghnk1yzjhnalst4ZM-g";

/// Somebody who makes tokens.
struct Issuer {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self {
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap(),
        }
    }

    fn key_set(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = self.ec.public_key().as_ref()[1..].split_at(32);
        json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "ed", "alg": "EdDSA", "x": text(self.ed.public_key().as_ref())},
            {"kty": "EC", "crv": "P-256", "kid": "ec", "x": text(x), "y": text(y)},
            {"kty": "RSA", "kid": "rsa", "use": "sig", "n": RSA_MODULUS, "e": "AQAB"},
            {"kty": "RSA", "kid": "for encryption", "use": "enc", "n": RSA_MODULUS, "e": "AQAB"},
        ]})
    }

    fn tokens(&self) -> Tokens {
        Tokens::read(&self.key_set().to_string(), ISSUER, "tidewell").unwrap()
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match header["kid"].as_str() {
            Some("ec") => self.ec.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            _ => self.ed.sign(signed.as_bytes()).as_ref().to_vec(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn now() -> i64 {
    chrono::Utc::now().timestamp()
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": ["tidewell", "other"], "sub": "sa:vector", "exp": now() + 60})
}

#[test]
fn tokens_by_each_kind_of_key_hold() {
    let issuer = Issuer::new();
    let tokens = issuer.tokens();
    for header in [json!({"alg": "EdDSA", "kid": "ed"}), json!({"alg": "ES256", "kid": "ec", "typ": "JWT"})] {
        assert_eq!(tokens.subject(&issuer.token(&header, &claims())).unwrap(), "sa:vector");
    }
    for token in [RS256, PS256] {
        assert!(Tokens::is_token(token));
        assert_eq!(tokens.subject(token).unwrap(), "sa:vector");
    }
}

#[test]
fn what_does_not_hold_is_refused_with_the_reason_and_without_the_token() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let tokens = issuer.tokens();
    let header = json!({"alg": "EdDSA", "kid": "ed"});
    let with = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        issuer.token(&header, &claims)
    };
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        issuer.token(&header, &claims)
    };
    let good = issuer.token(&header, &claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    let other_claims = URL_SAFE_NO_PAD
        .encode(json!({"iss": ISSUER, "aud": "tidewell", "sub": "admin", "exp": now() + 60}).to_string());
    let parts: Vec<&str> = good.split('.').collect();
    let swapped = format!("{}.{other_claims}.{}", parts[0], parts[2]);
    for (token, reason) in [
        (stranger.token(&header, &claims()), "does not hold"),
        (swapped, "does not hold"),
        (format!("{signed}."), "does not hold"),
        (with("exp", json!(now() - 60)), "has expired"),
        (with("exp", json!("never")), "exp"),
        (with("exp", json!(i64::MAX)), "sa:vector"),
        (with("nbf", json!(now() + 600)), "not valid yet"),
        (with("iss", json!("https://other.example")), "another issuer"),
        (with("aud", json!("other")), "another audience"),
        (without("exp"), "lacks exp"),
        (without("iss"), "lacks exp"),
        (without("aud"), "lacks exp"),
        (without("sub"), "lacks exp"),
        (issuer.token(&json!({"alg": "EdDSA"}), &claims()), "names no key"),
        (issuer.token(&json!({"alg": "EdDSA", "kid": "x"}), &claims()), "not in the key set"),
        (issuer.token(&json!({"alg": "EdDSA", "kid": "for encryption"}), &claims()), "not in the key set"),
        // The public key as a shared secret, the oldest trick with tokens (RFC 8725, 2.1).
        (issuer.token(&json!({"alg": "HS256", "kid": "ed"}), &claims()), "another algorithm"),
        (issuer.token(&json!({"alg": "ES256", "kid": "ed"}), &claims()), "another algorithm"),
        (issuer.token(&json!({"alg": "none", "kid": "ed"}), &claims()), "cannot be read"),
        (RS256.replace("InJzYSJ9", "ImVkIn0"), "another algorithm"),
        ("a.b.c".to_owned(), "cannot be read"),
        ("..".to_owned(), "cannot be read"),
        (format!("{}.{}.x", "A".repeat(9000), "A"), "longer than"),
    ] {
        match tokens.subject(&token) {
            Err(refused) => {
                let text = refused.to_string();
                assert!(
                    matches!(refused, Rejection::Unauthenticated(_)) && text.contains(reason),
                    "{token}: {text}"
                );
                assert!(!token.split('.').any(|part| part.len() > 8 && text.contains(part)), "{text}");
            }
            Ok(subject) => assert_eq!(subject, reason, "{token}"),
        }
    }
}

#[test]
fn a_key_set_that_would_let_others_make_tokens_is_refused() {
    let issuer = Issuer::new();
    let key = issuer.key_set()["keys"][0].clone();
    let changed = |name: &str, value: Value| {
        let mut key = key.clone();
        key[name] = value;
        json!({"keys": [key]}).to_string()
    };
    for (text, reason) in [
        ("hunter2".to_owned(), "no JWKS document: line 1"),
        (json!({"keys": []}).to_string(), "no key for signatures"),
        (json!({"keys": [{"kty": "oct", "kid": "a", "k": "aHVudGVyMg"}]}).to_string(), "shared secret"),
        (changed("alg", json!("HS256")), "not one of its kind"),
        (changed("kid", Value::Null), "no kid"),
        (json!({"keys": [key, key]}).to_string(), "twice"),
    ] {
        let refused = Tokens::read(&text, ISSUER, "tidewell").unwrap_err();
        assert!(refused.contains(reason), "{text}: {refused}");
        assert!(!refused.contains("hunter2") && !refused.contains("aHVudGVyMg"), "{refused}");
    }
}
