//! The fuzzer's corpus, replayed: what was once worth a file must hold on every build.

use super::*;
use crate::registry::TableBatch;
use crate::registry::builtin::{LOGS_EVENTS, METRICS_EVENTS, METRICS_HISTOGRAMS, TRACES_SPANS};

#[test]
fn every_file_is_decoded_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/arrow_ipc");
    let (mut files, mut accepted) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let body = Bytes::from(std::fs::read(&path).unwrap());
        for table in [LOGS_EVENTS, METRICS_EVENTS, METRICS_HISTOGRAMS, TRACES_SPANS] {
            match decode(&body, table) {
                Ok(decoded) => {
                    let rows: usize = decoded.batches.iter().map(TableBatch::len).sum();
                    assert_eq!(decoded.accepted, rows, "{path:?}");
                    accepted += rows;
                }
                Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{path:?}: {error}"),
            }
        }
        files += 1;
    }
    assert!(files >= 10 && accepted >= 10, "{files} files with {accepted} good rows");
}
