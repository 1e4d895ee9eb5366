//! Forms: `multipart/form-data` with the query, its parameters, and files that become temporary tables.
//!
//! In: the decompressed body and its boundary. Out: its parts. Guaranteed: a form without its closing boundary, and
//! one that is larger than the limit, is refused as a whole.

use super::super::exception::Exception;
use std::io::Read;

/// Forms are held in memory: they carry parameters and small tables.
const MAX_FORM: u64 = 256 << 20;

/// One part of a form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) is_file: bool,
    pub(crate) data: Vec<u8>,
}

/// The boundary in a `Content-Type`, if it is that of a form.
pub(crate) fn boundary(content_type: &str) -> Option<String> {
    let (kind, rest) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let pairs = rest.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// Reads a whole form.
pub(crate) fn read(body: impl Read, boundary: &str) -> Result<Vec<Part>, Exception> {
    let mut form = Vec::new();
    body.take(MAX_FORM + 1).read_to_end(&mut form).map_err(|error| malformed(&error.to_string()))?;
    if u64::try_from(form.len()).is_ok_and(|length| length > MAX_FORM) {
        return Err(malformed(&format!("it is larger than {MAX_FORM} bytes")));
    }
    parse(&form, boundary)
}

fn parse(form: &[u8], boundary: &str) -> Result<Vec<Part>, Exception> {
    let delimiter = [b"--".as_slice(), boundary.as_bytes()].concat();
    let between = [b"\r\n".as_slice(), &delimiter].concat();
    let mut rest = find(form, &delimiter).map(|at| &form[at + delimiter.len()..]);
    let mut parts = Vec::new();
    loop {
        let open = rest.ok_or_else(|| malformed("a boundary is missing"))?;
        if open.starts_with(b"--") {
            return Ok(parts);
        }
        let open =
            open.strip_prefix(b"\r\n").ok_or_else(|| malformed("a boundary is not followed by a line"))?;
        let end = find(open, &between).ok_or_else(|| malformed("it has no closing boundary"))?;
        parts.push(part(&open[..end])?);
        rest = Some(&open[end + between.len()..]);
    }
}

fn part(bytes: &[u8]) -> Result<Part, Exception> {
    let blank = find(bytes, b"\r\n\r\n").ok_or_else(|| malformed("a part has no header"))?;
    let header = String::from_utf8_lossy(&bytes[..blank]);
    let disposition =
        header.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"));
    let attribute = |name: &str| {
        let attributes = disposition?.split(';').filter_map(|pair| pair.split_once('='));
        let (_, value) = attributes.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
        Some(value.trim().trim_matches('"').to_owned())
    };
    let name = attribute("name").ok_or_else(|| malformed("a part has no name"))?;
    Ok(Part { name, is_file: attribute("filename").is_some(), data: bytes[blank + 4..].to_vec() })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn malformed(reason: &str) -> Exception {
    Exception::new(36, "BAD_ARGUMENTS", &format!("Cannot read the multipart form: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &[u8] = b"--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT 1\r\n--b\r\nContent-Disposition: \
        form-data; name=\"t\"; filename=\"t.csv\"\r\nContent-Type: text/csv\r\n\r\n1\r\n2\r\n--b--\r\n";

    #[test]
    fn parts_are_told_apart() {
        let parts = parse(FORM, "b").unwrap();
        assert_eq!(parts[0], Part { name: "query".into(), is_file: false, data: b"SELECT 1".to_vec() });
        assert_eq!(parts[1], Part { name: "t".into(), is_file: true, data: b"1\r\n2".to_vec() });
    }

    #[test]
    fn a_form_cut_anywhere_before_its_closing_boundary_is_refused() {
        for cut in 0..FORM.len() - 4 {
            assert_eq!(parse(&FORM[..cut], "b").unwrap_err().code, 36, "{cut}");
        }
    }

    #[test]
    fn only_forms_have_a_boundary() {
        assert_eq!(boundary("multipart/form-data; boundary=\"x y\"").unwrap(), "x y");
        assert_eq!(boundary("text/plain; boundary=x"), None);
    }
}
