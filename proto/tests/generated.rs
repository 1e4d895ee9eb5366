//! Scenario: the generator runs over `tidewell/v1/ingest.proto` as it is in the tree.
//! Guarantees: the committed code and descriptors are exactly what it gives, and every message, field, value and
//! method has a comment.
#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

use std::fs;
use std::path::{Path, PathBuf};

use prost::Message as _;
use prost_types::FileDescriptorSet;

fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The descriptors with source positions and comments; what is committed has neither.
fn compile() -> FileDescriptorSet {
    let mut compiler = protox::Compiler::new([crate_dir()]).unwrap();
    compiler.include_source_info(true).include_imports(true).open_file("tidewell/v1/ingest.proto").unwrap();
    compiler.file_descriptor_set()
}

fn generate(into: &Path) {
    let descriptors = compile();
    // Maps as ordered maps: the same message always gives the same bytes.
    let builder = || tonic_prost_build::configure().btree_map(".").emit_rerun_if_changed(false);
    builder().out_dir(into).build_server(false).compile_fds(descriptors.clone()).unwrap();
    // The server reads what may be large as it came, see `raw`.
    let server = tempfile::tempdir().unwrap();
    builder()
        .out_dir(server.path())
        .build_client(false)
        .extern_path(".tidewell.v1", "crate::v1")
        .extern_path(".tidewell.v1.WriteRequest", "crate::RawMessage")
        .extern_path(".tidewell.v1.WriteStreamRequest", "crate::RawMessage")
        .extern_path(".tidewell.v1.RegisterTableRequest", "crate::RawMessage")
        .compile_fds(descriptors.clone())
        .unwrap();
    fs::copy(server.path().join("tidewell.v1.rs"), into.join("tidewell.v1.server.rs")).unwrap();
    let mut bare = descriptors;
    for file in &mut bare.file {
        file.source_code_info = None;
    }
    fs::write(into.join("tidewell.v1.bin"), bare.encode_to_vec()).unwrap();
}

#[test]
fn committed_files_are_what_the_generator_gives() {
    let committed = crate_dir().join("src/generated");
    let fresh = tempfile::tempdir().unwrap();
    generate(fresh.path());
    for name in ["tidewell.v1.rs", "tidewell.v1.server.rs", "tidewell.v1.bin"] {
        let wanted = fs::read(fresh.path().join(name)).unwrap();
        if std::env::var_os("TIDEWELL_REGENERATE").is_some() {
            fs::write(committed.join(name), wanted).unwrap();
            continue;
        }
        let same = fs::read(committed.join(name)).is_ok_and(|given| given == wanted);
        assert!(same, "{name} is stale: run TIDEWELL_REGENERATE=1 cargo test -p tidewell-proto");
    }
}

#[test]
fn everything_in_the_proto_file_is_documented() {
    let descriptors = compile();
    let file = descriptors.file.iter().find(|file| file.package() == "tidewell.v1").unwrap();
    let mut bare = Vec::new();
    let info = file.source_code_info.as_ref().unwrap();
    for location in &info.location {
        // Paths as descriptor.proto numbers them: a definition ends in (message|enum|service, index), and what it
        // holds in (field|value|method|nested, index) below that.
        let kind = match location.path.as_slice() {
            [4, _] | [4, _, 2, _] | [4, _, 8, _] => "message or field",
            [5, _] | [5, _, 2, _] => "enum or value",
            [6, _] | [6, _, 2, _] => "service or method",
            _ => continue,
        };
        if location.leading_comments().trim().is_empty() {
            bare.push((kind, location.span.first().map(|line| line + 1)));
        }
    }
    assert_eq!(bare, [], "kind and line of what has no comment");
}
