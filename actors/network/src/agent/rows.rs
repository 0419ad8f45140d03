//! What an agent remembers of a want: the want itself, and whether this life of the agent has made it so.
//!
//! A row is written before anything is done for it, and stays a while when the want is that nothing be there: it is
//! the fence against older generations, also after a restart. Nothing is done for one before the network service has said
//! that it is wanted.

use serde::{Deserialize, Serialize};
use updraft_runtime::{
    env::UnixMicros,
    planted::{Bug, is_planted},
    rows::Asked,
    rpc::TraceContext,
    sometimes,
    store::Record,
};
use uuid::Uuid;

use super::want::Want;

/// Which want was made so, and by which life of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The want's generation.
    pub generation: u64,
    /// Drawn anew at each start: what an earlier life did is looked at again.
    pub life: Uuid,
}

/// A want and how far it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Row<W: Want> {
    /// The newest want heard of.
    pub want: W,
    /// When it was heard first.
    pub since: UnixMicros,
    /// When the network service last said that it is wanted.
    #[serde(default)]
    pub asked: Asked,
    /// The network service knows of nothing that is wanted here: what was made is taken back, and the row forgotten.
    #[serde(default)]
    pub unwanted: bool,
    /// The request that brought it.
    pub trace: TraceContext,
    /// Set while the host is known to be as wanted.
    pub applied: Option<Applied>,
    /// How often it was tried.
    pub attempts: u64,
    /// Why the last try failed.
    pub fault: Option<String>,
}

impl<W: Want> Record for Row<W> {
    const TABLE: &'static str = W::TABLE;

    fn key(&self) -> String {
        self.want.id().to_string()
    }
}

impl<W: Want> Row<W> {
    /// A want just heard of, of which nothing was known.
    pub fn new(want: W, trace: TraceContext, now: UnixMicros) -> Self {
        let (asked, unwanted) = (Asked::Never, false);
        Self { want, since: now, asked, unwanted, trace, applied: None, attempts: 0, fault: None }
    }

    /// The row once this, which is newer, is wanted.
    #[must_use]
    pub fn renewed(&self, want: W, trace: TraceContext, now: UnixMicros) -> Self {
        Self { asked: self.asked, ..Self::new(want, trace, now) }
    }

    /// Whether this life of the agent has made it so.
    pub fn is_applied(&self, life: Uuid) -> bool {
        self.applied == Some(Applied { generation: self.want.generation(), life })
    }
}

/// What a want means to an agent that remembers another, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fence {
    /// It is news.
    New,
    /// It is known: the answer is the same as before.
    Same,
    /// It is known by its number, and says something else. What was heard first holds.
    Differs,
    /// A newer one is known.
    Stale {
        /// The newer one.
        known: u64,
    },
}

/// Judges a want by what is remembered.
pub fn fence<W: Want>(known: Option<&W>, asked: &W) -> Fence {
    sometimes!(
        known.is_some_and(|known| asked.generation() < known.generation()),
        "an agent is told what was wanted before"
    );
    match known {
        None => Fence::New,
        Some(known) if asked.generation() > known.generation() => Fence::New,
        Some(known)
            if asked.generation() < known.generation() && is_planted(Bug::StaleWantAccepted) =>
        {
            Fence::New
        }
        Some(known) if asked.generation() < known.generation() => {
            Fence::Stale { known: known.generation() }
        }
        Some(known) if known == asked => Fence::Same,
        Some(_) => Fence::Differs,
    }
}
