//! What becomes of the records of one request: counts, refusals and warnings.

use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError, RejectedRecord, TableBuilder};

/// The media type of OTLP messages in protobuf.
pub const PROTOBUF: &str = "application/x-protobuf";

/// Counts records and keeps the refused ones.
#[derive(Debug)]
pub(super) struct Outcome {
    most: usize,
    records: usize,
    accepted: usize,
    rejected: Vec<RejectedRecord>,
    warnings: Vec<(Warning, usize)>,
}

/// What was stored otherwise than sent, or in spite of a doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Warning {
    /// A log record without any time.
    TimeOfArrival,
    /// A reference into the string table of profiles.
    StringIndex,
    /// A metric without data points of any kind.
    NoData,
    /// Metadata of a metric that cannot be stored.
    Metadata,
}

impl Outcome {
    pub(super) fn new(context: &DecodeContext<'_>) -> Self {
        Self {
            most: context.limits.records,
            records: 0,
            accepted: 0,
            rejected: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// One more record: it becomes rows, or is refused with its bytes kept.
    pub(super) fn record(
        &mut self,
        table: &'static str,
        bytes: &[u8],
        result: Result<(), FieldError>,
    ) -> Result<(), DecodeError> {
        let index = self.records;
        self.records += 1;
        if self.records > self.most {
            return Err(too_many(self.most));
        }
        match result {
            Ok(()) => self.accepted += 1,
            Err(error) => self.rejected.push(RejectedRecord {
                index,
                table: table.to_owned(),
                error,
                payload: bytes.to_vec(),
                content_type: PROTOBUF,
            }),
        }
        Ok(())
    }

    /// Counts a warning.
    pub(super) fn warn(&mut self, warning: Warning, count: usize) {
        if count == 0 {
            return;
        }
        match self.warnings.iter_mut().find(|(other, _)| *other == warning) {
            Some((_, counted)) => *counted += count,
            None => self.warnings.push((warning, count)),
        }
    }

    /// The end of the request: the rows of `builders` with the counts.
    pub(super) fn finish(
        self,
        builders: impl IntoIterator<Item = TableBuilder>,
    ) -> Result<Decoded, DecodeError> {
        let mut batches = Vec::new();
        for builder in builders {
            batches.extend(builder.finish()?);
        }
        let warnings = self.warnings.iter().map(|(warning, count)| warning.text(*count)).collect();
        Ok(Decoded { batches, accepted: self.accepted, rejected: self.rejected, warnings })
    }
}

/// The refusal of a request with too many records.
pub(super) fn too_many(most: usize) -> DecodeError {
    DecodeError::TooLarge(format!("the request has more than {most} records: send smaller requests"))
}

impl Warning {
    fn text(self, count: usize) -> String {
        match self {
            Self::TimeOfArrival => {
                format!(
                    "{count} log records had neither time_unix_nano nor observed_time_unix_nano: the time of arrival was stored"
                )
            }
            Self::StringIndex => {
                format!("{count} string table indexes, which only profiles may have, were read as empty")
            }
            Self::NoData => format!("{count} metrics had no data points of any kind"),
            Self::Metadata => format!("the metadata of {count} metrics could not be stored"),
        }
    }
}
