//! The content codings that are understood, and which one a client is answered in.

use super::super::exception::Exception;

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
    /// With the zlib wrapper, as the name means in HTTP.
    Deflate,
    Zstd,
    /// The LZ4 frame format.
    Lz4,
}

/// In the order in which the server prefers them.
const PREFERRED: [Coding; 4] = [Coding::Zstd, Coding::Lz4, Coding::Gzip, Coding::Deflate];

impl Coding {
    /// The name in `Content-Encoding`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Identity => "identity",
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Zstd => "zstd",
            Coding::Lz4 => "lz4",
        }
    }

    /// The coding of a request body.
    pub(crate) fn of_content(header: &str) -> Result<Coding, Exception> {
        let name = header.trim().to_ascii_lowercase();
        match name.as_str() {
            "" | "identity" | "none" => Ok(Coding::Identity),
            "x-gzip" => Ok(Coding::Gzip),
            _ => PREFERRED.into_iter().find(|coding| coding.name() == name).ok_or_else(|| {
                let message = format!(
                    "Unknown compression method '{name}'. Only 'none', 'gzip', 'deflate', 'zstd' and 'lz4' \
                     are supported as compression methods"
                );
                Exception::new(48, "NOT_IMPLEMENTED", &message)
            }),
        }
    }

    /// The coding of an answer to a client that accepts `header`.
    pub(crate) fn of_answer(header: &str) -> Coding {
        let accepted: Vec<String> = header
            .split(',')
            .filter(|entry| !entry.replace(' ', "").ends_with(";q=0"))
            .filter_map(|entry| entry.split(';').next())
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        let accepts = |coding: &Coding| accepted.iter().any(|name| name == coding.name());
        PREFERRED.into_iter().find(accepts).unwrap_or(Coding::Identity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_chooses_among_what_is_accepted() {
        assert_eq!(Coding::of_answer("gzip, deflate, br, zstd"), Coding::Zstd);
        assert_eq!(Coding::of_answer("gzip, deflate"), Coding::Gzip);
        assert_eq!(Coding::of_answer("zstd;q=0, gzip;q=0.5"), Coding::Gzip);
        assert_eq!(Coding::of_answer("br"), Coding::Identity);
    }

    #[test]
    fn an_unknown_coding_is_refused() {
        assert_eq!(Coding::of_content("snappy").unwrap_err().code, 48);
        assert_eq!(Coding::of_content(" GZIP ").unwrap(), Coding::Gzip);
    }
}
