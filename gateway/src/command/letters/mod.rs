//! `tidewell dead-letters`: what a running gateway refused, listed, shown, mended, sent again and discarded. A client of
//! the gateway's addresses under `/dead-letters`.

mod table;

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::client::{Gateway, Listener, Whom, escaped};
use super::{CommandError, Files, output};

/// Longest record that `fix` sends: what a gateway takes by default.
const MAX_RECORD_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum LettersCommand {
    /// List letters, newest first; those that wait unless --state says otherwise
    List {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        answer: AnswerForm,
    },
    /// Show a letter with its payload
    Show {
        /// Id of the letter
        id: String,
        #[command(flatten)]
        answer: AnswerForm,
    },
    /// Send letters again as they are
    Replay {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        answer: AnswerForm,
    },
    /// Send a mended record in place of the one that was refused
    Fix {
        /// Id of the letter
        id: String,
        /// File with the record; - for standard input
        file: PathBuf,
        /// Media type of the record, as POST /write/TABLE takes it or as the letter has it
        #[arg(long, default_value = "application/json", value_name = "TYPE")]
        content_type: String,
        #[command(flatten)]
        answer: AnswerForm,
    },
    /// Note that letters are not needed
    Discard {
        #[command(flatten)]
        chosen: Chosen,
        #[command(flatten)]
        answer: AnswerForm,
    },
}

/// Which letters.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct Which {
    /// Meant for this table
    #[arg(long, value_name = "TABLE")]
    target: Option<String>,
    /// Came by this protocol
    #[arg(long)]
    protocol: Option<String>,
    /// Text that is part of the reason
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Refused at or after this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Refused before this time, RFC 3339
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// kept, replaying, replayed, discarded or all
    #[arg(long)]
    state: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Letters by id or by what they are.
#[derive(Debug, Clone, Args)]
pub(super) struct Chosen {
    /// Ids of letters
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// All that match instead, or all when nothing else is said
    #[arg(long, conflicts_with = "ids", required_unless_present = "ids")]
    all: bool,
    #[command(flatten)]
    which: Which,
}

/// Whom to ask, and how to tell it.
#[derive(Debug, Clone, Args)]
pub(super) struct AnswerForm {
    #[command(flatten)]
    whom: Whom,
    /// Write the gateway's answer as JSON
    #[arg(long)]
    json: bool,
}

impl Which {
    fn query(&self) -> String {
        let limit = self.limit.map(|limit| limit.to_string());
        let parameters = [
            ("target", &self.target),
            ("protocol", &self.protocol),
            ("reason", &self.reason),
            ("since", &self.since),
            ("until", &self.until),
            ("state", &self.state),
            ("limit", &limit),
        ];
        let mut query = String::new();
        for (name, value) in parameters {
            if let Some(value) = value {
                let separator = if query.is_empty() { '?' } else { '&' };
                query += &format!("{separator}{name}={}", escaped(value));
            }
        }
        query
    }
}

pub(super) async fn run(command: LettersCommand, files: &Files) -> Result<ExitCode, CommandError> {
    let form = match &command {
        LettersCommand::List { answer, .. }
        | LettersCommand::Show { answer, .. }
        | LettersCommand::Replay { answer, .. }
        | LettersCommand::Fix { answer, .. }
        | LettersCommand::Discard { answer, .. } => answer.clone(),
    };
    let gateway = form.whom.connect(Listener::Operators, files)?;
    let answers = match command {
        LettersCommand::List { which, .. } => {
            let path = format!("/dead-letters{}", which.query());
            let answer = gateway.succeed(Method::GET, &path, None).await?;
            let text = table::listed(&answer);
            vec![(answer, text)]
        }
        LettersCommand::Show { id, .. } => {
            let answer = gateway.succeed(Method::GET, &one(&id), None).await?;
            let text = table::shown(&answer);
            vec![(answer, text)]
        }
        LettersCommand::Fix { id, file, content_type, .. } => {
            let body = Some((content_type, record(&file)?));
            let answer = gateway.succeed(Method::POST, &format!("{}/replay", one(&id)), body).await?;
            let text = table::replayed(&answer);
            vec![(answer, text)]
        }
        LettersCommand::Replay { chosen, .. } => {
            of_chosen(&gateway, &chosen, Method::POST, "/replay", table::replayed).await?
        }
        LettersCommand::Discard { chosen, .. } => {
            of_chosen(&gateway, &chosen, Method::DELETE, "/discard", table::discarded).await?
        }
    };
    for (answer, text) in &answers {
        output(&if form.json { format!("{answer}\n") } else { text.clone() })?;
    }
    let refused =
        answers.iter().any(|(answer, _)| answer["refused"].as_u64().is_some_and(|refused| refused > 0));
    Ok(if refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Does the same to each letter that is named, or to all that match in one request.
async fn of_chosen(
    gateway: &Gateway,
    chosen: &Chosen,
    method: Method,
    action: &str,
    text: impl Fn(&Value) -> String,
) -> Result<Vec<(Value, String)>, CommandError> {
    let mut answers = Vec::new();
    if chosen.all {
        let path = format!("/dead-letters{action}{}", chosen.which.query());
        let answer = gateway.succeed(Method::POST, &path, None).await?;
        let text = text(&answer);
        answers.push((answer, text));
    }
    for id in &chosen.ids {
        let path = if method == Method::DELETE { one(id) } else { format!("{}{action}", one(id)) };
        let answer = gateway.succeed(method.clone(), &path, None).await?;
        let text = text(&answer);
        answers.push((answer, text));
    }
    Ok(answers)
}

fn one(id: &str) -> String {
    format!("/dead-letters/{}", escaped(id))
}

fn record(file: &Path) -> Result<Vec<u8>, CommandError> {
    let fail = |source| CommandError::Record { file: file.to_owned(), source };
    let source: Box<dyn std::io::Read> = if file.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(fail)?)
    };
    let mut record = Vec::new();
    source.take(MAX_RECORD_BYTES).read_to_end(&mut record).map_err(fail)?;
    if record.trim_ascii().is_empty() {
        return Err(fail(std::io::Error::other("it is empty")));
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_become_a_query() {
        let which = Which {
            target: Some("t".to_owned()),
            reason: Some("a&b \u{e9}".to_owned()),
            limit: Some(5),
            ..Which::default()
        };
        assert_eq!(which.query(), "?target=t&reason=a%26b%20%C3%A9&limit=5");
        assert_eq!(Which::default().query(), "");
    }
}
