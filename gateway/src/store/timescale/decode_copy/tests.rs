//! The decoder against our encoder, and against bytes that nobody encoded.

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::registry::StoreKind;
use crate::store::sample;
use crate::store::timescale::encode::CopyEncoder;
use crate::tier::content::Content;

const LIMITS: BatchLimits = BatchLimits { rows: 5, bytes: 1 << 20 };

/// One row's values, of every type that a column can have.
#[derive(Debug, Clone)]
struct Sample {
    time: i64,
    number: Option<i64>,
    double: Option<f64>,
    text: Option<String>,
    bytes: Vec<u8>,
    doubles: Vec<f64>,
    texts: Vec<String>,
    labels: Vec<(String, Label)>,
}

#[derive(Debug, Clone)]
enum Label {
    Text(String),
    Int(i64),
    Double(f64),
    Bytes(Vec<u8>),
    Nested(Vec<i64>),
    Empty,
}

fn label() -> impl Strategy<Value = Label> {
    prop_oneof![
        "[^\u{0}]{0,9}".prop_map(Label::Text),
        any::<i64>().prop_map(Label::Int),
        any::<f64>().prop_map(Label::Double),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(Label::Bytes),
        prop::collection::vec(any::<i64>(), 0..4).prop_map(Label::Nested),
        Just(Label::Empty),
    ]
}

fn sample_row() -> impl Strategy<Value = Sample> {
    (
        -3 * 86_400_000_000_000i64..3 * 86_400_000_000_000,
        any::<Option<i64>>(),
        any::<Option<f64>>(),
        prop::option::of("[^\u{0}]{0,20}"),
        prop::collection::vec(any::<u8>(), 0..20),
        prop::collection::vec(any::<f64>(), 0..4),
        prop::collection::vec("[^\u{0}]{0,9}", 0..4),
        prop::collection::btree_map("[^\u{0}$][^\u{0}]{0,5}", label(), 0..4),
    )
        .prop_map(|(time, number, double, text, bytes, doubles, texts, labels)| Sample {
            time,
            number,
            double,
            text,
            bytes,
            doubles,
            texts,
            labels: labels.into_iter().collect(),
        })
}

fn table() -> Arc<TableDef> {
    Arc::new(sample::every_type(StoreKind::Timescale))
}

fn batch(rows: &[Sample]) -> TableBatch {
    let table = table();
    let mut builder = TableBuilder::for_reading(Arc::clone(&table));
    for row in rows {
        for (at, column) in table.columns().iter().enumerate() {
            set(&mut builder, at, column.kind, row).unwrap();
        }
        builder.end_row().unwrap();
    }
    builder.finish().unwrap().unwrap()
}

fn set(builder: &mut TableBuilder, at: usize, kind: ColumnType, row: &Sample) -> Result<(), FieldError> {
    match kind {
        ColumnType::TimestampNs => builder.set_time(at, row.time),
        ColumnType::TimestampMs | ColumnType::TimestampUs => {
            builder.set_time(at, row.time.div_euclid(1_000_000) * 1_000_000)
        }
        ColumnType::Double => row.double.map_or(Ok(()), |value| builder.set_double(at, value)),
        ColumnType::BigInt => row.number.map_or(Ok(()), |value| builder.set_int(at, value)),
        ColumnType::Integer => row.number.map_or(Ok(()), |value| builder.set_int(at, value % 1_000)),
        ColumnType::Boolean => row.number.map_or(Ok(()), |value| builder.set_bool(at, value > 0)),
        ColumnType::Text | ColumnType::LowCardinalityText => {
            row.text.as_ref().map_or(Ok(()), |value| builder.set_text(at, value))
        }
        ColumnType::Bytes => builder.set_bytes(at, &row.bytes),
        ColumnType::Uuid => {
            let uuid = row.number.map(|number| uuid::Uuid::from_u128(u128::from(number.unsigned_abs())));
            uuid.map_or(Ok(()), |uuid| builder.set_text(at, &uuid.to_string()))
        }
        ColumnType::Json => {
            row.number.map_or(Ok(()), |number| builder.set_text(at, &format!("{{\"n\": [{number}, 1.50]}}")))
        }
        ColumnType::DoubleArray => builder.set_doubles(at, row.doubles.iter().copied()),
        ColumnType::BigIntArray => builder.set_ints(at, row.number),
        ColumnType::TextArray => builder.set_texts(at, row.texts.iter().map(String::as_str)),
        ColumnType::Attributes => {
            let labels = builder.attributes(at).unwrap();
            for (key, value) in &row.labels {
                match value {
                    Label::Text(text) => labels.push_str(key, text),
                    Label::Int(value) => labels.push_int(key, *value),
                    Label::Double(value) => labels.push_double(key, *value),
                    Label::Bytes(bytes) => labels.push_bytes(key, bytes),
                    Label::Nested(values) => {
                        labels.push(key, &serde_json::to_string(values).unwrap(), ValueType::Array);
                    }
                    Label::Empty => labels.push(key, "", ValueType::Empty),
                }
            }
            Ok(())
        }
    }
}

