//! Which Arrow types serve which columns, and what becomes of their values.

use arrow::array::*;
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::*;

use super::*;

/// Decodes one column of table `wide` beside a time column.
fn converted(name: &str, array: ArrayRef) -> ArrayRef {
    let rows = array.len();
    let decoded = decode(&stream(&[batch(vec![("time", times(rows)), (name, array)])]), "wide").unwrap();
    assert_eq!(decoded.rejected, [], "{name}");
    assert_eq!(decoded.accepted, rows);
    column(&decoded, name)
}

fn refused(name: &str, array: ArrayRef) -> String {
    let rows = array.len();
    decode(&stream(&[batch(vec![("time", times(rows)), (name, array)])]), "wide").unwrap_err().to_string()
}

#[test]
fn every_unit_and_zone_of_time_becomes_nanoseconds() {
    let cases: Vec<(ArrayRef, i64)> = vec![
        (Arc::new(TimestampSecondArray::from(vec![1_600_000_000])), 1_600_000_000_000_000_000),
        (Arc::new(TimestampMillisecondArray::from(vec![1_600_000_000_001])), 1_600_000_000_001_000_000),
        (Arc::new(TimestampMicrosecondArray::from(vec![1_600_000_000_000_001])), 1_600_000_000_000_001_000),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1_600_000_000_000_000_001])),
            1_600_000_000_000_000_001,
        ),
        (
            Arc::new(TimestampNanosecondArray::from(vec![1_600_000_000_000_000_001]).with_timezone("+09:00")),
            1_600_000_000_000_000_001,
        ),
        (Arc::new(Date32Array::from(vec![18_518])), 1_599_955_200_000_000_000),
        (Arc::new(Date64Array::from(vec![1_599_955_200_000])), 1_599_955_200_000_000_000),
        (Arc::new(StringArray::from(vec!["2020-09-13T12:26:40.000000001Z"])), 1_600_000_000_000_000_001),
        (Arc::new(Int64Array::from(vec![1_600_000_000_000_000_001])), 1_600_000_000_000_000_001),
        (Arc::new(Int64Array::from(vec![1_600_000_000_001])), 1_600_000_000_001_000_000),
        (Arc::new(Float64Array::from(vec![1_600_000_000.5])), 1_600_000_000_500_000_000),
    ];
    for (array, wanted) in cases {
        let given = array.data_type().clone();
        let seen = converted("seen", array);
        assert_eq!(seen.as_primitive::<TimestampNanosecondType>().value(0), wanted, "{given}");
        assert_eq!(seen.data_type(), &DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())));
    }
}

#[test]
fn numbers_of_any_width_serve_number_columns() {
    let integers: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![7])),
        Arc::new(Int16Array::from(vec![7])),
        Arc::new(Int32Array::from(vec![7])),
        Arc::new(Int64Array::from(vec![7])),
        Arc::new(UInt8Array::from(vec![7])),
        Arc::new(UInt16Array::from(vec![7])),
        Arc::new(UInt32Array::from(vec![7])),
        Arc::new(UInt64Array::from(vec![7])),
        Arc::new(Float32Array::from(vec![7.0])),
        Arc::new(Float64Array::from(vec![7.0])),
    ];
    for array in integers {
        let given = array.data_type().clone();
        let big = converted("count", Arc::clone(&array));
        assert_eq!(big.as_primitive::<Int64Type>().value(0), 7, "{given}");
        let small = converted("small", Arc::clone(&array));
        assert_eq!(small.as_primitive::<Int32Type>().value(0), 7, "{given}");
        let double = converted("value", array);
        assert!((double.as_primitive::<Float64Type>().value(0) - 7.0).abs() < f64::EPSILON, "{given}");
    }
    let duration: ArrayRef = Arc::new(DurationMillisecondArray::from(vec![3]));
    assert_eq!(converted("count", duration).as_primitive::<Int64Type>().value(0), 3_000_000);
}

