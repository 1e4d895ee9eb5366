//! Entries to bytes and back, and bytes that are no entries.

use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut as _, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::decode::{DecodeContext, DecodeLimits, TableBuilder};
use crate::registry::{
    ColumnType, Identifier, Snapshot, StoreKind, TableBatch, TableDef, Tenant, ValueType, builtin,
};
use crate::store::sample::every_type;
use crate::wal::Position;
use crate::wal::tests::simulated::SimulatedDisk;

const DIRECTORY: &str = "/wal/definitions";
const NOW: i64 = 1_700_000_000_000_000_000;

fn definitions() -> Definitions {
    Definitions::new(Arc::new(SimulatedDisk::with_directory("/wal")), Path::new(DIRECTORY))
}

/// One row of a table with a column of every type: what each column gets, or nothing.
#[derive(Debug, Clone)]
struct Row {
    time: i64,
    number: Option<i64>,
    small: Option<i32>,
    double: Option<f64>,
    boolean: Option<bool>,
    text: Option<String>,
    bytes: Option<Vec<u8>>,
    doubles: Vec<f64>,
    texts: Vec<String>,
    labels: Vec<(String, String)>,
}

impl Row {
    const EMPTY: Self = Self {
        time: NOW,
        number: None,
        small: None,
        double: None,
        boolean: None,
        text: None,
        bytes: None,
        doubles: Vec::new(),
        texts: Vec::new(),
        labels: Vec::new(),
    };
}

fn row() -> impl Strategy<Value = Row> {
    (
        NOW - 1_000_000_000..NOW,
        (any::<Option<i64>>(), any::<Option<i32>>(), any::<Option<f64>>(), any::<Option<bool>>()),
        prop::option::of("[^\u{0}]{0,20}"),
        prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        prop::collection::vec(any::<f64>(), 0..4),
        prop::collection::vec("[^\u{0}]{0,9}", 0..4),
        prop::collection::vec(("[a-z]{1,9}", "[^\u{0}]{0,9}"), 0..4),
    )
        .prop_map(|(time, (number, small, double, boolean), text, bytes, doubles, texts, labels)| Row {
            time,
            number,
            small,
            double,
            boolean,
            text,
            bytes,
            doubles,
            texts,
            labels,
        })
}

fn batch(table: &Arc<TableDef>, rows: &[Row]) -> TableBatch {
    let (tables, limits) = (Snapshot::default(), DecodeLimits::default());
    let context = DecodeContext { tables: &tables, tenant: &table.tenant, now_nanos: NOW, limits };
    let mut builder = TableBuilder::new(Arc::clone(table), &context);
    for row in rows {
        for (at, column) in table.columns().iter().enumerate() {
            set(&mut builder, at, column.kind, row);
        }
        builder.end_row().unwrap();
    }
    builder.finish().unwrap().unwrap()
}

fn set(builder: &mut TableBuilder, at: usize, kind: ColumnType, row: &Row) {
    let done = match kind {
        ColumnType::TimestampNs | ColumnType::TimestampMs | ColumnType::TimestampUs => {
            builder.set_time(at, row.time)
        }
        ColumnType::Double => row.double.map_or(Ok(()), |value| builder.set_double(at, value)),
        ColumnType::BigInt => row.number.map_or(Ok(()), |value| builder.set_int(at, value)),
        ColumnType::Integer => row.small.map_or(Ok(()), |value| builder.set_int(at, i64::from(value))),
        ColumnType::Boolean => row.boolean.map_or(Ok(()), |value| builder.set_bool(at, value)),
        ColumnType::Text | ColumnType::LowCardinalityText => {
            row.text.as_ref().map_or(Ok(()), |value| builder.set_text(at, value))
        }
        ColumnType::Bytes => row.bytes.as_ref().map_or(Ok(()), |value| builder.set_bytes(at, value)),
        ColumnType::Uuid => {
            let uuid = row.number.map(|number| uuid::Uuid::from_u128(u128::from(number.unsigned_abs())));
            uuid.map_or(Ok(()), |uuid| builder.set_text(at, &uuid.to_string()))
        }
        ColumnType::Json => row.number.map_or(Ok(()), |number| builder.set_text(at, &format!("[{number}]"))),
        ColumnType::DoubleArray => builder.set_doubles(at, row.doubles.iter().copied()),
        ColumnType::BigIntArray => builder.set_ints(at, row.number),
        ColumnType::TextArray => builder.set_texts(at, row.texts.iter().map(String::as_str)),
        ColumnType::Attributes => {
            let labels = builder.attributes(at).unwrap();
            for (key, value) in &row.labels {
                labels.push(key, value, ValueType::String);
            }
            Ok(())
        }
    };
    done.unwrap();
}

