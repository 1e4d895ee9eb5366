//! Requests that no generated client would send: nothing panics, and bad records stay by themselves.

use proptest::prelude::*;
use v1::write_request::Records;

use super::*;

/// A message field of wire type 2.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    prost::encoding::encode_varint(u64::try_from(bytes.len()).unwrap(), &mut out);
    out.extend_from_slice(bytes);
    out
}

#[test]
fn one_broken_record_does_not_spoil_its_neighbours() {
    let good = v1::LogRecord { app: "good".into(), ..Default::default() }.encode_to_vec();
    let broken: [&[u8]; 5] = [
        &[0x1a, 0x02, 0xff, 0xfe],
        &[0x1a, 0x7f],
        &[0x0d, 1, 2, 3, 4],
        &[0xff; 11],
        &[0x62, 0x02, 0x0a, 0x05],
    ];
    let mut records = field(1, &good);
    for broken in broken {
        records.extend(field(1, broken));
    }
    records.extend(field(1, &good));
    let decoded = decode_bytes(&field(1, &records)).unwrap();
    assert_eq!((decoded.accepted, decoded.rejected.len()), (2, broken.len()));
    let indexes: Vec<usize> = decoded.rejected.iter().map(|row| row.index).collect();
    assert_eq!(indexes, [1, 2, 3, 4, 5]);
    assert_eq!(decoded.rejected[0].payload, broken[0]);
    assert_eq!(decoded.rejected[0].error.field, "app");
}

#[test]
fn a_request_whose_own_fields_are_broken_is_malformed() {
    for body in [&[0x0a, 0x05, 1][..], &[0x0b], &[0x08, 0x01], &[0xff; 12], &[0x0a, 0x02, 0x0a, 0x05]] {
        assert!(matches!(decode_bytes(body), Err(DecodeError::Malformed(_))), "{body:?}");
    }
    assert!(decode_bytes(&[]).unwrap().batches.is_empty());
}

#[test]
fn millions_of_empty_records_are_refused_and_not_built() {
    // Two bytes each on the wire, some hundred in memory as generated messages.
    let records = [0x0a, 0x00].repeat(2_000_000);
    let limits = DecodeLimits { records: 10_000, ..DecodeLimits::default() };
    let body = field(1, &records);
    let refused = with_context(limits, |context| write_request(&body, context)).unwrap_err();
    assert!(matches!(refused, DecodeError::TooLarge(_)), "{refused}");
}

#[test]
fn nesting_is_bounded() {
    let mut nested = v1::Value::default();
    for _ in 0..40 {
        nested = value(v1::value::Kind::ListValue(v1::ListValue { values: vec![nested] }));
    }
    let labels = map([("deep", nested.clone())]);
    let record = v1::LogRecord { labels, message: Some(nested), ..Default::default() };
    let decoded = decode(Records::Logs(v1::LogRecords { records: vec![record, v1::LogRecord::default()] }));
    assert_eq!((decoded.accepted, decoded.rejected[0].index), (1, 0));
    assert!(decoded.rejected[0].error.reason.contains("deep"), "{}", decoded.rejected[0].error);
}

#[test]
fn the_last_kind_of_records_counts_and_parts_of_one_kind_are_merged() {
    let log = |app: &str| {
        let records = vec![v1::LogRecord { app: app.into(), ..Default::default() }];
        v1::LogRecords { records }.encode_to_vec()
    };
    let body = [field(3, &[]), field(1, &log("a")), field(1, &log("b"))].concat();
    let decoded = decode_bytes(&body).unwrap();
    assert_eq!(decoded.accepted, 2);
    assert_eq!(text(&decoded, "app").as_deref(), Some("a"));
}

#[test]
fn stream_items_are_taken_apart() {
    let request = v1::WriteRequest { ack: 2, ..Default::default() };
    let item = v1::WriteStreamRequest { offset: Some(-1), batch: Some(request.clone()) };
    let read = stream_item(&item.encode_to_vec()).unwrap();
    assert_eq!(read, StreamItem { offset: Some(-1), batch: request.encode_to_vec() });
    assert_eq!(stream_item(&[]).unwrap(), StreamItem::default());
}

#[test]
fn what_is_asked_for_is_read_apart_from_the_records() {
    let request = |ack, key: &str| {
        let records = Some(Records::Logs(v1::LogRecords { records: vec![v1::LogRecord::default()] }));
        v1::WriteRequest { records, ack, idempotency_key: key.into() }.encode_to_vec()
    };
    let options = |ack, key: &str| WriteOptions { ack, idempotency_key: key.to_owned() };
    for (ack, key) in [(0, ""), (1, "k"), (2, "\u{e4}"), (-1, "k")] {
        assert_eq!(write_options(&request(ack, key)).unwrap(), options(ack, key));
    }
    assert_eq!(write_options(&[]).unwrap(), WriteOptions::default());
    let mut cut = request(1, "key");
    cut.pop();
    for broken in [&cut[..], &[6 << 3 | 2, 1, 0xff], &[5 << 3 | 2, 0]] {
        assert!(matches!(write_options(broken), Err(DecodeError::Malformed(_))), "{broken:?}");
    }
}

/// Requests with something of every kind of field.
fn rich_requests() -> Vec<Vec<u8>> {
    let labels = map([
        ("list", value(v1::value::Kind::ListValue(v1::ListValue { values: vec![int(1), string("x")] }))),
        ("map", value(v1::value::Kind::MapValue(v1::MapValue { fields: map([("k", string("v"))]) }))),
    ]);
    let log = v1::LogRecord {
        time_unix_nano: Some(NOW),
        message: Some(string("m")),
        labels: labels.clone(),
        ..Default::default()
    };
    let event = v1::SpanEvent { time_unix_nano: NOW, name: "e".into(), attributes: labels.clone() };
    let span = v1::Span { events: vec![event], labels: labels.clone(), ..Default::default() };
    let row = v1::Row { values: labels };
    [
        Records::Logs(v1::LogRecords { records: vec![log] }),
        Records::Spans(v1::Spans { spans: vec![span] }),
        Records::Rows(v1::Rows { table: "wide".into(), rows: vec![row] }),
    ]
    .map(|records| v1::WriteRequest { records: Some(records), ..Default::default() }.encode_to_vec())
    .into()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4 * ProptestConfig::default().cases, ..ProptestConfig::default() })]

    #[test]
    fn mutated_requests_are_decoded_or_refused(
        which in 0..3_usize,
        flips in prop::collection::vec((any::<prop::sample::Index>(), 1..=255_u8), 1..6),
    ) {
        let mut body = rich_requests().swap_remove(which);
        for (at, bits) in flips {
            let at = at.index(body.len());
            body[at] ^= bits;
        }
        if let Ok(decoded) = decode_bytes(&body) {
            let rows: usize = decoded.batches.iter().map(crate::registry::TableBatch::len).sum();
            prop_assert_eq!(rows, decoded.accepted);
        }
    }

    #[test]
    fn random_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        drop((decode_bytes(&body), stream_item(&body)));
    }
}
