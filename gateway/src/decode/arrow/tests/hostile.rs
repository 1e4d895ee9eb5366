//! Streams that lie: nothing panics, nothing takes memory that was not sent, and each is refused with a reason.

use arrow::array::*;
use arrow::datatypes::*;
use arrow::ipc::CompressionType;
use proptest::prelude::*;

use super::*;
use crate::decode::arrow::MessageDecoder;

fn reason(body: &Bytes) -> String {
    decode(body, "wide").unwrap_err().to_string()
}

/// A stream with a dictionary, lists, maps and NULLs: something of each kind of buffer.
fn rich_batch() -> RecordBatch {
    let dictionary: DictionaryArray<Int32Type> =
        [Some("a"), None, Some("b"), Some("a")].into_iter().collect();
    let list =
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)]), None, Some(vec![]), None]);
    let mut map = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in 0..4 {
        map.keys().append_value(format!("k{row}"));
        map.values().append_value("v");
        map.append(true).unwrap();
    }
    batch(vec![
        ("time", times(4)),
        ("note", Arc::new(dictionary)),
        ("bigints", Arc::new(list)),
        ("labels", Arc::new(map.finish())),
        (
            "trace_id",
            Arc::new(StringViewArray::from(vec![Some("x"), None, Some("longer than twelve bytes"), None])),
        ),
        ("value", Arc::new(Float64Array::from(vec![Some(1.0), None, Some(2.0), None]))),
    ])
}

fn compressed(codec: CompressionType) -> Bytes {
    let options = IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap();
    stream_with(&[rich_batch(), rich_batch()], options)
}

#[test]
fn compressed_buffers_are_read() {
    let plain = decode(&stream(&[rich_batch(), rich_batch()]), "wide").unwrap();
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let decoded = decode(&compressed(codec), "wide").unwrap();
        assert_eq!(decoded.accepted, 8);
        assert_eq!(decoded.batches[0].rows(), plain.batches[0].rows());
    }
}

#[test]
fn a_stream_that_was_cut_off_anywhere_is_refused() {
    let body = stream(&[rich_batch(), rich_batch()]);
    for length in 0..body.len() {
        let reason = reason(&body.slice(..length));
        assert!(reason.contains("Arrow"), "{length}: {reason}");
    }
    let mut more = body.to_vec();
    more.push(0);
    assert!(reason(&more.into()).contains("follow the end"));
}

#[test]
fn what_is_no_arrow_stream_is_refused() {
    for body in ["{\"a\":1}", "ARROW1\0\0", "\u{7f}\u{7f}\u{7f}\u{7f}\0\0\0\0"] {
        assert!(reason(&Bytes::from(body)).contains("not an Arrow IPC stream"), "{body:?}");
    }
    assert!(reason(&Bytes::from_static(&[0xff; 8])).contains("cut off"));
    let only_end = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];
    assert!(reason(&Bytes::copy_from_slice(&only_end)).contains("no schema"));
}

#[test]
fn a_second_schema_is_refused() {
    let first = stream(&[rich_batch()]);
    let second = stream(&[batch(vec![("time", times(1))])]);
    let both = [first.slice(..first.len() - 8), second].concat();
    assert!(reason(&both.into()).contains("schema changes"));
}

#[test]
fn a_compression_bomb_is_refused_before_it_is_opened() {
    let zeros: ArrayRef = Arc::new(Int64Array::from(vec![0; 1_000_000]));
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        let options = IpcWriteOptions::default().try_with_compression(Some(codec)).unwrap();
        let body =
            stream_with(&[batch(vec![("time", times(1_000_000)), ("count", Arc::clone(&zeros))])], options);
        let limits = DecodeLimits { decoded_bytes: 1_000_000, ..DecodeLimits::default() };
        let refused = with_context(limits, |context| ipc_stream(&body, "wide", context)).unwrap_err();
        assert!(matches!(refused, DecodeError::TooLarge(_)), "{refused}");
    }
}

