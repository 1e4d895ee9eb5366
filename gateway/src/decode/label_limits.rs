//! The labels of one record made to keep their table's limits: entries in, no more and no longer ones than the limits
//! allow out.

use std::collections::HashSet;

use crate::registry::attributes::{write_json_key, write_json_value};
use crate::registry::{DROPPED_KEY, FOLDED_KEY, LabelChanges, LabelLimits, OnExcess, ValueType};

/// One label: key, canonical text of the value, code of its type.
pub(super) type Entry = (Vec<u8>, Vec<u8>, u8);

/// Whether labels of these sizes keep the limits.
pub(super) fn are_kept(
    limits: &LabelLimits,
    count: usize,
    mut sizes: impl Iterator<Item = (usize, usize)>,
) -> bool {
    count <= limits.max_count
        && sizes.all(|(key, value)| key <= limits.max_key_bytes && value <= limits.max_value_bytes)
}

/// The labels as they are stored. Keys are different from each other, before and after.
pub(super) fn keep(limits: &LabelLimits, entries: Vec<Entry>) -> (Vec<Entry>, LabelChanges) {
    let mut changes = LabelChanges::default();
    let entries: Vec<Entry> = entries.into_iter().map(|entry| cut(limits, entry, &mut changes)).collect();
    let different: HashSet<&[u8]> = entries.iter().map(|(key, ..)| key.as_slice()).collect();
    if entries.len() <= limits.max_count && different.len() == entries.len() {
        return (entries, changes);
    }
    // Room for the labels that tell of the rest.
    let (own, room) = match limits.on_excess {
        OnExcess::Fold => (2, limits.max_count.saturating_sub(2)),
        OnExcess::Truncate | OnExcess::DeadLetter => (1, limits.max_count.saturating_sub(1)),
    };
    let mut taken: HashSet<Vec<u8>> =
        [DROPPED_KEY, FOLDED_KEY].into_iter().take(own).map(|key| key.as_bytes().to_vec()).collect();
    let mut kept = Vec::new();
    let mut folded = Folded::new(limits);
    for entry in entries {
        if kept.len() < room && taken.insert(entry.0.clone()) {
            kept.push(entry);
        } else if limits.on_excess == OnExcess::Fold && folded.take(&entry) {
            changes.folded += 1;
        } else {
            changes.dropped += 1;
        }
    }
    if let Some(json) = folded.finish() {
        kept.push((FOLDED_KEY.as_bytes().to_vec(), json.into_bytes(), ValueType::Map.code()));
    }
    if changes.dropped > 0 {
        let count = changes.dropped.to_string().into_bytes();
        kept.push((DROPPED_KEY.as_bytes().to_vec(), count, ValueType::Int.code()));
    }
    (kept, changes)
}

/// The JSON object of labels that are too many, as long as it is short enough.
struct Folded {
    json: String,
    most: usize,
    keys: HashSet<Vec<u8>>,
}

impl Folded {
    fn new(limits: &LabelLimits) -> Self {
        Self { json: "{".to_owned(), most: limits.max_value_bytes, keys: HashSet::new() }
    }

    /// Adds a label; false when it does not fit.
    fn take(&mut self, (key, value, kind): &Entry) -> bool {
        let (Ok(name), Ok(text), Some(kind)) =
            (std::str::from_utf8(key), std::str::from_utf8(value), ValueType::from_code(*kind))
        else {
            return false;
        };
        if self.keys.contains(key) {
            return false;
        }
        let before = self.json.len();
        if before > 1 {
            self.json.push(',');
        }
        write_json_key(&mut self.json, name);
        self.json.push(':');
        write_json_value(&mut self.json, text, kind);
        if self.json.len() + 1 > self.most {
            self.json.truncate(before);
            return false;
        }
        self.keys.insert(key.clone());
        true
    }

    fn finish(mut self) -> Option<String> {
        if self.keys.is_empty() {
            return None;
        }
        self.json.push('}');
        Some(self.json)
    }
}

