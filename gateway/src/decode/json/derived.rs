//! What follows from the fields of a record once all are set, and what a record of each kind cannot be without.

use super::record::{RecordReader, Seen, text_of};
use super::vocabulary::{span_kind, span_status};
use crate::decode::{FieldError, severity};
use crate::registry::{TableKind, ValueType};

impl<'b> RecordReader<'_, 'b> {
    /// What follows from other fields, and what a record of this kind cannot be without.
    pub(super) fn fill_in(&mut self, seen: &Seen<'b>) -> Result<(), FieldError> {
        if let Some(time) = self.plan.time_column
            && seen.time.is_none()
        {
            self.scratch.warnings.missing_times += 1;
            self.rows.set_time(time, self.context.now_nanos)?;
        }
        match self.plan.kind {
            TableKind::Logs => self.fill_in_log(seen),
            TableKind::Traces => self.fill_in_span(seen),
            TableKind::Metrics => self.check_sample(seen),
            TableKind::Events => Ok(()),
        }
    }

    fn fill_in_log(&mut self, seen: &Seen<'b>) -> Result<(), FieldError> {
        let known = &self.plan.known;
        if let Some(observed) = known.observed_timestamp
            && !self.rows.is_set(observed)
        {
            self.rows.set_time(observed, self.context.now_nanos)?;
        }
        // A level is known by its name, else by its original text, else by its number.
        if let Some(value) = seen.level.as_ref().or(seen.severity_text.as_ref()) {
            let text =
                text_of(value, &mut self.scratch).map_err(|reason| FieldError::new("level", reason))?;
            let severity = severity::parse(text);
            if let Some(level) = known.level {
                match severity {
                    Some(severity) => self.rows.set_text(level, severity.level)?,
                    None => self.rows.set_text(level, &text.to_lowercase())?,
                }
            }
            if let Some(original) = known.severity_text
                && !self.rows.is_set(original)
            {
                self.rows.set_text(original, text)?;
            }
            if let (Some(number), Some(severity)) = (known.severity_number, severity)
                && !self.rows.is_set(number)
            {
                self.rows.set_int(number, i64::from(severity.number))?;
            }
        } else if let (Some(level), Some(name)) =
            (known.level, seen.severity_number.and_then(severity::level_of))
        {
            self.rows.set_text(level, name)?;
        }
        if let (Some(message), Some(kind)) = (known.message, known.message_type)
            && !self.rows.is_set(message)
        {
            self.rows.set_text(kind, ValueType::Empty.name())?;
        }
        match known.severity_number {
            Some(number) if !self.rows.is_set(number) => self.rows.set_int(number, 0),
            _ => Ok(()),
        }
    }

    fn fill_in_span(&mut self, seen: &Seen<'b>) -> Result<(), FieldError> {
        if let Some((end, duration)) = seen.end {
            let start =
                seen.time.ok_or_else(|| FieldError::new("time", "is missing: the span has an end only"))?;
            let nanos = end.saturating_sub(start);
            self.scratch.warnings.negative_durations += usize::from(nanos < 0);
            self.rows.set_int(duration, nanos)?;
        }
        let known = &self.plan.known;
        for (column, default) in [(known.span_kind, span_kind("0")), (known.span_status, span_status("0"))] {
            if let Some(column) = column
                && !self.rows.is_set(column)
            {
                self.rows.set_text(column, &default)?;
            }
        }
        match known.trace_id {
            Some(trace_id) if !self.rows.is_set(trace_id) => {
                Err(FieldError::new("trace_id", "is missing: a span belongs to a trace"))
            }
            _ => Ok(()),
        }
    }

    fn check_sample(&self, seen: &Seen<'b>) -> Result<(), FieldError> {
        let known = &self.plan.known;
        if known.metric.is_some_and(|metric| !self.rows.is_set(metric)) {
            return Err(FieldError::new("metric", "is missing: name the metric in metric or name"));
        }
        if known.value.is_some_and(|value| !self.rows.is_set(value)) && !seen.no_recorded_value {
            return Err(FieldError::new(
                "value",
                "is missing: send a number, or flags 1 for no recorded value",
            ));
        }
        Ok(())
    }
}
