//! Texts of which there are few, as numbers: values in, the number of each and the list of all out.
//!
//! Guaranteed: numbers are given out in the order in which the texts come, 0 for the empty one, so that the same texts
//! get the same numbers each time. ClickHouse wants the empty text first: it would give every other list new numbers.

use std::collections::HashMap;

use arrow::array::{Array, StringArray};

use super::index;

/// Places where a text that came before is looked for first.
const NEAR: usize = 64;

/// The texts that came so far.
#[derive(Debug)]
pub(super) struct Words<'a> {
    texts: Vec<&'a [u8]>,
    numbers: HashMap<&'a [u8], u32>,
    /// One of the texts of each place, by a look at its ends only: texts come again soon.
    near: [(&'a [u8], u32); NEAR],
}

impl<'a> Words<'a> {
    pub(super) fn new() -> Self {
        Self { texts: vec![b""], numbers: HashMap::from([(&b""[..], 0)]), near: [(b"", 0); NEAR] }
    }

    /// The number of a text.
    #[inline]
    pub(super) fn number(&mut self, text: &'a [u8]) -> u32 {
        let place = place(text);
        match self.near.get(place) {
            Some((known, number)) if *known == text => *number,
            _ => self.look_up(place, text),
        }
    }

    fn look_up(&mut self, place: usize, text: &'a [u8]) -> u32 {
        let number = *self.numbers.entry(text).or_insert_with(|| {
            self.texts.push(text);
            u32::try_from(self.texts.len() - 1).unwrap_or(u32::MAX)
        });
        if let Some(near) = self.near.get_mut(place) {
            *near = (text, number);
        }
        number
    }

    /// Appends the number of each value of `values`; that of NULL means nothing.
    pub(super) fn extend(&mut self, values: &'a StringArray, numbers: &mut Vec<u32>) {
        let (offsets, bytes) = (values.value_offsets(), values.value_data());
        numbers.reserve(values.len());
        let mut start = offsets.first().map_or(0, |&offset| index(offset));
        for &offset in offsets.get(1..).unwrap_or_default() {
            let end = index(offset);
            numbers.push(self.number(bytes.get(start..end).unwrap_or_default()));
            start = end;
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// All of them by their numbers.
    pub(super) fn texts(&self) -> &[&'a [u8]] {
        &self.texts
    }
}

#[inline]
fn place(text: &[u8]) -> usize {
    let byte = |byte: Option<&u8>| byte.copied().map_or(0, usize::from);
    let middle = text.get(text.len() / 2);
    (text.len() * 7 + byte(text.first()) * 3 + byte(middle) * 5 + byte(text.last())) % NEAR
}
