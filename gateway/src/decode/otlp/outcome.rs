//! What becomes of the records of one request: counts, refusals and warnings.

use super::envelope::{RequestTypes, Shared, SharedByPoints, put};
use crate::decode::{DecodeContext, DecodeError, Decoded, FieldError, RejectedRecord, TableBuilder};

/// The media type of OTLP messages in protobuf.
pub const PROTOBUF: &str = "application/x-protobuf";

/// How much of the decoded bytes of a request the resources and scopes of refused records may take, which are repeated
/// for each of them. A record beyond is kept without.
const ENVELOPES_SHARE: usize = 4;

/// Counts records and keeps the refused ones.
#[derive(Debug)]
pub(super) struct Outcome {
    most: usize,
    types: RequestTypes,
    /// What the records to come share.
    pub(super) resource: Shared,
    pub(super) scope: Shared,
    /// Bytes that envelopes may still take.
    envelope_bytes: usize,
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

/// What is kept of a refused record.
pub(super) enum Kept<'k> {
    /// An item of a scope.
    Item(&'k [u8]),
    /// A data point, and what it shares with its metric's others.
    Point(&'k SharedByPoints, &'k [u8]),
    /// A whole `ScopeLogs` or its like, whose items cannot be told apart.
    Scope(&'k [u8]),
    /// A whole `ResourceLogs` or its like.
    Resource(&'k [u8]),
}

impl Outcome {
    pub(super) fn new(context: &DecodeContext<'_>, types: RequestTypes) -> Self {
        Self {
            most: context.limits.records,
            types,
            resource: Shared::default(),
            scope: Shared::default(),
            envelope_bytes: context.limits.decoded_bytes / ENVELOPES_SHARE,
            records: 0,
            accepted: 0,
            rejected: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// One more record: it becomes rows, or is refused and kept in a request of its own. `bytes` is an item of a scope.
    pub(super) fn record(
        &mut self,
        table: &'static str,
        bytes: &[u8],
        result: Result<(), FieldError>,
    ) -> Result<(), DecodeError> {
        self.record_in(table, result, Kept::Item(bytes))
    }

    /// [`Outcome::record`] for what is kept otherwise than it was read.
    pub(super) fn record_in(
        &mut self,
        table: &'static str,
        result: Result<(), FieldError>,
        kept: Kept<'_>,
    ) -> Result<(), DecodeError> {
        let index = self.records;
        self.records += 1;
        if self.records > self.most {
            return Err(too_many(self.most));
        }
        match result {
            Ok(()) => self.accepted += 1,
            Err(error) => {
                let (payload, content_type) = self.request(&kept);
                let table = table.to_owned();
                self.rejected.push(RejectedRecord { index, table, error, payload, content_type });
            }
        }
        Ok(())
    }

    /// The request that holds a refused record, and its media type.
    fn request(&mut self, kept: &Kept<'_>) -> (Vec<u8>, &'static str) {
        let (resource, scope) = (self.resource.bytes(), self.scope.bytes());
        let shared = match kept {
            Kept::Resource(_) => 0,
            Kept::Scope(_) => resource,
            Kept::Item(_) => resource + scope,
            Kept::Point(metric, _) => resource + scope + metric.bytes(),
        };
        let Some(left) = self.envelope_bytes.checked_sub(shared) else {
            let (Kept::Resource(bytes) | Kept::Scope(bytes) | Kept::Item(bytes) | Kept::Point(_, bytes)) =
                kept;
            return (bytes.to_vec(), PROTOBUF);
        };
        self.envelope_bytes = left;
        let of_item = |item: &[u8]| self.resource.around(&self.scope.around(item));
        let level = match kept {
            Kept::Resource(bytes) => bytes.to_vec(),
            Kept::Scope(bytes) => self.resource.around(bytes),
            Kept::Item(bytes) => of_item(bytes),
            Kept::Point(metric, bytes) => of_item(&metric.around(bytes)),
        };
        let mut request = Vec::with_capacity(level.len() + 8);
        put(&mut request, 1, &level);
        (request, self.types.protobuf)
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
        Ok(Decoded {
            batches,
            accepted: self.accepted,
            rejected: self.rejected,
            warnings,
            ..Decoded::default()
        })
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
