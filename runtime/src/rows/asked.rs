//! Whether what an agent was told is still wanted.
//!
//! A message may be of any age, and whoever takes one cannot tell. So an agent that hears of what it does not know does
//! nothing for it before it has asked whoever keeps the row what is wanted *now*: a message wakes, the row decides. Of
//! what it has it asks again now and then, which finds what came in by other ways: a disk that was put back, a row that
//! was. An answer is folded in like a message, fenced by its generation.
//!
//! What is gone is remembered for [`REMEMBERED`], so that an answer to an earlier question, which is under way for as
//! long as a call waits, brings nothing back either. Older messages meet an agent that knows nothing, and asks.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::env::UnixMicros;

/// How often an agent asks about what it has: a cloud of 10,000 guests is asked some 100 questions a second at most.
pub const ASK_EVERY: Duration = Duration::from_secs(600);

/// How long what is gone is remembered: far longer than the longest deadline of a call.
pub const REMEMBERED: Duration = Duration::from_secs(3_600);

/// When it was last said that what an agent has is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Asked {
    /// Nobody was asked yet, and so nothing was done.
    Never,
    /// Then.
    At(UnixMicros),
}

impl Default for Asked {
    /// Rows from before agents asked: something may have been done for them, and it is time to ask.
    fn default() -> Self {
        Self::At(UnixMicros(0))
    }
}

impl Asked {
    /// Whether anything may be done, or have been done, for the row.
    #[must_use]
    pub fn is_begun(self) -> bool {
        self != Self::Never
    }

    /// When it is to be asked next. A clock that was set back makes that now.
    #[must_use]
    pub fn next(self, now: UnixMicros) -> UnixMicros {
        match self {
            Self::At(at) if at <= now => at.plus(ASK_EVERY),
            Self::Never | Self::At(_) => now,
        }
    }

    /// Whether it is time to ask.
    #[must_use]
    pub fn is_due(self, now: UnixMicros) -> bool {
        self.next(now) <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMicros = UnixMicros(1_700_000_000_000_000);

    #[test]
    fn what_is_not_known_is_asked_about_at_once_and_the_rest_now_and_then() {
        assert!(Asked::Never.is_due(NOW) && !Asked::Never.is_begun());
        assert!(Asked::default().is_due(NOW) && Asked::default().is_begun());
        assert!(!Asked::At(NOW).is_due(NOW.plus(ASK_EVERY - Duration::from_millis(1))));
        assert!(Asked::At(NOW).is_due(NOW.plus(ASK_EVERY)));
    }

    #[test]
    fn a_clock_that_was_set_back_keeps_nobody_from_asking() {
        assert!(Asked::At(NOW.plus(ASK_EVERY)).is_due(NOW));
    }
}
