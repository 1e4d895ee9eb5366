//! Framing: a body in, the bytes of its records out, one after the other.
//!
//! | framing | records |
//! |---|---|
//! | [`Framing::Json`] | the elements of a top-level array; top-level objects, however they are separated |
//! | [`Framing::Lines`] | the lines that are not blank |
//!
//! The cut is made by quotes, brackets and commas alone, and whether a record is JSON is left to who reads it.
//! A record that is broken inside its own brackets is therefore cut out and its neighbours are found all the same.

/// How records are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// `application/json`: an object, an array of objects, or objects one after the other.
    Json,
    /// `application/x-ndjson`: an object a line.
    Lines,
}

/// One record of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frame<'b> {
    /// The bytes of a record, to be parsed.
    Record(&'b [u8]),
    /// Bytes that cannot be a record, and why.
    Broken(&'b [u8], &'static str),
}

/// The records of a body, in order.
#[derive(Debug)]
pub(super) struct Frames<'b> {
    rest: &'b [u8],
    framing: Framing,
    in_array: bool,
    /// A comma was read: an element must follow.
    after_comma: bool,
}

impl<'b> Frames<'b> {
    /// The records of `body`.
    pub(super) fn new(body: &'b [u8], framing: Framing) -> Self {
        // A byte order mark says nothing of UTF-8, but some editors write it.
        let rest = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        Self { rest, framing, in_array: false, after_comma: false }
    }

    fn take(&mut self, count: usize) -> &'b [u8] {
        let (taken, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, b""));
        self.rest = rest;
        taken
    }

    fn next_line(&mut self) -> Option<Frame<'b>> {
        while !self.rest.is_empty() {
            let end = self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len());
            let line = self.take(end).trim_ascii();
            self.take(1);
            if !line.is_empty() {
                return Some(Frame::Record(line));
            }
        }
        None
    }

    fn next_value(&mut self) -> Option<Frame<'b>> {
        loop {
            self.rest = self.rest.trim_ascii_start();
            let Some(&first) = self.rest.first() else {
                return self.end_of_body();
            };
            if self.in_array {
                match first {
                    b']' if !self.after_comma => {
                        self.take(1);
                        self.in_array = false;
                        continue;
                    }
                    _ => return Some(self.element()),
                }
            }
            match first {
                b'[' => {
                    self.take(1);
                    self.in_array = true;
                }
                b'{' => {
                    let end = scan(self.rest, Until::Closed);
                    let reason = "the object is not closed: the body may be cut off";
                    let bytes = self.take(end.at);
                    return Some(if end.found { Frame::Record(bytes) } else { Frame::Broken(bytes, reason) });
                }
                _ => {
                    let end = self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len());
                    let bytes = self.take(end).trim_ascii_end();
                    return Some(Frame::Broken(bytes, "expected an object or an array"));
                }
            }
        }
    }

    fn end_of_body(&mut self) -> Option<Frame<'b>> {
        std::mem::take(&mut self.in_array)
            .then_some(Frame::Broken(b"", "the array is not closed: the body may be cut off"))
    }

    /// The bytes up to the comma or bracket that ends an element.
    fn element(&mut self) -> Frame<'b> {
        let end = scan(self.rest, Until::Separator);
        let element = self.take(end.at).trim_ascii_end();
        self.after_comma = self.rest.first() == Some(&b',');
        if self.after_comma {
            self.take(1);
        }
        if !end.found && end.depth > 0 {
            self.in_array = false;
            return Frame::Broken(element, "the element is not closed: the body may be cut off");
        }
        if element.is_empty() {
            return Frame::Broken(element, "expected a value between two commas");
        }
        Frame::Record(element)
    }
}

impl<'b> Iterator for Frames<'b> {
    type Item = Frame<'b>;

    fn next(&mut self) -> Option<Frame<'b>> {
        match self.framing {
            Framing::Lines => self.next_line(),
            Framing::Json => self.next_value(),
        }
    }
}

/// Where a scan stops.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Until {
    /// After the bracket that closes the first one.
    Closed,
    /// Before a comma or a closing square bracket outside of all brackets.
    Separator,
}

