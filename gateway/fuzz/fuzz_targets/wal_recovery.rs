//! The write-ahead log: the first byte says what the rest is, 0 for a segment to be recovered and read, others for the
//! body of an entry of that kind.
#![no_main]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tidewell_fuzz::memory_disk::MemoryDisk;
use tidewell_gateway::registry::{TableDef, Tenant};
use tidewell_gateway::wal::inspect::Inspector;
use tidewell_gateway::wal::{Definitions, Disk, Entry, Log, LogOptions, Position};

libfuzzer_sys::fuzz_target!(init: tidewell_fuzz::let_arrow_panic(), |input: &[u8]| {
    match input.split_first() {
        None => {}
        Some((0, segment)) => recover(segment),
        Some((&kind, body)) => decode(kind, body),
    }
});

fn recover(segment: &[u8]) {
    let directory = Path::new("/wal/fuzzed");
    let disk = MemoryDisk::default();
    disk.write(&directory.join(format!("{:020}.wal", 1)), segment);
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let mut seen = Vec::new();
    let looked = Inspector::open(Arc::clone(&disk), directory, "fuzzed");
    if let Ok(inspector) = &looked {
        inspector.verify(|frame| seen.push(frame.clone())).expect("memory is read without errors");
    }
    let options = LogOptions {
        segment_bytes: 1 << 20,
        max_bytes: 1 << 30,
        retain_age: Duration::ZERO,
        retain_bytes: 0,
        recent_bytes: 0,
    };
    let opened = Log::<()>::open(disk, directory, "fuzzed", options);
    assert_eq!(opened.is_ok(), looked.is_ok(), "{opened:?} {looked:?}");
    let Ok((log, recovery)) = opened else { return };
    let mut reader = log.reader(Position(1));
    for frame in &seen {
        let read = reader.next().expect("memory is read without errors");
        assert_eq!(read.as_ref(), Some(frame), "the reader and the inspector disagree");
    }
    assert_eq!(reader.next().expect("memory is read without errors"), None);
    assert!(seen.windows(2).all(|pair| pair[0].position < pair[1].position));
    assert!(seen.last().is_none_or(|frame| frame.position <= recovery.last));
}

fn decode(kind: u8, body: &[u8]) {
    let spec = serde_json::from_str(include_str!("../wal_table.json")).expect("the table is valid");
    let table = TableDef::from_spec(Tenant::default(), spec, 1).expect("the table is valid");
    let definitions = Definitions::new(Arc::new(MemoryDisk::default()), Path::new("/wal/definitions"));
    definitions.id(&Arc::new(table)).expect("memory is written without errors");
    let body = bytes::Bytes::copy_from_slice(body);
    let header = Entry::decode_header(kind, &body);
    let Ok(entry) = Entry::decode(kind, &body, &definitions) else { return };
    assert_eq!(entry.kind(), kind);
    assert!(header.is_ok(), "an entry has a header: {header:?}");
    // What was understood can be said again, in the same words where there is one way to say it.
    let again = entry.encode(&definitions, Default::default()).expect("what was decoded can be encoded").concat();
    if kind != Entry::REQUEST {
        assert_eq!(again, body);
    }
}
