//! The TOML file: its text in, settings with their line out.

use toml::de::{DeTable, DeValue};

use super::error::{Problem, did_you_mean};
use super::load::{Given, Origin};
use super::schema::Settings;

/// A file's text and how to name a place in it.
struct File<'t> {
    text: &'t str,
    origin: &'t dyn Fn(usize) -> Origin,
}

/// Reads the text of a file. `origin` names a line of it.
pub(super) fn parse(text: &str, origin: &dyn Fn(usize) -> Origin) -> (Vec<Given>, Vec<Problem>) {
    let file = File { text, origin };
    let spans = match DeTable::parse(text) {
        Ok(spans) => spans.into_inner(),
        Err(error) => return (Vec::new(), vec![file.syntax(&error)]),
    };
    let table = match text.parse::<toml::Table>() {
        Ok(table) => table,
        Err(error) => return (Vec::new(), vec![file.syntax(&error)]),
    };
    let (mut given, mut problems) = (Vec::new(), Vec::new());
    file.walk("", &spans, &table, &mut given, &mut problems);
    problems.sort_by_key(|(line, _)| *line);
    (given, problems.into_iter().map(|(_, problem)| problem).collect())
}

impl File<'_> {
    /// Only the message of a syntax error: its full text shows the line, and that may hold a password.
    fn syntax(&self, error: &toml::de::Error) -> Problem {
        let line = error.span().map_or(1, |span| self.line(span.start));
        let reason = format!("is not TOML: {}", error.message().replace('\n', ", "));
        Problem { origin: Some((self.origin)(line)), setting: String::new(), reason }
    }

    fn line(&self, offset: usize) -> usize {
        self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
    }

    fn walk(
        &self,
        section: &str,
        spans: &DeTable<'_>,
        table: &toml::Table,
        given: &mut Vec<Given>,
        problems: &mut Vec<(usize, Problem)>,
    ) {
        let settings = Settings::all();
        for (name, span) in spans {
            let Some(value) = table.get(name.get_ref().as_ref()) else { continue };
            let path = if section.is_empty() {
                name.get_ref().to_string()
            } else {
                format!("{section}.{}", name.get_ref())
            };
            let line = self.line(name.span().start);
            let origin = (self.origin)(line);
            let reason = match (settings.is_section(&path), settings.at(&path), span.get_ref(), value) {
                (true, _, DeValue::Table(spans), toml::Value::Table(table)) => {
                    self.walk(&path, spans, table, given, problems);
                    continue;
                }
                (true, ..) => format!("is a section: write [{path}] and its settings below"),
                (false, Some(_), _, value) => {
                    given.push(Given { path, value: value.clone(), origin });
                    continue;
                }
                (false, None, _, toml::Value::Table(_)) => {
                    let sections = settings.sections.iter().map(|section| section.path.as_str());
                    format!("is no section; {}", did_you_mean(&path, sections))
                }
                (false, None, ..) => {
                    let known = settings.settings.iter().map(|setting| setting.path.as_str());
                    format!("is no setting; {}", did_you_mean(&path, known))
                }
            };
            problems.push((line, Problem { origin: Some(origin), setting: path, reason }));
        }
    }
}
