//! apt's two source formats, see sources.list(5).
//!
//! In: the text of a `.list` file (one source per line) or of a `.sources` file (deb822 stanzas). Out: the sources in
//! it. What is disabled, a comment or malformed is left out, as apt would complain about it before us.

use std::path::PathBuf;

/// One entry: every suite of it exists at every URI of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Source {
    types: Vec<String>,
    uris: Vec<String>,
    suites: Vec<String>,
    components: Vec<String>,
    keyring: Option<PathBuf>,
    trusted: bool,
}

/// An archive of Debian packages that debootstrap can install a suite from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Archive {
    /// Its address, without a slash at the end.
    pub(crate) uri: String,
    /// The keys its index is signed with, when the source names a file.
    pub(crate) keyring: Option<PathBuf>,
    /// Whether the administrator told apt to trust it without a signature.
    pub(crate) trusted: bool,
}

/// Sources of a one-line-style file: `deb [option=value ..] uri suite component ..`.
pub(super) fn parse_one_line(text: &str) -> Vec<Source> {
    text.lines().filter_map(one_line).collect()
}

fn one_line(line: &str) -> Option<Source> {
    let line = line.split('#').next()?.trim();
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let mut source = Source { types: vec![kind.to_owned()], ..Source::default() };
    let mut rest = rest.trim_start();
    if let Some(options) = rest.strip_prefix('[') {
        let (options, behind) = options.split_once(']')?;
        for option in options.split_whitespace() {
            if let Some((name, value)) = option.split_once('=') {
                source.set(name, value);
            }
        }
        rest = behind;
    }
    let mut words = rest.split_whitespace().map(str::to_owned);
    source.uris.push(words.next()?);
    source.suites.push(words.next()?);
    source.components.extend(words);
    Some(source)
}

/// Sources of a deb822-style file: stanzas of `Name: value` with folded lines, separated by empty lines.
pub(super) fn parse_deb822(text: &str) -> Vec<Source> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    // The empty line at the end closes the last stanza.
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(stanza(&std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push(' ');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    sources
}

fn stanza(fields: &[(String, String)]) -> Option<Source> {
    let mut source = Source::default();
    for (name, value) in fields {
        let words = || value.split_whitespace().map(str::to_owned).collect();
        match name.to_ascii_lowercase().as_str() {
            "types" => source.types = words(),
            "uris" => source.uris = words(),
            "suites" => source.suites = words(),
            "components" => source.components = words(),
            "enabled" if is_no(value) => return None,
            _ => source.set(name, value),
        }
    }
    (!source.uris.is_empty()).then_some(source)
}

impl Source {
    fn set(&mut self, option: &str, value: &str) {
        match option.to_ascii_lowercase().as_str() {
            // A fingerprint or an embedded key is no file: the default keyring has to do then.
            "signed-by" if value.starts_with('/') => {
                self.keyring = value.split([',', ' ']).next().map(PathBuf::from);
            }
            "trusted" => {
                self.trusted = matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on")
            }
            _ => {}
        }
    }
}

fn is_no(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "no" | "false" | "0" | "off" | "without" | "disable")
}

/// The sources that look like a complete Debian archive, those named like the official ones first.
///
/// `codename` is this machine's release: repositories of other vendors mostly call their suites otherwise
/// (`bookworm-pgdg`), and those that do not are found out when debootstrap asks them.
pub(super) fn debian_archives(sources: &[Source], codename: &str) -> Vec<Archive> {
    let is_release = |suite: &str| {
        let known = ["oldstable", "stable", "testing", "unstable", "sid", "bookworm", "trixie", "forky"];
        !suite.is_empty() && (suite == codename || known.contains(&suite))
    };
    let mut archives: Vec<Archive> = Vec::new();
    for source in sources {
        let complete = source.types.iter().any(|kind| kind == "deb")
            && source.suites.iter().any(|suite| is_release(suite))
            && source.components.iter().any(|component| component == "main");
        let uris = source.uris.iter().map(|uri| uri.trim_end_matches('/'));
        for uri in uris.filter(|_| complete) {
            // Others (cdrom:, mirror+file:, tor+https:) are apt's own inventions.
            let readable = ["http://", "https://", "file:/"].iter().any(|scheme| uri.starts_with(scheme));
            if readable && !archives.iter().any(|archive| archive.uri == uri) {
                archives.push(Archive {
                    uri: uri.to_owned(),
                    keyring: source.keyring.clone(),
                    trusted: source.trusted,
                });
            }
        }
    }
    archives.sort_by_key(|archive| !archive.uri.ends_with("/debian"));
    archives
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uris(sources: &[Source]) -> Vec<String> {
        debian_archives(sources, "bookworm").into_iter().map(|archive| archive.uri).collect()
    }

    #[test]
    fn one_line_style() {
        let text = "\
# deb http://commented.example/debian bookworm main
deb-src http://source.example/debian bookworm main
deb cdrom:[Debian GNU/Linux 12]/ bookworm main
deb [arch=amd64 signed-by=/keys/mirror.gpg trusted=yes] https://mirror.example/some/path/ bookworm main contrib # ours
deb http://deb.example/debian-security bookworm-security main
deb http://deb.example/debian/ bookworm main non-free-firmware
deb http://deb.example/debian bookworm-updates main
deb http://vendor.example/apt cloud-sdk-bookworm main
deb http://broken.example
deb
";
        let sources = parse_one_line(text);
        assert_eq!(uris(&sources), ["http://deb.example/debian", "https://mirror.example/some/path"]);
        let archives = debian_archives(&sources, "bookworm");
        assert_eq!(
            archives[0],
            Archive { uri: "http://deb.example/debian".into(), keyring: None, trusted: false }
        );
        assert_eq!(archives[1].keyring.as_deref(), Some("/keys/mirror.gpg".as_ref()));
        assert!(archives[1].trusted);
    }

    #[test]
    fn deb822_style() {
        let text = "\
Types: deb deb-src
# a comment inside a stanza
URIs: http://deb.example/debian
  http://second.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: http://disabled.example/debian
Suites: bookworm
Components: main


types: deb
uris: http://lower.example/debian
suites: stable
components: main
trusted: yes
signed-by:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEYCQjIxYJKwYBBAHaRw8BAQdAD/P5Nvvnvk66SxBBHDbhRml9ORg1WV5CvzKY
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://vendor.example/node
Suites: nodistro
Components: main";
        let archives = debian_archives(&parse_deb822(text), "bookworm");
        let uris: Vec<&str> = archives.iter().map(|archive| archive.uri.as_str()).collect();
        assert_eq!(
            uris,
            ["http://deb.example/debian", "http://second.example/debian", "http://lower.example/debian"]
        );
        let keyring = Some(PathBuf::from("/usr/share/keyrings/debian-archive-keyring.gpg"));
        assert_eq!(archives[0].keyring, keyring);
        assert_eq!((archives[2].keyring.clone(), archives[2].trusted), (None, true));
    }

    #[test]
    fn nothing_useful_is_no_archive() {
        assert!(parse_deb822("").is_empty());
        assert!(parse_deb822(" folded without a field\n\nno colon here\n").is_empty());
        assert!(parse_one_line("deb [unclosed=yes http://x.example/debian bookworm main\n").is_empty());
        assert!(uris(&parse_one_line("deb mirror+file:/etc/mirrors bookworm main\n")).is_empty());
        assert!(debian_archives(&parse_one_line("deb http://x.example/debian  main\n"), "").is_empty());
    }
}
