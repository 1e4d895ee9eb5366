//! The fuzzers' corpus, replayed: inputs that once were interesting stay harmless.

use std::path::Path;

use super::{Decode, LOGS, LOGS_JSON, METRICS, METRICS_JSON, TRACES, TRACES_JSON, decode};
use crate::decode::DecodeError;

fn replay(target: &str, decoders: &[Decode]) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut accepted = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let body = std::fs::read(entry.unwrap().path()).unwrap();
        for decoder in decoders {
            match decode(*decoder, &body) {
                Ok(decoded) => accepted += decoded.accepted,
                Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{error}"),
            }
        }
    }
    accepted
}

#[test]
fn the_corpus_decodes_without_a_panic_and_its_good_records_are_accepted() {
    for (target, decoders) in [
        ("otlp_logs", &[LOGS][..]),
        ("otlp_metrics", &[METRICS]),
        ("otlp_traces", &[TRACES]),
        ("otlp_json", &[LOGS_JSON, METRICS_JSON, TRACES_JSON]),
    ] {
        assert!(replay(target, decoders) > 0, "{target} has no good record");
    }
}
