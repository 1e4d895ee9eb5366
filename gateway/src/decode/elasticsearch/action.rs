//! The lines of a `_bulk` request: actions, and the documents that follow them.

use std::borrow::Cow;

use crate::decode::DecodeError;
use crate::decode::json::value::{Value, read_members};

/// What an action asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Create,
    Index,
    Update,
    Delete,
}

/// An action.
#[derive(Debug)]
pub(super) struct Action<'b> {
    pub(super) kind: Kind,
    /// Empty when it names none.
    pub(super) index: Cow<'b, str>,
    pub(super) id: Option<Cow<'b, str>>,
}

/// An action with its document, which is empty for one that has none.
#[derive(Debug)]
pub(super) struct Item<'b> {
    pub(super) action: Action<'b>,
    pub(super) document: &'b [u8],
}

impl Kind {
    const ALL: [Self; 4] = [Self::Create, Self::Index, Self::Update, Self::Delete];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Index => "index",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    pub(super) fn brings_a_document(self) -> bool {
        matches!(self, Self::Create | Self::Index)
    }
}

/// The items of a body. Blank lines between items are skipped.
pub(super) fn items(body: &[u8]) -> impl Iterator<Item = Result<Item<'_>, DecodeError>> {
    let mut lines = body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    std::iter::from_fn(move || {
        let (number, line) = lines.find(|(_, line)| !line.is_empty())?;
        let malformed = |reason: &str| {
            let number = number + 1;
            DecodeError::Malformed(format!("malformed action/metadata line [{number}]: {reason}"))
        };
        let action = match read(line) {
            Ok(action) => action,
            Err(reason) => return Some(Err(malformed(&reason))),
        };
        let document = match action.kind {
            Kind::Delete => &[][..],
            Kind::Create | Kind::Index | Kind::Update => match lines.next() {
                Some((_, document)) if !document.is_empty() => document,
                _ => return Some(Err(malformed("no document follows"))),
            },
        };
        Some(Ok(Item { action, document }))
    })
}

fn read(line: &[u8]) -> Result<Action<'_>, String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    let mut members = Vec::new();
    read_members(text, &mut members)?;
    let [(name, fields)] = members.as_slice() else {
        return Err(format!("it has {} members instead of one action", members.len()));
    };
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    let kind = kind.ok_or("the action is none of create, index, update and delete".to_owned())?;
    let mut action = Action { kind, index: Cow::Borrowed(""), id: None };
    let mut members = Vec::new();
    read_members(fields, &mut members)?;
    for (key, text) in members {
        match (&*key, Value::read(text)?) {
            ("_index", Value::String(index)) => action.index = index,
            ("_id", Value::String(id)) => action.id = Some(id),
            ("_index", other) => return Err(format!("_index is {} and not a string", other.kind())),
            _ => {}
        }
    }
    Ok(action)
}