fn key() -> impl Strategy<Value = Option<StoredKey>> {
    let scope = prop_oneof![Just(KeyScope::Given), Just(KeyScope::Body)];
    let answer = prop::collection::vec(any::<u8>(), 0..80);
    let key = (scope, "\\PC{0,60}", any::<u128>(), answer, any::<bool>());
    prop::option::of(key.prop_map(|(scope, key, payload, answer, is_last)| StoredKey {
        scope,
        key,
        payload,
        answer: answer.into(),
        is_last,
    }))
}

/// The body of an entry in one piece.
fn encoded(entry: &Entry, definitions: &Definitions, compression: Compression) -> Bytes {
    let pieces = entry.encode(definitions, compression).unwrap();
    assert!(pieces.iter().all(|piece| !piece.is_empty()));
    pieces.concat().into()
}

fn assert_same(entry: &RequestEntry, decoded: &RequestEntry) {
    assert_eq!(decoded.tenant, entry.tenant);
    assert_eq!((&decoded.protocol, &decoded.caller), (&entry.protocol, &entry.caller));
    assert_eq!((decoded.records, &decoded.key), (entry.records, &entry.key));
    assert_eq!(decoded.batches.len(), entry.batches.len());
    for (decoded, batch) in decoded.batches.iter().zip(&entry.batches) {
        assert_eq!(decoded.table(), batch.table());
        assert_eq!(decoded.rows(), batch.rows());
    }
}

fn request(batches: Vec<TableBatch>, key: Option<StoredKey>) -> RequestEntry {
    RequestEntry {
        tenant: Tenant::default(),
        protocol: "otlp_grpc".to_owned(),
        caller: "anonymous".to_owned(),
        records: 7,
        key,
        batches,
    }
}

