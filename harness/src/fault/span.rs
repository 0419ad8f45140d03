//! A length of time as people write it.

use std::{fmt, time::Duration};

/// Displays a time in the largest unit in which it is whole.
pub(super) struct Span(pub(super) Duration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        match ms {
            0 => f.write_str("0 s"),
            _ if ms.is_multiple_of(60_000) => write!(f, "{} min", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{} s", ms / 1_000),
            _ => write!(f, "{ms} ms"),
        }
    }
}
