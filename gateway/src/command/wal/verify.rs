//! `tidewell wal verify`: a whole log read and every entry decoded, what is wrong told.

use std::path::Path;
use std::sync::Arc;

use super::show::damage_text;
use crate::command::CommandError;
use crate::wal::inspect::Inspector;
use crate::wal::{Definitions, Entry, LocalDisk};

/// Most entries that cannot be read and are told one by one.
const MAX_LISTED: usize = 20;

/// What is said of a log.
pub(super) struct Report {
    pub(super) text: String,
    /// Whether nothing that was acknowledged is lost.
    pub(super) is_sound: bool,
}

pub(super) fn report(name: &str, log: &Inspector, definitions: &Path) -> Result<Report, CommandError> {
    let definitions = Definitions::new(Arc::new(LocalDisk), definitions);
    let mut unreadable = Vec::new();
    let mut unreadable_count = 0_u64;
    let (mut rows, mut first, mut last) = (0, None, None);
    let verification = log.verify(|frame| {
        first = first.or(Some(frame.position));
        last = Some(frame.position);
        match Entry::decode(frame.kind, &frame.body, &definitions) {
            Ok(Entry::Request(request)) => {
                rows += request.batches.iter().map(|batch| batch.len()).sum::<usize>()
            }
            Ok(_) => {}
            Err(error) => {
                unreadable_count += 1;
                if unreadable.len() < MAX_LISTED {
                    unreadable.push(format!("frame {}: {error}", frame.position));
                }
            }
        }
    })?;
    let frames: u64 = verification.frames.values().sum();
    let mut text = match (first, last) {
        (Some(first), Some(last)) => format!("{name}: {frames} frames, {first} to {last}, {rows} rows"),
        _ => format!("{name}: no frames"),
    };
    for (kind, count) in &verification.frames {
        match Entry::kind_name(*kind) {
            Some(name) => text += &format!(", {count} {name}"),
            None => text += &format!(", {count} of kind {kind}"),
        }
    }
    text.push('\n');
    if verification.incomplete_bytes > 0 {
        text +=
            &format!("  {} bytes at the end are being written or were torn\n", verification.incomplete_bytes);
    }
    for damage in &verification.damaged {
        text += &format!("  DAMAGED: {}\n", damage_text(damage));
    }
    for line in &unreadable {
        text += &format!("  CANNOT BE READ: {line}\n");
    }
    if unreadable_count > unreadable.len() as u64 {
        text += &format!("  and {} more\n", unreadable_count - unreadable.len() as u64);
    }
    Ok(Report { text, is_sound: verification.damaged.is_empty() && unreadable_count == 0 })
}
