//! Elasticsearch's bulk address under `/elasticsearch`, and what log shippers ask before they use it.
//!
//! | address | answer |
//! |---|---|
//! | `POST`, `PUT /elasticsearch/_bulk`, `/elasticsearch/{index}/_bulk` | 200 with an item for each action |
//! | `GET`, `HEAD /elasticsearch/` | the name and version of a cluster |
//! | `GET /elasticsearch/_cluster/health` | `green`, or 503 with `red` |
//! | `GET /elasticsearch/_license`, `/_xpack` | a basic licence |
//! | `GET`, `HEAD /elasticsearch/_index_template/{name}` and their likes | 200, so that nothing is set up |
//! | `PUT` on those | acknowledged, without effect |
//!
//! An item that is stored has status 201; one that is refused has 400 with the reason and is a dead letter, upon which
//! shippers do not repeat it. A request that cannot be read, or that may succeed later, is answered with a status and
//! an error in Elasticsearch's shape: 429 and 503 with `Retry-After` are repeated. In the answer to a repetition only the
//! first refused items are told from the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderValue, StatusCode};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::http_answer::{self, Json};
use super::intake::{Arrived, Intake};
use super::{Shared, auth, options};
use crate::decode::elasticsearch::{Requested, bulk, requested};
use crate::ingest::{Payload, Protocol, Readiness, Receipt, Scope};
use crate::rejection::Rejection;

/// The version that shippers are told: one that all of them know.
const VERSION: &str = "8.15.0";

/// The reasons of refused items by their place.
type Refused = HashMap<usize, String>;

/// What these addresses ask of their callers.
pub(in crate::receive) const DOOR: auth::Door = auth::Door {
    look: Some(Scope::Write),
    change: Some(Scope::Write),
    word: |shared, _, rejection, begun| {
        let rejection = shared.refuse(Protocol::Elasticsearch, rejection, begun);
        refusal(&rejection)
    },
};

/// The addresses of this protocol.
pub fn routes() -> Router<Shared> {
    let template = || get(present).put(acknowledge).post(acknowledge);
    Router::new()
        .route("/elasticsearch", get(root))
        .route("/elasticsearch/", get(root))
        .route("/elasticsearch/_bulk", post(bulk_to_none).put(bulk_to_none).fallback(refuse_method))
        .route("/elasticsearch/{index}/_bulk", post(bulk_to_index).put(bulk_to_index).fallback(refuse_method))
        .route("/elasticsearch/_cluster/health", get(health))
        .route("/elasticsearch/_license", get(license))
        .route("/elasticsearch/_xpack", get(license))
        .route("/elasticsearch/_index_template/{name}", template())
        .route("/elasticsearch/_component_template/{name}", template())
        .route("/elasticsearch/_template/{name}", template())
        .route("/elasticsearch/_ilm/policy/{name}", template())
        .route("/elasticsearch/_ingest/pipeline/{name}", template())
}

async fn refuse_method(State(shared): State<Shared>, request: Request) -> Response {
    let intake = Intake::begin(&shared, Protocol::Elasticsearch, &request);
    refusal(&intake.refuse(Rejection::MethodNotAllowed { allow: "POST, PUT" }))
}

async fn bulk_to_none(State(shared): State<Shared>, request: Request) -> Response {
    write(&shared, String::new(), request).await
}

async fn bulk_to_index(
    State(shared): State<Shared>,
    Path(index): Path<String>,
    request: Request,
) -> Response {
    write(&shared, index, request).await
}

