//! The fuzzer's corpus, replayed: what was once worth a file must hold on every build.

use super::*;

#[test]
fn every_file_has_an_outcome_for_every_record() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/rest_json");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        for table in [builtin::LOGS_EVENTS, builtin::METRICS_EVENTS, builtin::TRACES_SPANS] {
            for framing in [Framing::Json, Framing::Lines] {
                match decode_into(&builtin_table(table), &body, framing, DecodeLimits::default()) {
                    Ok(decoded) => {
                        let rows: usize = decoded.batches.iter().map(TableBatch::len).sum();
                        assert_eq!(decoded.accepted, rows, "{path:?}");
                        assert!(decoded.rejected.iter().all(|bad| !bad.error.reason.is_empty()), "{path:?}");
                    }
                    Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{path:?}: {error}"),
                }
            }
        }
        files += 1;
    }
    assert!(files >= 16, "{files} files");
}
