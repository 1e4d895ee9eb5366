//! What the fuzz targets share: a context for the decoders, and what must hold of everything they return.
#![forbid(unsafe_code)]

pub mod memory_disk;

use tidewell_gateway::decode::{DecodeContext, DecodeError, DecodeLimits, Decoded};
use tidewell_gateway::registry::{Snapshot, TableDef, Tenant, builtin};

/// A decoder under test.
pub type Decode = fn(&[u8], &DecodeContext<'_>) -> Result<Decoded, DecodeError>;

/// Runs `decode` on `body`. It must return; what it accepts and rejects must be there, each record in one place only.
pub fn run(decode: Decode, body: &[u8]) {
    let tenant = Tenant::default();
    let tables: Vec<TableDef> = builtin::tables(&tenant).unwrap_or_default();
    let context = DecodeContext {
        tables: &Snapshot::new(tables),
        tenant: &tenant,
        now_nanos: 1_700_000_000_000_000_000,
        limits: DecodeLimits { decoded_bytes: 16 * 1024 * 1024, ..DecodeLimits::default() },
    };
    match decode(body, &context) {
        Ok(decoded) => {
            assert!(decoded.accepted + decoded.rejected.len() <= body.len());
            assert!(decoded.rejected.windows(2).all(|pair| pair[0].index < pair[1].index));
            assert!(decoded.accepted == 0 || !decoded.batches.is_empty());
        }
        Err(DecodeError::Internal(reason)) => panic!("{reason}"),
        Err(_) => {}
    }
}

/// Lets panics within arrow-rs pass, which the gateway makes errors of (arrow-rs issue 10437); all others end the run.
pub fn let_arrow_panic() {
    std::panic::set_hook(Box::new(|panic| {
        let within_arrow = panic.location().is_some_and(|place| place.file().contains("/arrow-"));
        if !within_arrow {
            eprintln!("{panic}");
            std::process::abort();
        }
    }));
}
