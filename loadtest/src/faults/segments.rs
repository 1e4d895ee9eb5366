//! The files of a gateway's log, to be damaged while it is down: a folder in, the last segments and where their frames
//! are out. Knows as much of the format as the damage needs.

use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Bytes before the first frame of a segment.
const FRAMES_AT: usize = 256;
/// Bytes before the body of a frame; the first four are its length.
const HEAD_BYTES: usize = 40;

/// The last segment of every log below the folder.
pub(super) fn last_segments(wal: &Path) -> Result<Vec<PathBuf>> {
    let mut last = Vec::new();
    for log in std::fs::read_dir(wal).with_context(|| format!("cannot read {}", wal.display()))? {
        // Names are numbers of equal width.
        last.extend(all_segments(&log?.path())?.pop());
    }
    Ok(last)
}

/// All segments of a log by age, none when the folder is none.
pub(super) fn all_segments(log: &Path) -> Result<Vec<PathBuf>> {
    if !log.is_dir() {
        return Ok(Vec::new());
    }
    let mut segments = Vec::new();
    for file in std::fs::read_dir(log)? {
        let path = file?.path();
        if path.extension().is_some_and(|extension| extension == "wal") {
            segments.push(path);
        }
    }
    segments.sort();
    Ok(segments)
}

/// Where the frames of a segment begin; the last number is where they end.
fn frames(segment: &[u8]) -> Vec<usize> {
    let mut places = vec![FRAMES_AT];
    let mut at = FRAMES_AT;
    while let Some(&[a, b, c, d]) = segment.get(at..at + 4).and_then(|four| <&[u8; 4]>::try_from(four).ok())
        && segment.get(at..at + HEAD_BYTES).is_some_and(|head| head.iter().any(|&byte| byte != 0))
    {
        let body = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        let Some(next) = body.checked_next_multiple_of(8).and_then(|body| at.checked_add(HEAD_BYTES + body))
        else {
            break;
        };
        if next > segment.len() {
            break;
        }
        at = next;
        places.push(at);
    }
    places
}

/// Writes a torn frame behind the last whole one: this many bytes of that one. A segment without frames stays as it is.
pub(super) fn tear(segment: &Path, bytes: usize) -> Result<()> {
    let content = read(segment)?;
    let places = frames(&content);
    let [.., last, end] = places.as_slice() else { return Ok(()) };
    let torn = content.get(*last..*end).unwrap_or_default();
    let torn = torn.get(..bytes.min(torn.len().saturating_sub(1))).unwrap_or_default();
    write_at(segment, *end, torn)?;
    // As after a crash in the middle of a write: the file ends there.
    OpenOptions::new().write(true).open(segment)?.set_len((*end + torn.len()) as u64)?;
    Ok(())
}

/// Flips a bit of the first place in these segments that holds this text. False when none does.
pub(super) fn flip_a_bit_of(segments: &[PathBuf], text: &str) -> Result<bool> {
    for segment in segments {
        let content = read(segment)?;
        let place = content.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(place) = place {
            let flipped = content.get(place).map(|byte| byte ^ 0x10).unwrap_or_default();
            write_at(segment, place, &[flipped])?;
            return Ok(true);
        }
    }
    Ok(false)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut content = Vec::new();
    let mut file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    file.read_to_end(&mut content)?;
    Ok(content)
}

fn write_at(path: &Path, at: usize, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(at as u64))?;
    file.write_all(bytes).with_context(|| format!("cannot damage {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment with two frames of 8 and 13 bytes and room behind them.
    fn segment(folder: &Path) -> PathBuf {
        let mut content = vec![1; FRAMES_AT];
        for (body, fill) in [(8_u32, b'a'), (13, b'b')] {
            content.extend(body.to_le_bytes());
            content.extend([9; HEAD_BYTES - 4]);
            content.extend(std::iter::repeat_n(fill, body.next_multiple_of(8) as usize));
        }
        let path = folder.join("00000000000000000001.wal");
        std::fs::write(&path, content).unwrap();
        path
    }

    #[test]
    fn damage_is_done_where_it_is_meant() {
        let folder = tempfile::tempdir().unwrap();
        let path = segment(folder.path());
        let before = std::fs::read(&path).unwrap();
        assert_eq!(frames(&before), [256, 304, 360]);

        tear(&path, 21).unwrap();
        let torn = std::fs::read(&path).unwrap();
        assert_eq!((torn.len(), &torn[360..], frames(&torn).len()), (381, &before[304..325], 3));

        let path = segment(folder.path());
        assert!(flip_a_bit_of(std::slice::from_ref(&path), "bbb").unwrap());
        assert!(!flip_a_bit_of(std::slice::from_ref(&path), "ccc").unwrap());
        let flipped = std::fs::read(&path).unwrap();
        assert_eq!(flipped.iter().zip(&before).filter(|(one, other)| one != other).count(), 1);
        assert_eq!(all_segments(folder.path()).unwrap(), [path]);
        assert!(all_segments(&folder.path().join("none")).unwrap().is_empty());
    }
}
