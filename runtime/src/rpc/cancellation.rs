//! Whether anybody still waits for a message.
//!
//! Owns that word between the memory, which hears that nobody does, and the handler, which may ask. What can be waited
//! for is made when somebody first waits: most handlers end before they ask.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// Clones are of one message.
#[derive(Clone, Debug, Default)]
pub(super) struct Cancellation(Arc<Word>);

#[derive(Debug, Default)]
struct Word {
    cancelled: AtomicBool,
    token: OnceLock<CancellationToken>,
}

impl Cancellation {
    /// Nobody waits any more.
    pub(super) fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        if let Some(token) = self.0.token.get() {
            token.cancel();
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// What is cancelled when nobody waits any more.
    pub(super) fn token(&self) -> &CancellationToken {
        let token = self.0.token.get_or_init(CancellationToken::new);
        // Whoever cancels says so first and looks for the token then, so that one of the two sees the other.
        if self.is_cancelled() {
            token.cancel();
        }
        token
    }
}

#[cfg(test)]
mod tests {
    use super::Cancellation;

    #[test]
    fn a_token_hears_of_a_cancellation_whichever_was_first() {
        let (early, late) = (Cancellation::default(), Cancellation::default());
        let token = early.token().clone();
        assert!(!token.is_cancelled() && !early.is_cancelled());
        early.cancel();
        late.clone().cancel();
        assert!(token.is_cancelled() && early.is_cancelled());
        assert!(late.token().is_cancelled() && late.is_cancelled());
    }
}
