//! A `TimeSeries` without its records: its labels and its metadata.

use super::dialect::{Dialect, Labels};
use super::metadata::Known;
use super::{Version, nanos};
use crate::decode::wire::{Field, Reader};
use crate::decode::{FieldError, MAX_PAYLOAD_BYTES, TableBuilder};
use crate::registry::builtin::{METRICS_EVENTS, METRICS_EXEMPLARS, METRICS_HISTOGRAMS};

/// Most bytes of the labels of a series: in 2.0 few bytes can stand for many.
const MAX_LABEL_BYTES: usize = MAX_PAYLOAD_BYTES / 2;

/// The records that a series has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Sample,
    Histogram,
    Exemplar,
}

impl Part {
    /// The part in field `number` of a series.
    pub(super) fn of(version: Version, number: u32) -> Option<Self> {
        [Self::Sample, Self::Histogram, Self::Exemplar]
            .into_iter()
            .find(|part| part.number(version) == number)
    }

    /// The number of its field in a series.
    pub(super) fn number(self, version: Version) -> u32 {
        match (self, version) {
            (Self::Sample, _) => 2,
            (Self::Histogram, Version::V2) | (Self::Exemplar, Version::V1) => 3,
            (Self::Histogram, Version::V1) | (Self::Exemplar, Version::V2) => 4,
        }
    }

    /// The table that its row goes to.
    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Sample => METRICS_EVENTS,
            Self::Histogram => METRICS_HISTOGRAMS,
            Self::Exemplar => METRICS_EXEMPLARS,
        }
    }
}

/// What the records of a series share.
#[derive(Debug)]
pub(super) struct Series<'a> {
    /// Names and values, in the sender's order.
    pub(super) labels: Vec<(&'a str, &'a str)>,
    name: &'a str,
    job: &'a str,
    instance: &'a str,
    label_bytes: usize,
    pub(super) metadata: Known<'a>,
    /// When its count began, in nanoseconds, unless the record says so itself.
    pub(super) created: Option<i64>,
}

/// Where a table keeps what the records of a series share.
#[derive(Debug)]
pub(super) struct SeriesColumns {
    metric: usize,
    app: usize,
    host: usize,
    labels: usize,
}

impl<'a> Series<'a> {
    /// Reads what the records of the series in `message` share.
    pub(super) fn read(message: &'a [u8], dialect: &Dialect<'a>) -> Result<Self, FieldError> {
        let mut labels = Labels::default();
        let mut metadata = Known::default();
        let mut created = None;
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match (dialect.version(), field.number) {
                (_, 1) => dialect.gather(&field, &mut labels)?,
                (Version::V2, 5) => metadata.read_v2(field.bytes("metadata")?, dialect)?,
                (Version::V2, 6) => created = start(field.varint("created_timestamp")?.cast_signed())?,
                _ => {}
            }
        }
        let labels = dialect.labels(labels)?;
        let find = |wanted: &str| {
            labels.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value).unwrap_or_default()
        };
        let series = Self {
            name: find("__name__"),
            job: find("job"),
            instance: find("instance"),
            label_bytes: labels.iter().map(|(name, value)| name.len() + value.len()).sum(),
            labels,
            metadata,
            created,
        };
        series.check()?;
        Ok(series)
    }

    fn check(&self) -> Result<(), FieldError> {
        if self.label_bytes > MAX_LABEL_BYTES {
            let reason = format!("have {} bytes: at most {MAX_LABEL_BYTES} are allowed", self.label_bytes);
            return Err(FieldError::new("labels", reason));
        }
        if self.name.is_empty() {
            return Err(FieldError::new("labels", "have no __name__: a series must name its metric"));
        }
        if self.labels.iter().any(|(name, _)| name.is_empty()) {
            return Err(FieldError::new("labels", "have a label without a name"));
        }
        let mut names: Vec<&str> = self.labels.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        if let Some([name, _]) = names.array_windows::<2>().find(|[one, next]| one == next) {
            let name: String = name.chars().take(64).collect();
            return Err(FieldError::new("labels", format!("have {name:?} more than once")));
        }
        Ok(())
    }

    /// The metric's name.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// Writes the labels to the open row of `row`.
    pub(super) fn write(&self, row: &mut TableBuilder, columns: &SeriesColumns) -> Result<(), FieldError> {
        row.check_room(self.label_bytes)?;
        row.set_text(columns.metric, self.name)?;
        row.set_text(columns.app, self.job)?;
        row.set_text(columns.host, self.instance)?;
        let Some(labels) = row.attributes(columns.labels) else { return Ok(()) };
        if self.labels.len() > labels.most_entries() {
            let reason = format!("have more than {} labels", labels.most_entries());
            return Err(FieldError::new("labels", reason));
        }
        for (name, value) in self.labels.iter().filter(|(name, _)| *name != "__name__") {
            labels.push_str(name, value);
        }
        Ok(())
    }
}

impl SeriesColumns {
    pub(super) fn of(table: &TableBuilder) -> Result<Self, crate::decode::DecodeError> {
        let column = |name| super::column(table, name);
        Ok(Self {
            metric: column("metric")?,
            app: column("app")?,
            host: column("host")?,
            labels: column("labels")?,
        })
    }
}

/// The time at which a count began; none when it is 0, which means that it is not known.
pub(super) fn start(milliseconds: i64) -> Result<Option<i64>, FieldError> {
    if milliseconds == 0 { Ok(None) } else { nanos("start_timestamp", milliseconds).map(Some) }
}

/// A time in milliseconds.
pub(super) fn time(field: &Field<'_>) -> Result<i64, FieldError> {
    nanos("timestamp", field.varint("timestamp")?.cast_signed())
}
