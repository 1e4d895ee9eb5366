//! `DoGet`: a ticket in, the rows of one table out, hot and cold, batch by batch as the stores give them.
//!
//! The schema is that of `GetSchema`, so that what was read can be written again as it is.

use std::sync::Arc;

use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use futures::stream::{BoxStream, StreamExt as _, TryStreamExt as _};
use tonic::Status;

use super::descriptor::Query;
use crate::ingest::Caller;
use crate::receive::Shared;
use crate::rejection::Rejection;
use crate::store::StoreError;
use crate::tier::read::Missing;

/// The rows that `query` asks for.
pub(super) async fn rows(
    shared: &Shared,
    caller: &Caller,
    query: &Query,
) -> Result<BoxStream<'static, Result<FlightData, Status>>, Rejection> {
    let table = query.table(shared, caller)?;
    let query = query.resolve(Arc::clone(&table))?;
    let rows = shared.reader.read(query, Missing::Refused).await.map_err(|error| refused(&error))?;
    let rows = rows.batches.map_err(|error| FlightError::Tonic(Box::new(refused(&error).to_status())));
    let messages = FlightDataEncoderBuilder::new().with_schema(Arc::clone(table.arrow())).build(rows);
    Ok(messages.map_err(Status::from).boxed())
}

/// A query that a store did not answer can be asked again; rows that cannot be read back are a mistake of ours.
fn refused(error: &StoreError) -> Rejection {
    match error {
        // The last four are of writing alone.
        StoreError::Data { .. }
        | StoreError::Regressed { .. }
        | StoreError::Contradicted { .. }
        | StoreError::Lost { .. }
        | StoreError::Closed { .. } => Rejection::Internal(error.to_string()),
        StoreError::Unavailable { .. } | StoreError::Busy { .. } | StoreError::Schema { .. } => {
            Rejection::unavailable(error.to_string())
        }
    }
}
