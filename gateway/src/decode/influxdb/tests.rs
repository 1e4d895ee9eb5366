//! Lines as Telegraf and the client libraries write them, read back from the rows; and lines that are none.

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type, TimestampNanosecondType};
use proptest::prelude::*;

use super::line::Value;
use super::*;
use crate::decode::DecodeLimits;
use crate::registry::{Snapshot, Tenant, builtin};

const NOW: i64 = 1_700_000_000_000_000_000;

fn decode_within(body: &[u8], precision: Precision, limits: DecodeLimits) -> Result<Decoded, DecodeError> {
    let tenant = Tenant::default();
    let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
    let context = DecodeContext { tables: &tables, tenant: &tenant, now_nanos: NOW, limits };
    write(body, "telegraf", precision, &context)
}

fn decode(body: &str, precision: Precision) -> Decoded {
    decode_within(body.as_bytes(), precision, DecodeLimits::default()).unwrap()
}

fn point(line: &str) -> Point<'_> {
    Point::read(line.as_bytes()).unwrap()
}

fn column(decoded: &Decoded, name: &str) -> arrow::array::ArrayRef {
    let [batch] = decoded.batches.as_slice() else { panic!("{} batches", decoded.batches.len()) };
    std::sync::Arc::clone(batch.rows().column_by_name(name).unwrap())
}

