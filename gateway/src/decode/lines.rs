//! Plain text: lines in, one log record a line out.
//!
//! A line is the message as it stands; its time is that of its arrival, and app and host stay empty. Blank lines are
//! no records.

use super::{DecodeContext, DecodeError, Decoded, FieldError, RejectedRecord, TableBuilder};
use crate::registry::TableKind;

/// Decodes lines into the log table `table`.
pub fn records(body: &[u8], table: &str, context: &DecodeContext<'_>) -> Result<Decoded, DecodeError> {
    let mut rows = context.builder(table)?;
    let message = rows.column("message").filter(|_| rows.table().spec.kind == TableKind::Logs);
    let (Some(message), Some(time)) = (message, rows.table().time_column()) else {
        return Err(DecodeError::Malformed(format!("table {table:?} does not take plain text: send JSON")));
    };
    let others = ["observed_timestamp", "severity_number"].map(|name| rows.column(name));
    let mut decoded = Decoded::default();
    let lines = body.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty());
    for (index, line) in lines.enumerate() {
        if index >= context.limits.records {
            let limit = context.limits.records;
            return Err(DecodeError::TooLarge(format!(
                "the request has more than {limit} lines: send smaller requests"
            )));
        }
        match read(&mut rows, line, context.now_nanos, time, message, others) {
            Ok(()) => decoded.accepted += 1,
            Err(error) => {
                rows.discard_row();
                let payload = line.get(..super::MAX_PAYLOAD_BYTES).unwrap_or(line).to_vec();
                let table = table.to_owned();
                decoded.rejected.push(RejectedRecord {
                    index,
                    table,
                    error,
                    payload,
                    content_type: "text/plain",
                });
            }
        }
    }
    decoded.batches.extend(rows.finish()?);
    Ok(decoded)
}

fn read(
    rows: &mut TableBuilder,
    line: &[u8],
    now: i64,
    time: usize,
    message: usize,
    [observed, severity]: [Option<usize>; 2],
) -> Result<(), FieldError> {
    let text = std::str::from_utf8(line).map_err(|error| {
        FieldError::new("message", format!("the line is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    rows.set_time(time, now)?;
    rows.set_text(message, text)?;
    if let Some(observed) = observed {
        rows.set_time(observed, now)?;
    }
    if let Some(severity) = severity {
        rows.set_int(severity, 0)?;
    }
    rows.end_row()
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray as _;

    use super::*;
    use crate::decode::DecodeLimits;
    use crate::registry::{Snapshot, Tenant, builtin};

    fn decode(body: &[u8], table: &str) -> Result<Decoded, DecodeError> {
        let tenant = Tenant::default();
        let tables = Snapshot::new(builtin::tables(&tenant).unwrap());
        let limits = DecodeLimits::default();
        records(body, table, &DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 1 << 60, limits })
    }

    #[test]
    fn each_line_is_a_message() {
        let decoded = decode(b"one\r\n\n  two  \nb\xffd\nthree", builtin::LOGS_EVENTS).unwrap();
        assert_eq!(decoded.accepted, 3);
        let messages = decoded.batches[0].rows().column_by_name("message").unwrap();
        let messages: Vec<_> = messages.as_string::<i32>().iter().flatten().collect();
        assert_eq!(messages, ["one", "  two", "three"]);
        assert_eq!((decoded.rejected[0].index, decoded.rejected[0].payload.as_slice()), (2, &b"b\xffd"[..]));
    }

    #[test]
    fn other_tables_do_not_take_lines() {
        assert!(matches!(decode(b"one", builtin::METRICS_EVENTS), Err(DecodeError::Malformed(_))));
    }
}
