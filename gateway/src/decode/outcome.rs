//! What becomes of the records of one request: counts, and the refused ones with what is kept of them.

use super::{
    DecodeContext, DecodeError, Decoded, FieldError, MAX_PAYLOAD_BYTES, RejectedRecord, TableBuilder,
};

/// Memory of a refused record beside its payload and reason, for the account.
const REJECTED_OVERHEAD_BYTES: usize = 256;
/// Most bytes of a field's name and of a reason in an error: both may quote what was sent.
const MAX_ERROR_BYTES: usize = 1024;

/// Counts records and keeps the refused ones.
#[derive(Debug)]
pub(super) struct Outcome<'c> {
    context: &'c DecodeContext<'c>,
    pub(super) decoded: Decoded,
    records: usize,
    /// Memory of the refused records.
    kept_bytes: usize,
}

impl<'c> Outcome<'c> {
    /// Nothing yet.
    pub(super) fn new(context: &'c DecodeContext<'c>) -> Self {
        Self { context, decoded: Decoded::default(), records: 0, kept_bytes: 0 }
    }

    /// One more record, which became a row.
    pub(super) fn accept(&mut self) -> Result<(), DecodeError> {
        self.count()?;
        self.decoded.accepted += 1;
        Ok(())
    }

    /// One more record, which is refused and kept.
    pub(super) fn refuse(
        &mut self,
        table: &str,
        mut error: FieldError,
        mut payload: Vec<u8>,
        content_type: &'static str,
    ) -> Result<(), DecodeError> {
        let index = self.records;
        self.count()?;
        cut(&mut error.field);
        cut(&mut error.reason);
        payload.truncate(MAX_PAYLOAD_BYTES);
        self.kept_bytes += REJECTED_OVERHEAD_BYTES + payload.len() + error.field.len() + error.reason.len();
        if self.kept_bytes > self.context.limits.decoded_bytes {
            let rejected = &self.decoded.rejected;
            return Err(DecodeError::TooLarge(format!(
                "{} records are bad, the first of them: {}; send smaller requests",
                rejected.len() + 1,
                rejected.first().map_or(&error, |first| &first.error),
            )));
        }
        let table = table.to_owned();
        self.decoded.rejected.push(RejectedRecord { index, table, error, payload, content_type });
        Ok(())
    }

    /// The end of the request: the rows of `builders` with the counts.
    pub(super) fn finish(
        mut self,
        builders: impl IntoIterator<Item = TableBuilder>,
    ) -> Result<Decoded, DecodeError> {
        for builder in builders {
            self.decoded.batches.extend(builder.finish()?);
        }
        Ok(self.decoded)
    }

    fn count(&mut self) -> Result<(), DecodeError> {
        let most = self.context.limits.records;
        if self.records == most {
            return Err(DecodeError::TooLarge(format!(
                "the request has more than {most} records: send smaller requests"
            )));
        }
        self.records += 1;
        Ok(())
    }
}

fn cut(text: &mut String) {
    if text.len() > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push_str("..");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::DecodeLimits;
    use crate::registry::{Snapshot, Tenant};

    fn with_limits<T>(limits: DecodeLimits, work: impl FnOnce(Outcome<'_>) -> T) -> T {
        let (tables, tenant) = (Snapshot::default(), Tenant::default());
        work(Outcome::new(&DecodeContext { tables: &tables, tenant: &tenant, now_nanos: 0, limits }))
    }

    fn refuse(outcome: &mut Outcome<'_>, reason: &str, payload: usize) -> Result<(), DecodeError> {
        outcome.refuse("t", FieldError::new("f", reason), vec![0; payload], "text/plain")
    }

    #[test]
    fn refused_records_keep_their_places_and_are_cut() {
        with_limits(DecodeLimits::default(), |mut outcome| {
            outcome.accept().unwrap();
            refuse(&mut outcome, &"\u{e4}".repeat(2000), 2 * MAX_PAYLOAD_BYTES).unwrap();
            outcome.accept().unwrap();
            let decoded = outcome.finish([]).unwrap();
            let [rejected] = decoded.rejected.as_slice() else { panic!("{decoded:?}") };
            assert_eq!((decoded.accepted, rejected.index), (2, 1));
            assert_eq!(rejected.payload.len(), MAX_PAYLOAD_BYTES);
            assert!(rejected.error.reason.len() <= MAX_ERROR_BYTES + 2);
        });
    }

    #[test]
    fn neither_many_records_nor_many_refused_bytes_are_taken() {
        with_limits(DecodeLimits { records: 2, ..DecodeLimits::default() }, |mut outcome| {
            outcome.accept().unwrap();
            outcome.accept().unwrap();
            assert!(matches!(outcome.accept(), Err(DecodeError::TooLarge(_))));
        });
        with_limits(DecodeLimits { decoded_bytes: 2000, ..DecodeLimits::default() }, |mut outcome| {
            refuse(&mut outcome, "first", 1000).unwrap();
            let error = refuse(&mut outcome, "second", 1000).unwrap_err();
            assert!(error.to_string().contains("2 records are bad, the first of them: f: first"), "{error}");
        });
    }
}
