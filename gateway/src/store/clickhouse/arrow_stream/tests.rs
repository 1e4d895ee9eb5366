use std::sync::Arc;

use arrow::array::{ArrayRef, MapArray, UInt8Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, UInt8Type, UInt64Type};
use arrow::ipc::reader::StreamReader;
use proptest::prelude::*;

use super::*;
use crate::decode::TableBuilder;
use crate::registry::{StoreKind, TableBatch, TableRows, ValueType};
use crate::store::sample;

#[derive(Debug, Clone)]
struct Sample {
    number: Option<i64>,
    text: Option<String>,
    bytes: Vec<u8>,
    texts: Vec<String>,
    labels: Vec<(String, String, ValueType)>,
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let kind =
        prop_oneof![3 => Just(ValueType::String), 1 => Just(ValueType::Int), 1 => Just(ValueType::Empty)];
    let row = (
        prop::option::of(-1_000_000_000_000_000_i64..4_000_000_000_000_000_000),
        prop::option::of("[ab]{0,2}"),
        prop::collection::vec(any::<u8>(), 0..3),
        prop::collection::vec("[a-z]{0,3}", 0..3),
        prop::collection::vec(("[a-e]", "[a-z]{0,4}", kind), 0..4),
    );
    let row =
        row.prop_map(|(number, text, bytes, texts, labels)| Sample { number, text, bytes, texts, labels });
    prop::collection::vec(row, 1..40)
}

fn batch(rows: &[Sample]) -> TableBatch {
    let table = Arc::new(sample::every_type(StoreKind::ClickHouse));
    let mut builder = TableBuilder::for_reading(Arc::clone(&table));
    for row in rows {
        for (at, column) in table.columns().iter().enumerate() {
            set(&mut builder, at, column.kind, row).unwrap();
        }
        builder.end_row().unwrap();
    }
    builder.finish().unwrap().unwrap()
}

fn set(
    builder: &mut TableBuilder,
    at: usize,
    kind: ColumnType,
    row: &Sample,
) -> Result<(), crate::decode::FieldError> {
    let is_text = matches!(kind, ColumnType::Text | ColumnType::LowCardinalityText);
    let number = match row.number {
        Some(number) => number,
        None if at == 0 || is_text => 0,
        None => return Ok(()),
    };
    match kind {
        ColumnType::TimestampNs | ColumnType::TimestampMs | ColumnType::TimestampUs => {
            builder.set_time(at, number)
        }
        #[expect(clippy::cast_precision_loss, reason = "any double will do")]
        ColumnType::Double => builder.set_double(at, number as f64),
        ColumnType::BigInt => builder.set_int(at, number),
        ColumnType::Integer => builder.set_int(at, number % 1_000),
        ColumnType::Boolean => builder.set_bool(at, number > 0),
        ColumnType::Text | ColumnType::LowCardinalityText => {
            row.text.as_ref().map_or(Ok(()), |text| builder.set_text(at, text))
        }
        ColumnType::Bytes => builder.set_bytes(at, &row.bytes),
        ColumnType::Uuid => {
            builder.set_text(at, &uuid::Uuid::from_u128(u128::from(number.unsigned_abs())).to_string())
        }
        ColumnType::Json => builder.set_text(at, &format!("[{number}]")),
        ColumnType::DoubleArray => builder.set_doubles(at, [0.5; 3].into_iter().take(row.texts.len())),
        ColumnType::BigIntArray => builder.set_ints(at, row.number),
        ColumnType::TextArray => builder.set_texts(at, row.texts.iter().map(String::as_str)),
        ColumnType::Attributes => {
            let labels = builder.attributes(at).unwrap();
            row.labels.iter().for_each(|(key, text, kind)| labels.push(key, text, *kind));
            Ok(())
        }
    }
}

fn stream(batches: Vec<TableBatch>) -> Vec<u8> {
    let rows = TableRows::new(batches).unwrap();
    let cut = Cut { log: 7, lane: 0, number: 9, epoch: 0, previous: 0, fresh: true, rows };
    to_stream(&cut).unwrap().concat()
}

