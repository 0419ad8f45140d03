//! The task that follows the journal, and so answers what is committed now.
//!
//! Everyone who has asked by the time a question is put to the database shares its answer; whoever asks later
//! waits for the next.

use std::sync::Arc;

use super::{
    hub::{Hub, Question},
    journal::{self, Heard},
    link::Link,
    trouble::{Pauses, Trouble},
};
use crate::store::limits::POLL_PAUSE;

/// Said once the history that was seen is gone.
const REWOUND: &str = "the database has lost commits that were seen here, as when an older backup is restored: \
                       start this process again";

/// Follows the journal until the store is closed.
pub(super) struct Follower {
    hub: Arc<Hub>,
}

/// What comes after a failure.
enum Failure {
    /// Connect again.
    Trouble(Trouble),
    /// Nothing that is in memory can be trusted.
    Rewound,
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let gone = Trouble::refused("nobody follows it any more");
        self.hub.reader_is_down(&gone);
        self.hub.task_ended("its follower has stopped");
    }
}

impl Follower {
    pub(super) fn start(hub: &Arc<Hub>) {
        let follower = Self { hub: Arc::clone(hub) };
        hub.env.spawn("store-follower", follower.run());
    }

    async fn run(self) {
        let mut pauses = Pauses::new(&self.hub.env);
        while !self.hub.is_deserted() {
            match self.serve(&mut pauses).await {
                Ok(()) => break,
                Err(Failure::Rewound) => {
                    tracing::error!(why = REWOUND, "the store stops");
                    self.hub.end(REWOUND);
                    break;
                }
                Err(Failure::Trouble(trouble)) => {
                    tracing::warn!(%trouble, "the database cannot be followed");
                    self.hub.reader_is_down(&trouble);
                    pauses.wait().await;
                }
            }
        }
    }

    /// Answers over one connection until it is lost or nobody is left to ask.
    async fn serve(&self, pauses: &mut Pauses) -> Result<(), Failure> {
        let hub = &self.hub;
        let link = Link::connect(&hub.env, &hub.settings, &hub.follower).await?;
        link.listen().await?;
        let link = Arc::new(link);
        // What was notified before this connection listened is seen by the first look.
        self.look(&link).await?;
        hub.reader_is(Arc::clone(&link));
        pauses.reset();
        let mut due = false;
        while !hub.is_deserted() {
            let questions = hub.questions();
            let hinted = hub.follower.newest() > hub.position().sequence;
            if due || hinted || !questions.is_empty() {
                match self.look(&link).await {
                    Ok(()) => questions.into_iter().for_each(|asked| drop(asked.send(Ok(())))),
                    Err(failure) => return Err(self.give_up_on(questions, failure)),
                }
            }
            if link.is_lost() {
                return Err(Trouble::refused("the connection was lost").into());
            }
            due = !hub.follower.woken(&hub.env, POLL_PAUSE).await;
        }
        Ok(())
    }

    /// Tells those who have asked of a failure.
    fn give_up_on(&self, questions: Vec<Question>, failure: Failure) -> Failure {
        let refusal = match &failure {
            Failure::Trouble(trouble) => trouble.refusal(),
            Failure::Rewound => Trouble::refused(REWOUND).refusal(),
        };
        for asked in questions {
            let _ = asked.send(Err(refusal.clone()));
        }
        failure
    }

    /// Brings the mirror to where the journal is.
    async fn look(&self, link: &Link) -> Result<(), Failure> {
        loop {
            match journal::ask(link, self.hub.position()).await? {
                Heard::Changes { changes, more } => {
                    changes.iter().for_each(|change| self.hub.apply(change));
                    if !more {
                        return Ok(());
                    }
                }
                Heard::TooFarBehind => self.hub.replace(journal::load(link).await?),
                Heard::Rewound => return Err(Failure::Rewound),
            }
        }
    }
}