fn encoded(batch: &TableBatch) -> BytesMut {
    let mut bytes = BytesMut::new();
    CopyEncoder::header(&mut bytes);
    let mut encoder = CopyEncoder::new(batch);
    (0..batch.len()).for_each(|row| encoder.row(row, &mut bytes).unwrap());
    CopyEncoder::trailer(&mut bytes);
    bytes
}

fn decode<'b>(chunks: impl IntoIterator<Item = &'b [u8]>) -> Result<Vec<TableBatch>, CopyError> {
    let mut decoder = CopyDecoder::new(table(), LIMITS).unwrap();
    let mut batches = Vec::new();
    for chunk in chunks {
        decoder.push(chunk)?;
        batches.extend(decoder.take_ready());
    }
    batches.extend(decoder.finish()?);
    Ok(batches)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_encoded_reads_back(rows in prop::collection::vec(sample_row(), 1..20), cut in 1..200_usize) {
        let batch = batch(&rows);
        let bytes = encoded(&batch);
        let decoded = decode(bytes.chunks(cut)).unwrap();
        let (mut wanted, mut found) = (Content::default(), Content::default());
        wanted.add(&batch);
        for batch in &decoded {
            prop_assert!(batch.len() <= LIMITS.rows);
            let time = batch.table().time_column().unwrap();
            let times = arrow::array::AsArray::as_primitive::<arrow::datatypes::TimestampNanosecondType>(
                batch.rows().column(time),
            );
            let day = |nanos: &i64| nanos.div_euclid(86_400_000_000_000);
            prop_assert!(times.values().iter().all(|nanos| day(nanos) == day(&times.value(0))));
            found.add(batch);
        }
        prop_assert_eq!(found, wanted);
        if rows.len() == 1 {
            prop_assert_eq!(decoded[0].rows(), batch.rows());
        }
    }

    #[test]
    fn changed_bytes_do_not_panic(
        rows in prop::collection::vec(sample_row(), 1..4), at in any::<prop::sample::Index>(), byte in any::<u8>(),
        end in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&batch(&rows));
        let at = at.index(bytes.len());
        bytes[at] = byte;
        drop(decode([&bytes[..]]));
        drop(decode([&bytes[..end.index(bytes.len())]]));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(decode([&bytes[..]]));
        let mut bytes = [HEADER, &bytes[..]].concat();
        drop(decode([&bytes[..]]));
        bytes.splice(HEADER.len()..HEADER.len(), 18_i16.to_be_bytes());
        drop(decode([&bytes[..]]));
    }
}

fn refusal(bytes: &[u8]) -> String {
    decode([bytes]).unwrap_err().to_string()
}

#[test]
fn what_is_wrong_is_named() {
    assert!(refusal(b"PGCOPX").contains("does not begin"));
    assert!(refusal(HEADER).contains("end in the middle"));
    let claim = [HEADER, &18_i16.to_be_bytes(), &i32::MAX.to_be_bytes()].concat();
    assert!(refusal(&claim).contains("end in the middle"), "nothing is allocated for what is claimed");
    assert!(refusal(&[HEADER, &3_i16.to_be_bytes()].concat()).contains("3 fields instead of"));
    let after = [HEADER, &(-1_i16).to_be_bytes(), b"x"].concat();
    assert!(refusal(&after).contains("bytes follow"));
}

#[test]
fn times_that_no_batch_holds_are_refused() {
    for (micros, word) in [(i64::MAX, "infinite"), (i64::MIN, "infinite"), (i64::MAX - 1, "before 1677")] {
        assert!(nanoseconds(micros, 0).unwrap_err().contains(word));
    }
}

#[test]
fn json_keeps_the_text_that_postgres_gives() {
    let table = table();
    let json = table.column_index("json").unwrap();
    for text in [r#"{"a": [1, 2.50, 1e400], "bb": {"$bytes": "eA=="}}"#, "null", "\"\u{e9}\"", "[]"] {
        let mut builder = TableBuilder::for_reading(Arc::clone(&table));
        builder.set_time(0, 0).unwrap();
        builder.set_text(builder.column("name").unwrap(), "n").unwrap();
        builder.set_text(json, text).unwrap();
        builder.end_row().unwrap();
        let bytes = encoded(&builder.finish().unwrap().unwrap());
        let decoded = decode([&bytes[..]]).unwrap();
        let read = arrow::array::AsArray::as_string::<i32>(decoded[0].rows().column(json));
        assert_eq!(read.value(0), text);
    }
}

/// The fuzzer's corpus, replayed: what was once worth a file must hold on every build.
#[test]
fn the_corpus_is_read_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/copy_binary");
    let (mut rows, mut refused) = (0, 0);
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let whole = decode([&bytes[..]]);
        let pieces = decode(bytes.chunks(7));
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => {
                assert_eq!(whole.len(), pieces.len());
                rows += whole.iter().map(TableBatch::len).sum::<usize>();
            }
            (Err(whole), Err(pieces)) => {
                assert_eq!(whole, pieces);
                refused += 1;
            }
            (whole, pieces) => panic!("{whole:?} in one piece and {pieces:?} in several"),
        }
    }
    assert!(rows >= 9 && refused >= 8, "{rows} rows, {refused} refused");
}