#[test]
fn a_declared_length_is_not_believed() {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::ZSTD)).unwrap();
    let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(4096); 4]));
    let body = stream_with(&[batch(vec![("time", times(4)), ("note", long)])], options).to_vec();
    let declared = 4_i64 * 4096;
    let at = body.windows(8).position(|window| window == declared.to_le_bytes()).unwrap();
    for lie in [i64::MAX, -2, i64::MIN, declared + 1, declared - 1] {
        let mut body = body.clone();
        body[at..at + 8].copy_from_slice(&lie.to_le_bytes());
        assert!(decode(&body.into(), "wide").is_err(), "{lie}");
    }
}

#[test]
fn dictionaries_and_views_do_not_multiply_memory() {
    let limits = DecodeLimits { decoded_bytes: 8 << 20, ..DecodeLimits::default() };
    let rows = 10_000;
    let long = "x".repeat(1 << 20);
    let dictionary = DictionaryArray::<Int32Type>::new(
        Int32Array::from(vec![0; rows]),
        Arc::new(StringArray::from(vec![long.as_str()])),
    );
    let mut views = StringViewBuilder::new();
    let block = views.append_block(long.clone().into_bytes().into());
    for _ in 0..rows {
        views.try_append_view(block, 0, 1 << 20).unwrap();
    }
    let layouts: [ArrayRef; 2] = [Arc::new(dictionary), Arc::new(views.finish())];
    for array in layouts {
        for name in ["note", "raw", "doc", "unknown"] {
            let body = stream(&[batch(vec![("time", times(rows)), (name, Arc::clone(&array))])]);
            assert!(body.len() < 2 << 20, "{} bytes", body.len());
            let refused = with_context(limits, |context| ipc_stream(&body, "wide", context)).unwrap_err();
            assert!(matches!(refused, DecodeError::TooLarge(_)), "{name}: {refused}");
        }
    }
}

#[test]
fn too_many_rows_are_refused() {
    let limits = DecodeLimits { records: 5, ..DecodeLimits::default() };
    let body = stream(&[rich_batch(), rich_batch()]);
    let refused = with_context(limits, |context| ipc_stream(&body, "wide", context)).unwrap_err();
    assert!(matches!(refused, DecodeError::TooLarge(_)), "{refused}");
}

#[test]
fn nesting_is_bounded() {
    let mut array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    for _ in 0..20 {
        let fields = Fields::from(vec![Field::new("x", array.data_type().clone(), true)]);
        array = Arc::new(StructArray::new(fields, vec![array], None));
    }
    assert!(
        reason(&stream(&[batch(vec![("time", times(1)), ("deep", array)])])).contains("nested too deeply")
    );
    let json: ArrayRef = Arc::new(StringArray::from(vec![format!("{}{}", "[".repeat(20), "]".repeat(20))]));
    let decoded = decode(&stream(&[batch(vec![("time", times(1)), ("doc", json)])]), "wide").unwrap();
    assert!(decoded.rejected[0].error.reason.contains("nested"), "{:?}", decoded.rejected[0].error);
}

#[test]
fn types_that_no_column_holds_are_refused_by_name() {
    let runs =
        RunArray::<Int32Type>::try_new(&Int32Array::from(vec![1]), &StringArray::from(vec!["x"])).unwrap();
    let refused = reason(&stream(&[batch(vec![("time", times(1)), ("runs", Arc::new(runs))])]));
    assert!(refused.contains("\"runs\"") && refused.contains("convert it"), "{refused}");
}

#[test]
fn types_that_arrow_itself_would_not_make_are_refused() {
    let pair = Fields::from(vec![Field::new("only", DataType::Utf8, false)]);
    let map = DataType::Map(Arc::new(Field::new("entries", DataType::Struct(pair), false)), false);
    let not_a_struct = DataType::Map(Arc::new(Field::new("entries", DataType::Utf8, false)), false);
    for kind in [map, not_a_struct, DataType::FixedSizeBinary(-1)] {
        let schema = Schema::new(vec![Field::new("odd", kind, true)]);
        let header = arrow::ipc::writer::IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            &schema,
            &mut arrow::ipc::writer::DictionaryTracker::new(false),
            &IpcWriteOptions::default(),
        );
        let refused = MessageDecoder::new(&header.ipc_message, DecodeLimits::default()).unwrap_err();
        assert!(refused.to_string().contains("\"odd\""), "{refused}");
    }
}