proptest! {
    /// Rows of all types, whole and sliced, with and without compression, of several tables.
    #[test]
    fn requests_read_back(
        rows in prop::collection::vec(row(), 1..30), slice in (0..30_usize, 0..30_usize), key in key(),
        caller in "\\PC{0,300}", compress in any::<bool>(), many in any::<bool>(),
    ) {
        let tables = [every_type(StoreKind::Timescale), every_type(StoreKind::ClickHouse)].map(Arc::new);
        let whole = batch(&tables[0], &rows);
        let start = slice.0.min(rows.len());
        let part = whole.slice(start, slice.1.min(rows.len() - start));
        // Large enough that buffers stand by themselves.
        let times = if many { 300 } else { 1 };
        let long = TableBatch::concat(Arc::clone(&tables[1]), &vec![batch(&tables[1], &rows); times]).unwrap();
        let entry = RequestEntry { caller, ..request(vec![whole, part, long], key) };
        let definitions = definitions();
        let compression = if compress { Compression::Lz4 } else { Compression::None };
        let body = encoded(&Entry::Request(entry.clone()), &definitions, compression);
        let Entry::Request(decoded) = Entry::decode(Entry::REQUEST, &body, &definitions).unwrap() else {
            panic!("another kind")
        };
        assert_same(&entry, &decoded);
        let EntryHeader::Request(header) = Entry::decode_header(Entry::REQUEST, &body).unwrap() else {
            panic!("another kind")
        };
        prop_assert_eq!((&header.caller, &header.key), (&entry.caller, &entry.key));
        prop_assert_eq!(header.rows, entry.batches.iter().map(|batch| batch.len() as u64).sum::<u64>());
    }

    #[test]
    fn cuts_read_back(
        retired in prop::collection::vec(any::<u64>(), 0..9),
        created in prop::collection::vec((
            any::<(u64, u32, u32, u64, Option<i64>)>(), "[a-z]{1,40}",
            prop::collection::vec(any::<(u64, u16, u32, u32)>(), 0..9),
        ), 0..9),
    ) {
        let created: Vec<CutPlan> = created.into_iter().map(|((number, lane, epoch, previous, day), name, sources)| CutPlan {
            tier: if number % 3 == 0 { Tier::Cold } else { Tier::Hot },
            number, lane, epoch, previous, day,
            tenant: Tenant::new(&name).unwrap(),
            table: Identifier::new(name).unwrap(),
            sources: sources.into_iter().map(|(position, batch, start, count)| Source {
                position: Position(position), batch, start, count,
            }).collect(),
        }).collect();
        let definitions = definitions();
        let low_water = Position(retired.iter().copied().max().unwrap_or(0));
        let done = Entry::Done(DoneEntry { cuts: retired.clone(), low_water });
        let body = encoded(&done, &definitions, Compression::None);
        let Entry::Done(decoded) = Entry::decode(Entry::DONE, &body, &definitions).unwrap() else {
            panic!("another kind")
        };
        prop_assert_eq!((&decoded.cuts, decoded.low_water), (&retired, low_water));
        let entry = CutsEntry { retired, created };
        let body = encoded(&Entry::Cuts(entry.clone()), &definitions, Compression::None);
        let Entry::Cuts(decoded) = Entry::decode(Entry::CUTS, &body, &definitions).unwrap() else {
            panic!("another kind")
        };
        prop_assert_eq!(decoded, entry);
    }

    #[test]
    fn no_bytes_panic(kind in 0..6_u8, mut body in prop::collection::vec(any::<u8>(), 0..400), known in any::<bool>()) {
        if let Some(layout) = body.first_mut().filter(|_| known) {
            *layout = 1;
        }
        let body = Bytes::from(body);
        drop(Entry::decode_header(kind, &body));
        drop(Entry::decode(kind, &body, &definitions()));
    }

    /// Entries with a few bytes changed, cut off or lengthened are refused or are entries.
    #[test]
    fn changed_entries_do_not_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
        rows in prop::collection::vec(row(), 1..5), cut in prop::option::of(any::<prop::sample::Index>()),
        compress in any::<bool>(), headers in any::<bool>(),
    ) {
        let definitions = definitions();
        let compression = if compress { Compression::Lz4 } else { Compression::None };
        let batch = batch(&Arc::new(every_type(StoreKind::Timescale)), &rows);
        let body = encoded(&Entry::Request(request(vec![batch], None)), &definitions, compression);
        let mut body = body.to_vec();
        for (at, value) in changes {
            // Half of the time among the lengths and flatbuffers, where most of the decisions are.
            let reach = if headers { body.len().min(600) } else { body.len() };
            let at = at.index(reach);
            body[at] = value;
        }
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        if let Ok(Entry::Request(decoded)) = Entry::decode(Entry::REQUEST, &body.into(), &definitions) {
            assert!(decoded.batches.len() <= 1);
        }
    }
}

#[test]
fn claims_take_no_memory() {
    let definitions = definitions();
    for kind in [Entry::CUTS, Entry::DONE] {
        let mut body = BytesMut::from(&[1][..]);
        body.put_u32_le(u32::MAX);
        body.put_bytes(0, 64);
        let error = Entry::decode(kind, &body.freeze(), &definitions).unwrap_err().to_string();
        assert!(error.contains("4294967295 items are announced at byte 5 and 64 bytes are there"), "{error}");
    }
    // A small batch whose compressed buffers claim to be huge.
    let table = Arc::new(every_type(StoreKind::Timescale));
    let text = Row { text: Some("x".repeat(4000)), ..Row::EMPTY };
    let batch = batch(&table, &[text]);
    let body = encoded(&Entry::Request(request(vec![batch], None)), &definitions, Compression::Lz4);
    let length = 4000_i64.to_le_bytes();
    let at = body.windows(8).position(|window| window == length).expect("a buffer tells its length");
    let mut body = body.to_vec();
    body[at..at + 8].copy_from_slice(&(1_i64 << 40).to_le_bytes());
    let error = Entry::decode(Entry::REQUEST, &body.into(), &definitions).unwrap_err().to_string();
    assert!(error.contains("exceed"), "{error}");
}

