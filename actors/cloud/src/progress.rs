//! Tells a person at a terminal that something takes its time. Where nobody watches, as in a script or a log,
//! nothing is drawn.
//!
//! Drawn on standard error, below whatever else is printed.

use std::{sync::OnceLock, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// What takes less is not worth a look.
const SHOW_AFTER: Duration = Duration::from_millis(500);

/// Everything drawn at this moment.
static ALL: OnceLock<MultiProgress> = OnceLock::new();

/// Prints something above what is drawn.
pub(crate) fn above<T>(print: impl FnOnce() -> T) -> T {
    match ALL.get() {
        Some(all) => all.suspend(print),
        None => print(),
    }
}

/// Something that takes its time; nothing of it stays on the terminal when it is dropped.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Something that takes nobody knows how long.
    pub(crate) fn waiting(what: &str) -> Self {
        Self::begin(ProgressBar::new_spinner(), "{spinner} {msg} ({elapsed})", what)
    }

    /// Something in so many steps.
    pub(crate) fn steps(number: u64, what: &str) -> Self {
        Self::begin(ProgressBar::new(number), "[{bar:30}] {pos}/{len} {msg} ({elapsed})", what)
    }

    fn begin(bar: ProgressBar, template: &str, what: &str) -> Self {
        let bar = ALL.get_or_init(MultiProgress::new).add(bar);
        // A template that cannot be used leaves the usual one.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self(bar.with_message(what.to_owned()))
    }

    /// It goes on; call it every now and then.
    pub(crate) fn goes_on(&self) {
        if self.0.elapsed() >= SHOW_AFTER {
            self.0.tick();
        }
    }

    /// The next step is this.
    pub(crate) fn step(&self, what: &str) {
        self.0.inc(1);
        self.0.set_message(what.to_owned());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