#[test]
fn doubles_keep_their_bits() {
    let values = vec![f64::NAN, f64::INFINITY, -0.0, 1e-310];
    let given: ArrayRef = Arc::new(Float64Array::from(values.clone()));
    let stored = converted("value", given);
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(stored.as_primitive::<Float64Type>().values()), bits(&values));
}

#[test]
fn decimals_and_large_integers_become_doubles_with_a_warning() {
    let decimals = Decimal128Array::from(vec![12_345]).with_precision_and_scale(10, 2).unwrap();
    for (array, wanted) in [
        (Arc::new(decimals) as ArrayRef, 123.45),
        (Arc::new(Int64Array::from(vec![(1 << 53) + 1])), 9_007_199_254_740_992.0),
        (Arc::new(UInt64Array::from(vec![u64::MAX])), 18_446_744_073_709_551_615.0),
    ] {
        let decoded = decode(&stream(&[batch(vec![("time", times(1)), ("value", array)])]), "wide").unwrap();
        assert!((column(&decoded, "value").as_primitive::<Float64Type>().value(0) - wanted).abs() < 1e-9);
        assert_eq!(decoded.warnings.len(), 1, "{:?}", decoded.warnings);
    }
}

#[test]
fn text_in_any_layout_is_text() {
    let texts = vec![Some("a"), None, Some("longer than twelve bytes")];
    let dictionary: DictionaryArray<Int32Type> = texts.iter().copied().collect();
    let layouts: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(texts.clone())),
        Arc::new(LargeStringArray::from(texts.clone())),
        Arc::new(StringViewArray::from(texts.clone())),
        Arc::new(dictionary),
    ];
    for array in layouts {
        let given = array.data_type().clone();
        let note = converted("note", Arc::clone(&array));
        let read: Vec<Option<&str>> = note.as_string::<i32>().iter().collect();
        assert_eq!(read, [Some("a"), Some(""), Some("longer than twelve bytes")], "{given}: not nullable");
        let trace = converted("trace_id", array);
        assert_eq!(trace.as_string::<i32>().iter().collect::<Vec<_>>(), texts, "{given}");
    }
}

#[test]
fn binary_ids_become_hex_and_bytes_stay_bytes() {
    let id = [0xab_u8, 0xcd, 0x00, 0x01];
    let layouts: Vec<ArrayRef> = vec![
        Arc::new(BinaryArray::from(vec![id.as_slice()])),
        Arc::new(LargeBinaryArray::from(vec![id.as_slice()])),
        Arc::new(BinaryViewArray::from(vec![id.as_slice()])),
        Arc::new(FixedSizeBinaryArray::try_from_iter([id].into_iter()).unwrap()),
    ];
    for array in layouts {
        assert_eq!(converted("trace_id", Arc::clone(&array)).as_string::<i32>().value(0), "abcd0001");
        assert_eq!(converted("raw", array).as_binary::<i32>().value(0), id);
    }
    assert_eq!(
        converted("raw", Arc::new(StringArray::from(vec!["a\0b"]))).as_binary::<i32>().value(0),
        b"a\0b"
    );
}

#[test]
fn uuids_are_read_in_their_usual_forms() {
    let wanted = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let bytes = *uuid::Uuid::parse_str(wanted).unwrap().as_bytes();
    let texts = vec![Some(wanted), Some("67E5504410B1426F9247BB680E5FE0C8"), None];
    let read = converted("id", Arc::new(StringArray::from(texts)));
    assert_eq!(read.as_string::<i32>().iter().collect::<Vec<_>>(), [Some(wanted), Some(wanted), None]);
    let read = converted("id", Arc::new(FixedSizeBinaryArray::try_from_iter([bytes].into_iter()).unwrap()));
    assert_eq!(read.as_string::<i32>().value(0), wanted);
}

