//! Realistic telemetry from a seed: a [`Shape`] in, batches of logs, samples and spans out.
//!
//! The same seed and shape give the same batch. Names follow OpenTelemetry's semantic conventions; popular values
//! are more frequent than others, as they are in life. Times and ids are not here: they are stamped into the encoded
//! batch for every request (see [`crate::template`]).

mod vocabulary;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

use crate::identity;

/// Sizes and cardinalities of what is generated.
#[derive(Debug, Clone, PartialEq, Serialize, clap::Args)]
#[command(next_help_heading = "Telemetry")]
pub struct Shape {
    /// Seed of the generator.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Distinct applications.
    #[arg(long, default_value_t = 20)]
    pub apps: u32,
    /// Distinct hosts.
    #[arg(long, default_value_t = 50)]
    pub hosts: u32,
    /// Distinct routes, the most common attribute.
    #[arg(long, default_value_t = 200)]
    pub routes: u32,
    /// Distinct users, the attribute with many values.
    #[arg(long, default_value_t = 10_000)]
    pub users: u32,
    /// Distinct metric names.
    #[arg(long, default_value_t = 100)]
    pub metrics: u32,
    /// Attributes of a record.
    #[arg(long, default_value_t = 5)]
    pub attributes: usize,
    /// Attributes of a resource, `service.name` and `host.name` among them.
    #[arg(long, default_value_t = 4, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(2..))]
    pub resource_attributes: usize,
    /// Resources in one request.
    #[arg(long, default_value_t = 4)]
    pub resources_per_request: usize,
    /// Mean length of a log message in bytes.
    #[arg(long, default_value_t = 45)]
    pub message_bytes: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            seed: 1,
            apps: 20,
            hosts: 50,
            routes: 200,
            users: 10_000,
            metrics: 100,
            attributes: 5,
            resource_attributes: 4,
            resources_per_request: 4,
            message_bytes: 45,
        }
    }
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Text.
    Text(String),
    /// A signed integer.
    Int(i64),
    /// True or false.
    Bool(bool),
}

/// Keys and values, keys distinct.
pub type Attributes = Vec<(String, Value)>;

/// What records come from.
#[derive(Debug, Clone, PartialEq)]
pub struct Resource {
    /// `service.name`.
    pub app: String,
    /// `host.name`.
    pub host: String,
    /// The other attributes.
    pub others: Vec<(String, String)>,
}

/// Records of one resource.
#[derive(Debug, Clone, PartialEq)]
pub struct Group<T> {
    /// Where they come from.
    pub resource: Resource,
    /// The records.
    pub records: Vec<T>,
}

/// The records of one request, in the order of their sequence numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<T> {
    /// Its groups.
    pub groups: Vec<Group<T>>,
}

/// A log record.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// OpenTelemetry's severity number.
    pub severity_number: i32,
    /// The severity's name.
    pub severity: &'static str,
    /// The message.
    pub message: String,
    /// Its attributes.
    pub attributes: Attributes,
}

/// How the values of a metric are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleKind {
    /// A gauge, a double.
    Gauge,
    /// A monotonic cumulative sum, an integer.
    Sum,
}

/// A sample of a metric; its value is its sequence number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// The name of the metric. Samples of one metric are next to each other.
    pub metric: String,
    /// Its unit.
    pub unit: &'static str,
    /// Its kind.
    pub kind: SampleKind,
    /// The attributes that make the series, without the label `run`.
    pub attributes: Attributes,
}

/// A span.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// What was done.
    pub name: String,
    /// Whether it is the first of its trace; the others are its children.
    pub root: bool,
    /// Whether it failed.
    pub failed: bool,
    /// How long it took.
    pub duration_nanos: u64,
    /// Its attributes.
    pub attributes: Attributes,
}

/// Makes batches, each other than the ones before.
#[derive(Debug)]
pub struct Generator {
    shape: Shape,
    random: StdRng,
}

/// Samples of one metric that are next to each other.
const SAMPLES_PER_METRIC: usize = 10;

impl<T> Batch<T> {
    /// All records with their resource.
    pub fn records(&self) -> impl Iterator<Item = (&Resource, &T)> {
        self.groups.iter().flat_map(|group| group.records.iter().map(move |record| (&group.resource, record)))
    }
}

impl Generator {
    /// Begins with the shape's seed.
    pub fn new(shape: Shape) -> Self {
        let random = StdRng::seed_from_u64(shape.seed);
        Self { shape, random }
    }

    /// A batch of this many logs.
    pub fn logs(&mut self, records: usize) -> Batch<Log> {
        self.batch(records, |generator, _| generator.log())
    }

    /// A batch of this many samples.
    pub fn samples(&mut self, records: usize) -> Batch<Sample> {
        let mut metric = 0;
        self.batch(records, |generator, position| {
            if position.is_multiple_of(SAMPLES_PER_METRIC) {
                metric = generator.popular(generator.shape.metrics);
            }
            generator.sample(metric)
        })
    }

    /// A batch of this many spans.
    pub fn spans(&mut self, records: usize) -> Batch<Span> {
        self.batch(records, Self::span)
    }

    fn batch<T>(&mut self, records: usize, mut make: impl FnMut(&mut Self, usize) -> T) -> Batch<T> {
        let groups = self.shape.resources_per_request.clamp(1, records.max(1));
        let mut position = 0;
        let groups = (1..=groups)
            .map(|group| {
                let resource = self.resource();
                let end = records * group / groups;
                let records = (position..end).map(|position| make(self, position)).collect();
                position = end;
                Group { resource, records }
            })
            .collect();
        Batch { groups }
    }

