//! Parameters of a URL or a form.

use super::super::exception::Exception;
use percent_encoding::percent_decode;
use std::str::FromStr;

/// Names and values in the order they were given. Values need not be UTF-8.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, Vec<u8>)>);

impl Params {
    /// Parses `name=value&..`, where a plus sign stands for a space.
    pub(crate) fn parse(query: &str) -> Params {
        let decode = |text: &str| -> Vec<u8> { percent_decode(text.replace('+', " ").as_bytes()).collect() };
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (String::from_utf8_lossy(&decode(name)).into_owned(), decode(value))
        };
        Params(query.split('&').filter(|part| !part.is_empty()).map(pair).collect())
    }

    pub(crate) fn push(&mut self, name: String, value: Vec<u8>) {
        self.0.push((name, value));
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(String, Vec<u8>)> {
        self.0.iter()
    }

    /// The first value of `name`.
    pub(crate) fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_slice())
    }

    /// The first value of `name` as text.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(|value| String::from_utf8_lossy(value).into_owned())
    }

    /// The first value of `name` as a number.
    pub(crate) fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, Exception> {
        let parse = |text: String| {
            text.parse().map_err(|_| {
                let message = format!("Cannot parse '{text}' as a number for the parameter '{name}'");
                Exception::new(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", &message)
            })
        };
        self.text(name).filter(|text| !text.is_empty()).map(parse).transpose()
    }

    /// The first value of `name` as 0 or 1, false or true.
    pub(crate) fn flag(&self, name: &str) -> Result<Option<bool>, Exception> {
        let parse = |text: String| match text.to_ascii_lowercase().as_str() {
            "1" | "true" => Ok(true),
            "0" | "false" | "" => Ok(false),
            _ => {
                let message = format!("Cannot parse '{text}' as 0 or 1 for the parameter '{name}'");
                Err(Exception::new(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", &message))
            }
        };
        self.text(name).map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_may_be_bytes() {
        let params = Params::parse("query=SELECT+1%2B1&a=%FF&&b&c=x=y");
        assert_eq!(params.text("query").unwrap(), "SELECT 1+1");
        assert_eq!(params.get("a").unwrap(), [0xff]);
        assert_eq!(params.text("b").unwrap(), "");
        assert_eq!(params.text("c").unwrap(), "x=y");
    }

    #[test]
    fn a_bad_number_is_named() {
        let error = Params::parse("buffer_size=x").number::<usize>("buffer_size").unwrap_err();
        assert!(error.render("1").contains("'x'") && error.render("1").contains("buffer_size"));
    }
}
