//! The fuzzer's corpus, replayed: what was once worth a file must hold on every build.

use std::path::Path;

use super::simulated::SimulatedDisk;
use super::*;
use crate::registry::{TableDef, Tenant};
use crate::wal::inspect::Inspector;
use crate::wal::{Definitions, Entry};

fn corpus() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/wal_recovery");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect()
}

#[test]
fn every_segment_is_recovered_and_every_entry_decoded_or_refused() {
    let (mut segments, mut frames, mut entries, mut refused) = (0, 0, 0, 0);
    for (name, input) in corpus() {
        let (&kind, rest) = input.split_first().unwrap();
        if kind == 0 {
            frames += recover(&name, rest);
            segments += 1;
        } else if decode(&name, kind, rest) {
            entries += 1;
        } else {
            refused += 1;
        }
    }
    assert!(
        segments >= 5 && frames >= 10 && entries >= 4 && refused >= 4,
        "{segments} {frames} {entries} {refused}"
    );
}

/// Returns how many frames there were.
fn recover(name: &str, segment: &[u8]) -> usize {
    let directory = Path::new("/wal/fuzzed");
    let disk = SimulatedDisk::with_directory("/wal/fuzzed");
    disk.put(&super::super::segment::path(directory, Position(1)), segment);
    let mut seen = Vec::new();
    let looked = Inspector::open(Arc::new(disk.clone()), directory, "fuzzed");
    if let Ok(inspector) = &looked {
        inspector.verify(|frame| seen.push(frame.clone())).unwrap();
    }
    let opened = Log::<()>::open(Arc::new(disk), directory, "fuzzed", options());
    assert_eq!(opened.is_ok(), looked.is_ok(), "{name}: {opened:?} {looked:?}");
    let Ok((log, recovery)) = opened else { return 0 };
    assert_eq!(read_all(&mut log.reader(Position(1))), seen, "{name}");
    assert!(seen.windows(2).all(|pair| pair[0].position < pair[1].position), "{name}");
    assert!(seen.last().is_none_or(|frame| frame.position <= recovery.last), "{name}");
    seen.len()
}

/// Returns whether it is an entry.
fn decode(name: &str, kind: u8, body: &[u8]) -> bool {
    let spec = serde_json::from_str(include_str!("../../../fuzz/wal_table.json")).unwrap();
    let table = TableDef::from_spec(Tenant::default(), spec, 1).unwrap();
    let disk = SimulatedDisk::with_directory("/wal");
    let definitions = Definitions::new(Arc::new(disk), Path::new("/wal/definitions"));
    definitions.id(&Arc::new(table)).unwrap();
    let body = Bytes::copy_from_slice(body);
    let header = Entry::decode_header(kind, &body);
    let Ok(entry) = Entry::decode(kind, &body, &definitions) else { return false };
    assert_eq!(entry.kind(), kind, "{name}");
    assert!(header.is_ok(), "{name}: {header:?}");
    let again = entry.encode(&definitions, Default::default()).unwrap().concat();
    assert!(kind == Entry::REQUEST || again == body, "{name}");
    true
}
