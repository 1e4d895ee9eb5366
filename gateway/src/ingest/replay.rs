//! A dead letter sent again: its id, and the mended record if there is one, in; what became of it out.
//!
//! 1. the letter is taken in Postgres, with the hash of what is sent: from here on nothing else is sent for it until it
//!    is known that this stored nothing;
//! 2. its record goes the way of every request, under the idempotency key `dead-letter-ID`;
//! 3. the letter is noted as replayed, or given back when the record was refused.
//!
//! Guaranteed: whoever replays a letter how often, by whatever gateways, and wherever one of them ends, its record is
//! stored at most once, and the letter waits until it was. Between the steps the key's claim in Postgres is what a
//! repetition is recognised by; it stays until the third step is done.

use bytes::Bytes;

use super::{BadRecords, Caller, IdempotencyKey, Ingest, Payload, Protocol, Receipt, RequestOptions};
use crate::decode::{DecodeContext, DecodeError, Decoded, MAX_PAYLOAD_BYTES, letter};
use crate::ingest::AckLevel;
use crate::rejection::Rejection;
use crate::store::timescale::letters::{BeginReplay, Letter, LetterState, Letters};

/// The caller of all replays: their keys meet those of no sender.
const CALLER: &str = "dead-letters";

/// A record instead of the one that was refused.
#[derive(Debug, Clone)]
pub struct Mended {
    /// The record.
    pub body: Bytes,
    /// Its media type.
    pub content_type: String,
}

/// What became of a replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replayed {
    /// Its record is durable.
    Stored(Receipt),
    /// It was replayed before: nothing was stored again.
    Before,
    /// Its record was refused again: the letter waits as before, and nothing was stored.
    Refused(Receipt),
}

/// Whether all of a payload was kept.
pub fn is_cut_off(payload_bytes: usize) -> bool {
    payload_bytes >= MAX_PAYLOAD_BYTES
}

/// Sends a letter again.
pub async fn replay(
    ingest: &Ingest,
    letters: &Letters,
    id: &str,
    mended: Option<Mended>,
) -> Result<Replayed, Rejection> {
    let Some((letter, payload)) = letters.get(id).await? else {
        return Err(Rejection::NotFound(format!("there is no dead letter {id}")));
    };
    match letter.state {
        LetterState::Replayed => return Ok(Replayed::Before),
        LetterState::Discarded => return Err(discarded(id)),
        LetterState::Kept | LetterState::Replaying => {}
    }
    let record = match mended {
        Some(mended) => mended,
        None => as_it_is(&letter, payload)?,
    };
    let target = format!("dead letter {} {}", letter.target, record.content_type);
    let payload = Payload::new(target, record.body.clone());
    let hash = payload.hash();
    let first = match letters.begin(id, hash).await? {
        BeginReplay::Begun { first } => first,
        BeginReplay::Refused(LetterState::Replayed) => return Ok(Replayed::Before),
        BeginReplay::Refused(LetterState::Discarded) => return Err(discarded(id)),
        BeginReplay::Refused(LetterState::Kept | LetterState::Replaying) => {
            return Err(Rejection::Conflict(format!(
                "dead letter {id} is being replayed with other content, and it is not known how that ended: replay it \
                 with that content, or discard it"
            )));
        }
    };
    let sent = send(ingest, &letter, record, payload).await;
    let is_stored = sent.as_ref().is_ok_and(|receipt| receipt.rejected == 0);
    if is_stored {
        if let Err(error) = letters.finish(id).await {
            tracing::warn!(letter = id, %error, "a replayed dead letter could not be noted as such: replaying it again stores nothing twice");
        }
    } else if first && !sent.as_ref().is_err_and(may_have_stored) {
        letters.release(id, hash).await?;
    }
    let receipt = sent?;
    Ok(if is_stored { Replayed::Stored(receipt) } else { Replayed::Refused(receipt) })
}

async fn send(
    ingest: &Ingest,
    letter: &Letter,
    record: Mended,
    payload: Payload,
) -> Result<Receipt, Rejection> {
    let caller = Caller::own(CALLER, Protocol::Replay);
    let key = IdempotencyKey::new(format!("dead-letter-{}", letter.id).as_bytes())
        .map_err(|error| Rejection::Internal(error.to_string()))?;
    let options = RequestOptions {
        // What the store makes of it comes later, as for any other record.
        ack: Some(AckLevel::Durable),
        key: Some(key),
        bad_records: BadRecords::RefuseAll,
        table: None,
    };
    let refused_at = chrono::DateTime::<chrono::Utc>::from(letter.time).timestamp_nanos_opt();
    let table = letter.target.clone();
    let decode = move |context: &DecodeContext<'_>| decode(&record, &table, refused_at, context);
    ingest.receive(&caller, options, payload, decode).await
}

/// Decodes a record as of the time of its arrival, which stands for a time that it does not have itself; one that was
/// too far in the future then may fit now.
fn decode(
    record: &Mended,
    table: &str,
    refused_at: Option<i64>,
    context: &DecodeContext<'_>,
) -> Result<Decoded, DecodeError> {
    let then = DecodeContext { now_nanos: refused_at.unwrap_or(context.now_nanos), ..*context };
    let decoded = letter::record(&record.body, &record.content_type, table, &then)?;
    if decoded.accepted + decoded.rejected.len() == 0 {
        return Err(DecodeError::Malformed("there is no record to replay".to_owned()));
    }
    if decoded.rejected.is_empty() {
        return Ok(decoded);
    }
    let now = letter::record(&record.body, &record.content_type, table, context)?;
    Ok(if now.rejected.is_empty() { now } else { decoded })
}

/// The record as it was refused, if all of it is there.
fn as_it_is(letter: &Letter, payload: Vec<u8>) -> Result<Mended, Rejection> {
    let missing = |what: &str| {
        let id = &letter.id;
        Rejection::Conflict(format!(
            "dead letter {id} {what}: send the whole record as the body of this request"
        ))
    };
    if payload.is_empty() {
        return Err(missing("has no payload"));
    }
    if is_cut_off(payload.len()) {
        return Err(missing(&format!("was cut off after {MAX_PAYLOAD_BYTES} bytes")));
    }
    if !letter::is_whole(&letter.content_type, &letter.protocol) {
        return Err(missing("was kept without its resource, as one of too many of its request"));
    }
    Ok(Mended { body: payload.into(), content_type: letter.content_type.clone() })
}

fn discarded(id: &str) -> Rejection {
    Rejection::Conflict(format!("dead letter {id} was discarded"))
}

/// Whether rows may be durable although the answer is a refusal.
fn may_have_stored(rejection: &Rejection) -> bool {
    matches!(rejection, Rejection::Overloaded { .. } | Rejection::Unavailable { .. } | Rejection::Internal(_))
}
