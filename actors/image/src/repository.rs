//! Reading and changing image rows, with an answer for every outcome of a commit.
//!
//! A commit whose outcome is unknown is looked up: if the row is what it was meant to become, it has
//! committed. Only if the store stays silent does the caller learn that the outcome is unknown.

use std::time::Duration;

use updraft_runtime::{
    Env,
    store::{Store, StoreError, Txn},
};
use uuid::Uuid;

use crate::{error::Error, rows::ImageRow};

/// How often a commit of unknown outcome is looked up before that is the answer.
const LOOKS_MAX: u32 = 5;

/// The pause before it is looked up.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// The rows of all images.
#[derive(Clone)]
pub(crate) struct Repository {
    env: Env,
    store: Store,
}

impl Repository {
    pub(crate) fn new(env: &Env, store: Store) -> Self {
        Self { env: env.clone(), store }
    }

    /// The image, deleted ones too.
    pub(crate) async fn get(&self, id: Uuid) -> Result<Option<ImageRow>, Error> {
        self.store.read(|txn| Ok(txn.get::<ImageRow>(&id.to_string())?)).await
    }

    /// Whatever the function reads.
    pub(crate) async fn read<T>(
        &self,
        f: impl FnOnce(&Txn) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.store.read(f).await
    }

    /// Adds an image.
    pub(crate) async fn insert(&self, row: &ImageRow) -> Result<(), Error> {
        let key = row.id.to_string();
        for attempt in 0.. {
            let inserted = self
                .store
                .transact(|txn| match txn.get::<ImageRow>(&key)? {
                    Some(stored) if attempt > 0 && stored == *row => Ok(()),
                    Some(_) => Err(Error::conflict(format!("Image ID {key} already exists!"))),
                    None => Ok(txn.insert(row)?),
                })
                .await;
            match inserted {
                Err(Error::Store(StoreError::Unknown)) if attempt < LOOKS_MAX => {
                    self.env.sleep(LOOK_PAUSE).await;
                }
                answer => return answer,
            }
        }
        Err(Error::Store(StoreError::Unknown))
    }

    /// Changes an image as the function says, and returns what it became.
    pub(crate) async fn change(
        &self,
        id: Uuid,
        f: impl Fn(&ImageRow) -> Result<ImageRow, Error>,
    ) -> Result<ImageRow, Error> {
        let key = id.to_string();
        let mut meant: Option<ImageRow> = None;
        for attempt in 0.. {
            let changed = self
                .store
                .transact(|txn| {
                    let stored = txn.get::<ImageRow>(&key)?.ok_or_else(|| Error::not_found(id))?;
                    if attempt > 0 && meant.as_ref() == Some(&stored) {
                        return Ok(stored);
                    }
                    let new = f(&stored)?;
                    if new != stored {
                        txn.put(&new)?;
                    }
                    meant = Some(new.clone());
                    Ok(new)
                })
                .await;
            match changed {
                Err(Error::Store(StoreError::Unknown)) if attempt < LOOKS_MAX => {
                    self.env.sleep(LOOK_PAUSE).await;
                }
                // A row that was to be deleted may be gone by the time it is looked for.
                Err(Error::NotFound(_)) if attempt > 0 => {
                    return meant
                        .filter(|row| row.deleted_at.is_some())
                        .ok_or(Error::not_found(id));
                }
                answer => return answer,
            }
        }
        Err(Error::Store(StoreError::Unknown))
    }
}