#[test]
fn a_dictionary_that_was_never_sent_serves_a_column_of_nulls() {
    let nulls: ArrayRef = arrow::array::new_null_array(
        &DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8)),
        2,
    );
    let decoded = decode(&stream(&[batch(vec![("time", times(2)), ("trace_id", nulls)])]), "wide").unwrap();
    assert_eq!(column(&decoded, "trace_id").null_count(), 2);
}

/// A schema message whose columns all refer to one field table with a long name: 64 KiB that stand for gigabytes.
#[test]
fn a_schema_that_refers_to_one_table_many_times_is_refused() {
    use arrow::ipc;
    let mut flat = flatbuffers::FlatBufferBuilder::new();
    let name = flat.create_string(&"n".repeat(16 * 1024));
    let kind = ipc::Null::create(&mut flat, &ipc::NullArgs {}).as_union_value();
    let args = ipc::FieldArgs {
        name: Some(name),
        type_type: ipc::Type::Null,
        type_: Some(kind),
        nullable: true,
        ..Default::default()
    };
    let leaf = ipc::Field::create(&mut flat, &args);
    let fields = flat.create_vector(&vec![leaf; 10_000]);
    let args = ipc::SchemaArgs { fields: Some(fields), ..Default::default() };
    let schema = ipc::Schema::create(&mut flat, &args).as_union_value();
    let args = ipc::MessageArgs {
        version: ipc::MetadataVersion::V5,
        header_type: ipc::MessageHeader::Schema,
        header: Some(schema),
        ..Default::default()
    };
    let message = ipc::Message::create(&mut flat, &args);
    flat.finish(message, None);
    let refused = MessageDecoder::new(flat.finished_data(), DecodeLimits::default()).unwrap_err();
    assert!(refused.to_string().contains("not valid"), "{refused}");
}

/// One change to a stream.
#[derive(Debug, Clone)]
enum Mutation {
    Flip { at: prop::sample::Index, bits: u8 },
    Word { at: prop::sample::Index, value: i64 },
    Cut { at: prop::sample::Index, length: usize },
    Repeat { at: prop::sample::Index, length: usize },
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    let word =
        prop_oneof![Just(-1), Just(i64::MAX), Just(i64::MIN), Just(1 << 31), 0..4096_i64, any::<i64>()];
    prop_oneof![
        4 => (at(), 1..=255_u8).prop_map(|(at, bits)| Mutation::Flip { at, bits }),
        3 => (at(), word).prop_map(|(at, value)| Mutation::Word { at, value }),
        1 => (at(), 1..64_usize).prop_map(|(at, length)| Mutation::Cut { at, length }),
        1 => (at(), 1..64_usize).prop_map(|(at, length)| Mutation::Repeat { at, length }),
    ]
}

fn mutate(body: &mut Vec<u8>, mutation: &Mutation) {
    match mutation {
        Mutation::Flip { at, bits } => {
            let at = at.index(body.len());
            body[at] ^= bits;
        }
        Mutation::Word { at, value } => {
            // Where the format has its words: at multiples of 8.
            let at = at.index(body.len() / 8) * 8;
            body[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        Mutation::Cut { at, length } => {
            let at = at.index(body.len());
            let end = (at + length).min(body.len());
            body.drain(at..end);
        }
        Mutation::Repeat { at, length } => {
            let at = at.index(body.len());
            let part = body[at..(at + length).min(body.len())].to_vec();
            body.splice(at..at, part);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    /// Whatever is done to a stream, it is decoded or refused; and what is decoded keeps its promise to the stores.
    #[test]
    fn mutated_streams_are_decoded_or_refused(
        codec in prop::option::of(prop_oneof![Just(CompressionType::LZ4_FRAME), Just(CompressionType::ZSTD)]),
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        let options = IpcWriteOptions::default().try_with_compression(codec).unwrap();
        let mut body = stream_with(&[rich_batch(), rich_batch()], options).to_vec();
        for mutation in &mutations {
            if body.len() > 16 {
                mutate(&mut body, mutation);
            }
        }
        if let Ok(decoded) = decode(&body.into(), "wide") {
            let rows: usize = decoded.batches.iter().map(crate::registry::TableBatch::len).sum();
            prop_assert_eq!(rows, decoded.accepted);
            for batch in &decoded.batches {
                for column in batch.rows().columns() {
                    column.to_data().validate_full().unwrap();
                }
            }
        }
    }
}
