//! Why a request is refused, and the only place where a refusal becomes a status of some protocol.
//!
//! A [`Rejection`] is the caller's fault or a gateway that cannot take more right now; what a store says stays in
//! [`crate::store::StoreError`] and arrives here as [`Rejection::Unavailable`] at most.
//!
//! | rejection | HTTP | gRPC, Flight | sender retries |
//! |---|---|---|---|
//! | `Malformed` | 400 | `INVALID_ARGUMENT` | no |
//! | `Unauthenticated` | 401 | `UNAUTHENTICATED` | no |
//! | `Forbidden` | 403 | `PERMISSION_DENIED` | no |
//! | `NotFound` | 404 | `NOT_FOUND` | no |
//! | `MethodNotAllowed` | 405 and `Allow` | `UNIMPLEMENTED` | no |
//! | `RequestTimeout` | 408 | `DEADLINE_EXCEEDED` | Vector and gRPC clients do |
//! | `Conflict` | 409 | `FAILED_PRECONDITION` | no |
//! | `PreconditionFailed` | 412 | `ABORTED` | after reading what there is |
//! | `TooLarge` | 413 | `RESOURCE_EXHAUSTED` without `RetryInfo` | no |
//! | `UnsupportedMediaType`, `UnsupportedEncoding` | 415 | `UNIMPLEMENTED` | no |
//! | `Overloaded` | 429 and `Retry-After` | `UNAVAILABLE` and `RetryInfo` | yes |
//! | `Unavailable` | 503 and `Retry-After` | `UNAVAILABLE` and `RetryInfo` | yes |
//! | `Internal` | 500 | `INTERNAL` | no |
//!
//! Which of these a sender repeats is fixed by the OTLP specification (section "Failures"); a
//! `RESOURCE_EXHAUSTED` without `RetryInfo` makes a Collector drop, which is why overload is never said that way.

use std::time::Duration;

use http::StatusCode;
use tonic::Code;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::decode::DecodeError;
use crate::ingest::Receipt;
use crate::memory::MemoryExhausted;
use crate::receive::body::BodyError;
use crate::registry::RegisterError;
use crate::store::StoreError;
use crate::tier::TierError;

/// A refused request: nothing of it was stored, unless the reason says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The request cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// The caller did not say who it is.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller may not do this.
    #[error("{0}")]
    Forbidden(String),
    /// There is no such table or page.
    #[error("{0}")]
    NotFound(String),
    /// The address exists, for other methods.
    #[error("this address takes {allow} only")]
    MethodNotAllowed {
        /// The methods, as the `Allow` header lists them.
        allow: &'static str,
    },
    /// The request did not arrive in time.
    #[error("{0}")]
    RequestTimeout(String),
    /// The request contradicts what exists.
    #[error("{0}")]
    Conflict(String),
    /// What exists is not what the request takes it for.
    #[error("{0}")]
    PreconditionFailed(String),
    /// A limit of size is exceeded; the same request will always be.
    #[error("{0}")]
    TooLarge(String),
    /// The content type is none that this address takes.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// The content encoding is none that is known.
    #[error("{0}")]
    UnsupportedEncoding(String),
    /// More is under way than the gateway takes; the same request succeeds later.
    #[error("{reason}")]
    Overloaded {
        /// What is full.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// A store or the gateway itself cannot take it right now; the same request succeeds later.
    #[error("{reason}")]
    Unavailable {
        /// What is not available.
        reason: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// A mistake of ours.
    #[error("{0}")]
    Internal(String),
}

/// How long a sender is asked to wait when nothing better is known.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);

impl Rejection {
    /// A store or the gateway cannot take it right now.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::Unavailable { reason: reason.into(), retry_after: DEFAULT_RETRY_AFTER }
    }

    /// More is under way than the gateway takes.
    pub fn overloaded(reason: impl Into<String>) -> Self {
        Self::Overloaded { reason: reason.into(), retry_after: DEFAULT_RETRY_AFTER }
    }

    /// The word that stands for this kind of refusal in JSON bodies and in the metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::NotFound(_) => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::RequestTimeout(_) => "request_timeout",
            Self::Conflict(_) => "conflict",
            Self::PreconditionFailed(_) => "precondition_failed",
            Self::TooLarge(_) => "too_large",
            Self::UnsupportedMediaType(_) => "unsupported_media_type",
            Self::UnsupportedEncoding(_) => "unsupported_encoding",
            Self::Overloaded { .. } => "overloaded",
            Self::Unavailable { .. } => "unavailable",
            Self::Internal(_) => "internal",
        }
    }

    /// The HTTP status.
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::RequestTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::PreconditionFailed(_) => StatusCode::PRECONDITION_FAILED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) | Self::UnsupportedEncoding(_) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Overloaded { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The gRPC code, for Flight as well.
    pub fn grpc_code(&self) -> Code {
        match self {
            Self::Malformed(_) => Code::InvalidArgument,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Forbidden(_) => Code::PermissionDenied,
            Self::NotFound(_) => Code::NotFound,
            Self::RequestTimeout(_) => Code::DeadlineExceeded,
            Self::Conflict(_) => Code::FailedPrecondition,
            Self::PreconditionFailed(_) => Code::Aborted,
            Self::TooLarge(_) => Code::ResourceExhausted,
            Self::MethodNotAllowed { .. } | Self::UnsupportedMediaType(_) | Self::UnsupportedEncoding(_) => {
                Code::Unimplemented
            }
            Self::Overloaded { .. } | Self::Unavailable { .. } => Code::Unavailable,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// When to send the same request again; none when it would be refused again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Overloaded { retry_after, .. } | Self::Unavailable { retry_after, .. } => {
                Some(*retry_after)
            }
            _ => None,
        }
    }

    /// The value of the `Retry-After` header in whole seconds, at least 1.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.retry_after().map(|wait| (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1))
    }

    /// The gRPC status, with `google.rpc.RetryInfo` when the sender shall try again.
    pub fn to_status(&self) -> tonic::Status {
        match self.retry_after() {
            Some(wait) => tonic::Status::with_error_details(
                self.grpc_code(),
                self.to_string(),
                ErrorDetails::with_retry_info(Some(wait)),
            ),
            None => tonic::Status::new(self.grpc_code(), self.to_string()),
        }
    }
}

