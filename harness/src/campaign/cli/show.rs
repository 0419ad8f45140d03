//! What the command says, to a person at a terminal or in lines.

use std::{
    io::{IsTerminal, Write},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;

use crate::campaign::{Failure, Plan, Settings, Summary, Watcher};

/// How often there is a line where nobody watches.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Prints a result. Where it cannot be written there is nobody to tell.
pub(super) fn out(text: &str) {
    let _ = write!(std::io::stdout(), "{text}");
}

/// Prints a word to whoever watches.
pub(super) fn err(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What happened in the runs, without how long they took.
pub(super) fn seen(summary: &Summary) -> String {
    let text = summary.to_string();
    text.split_once('\n').map_or(String::new(), |(_, rest)| rest.to_owned())
}

/// Shows how a campaign goes.
pub(super) struct Watching {
    bar: ProgressBar,
    in_lines: bool,
    last: Mutex<Duration>,
}

impl Watching {
    pub(super) fn new(settings: &Settings) -> Self {
        let in_lines = !std::io::stderr().is_terminal();
        let bar = match settings.seeds {
            _ if in_lines => ProgressBar::hidden(),
            u64::MAX => ProgressBar::new_spinner(),
            seeds => ProgressBar::new(seeds),
        };
        let template = match settings.seeds {
            u64::MAX => "{spinner} {pos} seeds  {msg}  ({elapsed})",
            _ => "[{bar:30}] {pos}/{len} seeds  {msg}  ({elapsed}, {eta} left)",
        };
        // A template that cannot be used leaves the usual one.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self { bar, in_lines, last: Mutex::default() }
    }

    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn say(&self, line: &str) {
        self.bar.suspend(|| err(line));
    }
}

/// The figures that change, in a line.
fn figures(summary: &Summary) -> String {
    let (reached, all) = (summary.marks.len(), summary.marks.len() + summary.missing.len());
    format!(
        "{:.1} seeds/s  {} faults  {reached}/{all} marks  {} failed",
        summary.seeds_per_second(),
        summary.faults(),
        summary.failed
    )
}

impl Watcher for Watching {
    fn ran(&self, summary: &Summary) {
        if !self.in_lines {
            self.bar.set_position(summary.runs);
            return self.bar.set_message(figures(summary));
        }
        let mut last = self.last.lock();
        if summary.elapsed >= *last + LINE_EVERY {
            *last = summary.elapsed;
            err(&format!("{} seeds  {}", summary.runs, figures(summary)));
        }
    }

    fn looks_into(&self, plan: &Plan, why: &str) {
        let first = why.lines().next().unwrap_or_default();
        self.say(&format!("seed {} failed: {first}", plan.seed));
    }

    fn failed(&self, failure: &Failure) {
        let how = match &failure.shrunk {
            Some(_) => format!("made small in {} runs", failure.shrinks),
            None => "did not fail again in a process of its own".to_owned(),
        };
        let folder = failure.folder.display();
        self.say(&format!("seed {} {how}: {folder}", failure.plan.seed));
    }
}