fn texts(decoded: &Decoded, name: &str) -> Vec<Option<String>> {
    column(decoded, name).as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

#[test]
fn escapes_are_those_of_their_place() {
    let line =
        r#"my\ m\,x=,ta\=g\,\ k=va\=l\,\ u\e,b=\\ fi\=eld="a \"q\" \\ , =",i=-7i,u=7u,f=1e3,b=T,n=-.5 1700"#;
    let read = point(line);
    assert_eq!(read.measurement, "my m,x=");
    assert_eq!(read.tags, [("ta=g, k".into(), r"va=l, u\e".into()), ("b".into(), r"\\".into())]);
    assert_eq!(
        read.fields,
        [
            ("fi=eld".into(), Value::String("a \"q\" \\ , =".into())),
            ("i".into(), Value::Integer(-7)),
            ("u".into(), Value::Integer(7)),
            ("f".into(), Value::Float(1000.0)),
            ("b".into(), Value::Boolean(true)),
            ("n".into(), Value::Float(-0.5)),
        ]
    );
    assert_eq!(read.time, Some(1700));
}

#[test]
fn points_end_at_line_breaks_outside_of_strings() {
    let body = "# c \"\na f=\"x\ny\" 1\r\n\n  b f=1\nc f=\"open\nd f=2";
    let found: Vec<_> =
        points(body.as_bytes()).map(|point| String::from_utf8_lossy(point).into_owned()).collect();
    assert_eq!(found, ["a f=\"x\ny\" 1", "b f=1", "c f=\"open", "d f=2"]);
}

#[test]
fn fields_become_rows() {
    let body = "cpu,host=web-1,service=shop,cpu=0 idle=98.5,n=9007199254740993i,up=true,state=\"o\\\"k\" 1700000000\n\
                mem,db=own used=1u\n";
    let decoded = decode(body, Precision::Seconds);
    assert_eq!((decoded.accepted, decoded.rejected.len()), (2, 0));
    assert_eq!(decoded.warnings, ["1 points had no time: the time of arrival was stored"]);
    let some = |list: &[&str]| list.iter().map(|text| Some((*text).to_owned())).collect::<Vec<_>>();
    assert_eq!(texts(&decoded, "metric"), some(&["cpu_idle", "cpu_n", "cpu_up", "cpu_state", "mem_used"]));
    assert_eq!(texts(&decoded, "scope_name"), some(&["cpu", "cpu", "cpu", "cpu", "mem"]));
    assert_eq!(texts(&decoded, "app"), some(&["shop", "shop", "shop", "shop", ""]));
    assert_eq!(texts(&decoded, "host"), some(&["web-1", "web-1", "web-1", "web-1", ""]));
    assert_eq!(
        texts(&decoded, "type"),
        [None, None, Some("boolean".to_owned()), Some("string".to_owned()), None]
    );
    assert_eq!(texts(&decoded, "envelope")[3], Some("{\"text\":\"o\\\"k\"}".to_owned()));
    let values: Vec<_> = column(&decoded, "value").as_primitive::<Float64Type>().iter().collect();
    assert_eq!(values, [Some(98.5), Some(9_007_199_254_740_992.0), Some(1.0), None, Some(1.0)]);
    let integers: Vec<_> = column(&decoded, "value_int").as_primitive::<Int64Type>().iter().collect();
    assert_eq!(integers, [None, Some(9_007_199_254_740_993), None, None, Some(1)]);
    let times = column(&decoded, "time");
    let times = times.as_primitive::<TimestampNanosecondType>();
    assert_eq!((times.value(0), times.value(4)), (NOW, NOW));
    let labels = column(&decoded, "labels");
    let keys = |row: usize| -> Vec<String> {
        let row = labels.as_map().value(row);
        row.column(0).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
    };
    assert_eq!(keys(0), ["host", "service", "cpu", "db"]);
    assert_eq!(keys(4), ["db"]);
}

#[test]
fn every_precision_is_read() {
    for (name, time) in [
        ("", NOW),
        ("ns", NOW),
        ("n", NOW),
        ("us", NOW / 1_000),
        ("u", NOW / 1_000),
        ("ms", NOW / 1_000_000),
        ("s", NOW / 1_000_000_000),
        ("m", NOW / 60_000_000_000),
        ("h", NOW / 3_600_000_000_000),
    ] {
        let precision = Precision::of(name).unwrap();
        let decoded = decode(&format!("m f=1 {time}"), precision);
        let times = column(&decoded, "time").as_primitive::<TimestampNanosecondType>().value(0);
        assert_eq!(times, time * precision.nanos(), "{name}");
        assert_eq!(Precision::of_kept(precision.kept_content_type()), Some(precision));
    }
    assert_eq!(Precision::of("d"), None);
}

#[test]
fn bad_points_are_refused_alone_and_kept_with_their_database() {
    let lines = [
        "m",
        "m,t",
        "m,t= f=1x",
        ",t=1 f=1",
        "m f=",
        "m f=1 x",
        "m f=1,",
        "m f=\"x",
        "m f=\"x\"y",
        "m =1",
        "m f=18446744073709551615u",
        "m f=NaN",
        "m f=inf",
        "m f=1e999",
        "m f=1 9223372036854775807",
        "m f=1i 1 2",
        "m,t=1",
        "m f=1 1700000000000000000000",
    ];
    for line in lines {
        let body = format!("good f=1\n{line}\ngood f=2");
        let decoded = decode(&body, Precision::Seconds);
        assert_eq!((decoded.accepted, decoded.rejected.len()), (2, 1), "{line}");
        let rejected = &decoded.rejected[0];
        assert_eq!(rejected.index, 1, "{line}");
        let again = decode_within(&rejected.payload, Precision::Seconds, DecodeLimits::default()).unwrap();
        assert_eq!((again.accepted, &again.rejected[0].error), (0, &rejected.error), "{line}");
    }
    assert_eq!(line::with_tag(br"a\,b,t=1 f=1", "db", "x y"), br"a\,b,db=x\ y,t=1 f=1");
    assert_eq!(line::with_tag(b"a f=1", "db", ""), b"a f=1");
}

#[test]
fn a_bad_field_takes_its_whole_point_with_it() {
    let decoded = decode("m a=1,b=\"nul\0\"\nm c=3", Precision::Nanoseconds);
    assert_eq!((decoded.accepted, decoded.rejected.len()), (1, 1));
    assert_eq!(texts(&decoded, "metric"), [Some("m_c".to_owned())]);
}

#[test]
fn many_fields_with_long_tags_do_not_take_more_than_the_limit() {
    let fields: Vec<_> = (0..10_000).map(|at| format!("f{at}=1")).collect();
    let line = format!("m,t={} {}", "x".repeat(10_000), fields.join(","));
    let limits = DecodeLimits { decoded_bytes: 1 << 20, ..DecodeLimits::default() };
    let decoded = decode_within(line.as_bytes(), Precision::Seconds, limits).unwrap();
    assert_eq!((decoded.accepted, decoded.batches.len()), (0, 0));
    assert!(decoded.rejected[0].error.reason.contains("send smaller requests"));
}

#[test]
fn the_corpus_is_decoded_or_refused() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/influxdb");
    let mut accepted = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let body = std::fs::read(file.unwrap().path()).unwrap();
        match decode_within(&body, Precision::Nanoseconds, DecodeLimits::default()) {
            Ok(decoded) => accepted += decoded.accepted,
            Err(error) => assert!(!matches!(error, DecodeError::Internal(_)), "{error}"),
        }
    }
    assert!(accepted > 3, "{accepted} good points");
}

proptest! {
    #[test]
    fn no_text_panics(body in "[a-c,= \\\\\"\n0-9.iu#-]{0,80}") {
        let decoded = decode(&body, Precision::Milliseconds);
        prop_assert!(decoded.accepted + decoded.rejected.len() <= body.len());
    }

    /// What is escaped as the reference says is read as it was.
    #[test]
    fn any_names_and_texts_read_back(name in "[^\n\0\\\\]{1,12}", text in "[^\0]{0,20}") {
        let escape = |text: &str| text.replace(',', "\\,").replace('=', "\\=").replace(' ', "\\ ");
        let string = text.replace('\\', "\\\\").replace('"', "\\\"");
        let line = format!("m,{}={} {}=\"{string}\" 1", escape(&name), escape(&name), escape(&name));
        let read = Point::read(line.as_bytes()).unwrap();
        prop_assert_eq!(&read.tags[0], &(name.as_str().into(), name.as_str().into()));
        prop_assert_eq!(&read.fields[0], &(name.as_str().into(), Value::String(text.into())));
    }
}
