//! What the doctor found: findings in, lines or JSON out.

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and will hurt some day.
    Warn,
    /// It does not work.
    Fail,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    verdict: Verdict,
    check: &'static str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// All findings, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, detail: impl Into<String>) {
        self.0.push(Finding { verdict: Verdict::Ok, check, detail: detail.into(), next: None });
    }

    pub(super) fn warn(&mut self, check: &'static str, detail: impl Into<String>, next: impl Into<String>) {
        self.0.push(Finding {
            verdict: Verdict::Warn,
            check,
            detail: detail.into(),
            next: Some(next.into()),
        });
    }

    pub(super) fn fail(&mut self, check: &'static str, detail: impl Into<String>, next: impl Into<String>) {
        self.0.push(Finding {
            verdict: Verdict::Fail,
            check,
            detail: detail.into(),
            next: Some(next.into()),
        });
    }

    /// Whether something does not work.
    pub(super) fn any_failed(&self) -> bool {
        self.count(Verdict::Fail) > 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.0.iter().filter(|finding| finding.verdict == verdict).count()
    }

    /// One line for each finding, its next step below it, and a sum.
    pub(super) fn text(&self) -> String {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        let mut text = String::new();
        for Finding { verdict, check, detail, next } in &self.0 {
            let verdict = match verdict {
                Verdict::Ok => "ok  ",
                Verdict::Warn => "warn",
                Verdict::Fail => "FAIL",
            };
            text += &format!("{verdict}  {check:width$}  {detail}\n");
            if let Some(next) = next {
                text += &format!("      {:width$}  next: {next}\n", "");
            }
        }
        let [ok, warn, fail] = [Verdict::Ok, Verdict::Warn, Verdict::Fail].map(|verdict| self.count(verdict));
        text + &format!("{ok} ok, {warn} warnings, {fail} failures\n")
    }

    /// `{"ok":false,"findings":[{"verdict":"fail","check":"..","detail":"..","next":".."}]}`
    pub(super) fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Report<'f> {
            ok: bool,
            findings: &'f [Finding],
        }
        let report = Report { ok: !self.any_failed(), findings: &self.0 };
        Ok(format!("{}\n", serde_json::to_string(&report)?))
    }
}