/// Keys with texts, whatever the types that hold them.
fn entries(map: &MapArray, row: usize) -> Vec<(String, String)> {
    let texts = |array: &ArrayRef| cast(array, &DataType::Utf8).unwrap();
    let entries = map.value(row);
    let (keys, values) = (texts(entries.column(0)), texts(entries.column(1)));
    let pairs = keys.as_string::<i32>().iter().zip(values.as_string::<i32>());
    pairs.map(|(key, value)| (key.unwrap().to_owned(), value.unwrap().to_owned())).collect()
}

/// What a stream says is what the rows of `batch` say.
fn check(batch: &TableBatch, stream: &[u8]) {
    let read: Vec<RecordBatch> = StreamReader::try_new(stream, None).unwrap().map(Result::unwrap).collect();
    let [read] = read.as_slice() else { panic!("{} batches", read.len()) };
    let mut found = read.columns().iter();
    for (column, array) in batch.table().columns().iter().zip(batch.rows().columns()) {
        let found = found.next().unwrap();
        if column.kind != ColumnType::Attributes {
            assert_eq!(&cast(found, array.data_type()).unwrap(), array, "{}", column.name);
            continue;
        }
        let types =
            arrow::array::AsArray::as_map(read.column_by_name(&format!("{}_types", column.name)).unwrap());
        let map = array.as_map();
        for row in 0..batch.len() {
            let values = map.value(row);
            let pairs = values.column(1).as_struct();
            let texts: ArrayRef = Arc::clone(pairs.column(0));
            let codes: &UInt8Array = pairs.column(1).as_primitive::<UInt8Type>();
            let keys = values.column(0).as_string::<i32>();
            let all = keys
                .iter()
                .zip(texts.as_string::<i32>())
                .map(|(key, text)| (key.unwrap().to_owned(), text.unwrap().to_owned()));
            assert_eq!(entries(found.as_map(), row), all.collect::<Vec<_>>());
            let named = keys
                .iter()
                .zip(codes.values())
                .map(|(key, code)| (key.unwrap().to_owned(), ValueType::from_code(*code).unwrap()));
            let typed = named.filter(|(_, kind)| *kind != ValueType::String);
            let typed: Vec<_> = typed.map(|(key, kind)| (key, kind.name().to_owned())).collect();
            assert_eq!(entries(types, row), typed);
        }
    }
    for (name, value) in PROVENANCE_COLUMNS.into_iter().zip([7, 9]) {
        let column = read.column_by_name(name).unwrap().as_primitive::<UInt64Type>();
        assert!(column.values().iter().all(|&found| found == value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_stream_says_what_the_rows_say_however_they_are_divided(
        rows in samples(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let whole = batch(&rows);
        let stream_of_whole = stream(vec![whole.clone()]);
        check(&whole, &stream_of_whole);

        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(rows.len())).chain([0, rows.len()]).collect();
        ends.sort_unstable();
        let parts = || ends.windows(2).filter(|pair| pair[0] < pair[1]);
        let slices = parts().map(|pair| whole.slice(pair[0], pair[1] - pair[0]));
        prop_assert_eq!(&stream(slices.collect()), &stream_of_whole, "slices of one batch");
        let apart = parts().map(|pair| batch(&rows[pair[0]..pair[1]]));
        prop_assert_eq!(&stream(apart.collect()), &stream_of_whole, "batches of their own");
    }
}

#[test]
fn many_words_get_wider_numbers() {
    for count in [255, 256, 65_535, 65_536] {
        let words: Vec<String> = (0..count).map(|number| number.to_string()).collect();
        let sample = |text: &String| Sample {
            number: None,
            text: Some(text.clone()),
            bytes: vec![],
            texts: vec![],
            labels: vec![],
        };
        let batch = batch(&words.iter().map(sample).collect::<Vec<_>>());
        check(&batch, &stream(vec![batch.clone()]));
    }
}