/// tonic says `OUT_OF_RANGE` of a message over the limit, which OTLP senders repeat; the same message would be refused
/// for ever, so they are told `RESOURCE_EXHAUSTED` without `RetryInfo` instead.
pub fn correct_tonic_code(code: Code) -> Code {
    match code {
        Code::OutOfRange => Code::ResourceExhausted,
        other => other,
    }
}

/// The word of [`Rejection::code`] for a status that did not come from a [`Rejection`].
pub fn word_of_code(code: Code) -> &'static str {
    match code {
        Code::Ok => "accepted",
        Code::Cancelled => "cancelled",
        Code::InvalidArgument | Code::OutOfRange => "malformed",
        Code::DeadlineExceeded => "request_timeout",
        Code::NotFound => "not_found",
        Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => "conflict",
        Code::PermissionDenied => "forbidden",
        Code::Unauthenticated => "unauthenticated",
        Code::ResourceExhausted => "too_large",
        Code::Unimplemented => "unimplemented",
        Code::Unavailable => "overloaded",
        Code::Unknown | Code::Internal | Code::DataLoss => "internal",
    }
}

/// What an OTLP response says in `partial_success`: rejected records and a message. None for full success, since a
/// present but empty message is not allowed; 0 rejected with a message is a warning.
pub fn partial_success(receipt: &Receipt) -> Option<(i64, String)> {
    if receipt.rejected == 0 && receipt.warnings.is_empty() {
        return None;
    }
    let mut message = String::new();
    for error in receipt.errors.iter().take(10) {
        let field = if error.field.is_empty() { String::new() } else { format!("{}: ", error.field) };
        push_sentence(&mut message, &format!("record {}: {field}{}", error.index, error.reason));
    }
    if receipt.rejected > 10 {
        push_sentence(&mut message, &format!("{} more, see dead_letters", receipt.rejected - 10));
    }
    for warning in receipt.warnings.iter().take(10) {
        push_sentence(&mut message, warning);
    }
    Some((i64::try_from(receipt.rejected).unwrap_or(i64::MAX), message))
}

fn push_sentence(message: &mut String, sentence: &str) {
    if !message.is_empty() {
        message.push_str("; ");
    }
    message.push_str(sentence);
}

// === impl Rejection ===

impl From<DecodeError> for Rejection {
    fn from(error: DecodeError) -> Self {
        let text = error.to_string();
        match error {
            DecodeError::Malformed(_) => Self::Malformed(text),
            DecodeError::TooLarge(_) => Self::TooLarge(text),
            DecodeError::NoTable(_) | DecodeError::Retired(_) => Self::NotFound(text),
            DecodeError::OwnTable(_) => Self::Forbidden(text),
            DecodeError::Internal(_) => Self::Internal(text),
        }
    }
}

impl From<BodyError> for Rejection {
    fn from(error: BodyError) -> Self {
        let text = error.to_string();
        match error {
            BodyError::UnsupportedEncoding(_) => Self::UnsupportedEncoding(text),
            BodyError::TooLarge(_) | BodyError::DecompressedTooLarge(_) => Self::TooLarge(text),
            BodyError::Malformed { .. } | BodyError::BrokenOff(_) => Self::Malformed(text),
            BodyError::TimedOut(_) => Self::RequestTimeout(text),
            BodyError::MemoryExhausted(error) => error.into(),
            BodyError::Aborted(_) => Self::Internal(text),
        }
    }
}

/// What a request asked of tiering.
impl From<TierError> for Rejection {
    fn from(error: TierError) -> Self {
        let text = error.to_string();
        match error {
            TierError::NotTiered(_) => Self::NotFound(text),
            TierError::Store(_) | TierError::Stopped => Self::unavailable(text),
            _ => Self::Conflict(text),
        }
    }
}

/// What a request asked of a store itself, such as its dead letters.
impl From<StoreError> for Rejection {
    fn from(error: StoreError) -> Self {
        Self::unavailable(error.to_string())
    }
}

impl From<MemoryExhausted> for Rejection {
    fn from(error: MemoryExhausted) -> Self {
        Self::overloaded(error.to_string())
    }
}

impl From<RegisterError> for Rejection {
    fn from(error: RegisterError) -> Self {
        let text = error.to_string();
        match error {
            RegisterError::Invalid(_) => Self::Malformed(text),
            // The store has a table of this name that is not the registry's: a person must decide.
            RegisterError::Incompatible { .. }
            | RegisterError::Rewrites { .. }
            | RegisterError::Store(StoreError::Schema { .. }) => Self::Conflict(text),
            RegisterError::Unexpected(_) => Self::PreconditionFailed(text),
            RegisterError::Store(_) => Self::unavailable(text),
        }
    }
}