#[test]
fn what_is_newer_is_named() {
    let definitions = definitions();
    let error = Entry::decode(9, &Bytes::from_static(&[1]), &definitions).unwrap_err();
    assert!(matches!(error, EntryError::Kind(9)), "{error}");
    let error = Entry::decode(Entry::DONE, &Bytes::from_static(&[2, 0, 0, 0, 0]), &definitions).unwrap_err();
    assert!(matches!(error, EntryError::Layout { kind: 3, layout: 2, newest: 1 }), "{error}");
    let error = Entry::decode(Entry::CUTS, &Bytes::from_static(&[3, 0, 0, 0, 0]), &definitions).unwrap_err();
    assert!(matches!(error, EntryError::Layout { kind: 2, layout: 3, newest: 2 }), "{error}");
    let error = Entry::decode(
        Entry::DONE,
        &Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        &definitions,
    )
    .unwrap_err();
    assert!(error.to_string().contains("1 bytes follow its end"), "{error}");
}

#[test]
fn what_does_not_fit_is_refused_before_it_is_written() {
    let key = StoredKey {
        scope: KeyScope::Given,
        key: "k".repeat(256),
        payload: 0,
        answer: Bytes::new(),
        is_last: true,
    };
    let entry = Entry::Request(request(Vec::new(), Some(key)));
    let error = entry.encode(&definitions(), Compression::None).unwrap_err();
    assert_eq!(error.to_string(), "the key has 256 bytes or items: at most 255 fit into a frame");
}

#[test]
fn rows_are_not_copied_without_compression() {
    let table = Arc::new(every_type(StoreKind::Timescale));
    let text = "x".repeat(100_000);
    let (tables, tenant) = (Snapshot::default(), Tenant::default());
    let context =
        DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits: DecodeLimits::default() };
    let mut builder = TableBuilder::new(Arc::clone(&table), &context);
    builder.set_time(0, NOW).unwrap();
    builder.set_text(table.column_index("text").unwrap(), &text).unwrap();
    builder.end_row().unwrap();
    let batch = builder.finish().unwrap().unwrap();
    let values = batch.rows().column_by_name("text").unwrap().to_data().buffers()[1].as_ptr();
    let entry = Entry::Request(request(vec![batch], None));
    let pieces = entry.encode(&definitions(), Compression::None).unwrap();
    assert!(pieces.iter().any(|piece| piece.as_ptr() == values), "the texts were copied");
}

#[test]
fn built_in_tables_read_back() {
    let definitions = definitions();
    for table in builtin::tables(&Tenant::default()).unwrap() {
        let table = Arc::new(table);
        let id = definitions.id(&table).unwrap();
        let entry = request(
            vec![
                TableBatch::new(
                    Arc::clone(&table),
                    arrow::record_batch::RecordBatch::new_empty(Arc::clone(table.arrow())),
                )
                .unwrap(),
            ],
            None,
        );
        let body = encoded(&Entry::Request(entry.clone()), &definitions, Compression::None);
        let Entry::Request(decoded) = Entry::decode(Entry::REQUEST, &body, &definitions).unwrap() else {
            panic!("another kind")
        };
        assert_same(&entry, &decoded);
        assert_eq!(definitions.id(&table).unwrap(), id);
    }
}

#[test]
fn rows_of_another_tenant_are_refused() {
    let definitions = definitions();
    let batch = batch(&Arc::new(every_type(StoreKind::Timescale)), &[Row::EMPTY]);
    let entry = RequestEntry { tenant: Tenant::new("other").unwrap(), ..request(vec![batch], None) };
    let body = encoded(&Entry::Request(entry), &definitions, Compression::None);
    let error = Entry::decode(Entry::REQUEST, &body, &definitions).unwrap_err().to_string();
    assert!(error.contains("belongs to another tenant"), "{error}");
}
