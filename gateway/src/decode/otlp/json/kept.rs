//! What a refused record is kept in: a request in JSON that holds it alone, with what it shares with its neighbours.

use super::schema::FieldDef;

/// How much of the decoded bytes of a request the levels around refused records may take, which are repeated for each of
/// them. A record beyond is kept without.
const LEVELS_SHARE: usize = 4;

/// The levels that hold records: what their records share, as it was sent.
#[derive(Debug, Default)]
pub(super) struct Levels<'a> {
    all: Vec<Level<'a>>,
    /// The one that is being read.
    open: Option<usize>,
}

#[derive(Debug)]
struct Level<'a> {
    parent: Option<usize>,
    def: &'static FieldDef,
    /// Its fields that hold no records: name and JSON.
    fields: Vec<(&'static str, &'a str)>,
}

/// The place of a record among the levels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    level: usize,
    def: &'static FieldDef,
}

impl<'a> Levels<'a> {
    /// A level begins in the one that is open. Returns what [`Levels::end`] takes.
    pub(super) fn begin(&mut self, def: &'static FieldDef) -> usize {
        let level = self.all.len();
        self.all.push(Level { parent: self.open, def, fields: Vec::new() });
        self.open = Some(level);
        level
    }

    /// The level ends. One without records is forgotten, so that nobody pays for empty ones.
    pub(super) fn end(&mut self, level: usize, has_records: bool) {
        self.open = self.all.get(level).and_then(|level| level.parent);
        if !has_records {
            self.all.truncate(level);
        }
    }

    /// A field that the records of the open level share. Of one that comes twice the last counts.
    pub(super) fn shared(&mut self, name: &'static str, json: &'a str) {
        let Some(level) = self.open.and_then(|open| self.all.get_mut(open)) else { return };
        level.fields.retain(|(known, _)| *known != name);
        level.fields.push((name, json));
    }

    /// Where a record in the open level's field `def` is.
    pub(super) fn place(&self, def: &'static FieldDef) -> Option<Place> {
        self.open.map(|level| Place { level, def })
    }

    /// The request that holds one record; none when `budget` has no room for what is around it.
    pub(super) fn request(
        &self,
        place: Place,
        record: &[u8],
        budget: &mut Budget,
        bytes_of: impl Fn(&str) -> Vec<u8>,
    ) -> Option<Vec<u8>> {
        let mut json = record.to_vec();
        let (mut def, mut next) = (place.def, self.all.get(place.level));
        let mut around = 0;
        while let Some(level) = next {
            around += level.fields.iter().map(|(name, json)| name.len() + json.len() + 8).sum::<usize>();
            if around > budget.0 {
                return None;
            }
            json = in_level(def, &json, level.fields.iter().map(|(name, json)| (*name, bytes_of(json))));
            (def, next) = (level.def, level.parent.and_then(|parent| self.all.get(parent)));
        }
        budget.0 -= around;
        Some(in_level(def, &json, std::iter::empty()))
    }
}

/// Bytes that the levels around records may still take.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) fn of(decoded_bytes: usize) -> Self {
        Self(decoded_bytes / LEVELS_SHARE)
    }
}

fn in_level(
    def: &'static FieldDef,
    json: &[u8],
    fields: impl Iterator<Item = (&'static str, Vec<u8>)>,
) -> Vec<u8> {
    let mut level = vec![b'{'];
    for (name, json) in fields {
        member(&mut level, name);
        level.extend_from_slice(&json);
        level.push(b',');
    }
    member(&mut level, def.name);
    let (open, close): (&[u8], &[u8]) = if def.repeated { (b"[", b"]}") } else { (b"", b"}") };
    level.extend_from_slice(open);
    level.extend_from_slice(json);
    level.extend_from_slice(close);
    level
}

/// A field's name; those of OTLP need no escaping.
fn member(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}
