//! What every HTTP protocol does with a request: count it when it is refused, read its options and its body, hand its
//! records to [`Ingest`](crate::ingest::Ingest). The rest of a receiver is what its protocol calls things.

use std::time::Instant;

use axum::extract::Request;
use bytes::Bytes;
use http::HeaderMap;

use super::body::{self, ReceivedBody};
use super::{Shared, caller_of, options};
use crate::decode::{DecodeContext, DecodeError, Decoded};
use crate::ingest::{Caller, Payload, Protocol, Receipt, RequestOptions};
use crate::rejection::Rejection;

/// One request on its way in.
#[derive(Debug)]
pub(super) struct Intake {
    shared: Shared,
    caller: Caller,
    begun: Instant,
}

/// A request whose body has arrived.
#[derive(Debug)]
pub(super) struct Arrived {
    /// What it asks for beside its records.
    pub(super) options: RequestOptions,
    /// Its headers.
    pub(super) headers: HeaderMap,
    /// Its body, decompressed.
    pub(super) body: Bytes,
}

impl Intake {
    /// Begins a request of `protocol`.
    pub(super) fn begin(shared: &Shared, protocol: Protocol, request: &Request) -> Self {
        let caller = caller_of(request.extensions(), protocol);
        Self { shared: Shared::clone(shared), caller, begun: Instant::now() }
    }

    /// Who sends.
    pub(super) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Counts a refusal before [`Intake::receive`], which counts the others.
    pub(super) fn refuse(&self, rejection: Rejection) -> Rejection {
        self.shared.refuse(self.caller.protocol, rejection, self.begun)
    }

    /// Reads the options and the body within their limits. A refusal is left to be counted.
    pub(super) async fn read(&self, request: Request) -> Result<Arrived, Rejection> {
        let options = options::of_request(request.headers())?;
        let (parts, body) = request.into_parts();
        self.shared.ingest.load().before_body().await;
        let limits = self.shared.body_limits(self.caller.peer);
        // The memory goes back here: from here on the bytes are on the account of `receive`.
        let ReceivedBody { bytes, .. } = body::read(body, &parts.headers, &limits).await?;
        Ok(Arrived { options, headers: parts.headers, body: bytes })
    }

    /// Receives the records that `decode` finds.
    pub(super) async fn receive<F>(
        &self,
        options: RequestOptions,
        payload: Payload,
        decode: F,
    ) -> Result<Receipt, Rejection>
    where
        F: FnOnce(&DecodeContext<'_>) -> Result<Decoded, DecodeError> + Send + 'static,
    {
        self.shared.ingest.receive(&self.caller, options, payload, decode).await
    }
}