/// A label whose key and value are short enough.
fn cut(limits: &LabelLimits, (mut key, mut value, mut kind): Entry, changes: &mut LabelChanges) -> Entry {
    if key.len() > limits.max_key_bytes {
        key.truncate(boundary(&key, limits.max_key_bytes));
        changes.truncated += 1;
    }
    if value.len() > limits.max_value_bytes {
        // A part of base64 is base64 of fewer bytes; a part of JSON is only text.
        let end = if kind == ValueType::Bytes.code() {
            limits.max_value_bytes / 4 * 4
        } else {
            kind = ValueType::String.code();
            boundary(&value, limits.max_value_bytes)
        };
        value.truncate(end);
        changes.truncated += 1;
    }
    (key, value, kind)
}

/// The last place up to `most` at which no character is cut.
fn boundary(text: &[u8], most: usize) -> usize {
    std::str::from_utf8(text).map_or(0, |text| text.floor_char_boundary(most))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limits() -> impl Strategy<Value = LabelLimits> {
        let on_excess = prop_oneof![Just(OnExcess::Fold), Just(OnExcess::Truncate)];
        (3_usize..8, 16_usize..20, 64_usize..80, on_excess).prop_map(
            |(max_count, max_key_bytes, max_value_bytes, on_excess)| LabelLimits {
                max_count,
                max_key_bytes,
                max_value_bytes,
                on_excess,
                ..LabelLimits::default()
            },
        )
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let value = prop_oneof![
            ("[a-z\"\u{e9}\u{1f600}]{0,60}", Just(ValueType::String)),
            ("[1-9][0-9]{0,2}", Just(ValueType::Int)),
            (prop::collection::vec(any::<u8>(), 0..80), Just(ValueType::Bytes)).prop_map(|(bytes, kind)| {
                use base64::Engine as _;
                (base64::engine::general_purpose::STANDARD.encode(bytes), kind)
            }),
            (prop::collection::vec(0_u8..9, 0..60), Just(ValueType::Array))
                .prop_map(|(items, kind)| (format!("{items:?}").replace(' ', ""), kind)),
        ];
        let key = prop_oneof!["[a-c$_]{1,30}", Just(FOLDED_KEY.to_owned()), Just(DROPPED_KEY.to_owned())];
        prop::collection::btree_map(key, value, 0..14).prop_map(|labels| {
            let entry = |(key, (text, kind)): (String, (String, ValueType))| {
                (key.into_bytes(), text.into_bytes(), kind.code())
            };
            labels.into_iter().map(entry).collect()
        })
    }

    proptest! {
        /// Whatever comes in, the limits are kept, keys are different, text is UTF-8, nested values are JSON, and every
        /// label is stored, folded or counted.
        #[test]
        fn the_limits_are_always_kept(limits in limits(), entries in entries()) {
            let count = entries.len();
            let (kept, changes) = keep(&limits, entries.clone());
            let sizes = kept.iter().map(|(key, value, _)| (key.len(), value.len()));
            prop_assert!(are_kept(&limits, kept.len(), sizes), "{:?}", kept);
            let keys: HashSet<_> = kept.iter().map(|(key, ..)| key).collect();
            prop_assert_eq!(keys.len(), kept.len());
            let own = usize::from(changes.folded > 0) + usize::from(changes.dropped > 0);
            prop_assert_eq!(kept.len() - own + changes.folded + changes.dropped, count);
            for (key, value, kind) in &kept {
                prop_assert!(std::str::from_utf8(key).is_ok());
                let text = std::str::from_utf8(value);
                prop_assert!(text.is_ok());
                if [ValueType::Array.code(), ValueType::Map.code()].contains(kind) {
                    let json: Result<serde_json::Value, _> = serde_json::from_str(text.unwrap_or_default());
                    prop_assert!(json.is_ok(), "{:?}", text);
                }
            }
            // What keeps the limits stays as it is.
            let (again, none) = keep(&limits, kept.clone());
            prop_assert_eq!((again, none.is_none()), (kept, true));
        }
    }
}
