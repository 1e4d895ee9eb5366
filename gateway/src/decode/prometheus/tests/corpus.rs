//! The fuzzer's corpus, replayed as both versions.

use super::*;

#[test]
fn every_file_is_decoded_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/remote_write");
    let mut accepted = [0, 0];
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        for (at, version) in [Version::V1, Version::V2].into_iter().enumerate() {
            match decode_bytes(&body, version) {
                Ok((decoded, _)) => accepted[at] += decoded.accepted,
                Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{path:?}: {error}"),
            }
        }
    }
    assert!(accepted.iter().all(|&accepted| accepted > 0), "{accepted:?} good records");
}