struct End {
    /// Bytes before the end.
    at: usize,
    /// Brackets still open there.
    depth: usize,
    /// Whether the end was found before the bytes ran out.
    found: bool,
}

fn scan(bytes: &[u8], until: Until) -> End {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for (at, &byte) in bytes.iter().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b',' | b']' if depth == 0 && until == Until::Separator => {
                return End { at, depth, found: true };
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && until == Until::Closed {
                    return End { at: at + 1, depth, found: true };
                }
            }
            _ => {}
        }
    }
    // An open string counts as an open bracket.
    End { at: bytes.len(), depth: depth + usize::from(in_string), found: false }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(body: &str, framing: Framing) -> Vec<String> {
        Frames::new(body.as_bytes(), framing)
            .map(|frame| match frame {
                Frame::Record(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                Frame::Broken(bytes, _) => format!("broken:{}", String::from_utf8_lossy(bytes)),
            })
            .collect()
    }

    fn json(body: &str) -> Vec<String> {
        frames(body, Framing::Json)
    }

    #[test]
    fn objects_arrays_and_sequences_of_both() {
        assert_eq!(json(" {\"a\": [1, \"}\\\"\"]} "), [r#"{"a": [1, "}\""]}"#]);
        assert_eq!(json("[{\"a\":1} , {\"b\":\"],\"}]"), ["{\"a\":1}", "{\"b\":\"],\"}"]);
        assert_eq!(json("{}\n{}{} [{}]\r\n[]"), ["{}", "{}", "{}", "{}"]);
        assert!(json("[]").is_empty() && json("  ").is_empty() && json("").is_empty());
        assert_eq!(json("\u{feff}{}"), ["{}"]);
        assert_eq!(frames("{}\r\n\n [1\n{\"a\":\n{}", Framing::Lines), ["{}", "[1", "{\"a\":", "{}"]);
    }

    #[test]
    fn a_broken_element_leaves_its_neighbours_alone() {
        assert_eq!(json("[{\"a\":tru},{}]"), ["{\"a\":tru}", "{}"]);
        assert_eq!(json("[{}{},{}]"), ["{}{}", "{}"]);
        assert_eq!(json("[{\"a\":1]},{}]"), ["{\"a\":1]}", "{}"]);
        assert_eq!(json("[,{},]"), ["broken:", "{}", "broken:"]);
        assert_eq!(json("[1,\"x\",null,[],{}]"), ["1", "\"x\"", "null", "[]", "{}"]);
        assert_eq!(json("nonsense {}\n{}"), ["broken:nonsense {}", "{}"]);
    }

    #[test]
    fn a_body_that_is_cut_off_keeps_what_was_whole() {
        assert_eq!(json("[{},{\"a\":\"x"), ["{}", "broken:{\"a\":\"x"]);
        assert_eq!(json("[{},{}"), ["{}", "{}", "broken:"]);
        assert_eq!(json("[{},"), ["{}", "broken:"]);
        assert_eq!(json("["), ["broken:"]);
        assert_eq!(json("{} {\"a\":{}"), ["{}", "broken:{\"a\":{}"]);
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(body in "[\\[\\]{},\" \\\\a1\n]{0,60}") {
            for framing in [Framing::Json, Framing::Lines] {
                prop_assert!(frames(&body, framing).len() <= body.len() + 1);
            }
        }

        /// Of JSON that is right every element is found, whatever its strings hold.
        #[test]
        fn elements_are_those_that_serde_json_finds(texts in proptest::collection::vec(".{0,12}", 0..8), pretty: bool) {
            let elements: Vec<_> = texts.iter().map(|text| serde_json::json!({"k": [text, {"n": text}]})).collect();
            let body = if pretty { serde_json::to_string_pretty(&elements) } else { serde_json::to_string(&elements) };
            let found: Vec<serde_json::Value> =
                json(&body.unwrap()).iter().map(|element| serde_json::from_str(element).unwrap()).collect();
            prop_assert_eq!(found, elements);
        }
    }
}
