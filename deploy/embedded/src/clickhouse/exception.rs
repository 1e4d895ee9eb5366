//! Errors in the server's words, and the HTTP status that the server gives them.
//!
//! In: the engine's error text, or an error that the HTTP interface finds itself. Out: the text of the body
//! `Code: N. DB::Exception: .. (NAME) (version ..)`, the code for `X-ClickHouse-Exception-Code`, and the status.

use http::StatusCode;

/// An error as the server reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exception {
    pub(crate) code: u32,
    /// `Code: N. DB::Exception: .. (NAME)`, without the version.
    text: String,
}

/// What the engine adds to errors because the data of an INSERT comes from a file, which clients know nothing of.
const FILE_TRACES: [&str; 2] = [": While executing File", ": data for INSERT was parsed from file"];

impl Exception {
    /// An error of the HTTP interface. `name` is the server's name of `code`.
    pub(crate) fn new(code: u32, name: &str, message: &str) -> Exception {
        let stop = if message.ends_with('.') { "" } else { "." };
        Exception { code, text: format!("Code: {code}. DB::Exception: {message}{stop} ({name})") }
    }

    /// An error of the engine.
    pub(crate) fn from_engine(text: &str) -> Exception {
        let text = without_file_traces(innermost(text.trim()));
        let digits = text.strip_prefix("Code: ").and_then(|rest| rest.split('.').next());
        match digits.and_then(|digits| digits.parse().ok()) {
            Some(code) => Exception { code, text },
            None => Exception::new(1002, "UNKNOWN_EXCEPTION", &text),
        }
    }

    /// Adds the server's hint to an error that a read-only method caused.
    pub(crate) fn with_method_hint(mut self) -> Exception {
        const REFUSAL: &str = "Cannot execute query in readonly mode.";
        if self.code == 164 && self.text.contains(REFUSAL) {
            let hint = "For queries over HTTP, method GET implies readonly. \
                        You should use method POST for modifying queries.";
            self.text = self.text.replacen(REFUSAL, &format!("{REFUSAL} {hint}"), 1);
        }
        self
    }

    /// The text of the body, without a line feed at its end.
    pub(crate) fn render(&self, version: &str) -> String {
        format!("{} (version {version} (official build))", self.text)
    }

    /// The status of an answer that is this error.
    pub(crate) fn status(&self) -> StatusCode {
        match self.code {
            194 => StatusCode::UNAUTHORIZED,
            192 | 193 | 497 | 512 | 516 => StatusCode::FORBIDDEN,
            // What cannot be parsed or does not fit: CANNOT_PARSE_*, SYNTAX_ERROR, TYPE_MISMATCH, BAD_ARGUMENTS ..
            6
            | 8
            | 15
            | 25..=27
            | 36..=38
            | 41
            | 44
            | 53
            | 62
            | 72
            | 117
            | 123
            | 167
            | 168
            | 223
            | 321
            | 376
            | 427
            | 441
            | 675
            | 676 => StatusCode::BAD_REQUEST,
            // UNKNOWN_*: function, identifier, type, engine, table, format, query type, database, setting, role ..
            46 | 47 | 50 | 56 | 60 | 63 | 73 | 78 | 81 | 115 | 152 | 336 | 511 => StatusCode::NOT_FOUND,
            229 => StatusCode::PAYLOAD_TOO_LARGE,
            48 => StatusCode::NOT_IMPLEMENTED,
            76 | 209 | 439 => StatusCode::SERVICE_UNAVAILABLE,
            381 => StatusCode::LENGTH_REQUIRED,
            159 => StatusCode::REQUEST_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// The engine reports an error in the data of an INSERT as an error about an error; clients are told the inner one.
fn innermost(text: &str) -> String {
    let inner = text.split_once(". DB::Exception: Code: ").filter(|(outer, _)| {
        let code = outer.strip_prefix("Code: ");
        code.is_some_and(|code| code.bytes().all(|byte| byte.is_ascii_digit()))
    });
    let Some((_, inner)) = inner else { return text.to_owned() };
    format!("Code: {}", inner.rsplit_once(" (version ").map_or(inner, |(inner, _)| inner))
}

fn without_file_traces(mut out: String) -> String {
    while let Some((before, (_, after))) =
        out.split_once(": (in file/uri ").and_then(|(before, rest)| Some((before, rest.split_once(')')?)))
    {
        out = format!("{before}{after}");
    }
    FILE_TRACES.iter().fold(out, |out, trace| out.replace(trace, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_inserted_data_reads_as_the_server_reports_it() {
        let text = "Code: 27. DB::Exception: Code: 27. DB::Exception: Cannot parse input: expected ',': (at row 3)\n\
                    : (in file/uri /proc/self/fd/9): While executing ParallelParsingBlockInputFormat: While executing \
                    File: data for INSERT was parsed from file. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version \
                    26.5.1.1). (CANNOT_PARSE_INPUT_ASSERTION_FAILED)";
        let exception = Exception::from_engine(text);
        assert_eq!(exception.code, 27);
        assert_eq!(
            exception.render("26.5.1.1"),
            "Code: 27. DB::Exception: Cannot parse input: expected ',': (at row 3)\n: While executing \
             ParallelParsingBlockInputFormat. (CANNOT_PARSE_INPUT_ASSERTION_FAILED) (version 26.5.1.1 (official build))"
        );
    }

    #[test]
    fn an_error_without_a_code_gets_one() {
        assert_eq!(
            Exception::from_engine("odd").render("1"),
            "Code: 1002. DB::Exception: odd. (UNKNOWN_EXCEPTION) (version 1 (official build))"
        );
    }

    #[test]
    fn statuses_are_those_of_the_server() {
        let cases = [
            (62, 400),
            (60, 404),
            (516, 403),
            (164, 500),
            (48, 501),
            (159, 408),
            (241, 500),
            (252, 500),
            (202, 500),
        ];
        for (code, status) in cases {
            assert_eq!(Exception::new(code, "X", "x").status().as_u16(), status, "{code}");
        }
    }
}
