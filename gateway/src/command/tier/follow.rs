//! Following a task of the gateway to its end: on a terminal a bar, elsewhere a line now and then, both on standard error.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use http::Method;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::text;
use crate::command::CommandError;
use crate::command::client::Gateway;

/// How often the gateway is asked.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);
/// How long a gateway is waited for that does not answer, as while it is restarted.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a bar looks like: what is done and how much of its rows; below, numbers, which fit into 80 columns.
const STYLE: &str = "{prefix}  [{wide_bar}] {percent:>3} %\n  {wide_msg}";

/// Looks at one task until it has ended.
pub(super) struct Follower {
    id: Value,
    shown: Shown,
}

/// Where progress is shown.
enum Shown {
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Follower {
    /// Of a task as the gateway told it when it began.
    pub(super) fn new(begun: &Value) -> Self {
        let shown = if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template(STYLE).map(|style| style.progress_chars("=> "));
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            Shown::Bar(bar)
        } else {
            Shown::Lines { last: Instant::now() }
        };
        Self { id: begun["id"].clone(), shown }
    }

    /// Asks for the task at `path` until it has ended, and gives it as it did.
    pub(super) async fn follow(mut self, gateway: &Gateway, path: &str) -> Result<Value, CommandError> {
        let mut answered = Instant::now();
        loop {
            match gateway.succeed(Method::GET, path, None).await {
                Ok(task) if task["id"] != self.id => return Err(self.lost()),
                Ok(task) => {
                    answered = Instant::now();
                    self.show(&task)?;
                    if task["state"] != "running" {
                        self.clear();
                        return Ok(task);
                    }
                }
                Err(CommandError::Refused(_)) => return Err(self.lost()),
                Err(error) if answered.elapsed() > PATIENCE => {
                    self.clear();
                    return Err(error);
                }
                Err(_) => {}
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn show(&mut self, task: &Value) -> Result<(), CommandError> {
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_length(task["of_rows"].as_u64().unwrap_or(0));
                bar.set_position(task["rows"].as_u64().unwrap_or(0));
                bar.set_prefix(text::under_way(task));
                bar.set_message(text::numbers(task));
            }
            Shown::Lines { last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                std::io::stderr()
                    .write_all(format!("{}\n", text::progress(task)).as_bytes())
                    .map_err(CommandError::Output)?;
            }
            Shown::Lines { .. } => {}
        }
        Ok(())
    }

    fn clear(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }

    fn lost(&self) -> CommandError {
        self.clear();
        CommandError::Refused(
            "the gateway knows nothing of it any more: it was restarted, and the next run takes up what was not finished; \
             `tidewell tier status` tells where the table stands"
                .to_owned(),
        )
    }
}
