//! What a sender asks for beside its records: how safe they shall be when the answer comes, and a name by which a
//! repetition is known.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_128;

/// The header and metadata key by which callers ask for, and answers name, the level of acknowledgement.
pub const ACK_HEADER: &str = "tidewell-ack";

/// The header and metadata keys that name a request. The first is the one of the IETF draft "The Idempotency-Key HTTP
/// Header Field"; the second is for senders whose libraries keep that one to themselves.
pub const KEY_HEADERS: [&str; 2] = ["idempotency-key", "tidewell-idempotency-key"];

/// The header and metadata key of the answer to a repetition: nothing was stored again.
pub const SUPPRESSED_HEADER: &str = "tidewell-suppressed";

/// The header and metadata key whose value routes may ask for.
pub const TABLE_HEADER: &str = "tidewell-table";

/// The lowest level that any answer gives: what the header of a stream names, whose batches are yet to come.
pub const LOWEST_ACK: AckLevel = AckLevel::Durable;

/// Longest idempotency key in bytes.
const MAX_KEY_BYTES: usize = 255;

/// What an acknowledgement means. The greater one promises more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AckLevel {
    /// The rows are on the gateway's disk: they survive its crash and reach the store without the sender.
    #[default]
    Durable,
    /// The store has committed the rows.
    Stored,
}

/// A level that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is unknown: ask for durable or stored")]
pub struct UnknownAckLevel(String);

/// A name for a request, chosen by its sender and used again when it sends the request again.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Box<str>);

/// A name that cannot be one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key has 1 to {MAX_KEY_BYTES} printable ASCII characters: a UUID serves well")]
pub struct InvalidKey;

/// How a request treats its bad records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadRecords {
    /// Good records are stored, bad ones are kept as dead letters.
    #[default]
    KeepApart,
    /// One bad record refuses the request and nothing is stored or kept (`?strict`).
    RefuseAll,
}

/// How one request is to be treated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RequestOptions {
    /// The level of acknowledgement asked for, if any; the receipt names the one that is given.
    pub ack: Option<AckLevel>,
    /// The name of the request.
    pub key: Option<IdempotencyKey>,
    /// What one bad record does to its neighbours.
    pub bad_records: BadRecords,
    /// What its header [`TABLE_HEADER`] says.
    pub table: Option<Box<str>>,
}

/// A request as it was sent, decompressed: its size is what admission counts, and its content what a repetition is
/// recognised by. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Payload {
    /// What the bytes are meant for: the same bytes for another table or in another format are another request.
    target: Cow<'static, str>,
    /// The bytes; a second part where a protocol delivers them in two.
    parts: [Bytes; 2],
}

impl AckLevel {
    /// The level's name in headers and bodies.
    pub fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Stored => "stored",
        }
    }
}

impl IdempotencyKey {
    /// Checks a name.
    pub fn new(name: &[u8]) -> Result<Self, InvalidKey> {
        let printable = |byte: &u8| (b' '..=b'~').contains(byte);
        match std::str::from_utf8(name) {
            Ok(text) if (1..=MAX_KEY_BYTES).contains(&name.len()) && name.iter().all(printable) => {
                Ok(Self(text.into()))
            }
            _ => Err(InvalidKey),
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Payload {
    /// The bytes of a request for `target`: a table or signal, and a format.
    pub fn new(target: impl Into<Cow<'static, str>>, body: Bytes) -> Self {
        Self::in_parts(target, [body, Bytes::new()])
    }

    /// [`Payload::new`] for bytes that came in two parts.
    pub fn in_parts(target: impl Into<Cow<'static, str>>, parts: [Bytes; 2]) -> Self {
        Self { target: target.into(), parts }
    }

    /// Bytes.
    pub fn len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the payload is recognised by: XXH3, 128 bits, of each part with its length before it. It is kept in the
    /// log, so that it stays as it is.
    pub fn hash(&self) -> u128 {
        let mut hasher = XxHash3_128::new();
        for part in [self.target.as_bytes(), &self.parts[0], &self.parts[1]] {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        hasher.finish_128()
    }
}

// === impl AckLevel, IdempotencyKey ===

impl FromStr for AckLevel {
    type Err = UnknownAckLevel;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "durable" => Ok(Self::Durable),
            "stored" => Ok(Self::Stored),
            other => Err(UnknownAckLevel(other.chars().take(64).collect())),
        }
    }
}

/// A sender's text, which may be anything printable: quoted.
impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_as_they_are_named_and_ordered_by_what_they_promise() {
        for level in [AckLevel::Durable, AckLevel::Stored] {
            assert_eq!(level.name().parse(), Ok(level));
        }
        for unknown in ["", "Stored", "durable ", "memory"] {
            let error = unknown.parse::<AckLevel>().unwrap_err();
            assert!(error.to_string().contains("durable or stored"), "{error}");
        }
        assert!(AckLevel::Durable < AckLevel::Stored);
    }

    #[test]
    fn payloads_are_told_apart_by_target_and_content_and_where_their_parts_end() {
        let payload = |target: &'static str, parts: [&'static str; 2]| {
            Payload::in_parts(target, parts.map(Bytes::from)).hash()
        };
        let one = payload("logs json", ["ab", "c"]);
        assert_eq!(one, payload("logs json", ["ab", "c"]));
        for other in [
            payload("logs ndjson", ["ab", "c"]),
            payload("logs json", ["a", "bc"]),
            payload("logs json", ["abc", ""]),
            payload("logs jsonab", ["c", ""]),
        ] {
            assert_ne!(one, other);
        }
        // Hashes are kept in the log of a gateway whose version may be another.
        assert_eq!(format!("{one:032x}"), "a22fe44eb42bb47fce8f6b6e6aca5e4f");
    }

    #[test]
    fn keys_are_1_to_255_printable_bytes() {
        for good in ["k", "a b", "~", &"x".repeat(255)] {
            assert_eq!(IdempotencyKey::new(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in ["", "a\n", "\u{7f}", "\u{e4}", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::new(bad.as_bytes()), Err(InvalidKey), "{bad:?}");
        }
    }
}