#[test]
fn json_text_becomes_canonical_and_other_types_become_json() {
    let texts = vec![
        Some(r#" {"b" : [1, 1.0, "x"], "$n": null} "#),
        None,
        Some("-0.0"),
        Some("18446744073709551615"),
    ];
    let read = converted("doc", Arc::new(StringArray::from(texts)));
    assert_eq!(
        read.as_string::<i32>().iter().collect::<Vec<_>>(),
        [
            Some(r#"{"$$n":null,"b":[1,1.0,"x"]}"#),
            None,
            Some(r#"{"$double":"-0.0"}"#),
            Some("1.8446744073709552e19")
        ]
    );
    let fields = Fields::from(vec![
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, None), true),
        Field::new("raw", DataType::Binary, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from(vec![1])),
        Arc::new(BinaryArray::from(vec![b"hi".as_slice()])),
    ];
    let read = converted("doc", Arc::new(StructArray::new(fields, columns, None)));
    assert_eq!(
        read.as_string::<i32>().value(0),
        r#"{"at":"1970-01-01T00:00:00.001Z","raw":{"$bytes":"aGk="}}"#
    );
}

#[test]
fn lists_of_any_kind_serve_list_columns() {
    let numbers = vec![Some(vec![Some(1), Some(2)]), None, Some(vec![])];
    let list = ListArray::from_iter_primitive::<Int16Type, _, _>(numbers.clone());
    let large = LargeListArray::from_iter_primitive::<Float32Type, _, _>(vec![
        Some(vec![Some(1.0), Some(2.0)]),
        None,
        Some(vec![]),
    ]);
    for array in [Arc::new(list) as ArrayRef, Arc::new(large)] {
        let doubles = converted("doubles", Arc::clone(&array));
        let bigints = converted("bigints", array);
        assert_eq!((doubles.null_count(), bigints.null_count()), (0, 0));
        let doubles: Vec<usize> = doubles.as_list::<i32>().iter().map(|row| row.unwrap().len()).collect();
        assert_eq!(doubles, [2, 0, 0]);
        assert_eq!(bigints.as_list::<i32>().value(0).as_primitive::<Int64Type>().values(), &[1, 2]);
    }
    let item = Arc::new(Field::new("item", DataType::Utf8View, true));
    let values: ArrayRef = Arc::new(StringViewArray::from(vec!["a", "b", "c", "d"]));
    let nulls = NullBuffer::from(vec![true, false]);
    let pairs = FixedSizeListArray::new(item, 2, values, Some(nulls));
    let texts = converted("texts", Arc::new(pairs));
    let first = texts.as_list::<i32>().value(0);
    assert_eq!(first.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a"), Some("b")]);
    assert!(texts.as_list::<i32>().value(1).is_empty(), "the values of a NULL row are left out");
}

#[test]
fn attributes_come_as_maps_structs_or_json() {
    let mut strings = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    strings.keys().append_value("k");
    strings.values().append_value("v");
    strings.append(true).unwrap();
    strings.append(false).unwrap();
    let labels = converted("labels", Arc::new(strings.finish()));
    assert_eq!(entries(&labels, 0), [entry("k", "v", 0)]);
    assert_eq!(entries(&labels, 1), []);

    let mut doubles = MapBuilder::new(None, StringBuilder::new(), Float64Builder::new());
    doubles.keys().append_value("k");
    doubles.values().append_value(1.0);
    doubles.append(true).unwrap();
    assert_eq!(entries(&converted("labels", Arc::new(doubles.finish())), 0), [entry("k", "1.0", 2)]);

    let json =
        StringArray::from(vec![r#"{"i":1,"d":1.0,"b":true,"s":"x","n":null,"a":[1,{"$k":2}],"m":{}}"#]);
    assert_eq!(
        entries(&converted("labels", Arc::new(json)), 0),
        [
            entry("a", r#"[1,{"$$k":2}]"#, 5),
            entry("b", "true", 3),
            entry("d", "1.0", 2),
            entry("i", "1", 1),
            entry("m", "{}", 6),
            entry("n", "", 7),
            entry("s", "x", 0)
        ]
    );

    let fields = Fields::from(vec![
        Field::new("i", DataType::Int64, true),
        Field::new("absent", DataType::Utf8, true),
        Field::new("raw", DataType::Binary, true),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(vec![-1])),
        Arc::new(StringArray::from(vec![None::<&str>])),
        Arc::new(BinaryArray::from(vec![b"hi".as_slice()])),
    ];
    let labels = converted("labels", Arc::new(StructArray::new(fields, columns, None)));
    assert_eq!(entries(&labels, 0), [entry("i", "-1", 1), entry("raw", "aGk=", 4)]);
}

/// A map column in the gateway's own representation, one row.
fn typed_map(items: &[(&str, &str, u8)]) -> ArrayRef {
    let values = Fields::from(vec![
        Field::new("value", DataType::Utf8, true),
        Field::new("type", DataType::UInt8, true),
    ]);
    let fields = Fields::from(vec![
        Field::new("key", DataType::Utf8, false),
        Field::new("value", DataType::Struct(values.clone()), true),
    ]);
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(items.iter().map(|item| item.1)));
    let types: ArrayRef = Arc::new(UInt8Array::from_iter_values(items.iter().map(|item| item.2)));
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(items.iter().map(|item| item.0)));
    let values: ArrayRef = Arc::new(StructArray::new(values, vec![texts, types], None));
    let entries = StructArray::new(fields.clone(), vec![keys, values], None);
    let field = Arc::new(Field::new("key_value", DataType::Struct(fields), false));
    Arc::new(MapArray::new(field, OffsetBuffer::from_lengths([items.len()]), entries, None, false))
}

#[test]
fn the_own_representation_is_taken_as_it_is_made_canonical_or_refused() {
    let canonical = [("s", "x", 0), ("i", "-5", 1), ("d", "1.5", 2), ("b", "true", 3), ("e", "", 7)];
    let labels = converted("labels", typed_map(&canonical));
    assert_eq!(entries(&labels, 0), canonical.map(|(key, text, code)| entry(key, text, code)));

    let sloppy = [("i", "+5", 1), ("d", "1", 2), ("a", "[1, 2.50]", 5), ("m", r#"{"$bytes": "aGk="}"#, 6)];
    let labels = converted("labels", typed_map(&sloppy));
    let wanted = [
        entry("i", "5", 1),
        entry("d", "1.0", 2),
        entry("a", "[1,2.5]", 5),
        entry("m", r#"{"$bytes":"aGk="}"#, 6),
    ];
    assert_eq!(entries(&labels, 0), wanted);

    for (text, code) in
        [("x", 1), ("x", 2), ("yes", 3), ("%", 4), ("{}", 5), ("[", 5), ("[]", 6), ("1", 6), ("x", 8)]
    {
        let array = typed_map(&[("k", text, code)]);
        let decoded = decode(&stream(&[batch(vec![("time", times(1)), ("labels", array)])]), "wide").unwrap();
        assert_eq!(decoded.accepted, 0, "{text} as {code}");
        assert_eq!(decoded.rejected[0].error.field, "labels.k");
    }
}

#[test]
fn columns_of_type_null_serve_every_nullable_column() {
    let nulls: ArrayRef = Arc::new(NullArray::new(2));
    for name in ["value", "count", "small", "flag", "raw", "id", "doc", "seen", "trace_id"] {
        assert_eq!(converted(name, Arc::clone(&nulls)).null_count(), 2, "{name}");
    }
    for name in ["note", "labels", "doubles", "bigints", "texts"] {
        assert_eq!(converted(name, Arc::clone(&nulls)).null_count(), 0, "{name}");
    }
}

#[test]
fn types_that_do_not_fit_are_refused_with_the_column() {
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1"]));
    let number: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    for (name, array) in [
        ("value", &text),
        ("count", &text),
        ("flag", &number),
        ("note", &number),
        ("labels", &number),
        ("doubles", &number),
        ("raw", &number),
        ("id", &number),
    ] {
        let reason = refused(name, Arc::clone(array));
        assert!(reason.contains(name) && reason.contains("cannot become"), "{reason}");
    }
}
