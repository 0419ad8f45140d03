//! Which cloud a store holds, and which control nodes serve it.
//!
//! Owns the rows `membership/cloud` and `membership/control`. Promises that control nodes of two clouds never work on
//! one store, that of two processes under one name one ends, and that a process ends when a newer program has changed
//! the rows. It compares no clocks: whether a process lives is seen by whether its row changes.

use std::{net::SocketAddr, time::Duration};

use base16ct::lower;
use serde::{Deserialize, Serialize};
use updraft_runtime::{
    Env,
    env::UnixMicros,
    store::{MigrateError, Record, Store, StoreError},
};
use updraft_transport::NodeId;
use uuid::Uuid;

use super::rows::NodeRow;

/// How often a control process says in the store that it lives: one small commit each time.
const TICK: Duration = Duration::from_secs(2);

/// How often it is looked whether a process that may live says so.
const LOOK: Duration = Duration::from_millis(100);

/// How many looks at a row that stands still make its process one that has ended: 5 s, which are two ticks and one that
/// came late.
const LOOKS: u32 = 50;

/// The one key of [`CloudRow`].
const THE_CLOUD: &str = "cloud";

/// The cloud of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloudRow {
    /// The SHA-256 of its CA's certificate, in hexadecimal.
    pub authority: String,
    /// When it was begun.
    pub founded: UnixMicros,
    /// Where the bytes of its images are.
    pub images: Option<ImagesAt>,
}

/// The folder that holds the bytes of images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagesAt {
    /// What the folder's own mark says.
    pub id: Uuid,
    /// What the control node that made the mark calls it.
    pub path: String,
}

impl Record for CloudRow {
    const TABLE: &'static str = "membership/cloud";

    fn key(&self) -> String {
        THE_CLOUD.to_owned()
    }
}

/// A process that serves the cloud, or the last one under its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlRow {
    /// Its node.
    pub node: NodeId,
    /// Where other nodes reach it.
    pub address: SocketAddr,
    /// Where its APIs answer.
    pub apis: String,
    /// Which process it is.
    pub run: Uuid,
    /// The folder that it holds, as no other folder on any machine is called while this machine runs.
    pub place: String,
    /// Grows while it lives.
    pub ticks: u64,
    /// Whether it has ended in order.
    pub ended: bool,
}

impl Record for ControlRow {
    const TABLE: &'static str = "membership/control";

    fn key(&self) -> String {
        self.node.to_string()
    }
}

/// How an authority stands in a row.
#[must_use]
pub fn authority_text(fingerprint: &[u8; 32]) -> String {
    lower::encode_string(fingerprint)
}

/// Whose a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It was nobody's before.
    Founded,
    /// It was this cloud's already.
    Known,
    /// It holds another cloud.
    Other,
}

/// Why a process does not serve under its name, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum SeatError {
    /// Another lives under it.
    #[error(
        "node {node} runs already, at {address}: two processes cannot be one node; end that one with 'updraft down', or \
         let this machine join under a name of its own with 'updraft control' and an empty --data-dir"
    )]
    Taken {
        /// The name.
        node: NodeId,
        /// Where the other listens.
        address: SocketAddr,
    },
    /// Another has begun since.
    #[error(
        "another process runs as node {node} now, at {address}, and took this one for ended; two cannot be one node, so \
         this one ends"
    )]
    Lost {
        /// The name.
        node: NodeId,
        /// Where the other listens.
        address: SocketAddr,
    },
    /// A newer program has brought rows into a shape that this one does not know.
    #[error("the store cannot be used: {0}")]
    Rows(#[source] MigrateError),
    /// The store did not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<MigrateError> for SeatError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Store(error) => Self::Store(error),
            newer => Self::Rows(newer),
        }
    }
}

/// The control nodes of a cloud, as its store has them; cheap to clone.
#[derive(Clone)]
pub struct Roster {
    env: Env,
    store: Store,
    /// The rows of every service.
    whole: Store,
}

impl Roster {
    /// The roster in this store.
    #[must_use]
    pub fn new(env: &Env, store: &Store) -> Self {
        Self { env: env.clone(), store: store.scoped("membership/"), whole: store.clone() }
    }

    /// The cloud that the store holds, if it holds one.
    pub async fn cloud(&self) -> Result<Option<CloudRow>, StoreError> {
        self.store.read(|txn| txn.get::<CloudRow>(THE_CLOUD)).await
    }

