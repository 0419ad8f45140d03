//! A group of commits: which of the proposals are accepted, and what they change together.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::{
    journal::{Change, Changed, Position},
    link::{Link, stored},
    trouble::Trouble,
};
use crate::store::{
    Entry,
    core::{Proposal, fill},
    error::StoreError,
    group::Group,
    limits::{JOURNAL_MAX_BYTES, JOURNAL_MAX_SEQUENCES, JOURNAL_TRIM_MAX_ENTRIES},
    reads::Rows,
};

/// Where the outcome of a commit is told.
pub(super) type Answer = oneshot::Sender<Result<u64, StoreError>>;

/// A commit that has not been decided.
pub(super) struct Waiting {
    pub(super) proposal: Proposal,
    pub(super) answer: Answer,
}

/// The mirror while nobody else can commit.
pub(super) struct Ground {
    pub(super) rows: Rows,
    pub(super) position: Position,
    pub(super) epoch: u64,
}

/// The accepted commits of a group, and who waits for them.
pub(super) struct Batch {
    base: Position,
    id: Uuid,
    group: Group,
    accepted: Vec<(u64, Answer)>,
    /// Told only at the end: until then, running again would meet the same rivals.
    conflicting: Vec<Answer>,
}

impl Batch {
    /// Decides one proposal after the other.
    pub(super) fn decide(ground: Ground, id: Uuid, waiting: Vec<Waiting>) -> Self {
        let Ground { mut rows, position: base, epoch } = ground;
        let mut group = Group::empty(base.sequence);
        let (mut accepted, mut conflicting) = (Vec::new(), Vec::new());
        for Waiting { proposal, answer } in waiting {
            let then = &proposal.snapshot;
            if then.epoch != epoch || !proposal.reads.unchanged(&then.rows, &rows) {
                conflicting.push(answer);
                continue;
            }
            let first = group.sequence + 1;
            let sequence = first.max(group.sequence + proposal.appends.len() as u64);
            group.sequence = sequence;
            fill(&mut group, &proposal, first, sequence);
            change(&mut rows, &proposal, sequence);
            accepted.push((sequence, answer));
        }
        Self { base, id, group, accepted, conflicting }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.accepted.is_empty()
    }

    /// Where the journal was before.
    pub(super) fn base(&self) -> Position {
        self.base
    }

    /// Where the journal is afterwards.
    pub(super) fn position(&self) -> Position {
        let rows = self.group.rows.iter();
        let rows = rows.map(|(key, row)| key.len() + row.value.as_ref().map_or(0, Bytes::len));
        let bytes = self.base.bytes + rows.sum::<usize>() as u64;
        Position { sequence: self.group.sequence, id: self.id, bytes }
    }

    /// Tells everyone that it is done.
    pub(super) fn acknowledge(self) {
        self.tell(Ok);
    }

    /// Tells everyone that it is not, or may not be.
    pub(super) fn refuse(self, why: &StoreError) {
        self.tell(|_| Err(why.clone()));
    }

    fn tell(self, outcome: impl Fn(u64) -> Result<u64, StoreError>) {
        // Whoever went away does not care.
        for (sequence, answer) in self.accepted {
            let _ = answer.send(outcome(sequence));
        }
        for answer in self.conflicting {
            let _ = answer.send(Err(StoreError::Conflict));
        }
    }

    /// What the mirror has to take in.
    pub(super) fn change(&self) -> Change {
        let changed = self.group.rows.iter().map(|(key, row)| Changed {
            key: Arc::clone(key),
            version: row.sequence,
            value: row.value.clone(),
        });
        let logs = self.logs().into_iter().cloned().collect();
        Change { position: self.position(), rows: changed.collect(), logs }
    }

    fn logs(&self) -> BTreeSet<&Arc<str>> {
        self.group.appends.iter().map(|(log, _)| log).collect()
    }

    /// Writes everything into the transaction that holds the lock.
    pub(super) async fn write(&self, link: &Link, trim: bool) -> Result<(), Trouble> {
        let position = self.position();
        tokio::try_join!(
            self.put(link),
            self.delete(link),
            self.append(link),
            self.record(link, position),
            notify(link, position),
            async { if trim { forget(link, position).await } else { Ok(()) } },
        )?;
        Ok(())
    }

    async fn put(&self, link: &Link) -> Result<(), Trouble> {
        let (mut keys, mut versions, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (key, row) in &self.group.rows {
            if let Some(value) = &row.value {
                keys.push(&**key);
                versions.push(stored(row.sequence));
                values.push(&**value);
            }
        }
        if !keys.is_empty() {
            link.execute(&link.statements.put, &[&keys, &versions, &values]).await?;
        }
        Ok(())
    }

    async fn delete(&self, link: &Link) -> Result<(), Trouble> {
        let gone = self.group.rows.iter().filter(|(_, row)| row.value.is_none());
        let keys: Vec<&str> = gone.map(|(key, _)| &**key).collect();
        if !keys.is_empty() {
            link.execute(&link.statements.delete, &[&keys]).await?;
        }
        Ok(())
    }

    async fn append(&self, link: &Link) -> Result<(), Trouble> {
        let appends = &self.group.appends;
        let logs: Vec<&str> = appends.iter().map(|(log, _)| &**log).collect();
        let sequences: Vec<i64> = appends.iter().map(|(_, entry)| stored(entry.sequence)).collect();
        let values: Vec<&[u8]> = appends.iter().map(|(_, entry)| &*entry.value).collect();
        if !logs.is_empty() {
            link.execute(&link.statements.append, &[&logs, &sequences, &values]).await?;
        }
        Ok(())
    }

    async fn record(&self, link: &Link, at: Position) -> Result<(), Trouble> {
        let rows = &self.group.rows;
        let keys: Vec<&str> = rows.keys().map(|key| &**key).collect();
        let versions: Vec<i64> = rows.values().map(|row| stored(row.sequence)).collect();
        let values: Vec<Option<&[u8]>> = rows.values().map(|row| row.value.as_deref()).collect();
        let logs: Vec<&str> = self.logs().into_iter().map(|log| &**log).collect();
        let (sequence, bytes) = (stored(at.sequence), stored(at.bytes));
        link.execute(
            &link.statements.record,
            &[&sequence, &at.id, &bytes, &keys, &versions, &values, &logs],
        )
        .await?;
        Ok(())
    }
}

/// Has the server tell everyone who listens, if the transaction commits.
async fn notify(link: &Link, at: Position) -> Result<(), Trouble> {
    link.query(&link.statements.notify, &[&at.sequence.to_string()]).await?;
    Ok(())
}

/// Forgets the oldest entries of the journal, as far as they are beyond its limits.
async fn forget(link: &Link, at: Position) -> Result<(), Trouble> {
    let sequence = stored(at.sequence.saturating_sub(JOURNAL_MAX_SEQUENCES));
    let bytes = stored(at.bytes.saturating_sub(JOURNAL_MAX_BYTES));
    link.execute(&link.statements.trim, &[&sequence, &bytes, &JOURNAL_TRIM_MAX_ENTRIES]).await?;
    Ok(())
}

fn change(rows: &mut Rows, proposal: &Proposal, version: u64) {
    for (key, value) in &proposal.writes {
        match value {
            Some(value) => {
                rows.insert(Arc::clone(key), Entry { value: value.clone(), version });
            }
            None => drop(rows.remove(&**key)),
        }
    }
}
