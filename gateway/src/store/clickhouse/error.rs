//! What a ClickHouse error means for delivery: the one place that reads its exception codes.
//!
//! The server says `Code: N. DB::Exception: ..`, in the body of an error or at the end of a body that began
//! as a success; the client hands over the text of either.

use clickhouse::error::Error;

use crate::store::StoreError;

pub(super) const STORE: &str = "clickhouse";

/// Codes of `src/Common/ErrorCodes.cpp` that mean "not now": the same request may succeed later.
const BUSY: [u32; 18] = [
    74,  // CANNOT_READ_FROM_FILE_DESCRIPTOR
    75,  // CANNOT_WRITE_TO_FILE_DESCRIPTOR
    159, // TIMEOUT_EXCEEDED
    164, // READONLY
    173, // CANNOT_ALLOCATE_MEMORY
    201, // QUOTA_EXCEEDED
    202, // TOO_MANY_SIMULTANEOUS_QUERIES
    203, // NO_FREE_CONNECTION
    236, // ABORTED
    241, // MEMORY_LIMIT_EXCEEDED
    242, // TABLE_IS_READ_ONLY
    243, // NOT_ENOUGH_SPACE
    252, // TOO_MANY_PARTS
    319, // UNKNOWN_STATUS_OF_INSERT
    394, // QUERY_WAS_CANCELLED
    439, // CANNOT_SCHEDULE_TASK
    473, // DEADLOCK_AVOIDED
    745, // SERVER_OVERLOADED
];

/// Codes that mean "not there", that its disk or the system beneath it failed, or that whoever runs it has to act.
const UNAVAILABLE: [u32; 32] = [
    3,    // UNEXPECTED_END_OF_FILE
    40,   // CHECKSUM_DOESNT_MATCH
    49,   // LOGICAL_ERROR
    76,   // CANNOT_OPEN_FILE
    77,   // CANNOT_CLOSE_FILE
    84,   // DIRECTORY_ALREADY_EXISTS
    87,   // CANNOT_SEEK_THROUGH_FILE
    88,   // CANNOT_TRUNCATE_FILE
    95,   // CANNOT_READ_FROM_SOCKET
    96,   // CANNOT_WRITE_TO_SOCKET
    107,  // FILE_DOESNT_EXIST
    115,  // UNKNOWN_SETTING: it is another server than the one that was asked what it knows
    192,  // UNKNOWN_USER
    193,  // WRONG_PASSWORD
    209,  // SOCKET_TIMEOUT
    210,  // NETWORK_ERROR
    225,  // NO_ZOOKEEPER
    228,  // BAD_SIZE_OF_FILE_IN_DATA_PART
    271,  // CANNOT_DECOMPRESS
    279,  // ALL_CONNECTION_TRIES_FAILED
    424,  // CANNOT_LINK
    425,  // SYSTEM_ERROR
    452,  // SETTING_CONSTRAINT_VIOLATION
    497,  // ACCESS_DENIED
    499,  // S3_ERROR
    516,  // AUTHENTICATION_FAILED
    521,  // ATOMIC_RENAME_FAIL
    667,  // NOT_INITIALIZED
    999,  // KEEPER_EXCEPTION
    1000, // POCO_EXCEPTION
    1001, // STD_EXCEPTION: a failed rename of a part, among others
    1002, // UNKNOWN_EXCEPTION
];

/// Codes that mean that a value of the rows is at fault.
const DATA: [u32; 18] = [
    6,   // CANNOT_PARSE_TEXT
    26,  // CANNOT_PARSE_QUOTED_STRING
    27,  // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    32,  // ATTEMPT_TO_READ_AFTER_EOF
    33,  // CANNOT_READ_ALL_DATA
    38,  // CANNOT_PARSE_DATE
    41,  // CANNOT_PARSE_DATETIME
    69,  // ARGUMENT_OUT_OF_BOUND
    72,  // CANNOT_PARSE_NUMBER
    117, // INCORRECT_DATA
    128, // TOO_LARGE_ARRAY_SIZE
    131, // TOO_LARGE_STRING_SIZE
    261, // UNKNOWN_BLOCK_INFO_FIELD
    321, // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    349, // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    376, // CANNOT_PARSE_UUID
    407, // DECIMAL_OVERFLOW
    469, // VIOLATED_CONSTRAINT
];

/// The exception's code, as the server's text names it.
pub(super) fn code(text: &str) -> Option<u32> {
    let digits = text.get(text.find("Code: ")? + 6..)?;
    digits.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

/// Anything else that makes the server unusable for us.
pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { store: STORE, reason: reason.into() }
}

/// A table that is not as the registry says.
pub(crate) fn schema_error(reason: impl Into<String>) -> StoreError {
    StoreError::Schema { store: STORE, reason: reason.into() }
}

/// Rows that cannot be sent.
pub(super) fn data_error(reason: impl Into<String>) -> StoreError {
    StoreError::Data { store: STORE, reason: reason.into() }
}

/// What an error of the client is for delivery.
pub(super) fn from_clickhouse(error: &Error) -> StoreError {
    match error {
        // Without a code it is a proxy in front of it, or something else altogether.
        Error::BadResponse(text) => from_answer(None, text).unwrap_or_else(|| unavailable(text.trim())),
        Error::TimedOut => timed_out(),
        other => unavailable(with_causes(other)),
    }
}

/// Nothing was heard of it in the time that there is.
pub(super) fn timed_out() -> StoreError {
    StoreError::Busy { store: STORE, reason: "no answer in time".to_owned() }
}

/// What an exception is for delivery, by the code that a header names or that stands in the text. None: there is neither,
/// so that it is not one of the server's.
pub(super) fn from_answer(named: Option<u32>, text: &str) -> Option<StoreError> {
    let code = named.filter(|&code| code > 0).or_else(|| code(text))?;
    let reason = match text.trim() {
        "" => format!("Code: {code}"),
        text => text.to_owned(),
    };
    Some(if BUSY.contains(&code) {
        StoreError::Busy { store: STORE, reason }
    } else if UNAVAILABLE.contains(&code) {
        unavailable(reason)
    } else if DATA.contains(&code) {
        data_error(reason)
    } else {
        schema_error(reason)
    })
}

/// The error with everything that led to it.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        // The client repeats the first cause in its own words.
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NextStep;

    fn answer(code: u32) -> StoreError {
        from_clickhouse(&Error::BadResponse(format!(
            "Code: {code}. DB::Exception: words. (NAME) (version 26.5.1.1)"
        )))
    }

    #[test]
    fn codes_say_what_to_do_next() {
        assert!(matches!(answer(252), StoreError::Busy { .. }));
        assert!(matches!(answer(241), StoreError::Busy { .. }));
        assert!(matches!(answer(210), StoreError::Unavailable { .. }));
        assert!(matches!(answer(60), StoreError::Schema { .. }), "UNKNOWN_TABLE");
        assert!(matches!(answer(16), StoreError::Schema { .. }), "NO_SUCH_COLUMN_IN_TABLE");
        assert_eq!(answer(117).next(), NextStep::Split);
        assert_eq!(answer(60).next(), NextStep::GiveBack, "a person must mend the table");
        for code in [252, 210, 1001] {
            assert_eq!(answer(code).next(), NextStep::Retry);
        }
    }

    #[test]
    fn an_answer_without_a_code_is_not_from_the_server() {
        let error = from_clickhouse(&Error::BadResponse("502 Bad Gateway".to_owned()));
        assert!(matches!(error, StoreError::Unavailable { .. }));
        assert_eq!(code("Code: x"), None);
        assert_eq!(code("Code: 60"), Some(60));
    }
}