async fn write(shared: &Shared, index: String, request: Request) -> Response {
    let begun = Instant::now();
    let intake = Intake::begin(shared, Protocol::Elasticsearch, &request);
    let Arrived { options, body, .. } = match intake.read(request).await {
        Ok(arrived) => arrived,
        Err(rejection) => return refusal(&intake.refuse(rejection)),
    };
    let payload = Payload::new(format!("elasticsearch {index}"), body.clone());
    let most = shared.ingest.decode_limits().records;
    let asked = Arc::new(Mutex::new((Vec::new(), Refused::new())));
    let (slot, bytes, of_address) = (Arc::clone(&asked), body.clone(), index.clone());
    let received = intake.receive(options, payload, move |context| {
        let items = requested(&bytes, &of_address, context.limits.records)?;
        let decoded = bulk(&bytes, &of_address, context)?;
        let refused = decoded.rejected.iter().map(|refused| (refused.index, refused.error.to_string()));
        *slot.lock() = (items, refused.collect());
        Ok(decoded)
    });
    let receipt = match received.await {
        Ok(receipt) => receipt,
        Err(rejection) => return refusal(&rejection),
    };
    let (mut items, mut refused) = std::mem::take(&mut *asked.lock());
    if receipt.suppressed {
        // A repetition is not decoded: its first answer says what was refused.
        items = requested(&body, &index, most).unwrap_or_default();
        let reason =
            |error: &crate::ingest::RecordError| (error.index, format!("{}: {}", error.field, error.reason));
        refused = receipt.errors.iter().map(reason).collect();
    }
    answer(&receipt, &items, &refused, begun)
}

fn answer(receipt: &Receipt, items: &[Requested], refused: &Refused, begun: Instant) -> Response {
    let items = items.iter().enumerate().map(|(at, requested)| {
        let Requested { action, index, id } = requested;
        let fields = match refused.get(&at) {
            None => json!({"_index": index, "_id": id, "_version": 1, "result": "created", "status": 201,
                "_shards": {"total": 1, "successful": 1, "failed": 0}}),
            Some(reason) => json!({"_index": index, "_id": id, "status": 400,
                "error": {"type": "document_parsing_exception", "reason": reason}}),
        };
        json!({ *action: fields })
    });
    let took = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    let body = json!({"took": took, "errors": receipt.rejected > 0, "items": items.collect::<Vec<Value>>()});
    let mut response = product(StatusCode::OK, body);
    options::describe(receipt, response.headers_mut());
    response
}

fn refusal(rejection: &Rejection) -> Response {
    let kind = match rejection {
        Rejection::Overloaded { .. } => "es_rejected_execution_exception",
        Rejection::Unavailable { .. } | Rejection::RequestTimeout(_) => "unavailable_shards_exception",
        Rejection::Internal(_) => "exception",
        Rejection::TooLarge(_) => "content_too_long_exception",
        _ => "illegal_argument_exception",
    };
    let (status, reason) = (rejection.http_status(), rejection.to_string());
    let cause = json!({"type": kind, "reason": reason});
    let body = json!({
        "error": {"root_cause": [cause], "type": kind, "reason": reason}, "status": status.as_u16(),
    });
    let mut response = product(status, body);
    http_answer::add_headers(rejection, response.headers_mut());
    response
}

/// An answer with the header that Elastic's own clients insist on.
fn product(status: StatusCode, body: Value) -> Response {
    let mut response = Json(status, body).into_response();
    response.headers_mut().insert("x-elastic-product", HeaderValue::from_static("Elasticsearch"));
    response
}

async fn root() -> Response {
    let version = json!({
        "number": VERSION, "build_flavor": "default", "build_type": "docker", "build_hash": "tidewell",
        "build_date": "2024-08-02T00:00:00Z", "build_snapshot": false, "lucene_version": "9.11.1",
        "minimum_wire_compatibility_version": "7.17.0", "minimum_index_compatibility_version": "7.0.0",
    });
    let body = json!({
        "name": "tidewell", "cluster_name": "tidewell", "cluster_uuid": "tidewell", "version": version,
        "tagline": "You Know, for Search",
    });
    product(StatusCode::OK, body)
}

async fn health(State(shared): State<Shared>) -> Response {
    let (status, word) = match shared.ingest.readiness() {
        Readiness::Ready => (StatusCode::OK, "green"),
        Readiness::Starting | Readiness::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "red"),
    };
    product(
        status,
        json!({"cluster_name": "tidewell", "status": word, "timed_out": false, "number_of_nodes": 1}),
    )
}

async fn license() -> Response {
    let license = json!({"status": "active", "type": "basic", "mode": "basic", "uid": "tidewell"});
    product(StatusCode::OK, json!({"license": license, "features": {}}))
}

async fn present() -> Response {
    product(StatusCode::OK, json!({}))
}

async fn acknowledge() -> Response {
    product(StatusCode::OK, json!({"acknowledged": true}))
}
