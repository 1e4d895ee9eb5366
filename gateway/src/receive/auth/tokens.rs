//! JSON Web Tokens: a token in, its subject out, if a key of the key set signed it, it is for us and it has not expired.
//!
//! The key set is a JWKS document (RFC 7517) in a file; what puts it there is the administrator's. Only signatures by
//! somebody who has a private key are taken: a set with a shared secret is refused, as is a token that asks for
//! another algorithm than its key has (RFC 8725, 3.1). A token lists no rights: its subject is looked up in the callers'
//! file, which is the one place for them.

use std::collections::{HashMap, HashSet};
use std::sync::Once;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;

use super::signature;
use crate::rejection::Rejection;

/// How far the clocks of those who make tokens may be off.
const LEEWAY_SECONDS: u64 = 30;

/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// The keys of one version of the key set.
#[derive(Debug)]
pub(super) struct Tokens {
    keys: HashMap<String, (DecodingKey, Vec<Algorithm>)>,
    validation: Validation,
}

#[derive(Deserialize)]
struct Claims {
    /// A token without one is refused by what is required of it.
    #[serde(default)]
    sub: String,
}

impl Tokens {
    /// Reads a key set, for tokens by `issuer` for `audience`.
    pub(super) fn read(text: &str, issuer: &str, audience: &str) -> Result<Self, String> {
        static RING: Once = Once::new();
        RING.call_once(|| {
            if signature::PROVIDER.install_default().is_err() {
                tracing::debug!("signatures of tokens are checked by what this process uses already");
            }
        });
        let set: JwkSet = serde_json::from_str(text).map_err(|error| {
            format!("is no JWKS document: line {}, column {}", error.line(), error.column())
        })?;
        let mut keys = HashMap::new();
        for (at, jwk) in set.keys.iter().enumerate() {
            if jwk.common.public_key_use.as_ref().is_some_and(|used_for| *used_for != PublicKeyUse::Signature)
            {
                continue;
            }
            let key = read_key(jwk).map_err(|reason| format!("key {at} {reason}"))?;
            let id = jwk.common.key_id.clone().ok_or_else(|| format!("key {at} has no kid"))?;
            if keys.insert(id, key).is_some() {
                return Err(format!("key {at} has a kid that is there twice"));
            }
        }
        if keys.is_empty() {
            return Err("has no key for signatures".to_owned());
        }
        let mut validation = Validation::new(Algorithm::RS256);
        validation.leeway = LEEWAY_SECONDS;
        validation.validate_nbf = true;
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.required_spec_claims = HashSet::from(["exp", "iss", "aud", "sub"].map(str::to_owned));
        Ok(Self { keys, validation })
    }

    /// Whether a text that came as a key is a token: keys of ours have no dots.
    pub(super) fn is_token(text: &str) -> bool {
        text.bytes().filter(|&byte| byte == b'.').count() == 2
    }

    /// The subject of a token that holds.
    pub(super) fn subject(&self, token: &str) -> Result<String, Rejection> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused(&format!("is longer than {MAX_TOKEN_BYTES} bytes")));
        }
        let header = decode_header(token).map_err(|_| refused("cannot be read"))?;
        let id = header.kid.ok_or_else(|| refused("names no key (kid)"))?;
        let (key, algorithms) =
            self.keys.get(&id).ok_or_else(|| refused("is by a key that is not in the key set"))?;
        if !algorithms.contains(&header.alg) {
            return Err(refused("is by another algorithm than its key's"));
        }
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        let claims = decode::<Claims>(token, key, &validation);
        claims.map(|token| token.claims.sub).map_err(|error| {
            use jsonwebtoken::errors::ErrorKind;
            refused(match error.kind() {
                ErrorKind::ExpiredSignature => "has expired",
                ErrorKind::ImmatureSignature => "is not valid yet",
                ErrorKind::InvalidIssuer => "is by another issuer (auth.jwt.issuer)",
                ErrorKind::InvalidAudience => "is for another audience (auth.jwt.audience)",
                ErrorKind::MissingRequiredClaim(_) => "lacks exp, iss, aud or sub",
                ErrorKind::InvalidSignature => "has a signature that does not hold",
                _ => "cannot be read",
            })
        })
    }
}

/// A key and the algorithms that it may be used with.
fn read_key(jwk: &Jwk) -> Result<(DecodingKey, Vec<Algorithm>), String> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

    let fitting: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        AlgorithmParameters::OctetKey(_) => {
            return Err("is a shared secret: whoever checks tokens with it could make them".to_owned());
        }
        _ => return Err("is of an unknown kind: use RSA, P-256, P-384 or Ed25519".to_owned()),
    };
    let algorithms = match jwk.common.key_algorithm {
        None => fitting.to_vec(),
        Some(named) => {
            let named: Option<Algorithm> =
                named.to_string().parse().ok().filter(|named| fitting.contains(named));
            vec![named.ok_or("names an algorithm (alg) that is not one of its kind")?]
        }
    };
    let key = DecodingKey::from_jwk(jwk).map_err(|_| "cannot be read".to_owned())?;
    Ok((key, algorithms))
}

fn refused(what: &str) -> Rejection {
    Rejection::Unauthenticated(format!("the token {what}"))
}

#[cfg(test)]
mod tests;
