//! The task that brings commits to the database, one group after the other.
//!
//! A group is one transaction of the database. Lost before its `COMMIT` was sent, it certainly had no effect;
//! lost afterwards, its entry is looked for in the journal while nobody else can commit.

use std::{sync::Arc, time::Duration};

use super::{
    batch::{Batch, Waiting},
    hub::Hub,
    journal::{self, Heard, Position},
    link::{Link, number, stored},
    schema,
    trouble::{Pauses, Trouble},
};
use crate::store::{
    StoreError,
    limits::{JOURNAL_TRIM_EVERY_GROUPS, OUTCOME_PATIENCE, POLL_PAUSE},
};

/// How often a group is tried when the mirror has to be read anew before.
const FRESH_STARTS_MAX: u32 = 3;

/// Commits until the store is closed and nothing waits.
pub(super) struct Committer {
    hub: Arc<Hub>,
    link: Option<Link>,
    pauses: Pauses,
    groups: u64,
}

/// What became of a commit whose answer was lost.
enum Fate {
    Committed,
    /// It is not in the journal and never will be.
    Missing,
    /// The journal does not reach back that far.
    Unclear,
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.link = None;
        self.hub.writer_is_down(&StoreError::Closed);
        self.hub.task_ended("its committer has stopped");
    }
}

impl Committer {
    pub(super) fn start(hub: &Arc<Hub>) {
        let pauses = Pauses::new(&hub.env);
        let committer = Self { hub: Arc::clone(hub), link: None, pauses, groups: 0 };
        hub.env.spawn("store-committer", committer.run());
    }

    async fn run(mut self) {
        loop {
            if self.link.as_ref().is_none_or(Link::is_lost) && !self.connect().await {
                if self.hub.is_closing() {
                    return;
                }
                self.pauses.wait().await;
                continue;
            }
            let group = self.hub.next_group();
            if !group.is_empty() {
                self.commit(group).await;
            } else if self.hub.is_closing() {
                return;
            } else {
                self.hub.committer.woken(&self.hub.env, POLL_PAUSE).await;
            }
        }
    }

    async fn connect(&mut self) -> bool {
        self.link = None;
        let hub = &self.hub;
        match Link::connect(&hub.env, &hub.settings, &hub.committer).await {
            Ok(link) => {
                self.link = Some(link);
                self.pauses.reset();
                self.hub.writer_is_up();
                true
            }
            Err(trouble) => {
                tracing::warn!(%trouble, "nothing can be committed to the database");
                self.hub.writer_is_down(&trouble.refusal());
                false
            }
        }
    }

    async fn commit(&mut self, group: Vec<Waiting>) {
        let Some(link) = self.link.take() else { return refuse(group, &StoreError::Closed) };
        if let Err(trouble) = self.begin(&link).await {
            tracing::warn!(%trouble, "a group of commits was not begun");
            return refuse(group, &trouble.refusal());
        }
        let batch = Batch::decide(self.hub.ground(), self.hub.env.uuid(), group);
        if batch.is_empty() {
            if link.run("ROLLBACK").await.is_ok() {
                self.link = Some(link);
            }
            return batch.acknowledge();
        }
        self.groups += 1;
        let trim = self.groups.is_multiple_of(JOURNAL_TRIM_EVERY_GROUPS);
        if let Err(trouble) = batch.write(&link, trim).await {
            tracing::warn!(%trouble, "a group of commits was not written");
            return batch.refuse(&trouble.refusal());
        }
        match link.run("COMMIT").await {
            Ok(()) => {
                self.link = Some(link);
                self.committed(batch);
            }
            Err(trouble) => {
                drop(link);
                self.look_for(batch, &trouble).await;
            }
        }
    }

    /// Keeps everyone else from committing, with the mirror where the journal is.
    async fn begin(&self, link: &Link) -> Result<(), Trouble> {
        for _ in 0..FRESH_STARTS_MAX {
            if self.lock_and_catch_up(link).await? {
                return Ok(());
            }
            link.run("ROLLBACK").await?;
            let caught_up = self.hub.catch_up().await;
            caught_up.map_err(|error| Trouble::refused(error.to_string()))?;
        }
        Err(Trouble::refused("its journal is too short to be followed"))
    }

    /// Whether the journal still has where the mirror is.
    async fn lock_and_catch_up(&self, link: &Link) -> Result<bool, Trouble> {
        let (begun, locked) =
            tokio::join!(link.run("BEGIN"), link.query(&link.statements.lock, &[]));
        begun?;
        let format = locked?.first().map(|row| row.try_get(0)).transpose()?;
        schema::is_ours(format.unwrap_or_default())?;
        loop {
            match journal::ask(link, self.hub.position()).await? {
                Heard::Changes { changes, more } => {
                    changes.iter().for_each(|change| self.hub.apply(change));
                    if !more {
                        return Ok(true);
                    }
                }
                Heard::TooFarBehind | Heard::Rewound => return Ok(false),
            }
        }
    }

    fn committed(&self, batch: Batch) {
        self.hub.apply(&batch.change());
        batch.acknowledge();
    }

    /// Finds out what became of a commit that was sent and not answered.
    async fn look_for(&mut self, batch: Batch, trouble: &Trouble) {
        tracing::warn!(%trouble, "the answer to a commit was lost: looking for it");
        self.hub.writer_is_down(&trouble.refusal());
        match self.fate_in_time(&batch).await {
            Fate::Committed => self.committed(batch),
            Fate::Missing => batch.refuse(&trouble.refusal()),
            Fate::Unclear => {
                tracing::error!("what became of a commit stays unknown");
                batch.refuse(&StoreError::Unknown);
            }
        }
    }

    async fn fate_in_time(&mut self, batch: &Batch) -> Fate {
        let give_up = self.hub.env.now() + OUTCOME_PATIENCE;
        loop {
            let left = give_up.saturating_sub(self.hub.env.now());
            if left == Duration::ZERO {
                return Fate::Unclear;
            }
            let asked = self.ask_fate(batch.base(), batch.position());
            if let Some(Ok((fate, link))) = self.hub.env.timeout(left, asked).await {
                // Whoever is told now can go on at once.
                self.link = Some(link);
                self.pauses.reset();
                self.hub.writer_is_up();
                return fate;
            }
            self.pauses.wait().await;
        }
    }

    /// Waits until what was under way has ended, one way or the other, and looks.
    async fn ask_fate(&self, base: Position, wanted: Position) -> Result<(Fate, Link), Trouble> {
        let hub = &self.hub;
        let link = Link::connect(&hub.env, &hub.settings, &hub.committer).await?;
        link.run("BEGIN").await?;
        link.query(&link.statements.lock, &[]).await?;
        let both = [stored(base.sequence), stored(wanted.sequence)];
        let rows = link.query(&link.statements.find, &[&both[0], &both[1]]).await?;
        link.run("ROLLBACK").await?;
        let mut found = Vec::new();
        for row in rows {
            found.push((number(row.try_get(0)?), row.try_get(1)?));
        }
        let fate = if found.contains(&(wanted.sequence, wanted.id)) {
            Fate::Committed
        } else if found.contains(&(base.sequence, base.id)) {
            Fate::Missing
        } else {
            Fate::Unclear
        };
        Ok((fate, link))
    }
}

/// Nothing of the group was begun.
fn refuse(group: Vec<Waiting>, why: &StoreError) {
    for Waiting { answer, .. } in group {
        let _ = answer.send(Err(why.clone()));
    }
}
