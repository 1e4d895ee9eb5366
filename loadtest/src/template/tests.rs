use super::*;

const ALL: [Field; 16] = [
    Field::Time,
    Field::ObservedTime,
    Field::EndTime,
    Field::TimeDigits,
    Field::ObservedTimeDigits,
    Field::EndTimeDigits,
    Field::TimeText,
    Field::TraceId,
    Field::SpanId,
    Field::ParentId,
    Field::TraceIdHex,
    Field::SpanIdHex,
    Field::ParentIdHex,
    Field::ValueDouble,
    Field::ValueInt,
    Field::ValueDigits,
];

/// Records with this field between two bytes that must stay.
fn stamped(field: Field, records: usize, request: u64, now: u64) -> Vec<Vec<u8>> {
    let marker = field.marker();
    let mut bytes = Vec::new();
    for _ in 0..records {
        bytes.push(b'<');
        bytes.extend_from_slice(&marker);
        bytes.push(b'>');
    }
    let template = Template::new(bytes, records, &[(field, (0..records).collect())]).unwrap();
    let stamped = template.stamp(RunId::new(0xabcd_ef01), request, now);
    let records = stamped.chunks_exact(marker.len() + 2);
    records
        .map(|record| {
            let (first, rest) = record.split_first().unwrap();
            let (last, value) = rest.split_last().unwrap();
            assert_eq!((*first, *last), (b'<', b'>'), "{field:?}");
            value.to_vec()
        })
        .collect()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn markers_differ_and_none_is_part_of_another() {
    for (at, one) in ALL.iter().enumerate() {
        for other in &ALL[at + 1..] {
            let (one, other) = (one.marker(), other.marker());
            assert!(find_all(&one, &other).is_empty() && find_all(&other, &one).is_empty());
        }
    }
}

#[test]
fn sequence_numbers_follow_each_other_over_records_and_requests() {
    let values = stamped(Field::ValueDigits, 3, 2, 0);
    let values: Vec<_> = values.iter().map(|value| text(value)).collect();
    assert_eq!(values, ["1000000000006", "1000000000007", "1000000000008"]);
    assert_eq!(stamped(Field::ValueDouble, 3, 2, 0)[1], 1_000_000_000_007_f64.to_le_bytes());
    assert_eq!(stamped(Field::ValueInt, 3, 2, 0)[1], 1_000_000_000_007_u64.to_le_bytes());
    let span = u64::from_be_bytes(stamped(Field::SpanId, 3, 2, 0)[1].as_slice().try_into().unwrap());
    assert_eq!(identity::gather(span), 1_000_000_000_007);
}

#[test]
fn hex_and_raw_ids_are_the_same_ids() {
    for (raw, digits) in [
        (Field::TraceId, Field::TraceIdHex),
        (Field::SpanId, Field::SpanIdHex),
        (Field::ParentId, Field::ParentIdHex),
    ] {
        let raw = stamped(raw, 20, 5, 0);
        let digits = stamped(digits, 20, 5, 0);
        assert!(raw.iter().zip(&digits).all(|(raw, digits)| hex(raw) == text(digits)));
    }
}

#[test]
fn eight_records_share_a_trace_and_the_first_is_the_parent() {
    let traces = stamped(Field::TraceId, 20, 1, 0);
    let spans = stamped(Field::SpanId, 20, 1, 0);
    let parents = stamped(Field::ParentId, 20, 1, 0);
    for position in 0..20 {
        let root = position - position % 8;
        assert_eq!(traces[position], traces[root]);
        assert_eq!(parents[position], spans[root]);
    }
    assert_ne!(traces[7], traces[8]);
}

#[test]
fn times_are_written_in_every_form() {
    let now = 1_700_000_000_999_999_999;
    assert_eq!(stamped(Field::Time, 2, 0, now)[1], 1_700_000_001_000_000_000_u64.to_le_bytes());
    assert_eq!(text(&stamped(Field::TimeDigits, 1, 0, now)[0]), "1700000000999999999");
    let texts = stamped(Field::TimeText, 2, 0, now);
    assert_eq!(text(&texts[0]), "2023-11-14T22:13:20.999999999Z");
    assert_eq!(text(&texts[1]), "2023-11-14T22:13:21.000000000Z");
    let end = now + identity::duration_nanos(0);
    assert_eq!(text(&stamped(Field::EndTimeDigits, 1, 0, now)[0]), end.to_string());
}

#[test]
fn a_missing_marker_is_an_error() {
    let error = Template::new(b"nothing".to_vec(), 1, &[(Field::SpanId, vec![0])]).unwrap_err();
    assert!(error.to_string().contains("SpanId occurs 0 times"), "{error}");
}
