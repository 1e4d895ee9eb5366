//! Who sends a request.
//!
//! There is one user, `default`, without a password, as on a server that was installed and not configured. The
//! credentials come in one of three ways, which may not be mixed: `X-ClickHouse-User` and `X-ClickHouse-Key`, basic
//! authentication, or the URL parameters `user` and `password`.

use super::super::exception::Exception;
use super::header;
use super::params::Params;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;

const USER: &str = "default";

/// Refuses a request that is not from the one user.
pub(crate) fn check(headers: &HeaderMap, params: &Params) -> Result<(), Exception> {
    let (user, password) = credentials(headers, params)?;
    if user == USER && password.is_empty() {
        return Ok(());
    }
    let message = "Authentication failed: password is incorrect, or there is no user with such name";
    Err(refused(&format!("{user}: {message}")))
}

fn credentials(headers: &HeaderMap, params: &Params) -> Result<(String, String), Exception> {
    let given = |name: &str| header(headers, name).filter(|value| !value.is_empty());
    let (user, key) = (given("X-ClickHouse-User"), given("X-ClickHouse-Key"));
    let authorization = given("Authorization");
    let (url_user, url_password) = (params.text("user"), params.text("password"));
    let in_url = url_user.is_some() || url_password.is_some();
    if user.is_some() || key.is_some() {
        if authorization.is_some() {
            return Err(mixed("X-ClickHouse HTTP headers", "Authorization HTTP header"));
        }
        if in_url {
            return Err(mixed("X-ClickHouse HTTP headers", "authentication via parameters"));
        }
        let user = user.ok_or_else(|| refused("Got an empty user name from X-ClickHouse HTTP headers"))?;
        return Ok((user, key.unwrap_or_default()));
    }
    if let Some(authorization) = authorization {
        if in_url {
            return Err(mixed("Authorization HTTP header", "authentication via parameters"));
        }
        return basic(&authorization);
    }
    Ok((url_user.unwrap_or_else(|| USER.to_owned()), url_password.unwrap_or_default()))
}

fn basic(authorization: &str) -> Result<(String, String), Exception> {
    let (scheme, encoded) = authorization.split_once(' ').unwrap_or((authorization, ""));
    if !scheme.eq_ignore_ascii_case("Basic") {
        let message =
            format!("Invalid authentication: '{scheme}' HTTP Authorization scheme is not supported");
        return Err(refused(&message));
    }
    let decoded =
        STANDARD.decode(encoded.trim()).map_err(|_| refused("Invalid authentication: broken base64"))?;
    let text = String::from_utf8_lossy(&decoded);
    let (user, password) = text.split_once(':').unwrap_or((&text, ""));
    if user.is_empty() {
        return Err(refused("Got an empty user name from Authorization HTTP header"));
    }
    Ok((user.to_owned(), password.to_owned()))
}

fn mixed(one: &str, other: &str) -> Exception {
    refused(&format!("Invalid authentication: it is not allowed to use {one} and {other} simultaneously"))
}

fn refused(message: &str) -> Exception {
    Exception::new(516, "AUTHENTICATION_FAILED", message)
}
