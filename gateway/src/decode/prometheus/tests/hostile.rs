//! Requests that are damaged, claim more than they hold, or stand for more than they are.

use proptest::prelude::*;

use super::*;

fn text_of(result: Result<(Decoded, Written), DecodeError>) -> String {
    result.map(|(decoded, _)| format!("{} accepted", decoded.accepted)).unwrap_err().to_string()
}

#[test]
fn the_message_of_the_other_version_is_not_taken_for_an_empty_one() {
    let series = SeriesV1 {
        labels: labels(&[("__name__", "m")]),
        samples: vec![sample(1.0, NOW_MS)],
        ..SeriesV1::default()
    };
    let body = RequestV1 { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec();
    assert!(text_of(decode_bytes(&body, Version::V2)).contains("is not a io.prometheus.write.v2.Request"));
    let mut request = RequestV2::new();
    request.timeseries.push(SeriesV2::default());
    assert!(text_of(decode_bytes(&request.encode_to_vec(), Version::V1)).contains("prometheus.WriteRequest"));
    for version in [Version::V1, Version::V2] {
        assert_eq!(decode_bytes(b"", version).unwrap().1, Written::default());
    }
}

#[test]
fn symbols_must_begin_with_the_empty_text_and_be_there() {
    let mut request = RequestV2 { symbols: vec!["x".to_owned()], timeseries: vec![SeriesV2::default()] };
    assert!(text_of(decode_bytes(&request.encode_to_vec(), Version::V2)).contains("empty text"));
    request = RequestV2::new();
    for labels_refs in [vec![1, 2], vec![0], vec![u32::MAX, 0]] {
        request.timeseries =
            vec![SeriesV2 { labels_refs, samples: vec![sample(1.0, NOW_MS)], ..SeriesV2::default() }];
        let (decoded, _) = decode_v2(&request);
        assert_eq!(decoded.rejected[0].error.field, "labels_refs");
    }
}

#[test]
fn few_bytes_that_stand_for_many_are_refused() {
    // 2,000 labels of 100 kB each, in a few kilobytes of places.
    let mut request = RequestV2::new();
    let mut labels_refs = request.places(&["__name__", "m"]);
    for at in 0..2000 {
        labels_refs.extend(request.places(&[&format!("l{at}"), &"x".repeat(100_000)]));
    }
    request.timeseries =
        vec![SeriesV2 { labels_refs, samples: vec![sample(1.0, NOW_MS); 3], ..SeriesV2::default() }];
    let (decoded, written) = decode_v2(&request);
    assert_eq!((written.samples, decoded.rejected.len()), (0, 3));
    assert!(decoded.rejected[0].error.reason.contains("bytes: at most"), "{}", decoded.rejected[0].error);
    assert!(decoded.rejected.iter().all(|rejected| rejected.payload.len() < 20_000));

    // Labels of 100 kB, repeated for each of 100,000 samples.
    let value = "x".repeat(100_000);
    let series = SeriesV1 {
        labels: labels(&[("__name__", "m"), ("large", &value)]),
        samples: vec![sample(1.0, NOW_MS); 100_000],
        ..SeriesV1::default()
    };
    let body = RequestV1 { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec();
    let limits = DecodeLimits { decoded_bytes: 4 << 20, ..DecodeLimits::default() };
    assert!(text_of(decode_within(&body, Version::V1, limits)).contains("send smaller requests"));
}

#[test]
fn more_records_than_the_limit_refuse_the_request() {
    let limits = DecodeLimits { records: 2, ..DecodeLimits::default() };
    let series = SeriesV1 {
        labels: labels(&[("__name__", "m")]),
        samples: vec![sample(1.0, NOW_MS); 3],
        ..SeriesV1::default()
    };
    let body = RequestV1 { timeseries: vec![series], metadata: Vec::new() }.encode_to_vec();
    assert!(matches!(decode_within(&body, Version::V1, limits), Err(DecodeError::TooLarge(_))));
}

#[test]
fn a_series_that_cannot_be_read_is_one_record() {
    // Field 1, two bytes: a field that ends in its middle.
    let (decoded, _) = decode_bytes(&[0x0a, 2, 0x12, 9], Version::V1).unwrap();
    let [rejected] = decoded.rejected.as_slice() else { panic!("{decoded:?}") };
    assert_eq!(rejected.payload, [0x0a, 2, 0x12, 9]);
    // The request itself.
    assert!(matches!(decode_bytes(&[0x0a, 9], Version::V1), Err(DecodeError::Malformed(_))));
}

proptest! {
    #[test]
    fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..200), second: bool) {
        let version = if second { Version::V2 } else { Version::V1 };
        if let Err(DecodeError::Internal(reason)) = decode_bytes(&body, version) {
            prop_assert!(false, "{}", reason);
        }
    }

    #[test]
    fn no_damage_panics(at in 0_usize..400, byte: u8) {
        let mut body = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/remote_write/full-1.0")).unwrap();
        let at = at % body.len();
        body[at] = byte;
        if let Err(DecodeError::Internal(reason)) = decode_bytes(&body, Version::V1) {
            prop_assert!(false, "{}", reason);
        }
    }
}
