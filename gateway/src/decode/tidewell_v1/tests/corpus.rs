//! The fuzzer's corpus, replayed: what was once worth a file must hold on every build.

use super::*;

#[test]
fn every_file_is_decoded_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/tidewell_v1");
    let (mut files, mut accepted) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let body = std::fs::read(&path).unwrap();
        match decode_bytes(&body) {
            Ok(decoded) => accepted += decoded.accepted,
            Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{path:?}: {error}"),
        }
        files += 1;
    }
    assert!(files >= 4 && accepted >= 2, "{files} files with {accepted} good records");
}
