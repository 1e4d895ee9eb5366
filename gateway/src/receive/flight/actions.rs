//! `ListActions` and `DoAction`: a name and a JSON body in, one JSON result out.
//!
//! | action | body | result |
//! |---|---|---|
//! | `schema.register` | a definition as `POST /schema/register` takes it | the definition in force, `result` and `version` |
//! | `healthcheck` | nothing | `{"status":"serving"}`; an error while the gateway takes no requests |

use arrow_flight::{Action, ActionType, Result as ActionResult};

use crate::ingest::{Caller, Scope};
use crate::receive::{Shared, schema};
use crate::rejection::Rejection;

const REGISTER: &str = "schema.register";
const HEALTHCHECK: &str = "healthcheck";

/// The actions that there are.
pub(super) fn all() -> [ActionType; 2] {
    let action = |name: &str, description: &str| ActionType {
        r#type: name.to_owned(),
        description: description.to_owned(),
    };
    [
        action(
            REGISTER,
            "creates a table or adds columns to it; the body is {\"table_name\":..,\"columns\":[..]}",
        ),
        action(HEALTHCHECK, "says whether requests are taken; the body is empty"),
    ]
}

/// Runs one.
pub(super) async fn run(
    shared: &Shared,
    caller: &Caller,
    action: &Action,
) -> Result<ActionResult, Rejection> {
    let answer = match action.r#type.as_str() {
        REGISTER => register(shared, caller, &action.body).await?,
        HEALTHCHECK => {
            shared.ingest.check_ready()?;
            br#"{"status":"serving"}"#.to_vec()
        }
        other => {
            return Err(Rejection::NotFound(format!(
                "there is no action {other:?}: use {REGISTER} or {HEALTHCHECK}"
            )));
        }
    };
    Ok(ActionResult { body: answer.into() })
}

async fn register(shared: &Shared, caller: &Caller, body: &[u8]) -> Result<Vec<u8>, Rejection> {
    if body.len() > schema::MAX_DEFINITION_BYTES {
        return Err(Rejection::TooLarge(format!(
            "the definition has {} bytes: at most {} are allowed",
            body.len(),
            schema::MAX_DEFINITION_BYTES
        )));
    }
    let spec = schema::read_definition(body)?;
    caller.rights.require(Scope::Register)?;
    let spec = shared.registry.completed(&caller.tenant, spec).await?;
    caller.rights.require_table(spec.table_name.as_str(), spec.kind)?;
    let (done, table) = shared.registry.register(&caller.tenant, spec, caller.name.as_str()).await?;
    serde_json::to_vec(&schema::describe(&table, Some(done)))
        .map_err(|error| Rejection::Internal(format!("a definition could not be written: {error}")))
}
