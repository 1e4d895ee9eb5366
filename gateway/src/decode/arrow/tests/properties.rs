//! Random record batches against what they were made of.

use arrow::array::*;
use arrow::datatypes::*;
use proptest::prelude::*;

use super::*;

/// One row as a sender has it.
#[derive(Debug, Clone)]
struct Row {
    /// Nanoseconds before now; negative values below -1 day are beyond the accepted window.
    age: i64,
    value: Option<f64>,
    count: Option<i64>,
    note: Option<String>,
    labels: Vec<(String, String)>,
    doubles: Option<Vec<f64>>,
    extra: Option<i64>,
}

fn row() -> impl Strategy<Value = Row> {
    let day = 86_400_000_000_000_i64;
    (
        prop_oneof![9 => 0..day, 1 => -3 * day..-2 * day],
        prop::option::of(any::<f64>()),
        prop::option::of(any::<i64>()),
        prop::option::of(prop_oneof![9 => "[a-z]{0,20}", 1 => "a\0b"]),
        prop::collection::vec(("[a-f]", "[a-z]{0,8}"), 0..5),
        prop::option::of(prop::collection::vec(any::<f64>(), 0..4)),
        prop::option::of(any::<i64>()),
    )
        .prop_map(|(age, value, count, note, labels, doubles, extra)| Row {
            age,
            value,
            count,
            note,
            labels,
            doubles,
            extra,
        })
}

impl Row {
    fn is_good(&self) -> bool {
        self.age >= -86_400_000_000_000 && !self.note.as_deref().unwrap_or_default().contains('\0')
    }

    fn wanted_labels(&self) -> Vec<(String, String, u8)> {
        let mut wanted: Vec<(String, String, u8)> = Vec::new();
        for (key, value) in &self.labels {
            wanted.retain(|(other, _, _)| other != key);
            wanted.push(entry(key, value, 0));
        }
        wanted.extend(self.extra.map(|extra| entry("extra", &extra.to_string(), 1)));
        wanted
    }
}

/// How the sender lays its columns out.
#[derive(Debug, Clone, Copy)]
struct Layout {
    text: usize,
    large_list: bool,
    extra: bool,
    split: usize,
}

fn layout() -> impl Strategy<Value = Layout> {
    (0..4_usize, any::<bool>(), any::<bool>(), 1..8_usize)
        .prop_map(|(text, large_list, extra, split)| Layout { text, large_list, extra, split })
}

fn sent(rows: &[Row], layout: Layout) -> RecordBatch {
    let times: Vec<i64> = rows.iter().map(|row| NOW - row.age).collect();
    let notes = rows.iter().map(|row| row.note.as_deref());
    let notes: ArrayRef = match layout.text {
        0 => Arc::new(notes.collect::<StringArray>()),
        1 => Arc::new(notes.collect::<LargeStringArray>()),
        2 => Arc::new(notes.collect::<StringViewArray>()),
        _ => Arc::new(notes.collect::<DictionaryArray<Int16Type>>()),
    };
    let mut labels = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in rows {
        for (key, value) in &row.labels {
            labels.keys().append_value(key);
            labels.values().append_value(value);
        }
        labels.append(true).unwrap();
    }
    let lists = rows
        .iter()
        .map(|row| row.doubles.as_ref().map(|row| row.iter().copied().map(Some).collect::<Vec<_>>()));
    let lists: ArrayRef = if layout.large_list {
        Arc::new(LargeListArray::from_iter_primitive::<Float64Type, _, _>(lists))
    } else {
        Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(lists))
    };
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("count", Arc::new(rows.iter().map(|row| row.count).collect::<Int64Array>())),
        ("note", notes),
        ("labels", Arc::new(labels.finish())),
        ("doubles", lists),
        ("time", Arc::new(TimestampNanosecondArray::from(times))),
        ("value", Arc::new(rows.iter().map(|row| row.value).collect::<Float64Array>())),
    ];
    if layout.extra {
        columns.push(("extra", Arc::new(rows.iter().map(|row| row.extra).collect::<Int64Array>())));
    }
    batch(columns)
}

proptest! {
    /// Good rows read back as they were sent, bad ones are named by their index, whatever the layout and
    /// however the rows are divided into batches.
    #[test]
    fn rows_read_back(mut rows in prop::collection::vec(row(), 1..40), layout in layout()) {
        if !layout.extra {
            rows.iter_mut().for_each(|row| row.extra = None);
        }
        let batches: Vec<RecordBatch> = rows.chunks(layout.split).map(|rows| sent(rows, layout)).collect();
        let options = IpcWriteOptions::default();
        let decoded = decode(&stream_with(&batches, options), "wide").unwrap();
        let bad: Vec<usize> = (0..rows.len()).filter(|&at| !rows[at].is_good()).collect();
        prop_assert_eq!(decoded.rejected.iter().map(|row| row.index).collect::<Vec<_>>(), bad);
        let good: Vec<&Row> = rows.iter().filter(|row| row.is_good()).collect();
        prop_assert_eq!(decoded.accepted, good.len());
        if good.is_empty() {
            return Ok(());
        }
        let bits = |value: f64| value.to_bits();
        let (times, values) = (column(&decoded, "time"), column(&decoded, "value"));
        let (counts, notes) = (column(&decoded, "count"), column(&decoded, "note"));
        let (labels, lists) = (column(&decoded, "labels"), column(&decoded, "doubles"));
        for (at, row) in good.into_iter().enumerate() {
            prop_assert_eq!(times.as_primitive::<TimestampNanosecondType>().value(at), NOW - row.age);
            let value = values.is_valid(at).then(|| bits(values.as_primitive::<Float64Type>().value(at)));
            prop_assert_eq!(value, row.value.map(bits));
            let count = counts.is_valid(at).then(|| counts.as_primitive::<Int64Type>().value(at));
            prop_assert_eq!(count, row.count);
            prop_assert_eq!(notes.as_string::<i32>().value(at), row.note.as_deref().unwrap_or_default());
            prop_assert_eq!(entries(&labels, at), row.wanted_labels());
            let list = lists.as_list::<i32>().value(at);
            let list: Vec<u64> = list.as_primitive::<Float64Type>().values().iter().copied().map(bits).collect();
            prop_assert_eq!(list, row.doubles.iter().flatten().copied().map(bits).collect::<Vec<_>>());
        }
    }
}
