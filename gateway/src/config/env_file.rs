//! The env file (`.env`): lines of `NAME=VALUE` in, pairs with their line out.
//!
//! | line | means |
//! |---|---|
//! | `# ...` or nothing | nothing |
//! | `NAME=VALUE`, `export NAME=VALUE` | the text up to ` #` or the end of the line, without spaces around it |
//! | `NAME='VALUE'` | the text between the quotes as it stands |
//! | `NAME="VALUE"` | the text between the quotes, with `\n`, `\t`, `\"` and `\\` |
//!
//! Nothing is substituted: a password may hold a `$`. That, and errors that name a line without showing it, is why this
//! is not done by a library.

/// One assignment.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    /// Its line, from 1.
    pub(super) line: usize,
    pub(super) name: String,
    pub(super) value: String,
}

/// Reads the text of an env file. An error is a line and what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Vec<Assignment>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut assignments = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| (number, "is not NAME=VALUE: begin a comment with #".to_owned()))?;
        let name = name.trim_end();
        if !is_name(name) {
            return Err((number, "has a name that is not of letters, digits and _".to_owned()));
        }
        let value = unquote(value.trim_start()).map_err(|reason| (number, reason))?;
        assignments.push(Assignment { line: number, name: name.to_owned(), value });
    }
    Ok(assignments)
}

fn is_name(name: &str) -> bool {
    !name.starts_with(|first: char| first.is_ascii_digit())
        && !name.is_empty()
        && name.chars().all(|one| one.is_ascii_alphanumeric() || one == '_')
}

fn unquote(value: &str) -> Result<String, String> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, after) = rest.split_once('\'').ok_or("has a ' that is not closed on its line")?;
        return end(after).map(|()| inner.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let value = if value.starts_with('#') { "" } else { value };
        return Ok(value.split_once(" #").map_or(value, |(before, _)| before).trim_end().to_owned());
    };
    let mut inner = String::new();
    let mut rest = rest.chars();
    loop {
        match rest.next() {
            None => return Err("has a \" that is not closed on its line".to_owned()),
            Some('"') => return end(rest.as_str()).map(|()| inner),
            Some('\\') => inner.push(match rest.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(same @ ('"' | '\\')) => same,
                _ => return Err("has a \\ before something else than n, t, \" or \\: use '...'".to_owned()),
            }),
            Some(other) => inner.push(other),
        }
    }
}

fn end(after: &str) -> Result<(), String> {
    let after = after.trim_start();
    if after.is_empty() || after.starts_with('#') {
        Ok(())
    } else {
        Err("has more text after the closing quote".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|one| (one.name, one.value)).collect()
    }

    #[test]
    fn lines_mean_what_the_table_says() {
        let text = "\u{feff}# a comment\n\nA=1\r\n export B = two words  # not this\nC='$x \"#'\nD=\"a\\n\\\"b\\\\\" # no\n\
                    E=\nF=#none\nG=a#b\nH=p$w%{x}\n";
        let found = values(text);
        let found: Vec<(&str, &str)> = found.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        assert_eq!(
            found,
            [
                ("A", "1"),
                ("B", "two words"),
                ("C", "$x \"#"),
                ("D", "a\n\"b\\"),
                ("E", ""),
                ("F", ""),
                ("G", "a#b"),
                ("H", "p$w%{x}")
            ]
        );
        assert_eq!(parse("A=1\n\nB=2\n").unwrap()[1].line, 3);
    }

    #[test]
    fn errors_name_the_line_and_do_not_show_it() {
        for text in
            ["hunter2", "A='hunter2", "A=\"hunter2", "A=\"hunter2\\x\"", "A='hunter2' hunter2", "1A=hunter2"]
        {
            let (line, reason) = parse(&format!("# first\n{text}\n")).unwrap_err();
            assert_eq!(line, 2, "{text}");
            assert!(!reason.contains("hunter2"), "{reason}");
        }
    }

    proptest! {
        #[test]
        fn any_text_survives_single_or_double_quotes(value in "[^\\r\\n]{0,40}") {
            let double = value.replace('\\', "\\\\").replace('"', "\\\"");
            prop_assert_eq!(&values(&format!("A=\"{double}\""))[0].1, &value);
            if !value.contains('\'') {
                prop_assert_eq!(&values(&format!("A='{value}'"))[0].1, &value);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,60}") {
            drop(parse(&text));
        }
    }
}
