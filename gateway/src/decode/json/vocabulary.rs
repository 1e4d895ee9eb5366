//! Words that senders spell in several ways: ids, span kinds and span statuses.

use std::borrow::Cow;

/// Hex of the right length in lower case; any other id as it is.
pub(super) fn normalised_id(text: &str, bytes: usize) -> Cow<'_, str> {
    let is_hex = text.len() == 2 * bytes && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Cow::Owned(text.to_ascii_lowercase());
    }
    Cow::Borrowed(text)
}

/// OpenTelemetry's span kinds, by number, by name, or by the name in its protobuf.
pub(super) fn span_kind(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("span_kind_").unwrap_or(&lower) {
        "0" => "unspecified",
        "1" => "internal",
        "2" => "server",
        "3" => "client",
        "4" => "producer",
        "5" => "consumer",
        other => other,
    }
    .to_owned()
}

/// OpenTelemetry's span statuses, by number, by name, or by the name in its protobuf.
pub(super) fn span_status(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    match lower.strip_prefix("status_code_").unwrap_or(&lower) {
        "0" => "unset",
        "1" => "ok",
        "2" => "error",
        other => other,
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_meet() {
        for text in ["SPAN_KIND_CLIENT", "client", "Client", "3"] {
            assert_eq!(span_kind(text), "client");
        }
        for text in ["STATUS_CODE_ERROR", "Error", "2"] {
            assert_eq!(span_status(text), "error");
        }
        assert_eq!(span_status("TIMED_OUT"), "timed_out");
        assert_eq!(normalised_id("ABCDEFABCDEFABCD", 8), "abcdefabcdefabcd");
        assert_eq!(normalised_id("ABCDEFABCDEFABCG", 8), "ABCDEFABCDEFABCG");
        assert_eq!(normalised_id("ABC", 8), "ABC");
    }
}