    /// Makes the store that of the cloud with this authority, unless it is another's.
    pub async fn claim(&self, authority: &str) -> Result<Claim, StoreError> {
        let founded = self.env.wall();
        self.store
            .transact(|txn| match txn.get::<CloudRow>(THE_CLOUD)? {
                Some(row) if row.authority == authority => Ok(Claim::Known),
                Some(_) => Ok(Claim::Other),
                None => {
                    let authority = authority.to_owned();
                    txn.insert(&CloudRow { authority, founded, images: None })?;
                    Ok(Claim::Founded)
                }
            })
            .await
    }

    /// Notes where the bytes of images are.
    pub async fn note_images(&self, images: &ImagesAt) -> Result<(), StoreError> {
        self.store
            .transact(|txn| match txn.get::<CloudRow>(THE_CLOUD)? {
                Some(row) => txn.put(&CloudRow { images: Some(images.clone()), ..row }),
                None => Ok(()),
            })
            .await
    }

    /// The other control nodes of the cloud that have ever served it, without those that were removed.
    pub async fn others(&self, than: &NodeId) -> Result<Vec<ControlRow>, StoreError> {
        let found = self.store.read(|txn| {
            let mut rows = txn.scan::<ControlRow>(None, usize::MAX)?;
            let members = txn.scan::<NodeRow>(None, usize::MAX)?;
            let serves = |row: &ControlRow| {
                members.iter().any(|member| member.node == row.node && member.is_control())
            };
            rows.retain(|row| row.node != *than && serves(row));
            Ok::<_, StoreError>(rows)
        });
        found.await
    }

    async fn row(&self, node: &NodeId) -> Result<Option<ControlRow>, StoreError> {
        self.store.read(|txn| txn.get::<ControlRow>(node.as_str())).await
    }

    /// Takes the name for the process that this row is of. One under the same name that may live elsewhere is watched
    /// first; what it was started from on this machine is locked, so that it has ended.
    pub async fn take_seat(&self, row: ControlRow) -> Result<Seat, SeatError> {
        let before = self.row(&row.node).await?;
        if let Some(before) = before.as_ref().filter(|before| before.place != row.place) {
            self.watch_it_stand(before).await?;
        }
        let watched = before.map(|before| (before.run, before.ticks));
        self.store
            .transact(|txn| {
                let now = txn.get::<ControlRow>(row.node.as_str())?;
                match now.filter(|now| !now.ended && now.place != row.place) {
                    Some(now) if Some((now.run, now.ticks)) != watched => Err(taken(&now)),
                    _ => Ok(txn.put(&row)?),
                }
            })
            .await?;
        Ok(Seat { roster: self.clone(), node: row.node, run: row.run })
    }

    /// Returns when the process of this row has ended, as far as anybody can tell.
    async fn watch_it_stand(&self, before: &ControlRow) -> Result<(), SeatError> {
        for _ in 0..LOOKS {
            match self.row(&before.node).await? {
                Some(now) if now.ended => return Ok(()),
                Some(now) if now.run != before.run || now.ticks != before.ticks => {
                    return Err(taken(&now));
                }
                _ => self.env.sleep(LOOK).await,
            }
        }
        Ok(())
    }
}

fn taken(row: &ControlRow) -> SeatError {
    SeatError::Taken { node: row.node.clone(), address: row.address }
}

/// A process's hold on its name.
#[derive(Clone)]
pub struct Seat {
    roster: Roster,
    node: NodeId,
    run: Uuid,
}

impl Seat {
    /// Says again and again that this process lives; returns only when another has taken its name, or a newer program
    /// has changed rows under this one.
    pub async fn keep(&self) -> SeatError {
        loop {
            self.roster.env.sleep(TICK).await;
            match self.tick().await {
                Ok(()) => {}
                Err(SeatError::Store(error)) => {
                    tracing::debug!(%error, "the store is not told that this node lives");
                }
                Err(lost) => return lost,
            }
        }
    }

    async fn tick(&self) -> Result<(), SeatError> {
        self.write(|row| row.ticks += 1).await
    }

    /// Says that this process ends.
    pub async fn leave(&self) -> Result<(), SeatError> {
        self.write(|row| row.ended = true).await
    }

    async fn write(&self, change: impl Fn(&mut ControlRow)) -> Result<(), SeatError> {
        self.roster.whole.refuse_newer(&crate::SCHEMAS).await?;
        self.roster
            .store
            .transact(|txn| {
                let Some(mut row) = txn.get::<ControlRow>(self.node.as_str())? else {
                    return Ok(());
                };
                if row.run != self.run {
                    return Err(SeatError::Lost { node: row.node, address: row.address });
                }
                change(&mut row);
                txn.relax();
                Ok(txn.put(&row)?)
            })
            .await
    }
}

#[cfg(test)]
mod tests;
