//! What a request says of its sender: the `authorization` header in, a [`Credential`] out. Nothing of it is in an error.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::rejection::Rejection;

/// What stands in `authorization`. Not `Debug`: it holds a key.
pub(super) enum Credential {
    /// A key or a token.
    Key(String),
    /// A name and a key.
    Basic {
        /// The caller's name.
        name: String,
        /// Its key.
        key: String,
    },
}

impl Credential {
    /// Reads it; none when there is none.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Rejection> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (None, _) => return Ok(None),
            (Some(value), None) => value,
            (Some(_), Some(_)) => return Err(unreadable("is given more than once")),
        };
        let text = value.to_str().map_err(|_| unreadable("is not ASCII"))?;
        let (scheme, rest) =
            text.split_once(' ').ok_or_else(|| unreadable("has no key behind its scheme"))?;
        let rest = rest.trim();
        // `Token` is what clients of InfluxDB say.
        if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("token") {
            return Ok(Some(Self::Key(rest.to_owned())));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(unreadable("is of an unknown scheme: use Bearer or Basic"));
        }
        let decoded = STANDARD.decode(rest).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or_else(|| unreadable("is Basic and not base64 of NAME:KEY"))?;
        let (name, key) =
            decoded.split_once(':').ok_or_else(|| unreadable("is Basic and not base64 of NAME:KEY"))?;
        Ok(Some(Self::Basic { name: name.to_owned(), key: key.to_owned() }))
    }
}

fn unreadable(reason: &str) -> Rejection {
    Rejection::Unauthenticated(format!("authorization {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<(Option<String>, String)>, Rejection> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, value.parse().unwrap());
        }
        Ok(Credential::of(&headers)?.map(|credential| match credential {
            Credential::Key(key) => (None, key),
            Credential::Basic { name, key } => (Some(name), key),
        }))
    }

    #[test]
    fn schemes_are_known_in_any_case() {
        assert_eq!(read(&[]).unwrap(), None);
        for scheme in ["Bearer", "bearer", "Token"] {
            assert_eq!(read(&[&format!("{scheme}  k1")]).unwrap(), Some((None, "k1".to_owned())));
        }
        // RFC 7617: the first colon ends the name.
        let basic = format!("Basic {}", STANDARD.encode("vector:a:b"));
        assert_eq!(read(&[&basic]).unwrap(), Some((Some("vector".to_owned()), "a:b".to_owned())));
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_not_repeated() {
        let nameless = format!("Basic {}", STANDARD.encode("hunter2"));
        for values in [
            &["hunter2"][..],
            &["Digest hunter2"],
            &["Basic hunter2!"],
            &[&nameless],
            &["Bearer a", "Bearer hunter2"],
        ] {
            let refused = read(values).unwrap_err();
            assert!(matches!(refused, Rejection::Unauthenticated(_)));
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }
}
