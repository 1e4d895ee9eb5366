//! Canonical JSON: the text of a valid JSON value in, the form that [`crate::registry::attributes`] defines out.
//!
//! White space goes, strings get the one set of escapes, doubles are written so that they read back as doubles, a key
//! that comes twice in one object keeps its last value, and a number that neither an integer nor a double can hold
//! becomes a string with its digits.

use super::value::{Number, read_string};
use crate::registry::attributes::{
    ValueType, write_double, write_json_key, write_json_string, write_json_value,
};

/// Most keys of one nested object: each takes memory while the repeated ones are looked for.
const MAX_KEYS: usize = 65_536;

/// What the writing of a value did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Numbers that became strings.
    pub(super) numbers_as_text: usize,
}

/// Appends the canonical form of `text`, which is valid JSON. Nesting deeper than `depth` is an error.
pub(super) fn write(out: &mut String, text: &str, depth: usize) -> Result<Written, String> {
    let mut writer = Writer { text, at: 0, out, max_depth: depth, written: Written::default() };
    writer.value(depth)?;
    Ok(writer.written)
}

struct Writer<'t, 'o> {
    text: &'t str,
    at: usize,
    out: &'o mut String,
    max_depth: usize,
    written: Written,
}

impl<'t> Writer<'t, '_> {
    fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or_default()
    }

    /// Goes over the next byte if it is this one.
    fn skip(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<(), String> {
        match self.peek() {
            b'{' | b'[' if depth == 0 => Err(format!("is nested deeper than {} levels", self.max_depth)),
            b'{' => self.object(depth - 1),
            b'[' => self.array(depth - 1),
            b'"' => {
                let string = read_string(self.string_literal())?;
                write_json_string(self.out, &string);
                Ok(())
            }
            _ => {
                self.scalar();
                Ok(())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), String> {
        self.at += 1;
        self.out.push('[');
        let mut first = true;
        while !self.skip(b']') {
            if !first {
                self.expect(b',')?;
                self.out.push(',');
            }
            first = false;
            self.value(depth)?;
        }
        self.out.push(']');
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Result<(), String> {
        self.at += 1;
        self.out.push('{');
        let body = self.out.len();
        // Where each member was written, to find and take out the repeated ones.
        let mut members: Vec<(std::borrow::Cow<'t, str>, std::ops::Range<usize>)> = Vec::new();
        while !self.skip(b'}') {
            if !members.is_empty() {
                self.expect(b',')?;
                self.out.push(',');
            }
            if self.peek() != b'"' {
                return Err(self.unexpected());
            }
            let start = self.out.len();
            let key = read_string(self.string_literal())?;
            write_json_key(self.out, &key);
            self.expect(b':')?;
            self.out.push(':');
            self.value(depth)?;
            if members.len() >= MAX_KEYS {
                return Err(format!("has an object of more than {MAX_KEYS} keys"));
            }
            members.push((key, start..self.out.len()));
        }
        self.keep_last_of_each_key(body, members);
        self.out.push('}');
        Ok(())
    }

    fn keep_last_of_each_key(
        &mut self,
        body: usize,
        mut members: Vec<(std::borrow::Cow<'t, str>, std::ops::Range<usize>)>,
    ) {
        let count = members.len();
        // Stable, so that of equal keys the last one written comes last.
        members.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut kept: Vec<std::ops::Range<usize>> = Vec::with_capacity(count);
        for (at, (key, range)) in members.iter().enumerate() {
            if members.get(at + 1).is_none_or(|(next, _)| next != key) {
                kept.push(range.clone());
            }
        }
        if kept.len() == count {
            return;
        }
        kept.sort_by_key(|range| range.start);
        let texts: Vec<&str> = kept.into_iter().filter_map(|range| self.out.get(range)).collect();
        let joined = texts.join(",");
        self.out.truncate(body);
        self.out.push_str(&joined);
    }

    fn scalar(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest.find([',', ']', '}', ' ', '\n', '\r', '\t']).unwrap_or(rest.len());
        let token = rest.get(..end).unwrap_or_default();
        self.at += end;
        match token {
            "true" | "false" | "null" => self.out.push_str(token),
            number => self.number(Number::read(number)),
        }
    }

    fn number(&mut self, number: Number<'_>) {
        match number {
            Number::Int(value) => self.out.push_str(itoa::Buffer::new().format(value)),
            Number::Double(value) => {
                let mut text = String::new();
                write_double(&mut text, value);
                write_json_value(self.out, &text, ValueType::Double);
            }
            Number::Beyond(text) => {
                self.written.numbers_as_text += 1;
                write_json_string(self.out, text);
            }
        }
    }

    /// The literal that begins here, quotes included.
    fn string_literal(&mut self) -> &'t str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut escaped = true;
        let end = rest.bytes().position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        });
        let end = end.map_or(rest.len(), |end| end + 1);
        self.at += end;
        rest.get(..end).unwrap_or_default()
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.skip(byte) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> String {
        format!("is not JSON at byte {}", self.at)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        write(&mut out, text, 16).unwrap();
        out
    }

    #[test]
    fn one_value_has_one_form() {
        assert_eq!(
            canonical(" [ 1 , 1.0,1e3, 1E400, \"\\u00e9\\/\" ,null ] "),
            "[1,1.0,1000.0,\"1E400\",\"\u{e9}/\",null]"
        );
        assert_eq!(canonical("{ \"b\" : {} , \"a\":[ ]}"), "{\"b\":{},\"a\":[]}");
        assert_eq!(canonical(r#"{"a":1,"b":2,"\u0061":{"x":3}}"#), r#"{"b":2,"a":{"x":3}}"#);
        assert_eq!(canonical(r#"{"$bytes":"x","$$":-0.0}"#), r#"{"$$bytes":"x","$$$":{"$double":"-0.0"}}"#);
        assert_eq!(canonical("18446744073709551616"), "\"18446744073709551616\"");
        assert_eq!(canonical(r#""\"\\""#), r#""\"\\""#);
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let mut out = String::new();
        assert!(write(&mut out, &deep(16), 16).is_ok());
        assert!(write(&mut out, &deep(17), 16).is_err());
        assert!(write(&mut out, &"[".repeat(1_000_000), 16).is_err());
    }

    #[test]
    fn an_object_with_many_keys_takes_no_quadratic_time() {
        let keys: Vec<String> = (0..60_000).map(|key| format!("\"{}\":1", key % 30_000)).collect();
        let started = std::time::Instant::now();
        let written = canonical(&format!("{{{}}}", keys.join(",")));
        assert_eq!(written.matches(':').count(), 30_000);
        assert!(started.elapsed().as_secs() < 5);
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            // Exact in binary: serde_json reads other doubles to the nearest but one.
            any::<i32>().prop_map(|eighths| (f64::from(eighths) / 8.0).into()),
            "[^$]{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Into::into),
                proptest::collection::hash_map("[^$]{0,4}", inner, 0..5)
                    .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
            ]
        })
    }

    proptest! {
        /// The reference is serde_json: same value, and a second pass changes nothing.
        #[test]
        fn the_value_stays_the_same(value in json(), pretty: bool) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
            let written = canonical(&text.unwrap());
            if !written.contains("$double") {
                prop_assert_eq!(&serde_json::from_str::<serde_json::Value>(&written).unwrap(), &value);
            }
            prop_assert_eq!(canonical(&written.replace('$', "")), written.replace('$', ""));
        }
    }
}