    fn resource(&mut self) -> Resource {
        let app = self.popular(self.shape.apps);
        let host = self.popular(self.shape.hosts);
        let others = (2..self.shape.resource_attributes)
            .map(|index| match index {
                2 => ("deployment.environment".to_owned(), "production".to_owned()),
                3 => ("service.version".to_owned(), format!("2.{}.{}", app % 7, host % 5)),
                _ => (format!("resource.attribute.{index}"), format!("value-{}", (app + host) % 16)),
            })
            .collect();
        Resource { app: vocabulary::app(app), host: format!("node-{host:03}"), others }
    }

    fn log(&mut self) -> Log {
        let (severity_number, severity) = match self.random.random_range(0..100) {
            0..20 => (5, "DEBUG"),
            20..90 => (9, "INFO"),
            90..97 => (13, "WARN"),
            _ => (17, "ERROR"),
        };
        let message = self.message();
        Log { severity_number, severity, message, attributes: self.attributes() }
    }

    fn sample(&mut self, metric: u32) -> Sample {
        let (kind, unit) =
            if metric.is_multiple_of(2) { (SampleKind::Gauge, "By") } else { (SampleKind::Sum, "1") };
        // The label `run` is one of the attributes; the user would make every sample a series of its own.
        let mut attributes = self.attributes();
        attributes.retain(|(key, _)| key != "user.id");
        attributes.truncate(self.shape.attributes.saturating_sub(1));
        Sample { metric: vocabulary::metric(metric), unit, kind, attributes }
    }

    fn span(&mut self, position: usize) -> Span {
        let position = position as u64;
        let route = self.popular(self.shape.routes);
        Span {
            name: format!("GET {}", vocabulary::route(route)),
            root: position.is_multiple_of(identity::RECORDS_PER_TRACE),
            failed: self.random.random_range(0..100) < 3,
            duration_nanos: identity::duration_nanos(position),
            attributes: self.attributes(),
        }
    }

    fn attributes(&mut self) -> Attributes {
        (0..self.shape.attributes)
            .map(|index| match index {
                0 => ("http.request.method".to_owned(), Value::Text(self.method().to_owned())),
                1 => ("http.response.status_code".to_owned(), Value::Int(self.status())),
                2 => {
                    let route = self.popular(self.shape.routes);
                    ("http.route".to_owned(), Value::Text(vocabulary::route(route)))
                }
                3 => {
                    let user = self.random.random_range(0..self.shape.users.max(1));
                    ("user.id".to_owned(), Value::Text(format!("u-{user:05}")))
                }
                4 => ("retried".to_owned(), Value::Bool(self.random.random_range(0..20) == 0)),
                _ => {
                    let value = self.popular(64);
                    (format!("attribute.{index}"), Value::Text(format!("value-{value}")))
                }
            })
            .collect()
    }

    fn method(&mut self) -> &'static str {
        match self.random.random_range(0..10) {
            0..7 => "GET",
            7..9 => "POST",
            _ => "DELETE",
        }
    }

    fn status(&mut self) -> i64 {
        match self.random.random_range(0..100) {
            0..90 => 200,
            90..95 => 404,
            95..98 => 302,
            _ => 503,
        }
    }

    /// Words and numbers, between half and one and a half of the mean length.
    fn message(&mut self) -> String {
        let mean = self.shape.message_bytes.max(2);
        let length = self.random.random_range(mean / 2..=mean + mean / 2);
        let mut message = String::with_capacity(length + 16);
        while message.len() < length {
            if !message.is_empty() {
                message.push(' ');
            }
            if self.random.random_range(0..6) == 0 {
                message.push_str(&self.random.random_range(0..100_000).to_string());
            } else {
                let word = self.random.random_range(0..vocabulary::WORDS.len());
                message.push_str(vocabulary::WORDS[word]);
            }
        }
        message.truncate(length);
        message
    }

    /// One of this many, the first ones more often: the square of an even distribution.
    fn popular(&mut self, count: u32) -> u32 {
        let count = u64::from(count.max(1));
        let even = self.random.random_range(0..count);
        let again = self.random.random_range(0..=even);
        u32::try_from(again).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_batch_and_another_seed_another() {
        let with = |seed| Generator::new(Shape { seed, ..Shape::default() });
        assert_eq!(with(7).logs(100), with(7).logs(100));
        assert_ne!(with(7).logs(100), with(8).logs(100));
        let mut generator = with(7);
        assert_ne!(generator.spans(100), generator.spans(100));
    }

    #[test]
    fn a_batch_has_the_asked_records_attributes_and_resources() {
        let mut generator = Generator::new(Shape::default());
        for records in [1, 3, 1_000] {
            let logs = generator.logs(records);
            assert_eq!(logs.records().count(), records);
            assert_eq!(logs.groups.len(), records.min(4));
            assert!(logs.records().all(|(resource, log)| {
                resource.others.len() == 2 && log.attributes.len() == 5 && log.message.len() <= 67
            }));
        }
        let samples = generator.samples(1_000);
        assert!(samples.records().all(|(_, sample)| sample.attributes.len() == 4));
        let spans = generator.spans(16);
        assert_eq!(spans.records().filter(|(_, span)| span.root).count(), 2);
    }

    #[test]
    fn cardinalities_are_held_and_reached() {
        let shape = Shape { apps: 3, hosts: 4, users: 50, ..Shape::default() };
        let mut generator = Generator::new(shape);
        let (mut apps, mut hosts, mut users) = (HashSet::new(), HashSet::new(), HashSet::new());
        for _ in 0..50 {
            for (resource, log) in generator.logs(100).records() {
                apps.insert(resource.app.clone());
                hosts.insert(resource.host.clone());
                users.insert(format!("{:?}", log.attributes[3]));
            }
        }
        assert_eq!((apps.len(), hosts.len(), users.len()), (3, 4, 50));
    }
}
