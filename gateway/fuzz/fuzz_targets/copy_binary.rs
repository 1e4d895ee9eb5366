//! COPY in binary form, as Postgres sends the rows of a range that moves, in one piece and in pieces of seven bytes.
#![no_main]

use std::sync::Arc;

use tidewell_gateway::registry::{TableBatch, TableDef, Tenant};
use tidewell_gateway::store::timescale::decode_copy::{BatchLimits, CopyDecoder, CopyError};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let spec = serde_json::from_str(include_str!("../copy_table.json")).expect("the table is valid");
    let table = Arc::new(TableDef::from_spec(Tenant::default(), spec, 1).expect("the table is valid"));
    let whole = decode(&table, std::iter::once(input));
    let pieces = decode(&table, input.chunks(7));
    match (&whole, &pieces) {
        (Ok(whole), Ok(pieces)) => assert_eq!(rows(whole), rows(pieces)),
        (Err(whole), Err(pieces)) => assert_eq!(whole, pieces),
        _ => panic!("{whole:?} in one piece and {pieces:?} in several"),
    }
});

fn decode<'i>(
    table: &Arc<TableDef>,
    pieces: impl Iterator<Item = &'i [u8]>,
) -> Result<Vec<TableBatch>, CopyError> {
    let limits = BatchLimits { rows: 5, bytes: 1 << 20 };
    let mut decoder = CopyDecoder::new(Arc::clone(table), limits).expect("the table has a time");
    let mut batches = Vec::new();
    for piece in pieces {
        decoder.push(piece)?;
        batches.extend(decoder.take_ready());
    }
    batches.extend(decoder.finish()?);
    Ok(batches)
}

/// What the batches hold, as rows go into them in the order that they come in.
fn rows(batches: &[TableBatch]) -> Vec<String> {
    batches.iter().map(|batch| format!("{:?}", batch.rows())).collect()
}
