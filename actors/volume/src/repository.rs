//! Changing rows, with an answer for every outcome of a commit.
//!
//! A commit whose outcome is unknown is looked up: if the row is what it was meant to become, it has
//! committed. Only if the store stays silent does the caller learn that the outcome is unknown.

use std::time::Duration;

use updraft_runtime::{
    Env,
    store::{Record, Store, StoreError, Txn},
};

use crate::error::Error;

/// How often a commit of unknown outcome is looked up before that is the answer.
const LOOKS_MAX: u32 = 5;

/// The pause before it is looked up.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// The rows of the volume service.
#[derive(Clone)]
pub(crate) struct Repository {
    env: Env,
    store: Store,
}

impl Repository {
    pub(crate) fn new(env: &Env, store: Store) -> Self {
        Self { env: env.clone(), store }
    }

    /// Whatever the function reads.
    pub(crate) async fn read<T>(
        &self,
        f: impl FnOnce(&Txn) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.store.read(f).await
    }

    /// The row of this key.
    pub(crate) async fn get<R: Record>(&self, key: &str) -> Result<Option<R>, Error> {
        self.store.read(|txn| Ok(txn.get::<R>(key)?)).await
    }

    /// Adds a row if the function lets it.
    pub(crate) async fn insert<R: Record + PartialEq>(
        &self,
        row: &R,
        check: impl Fn(&Txn) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.commit(|txn, look| {
            if look && txn.get::<R>(&row.key())?.as_ref() == Some(row) {
                return Ok(());
            }
            check(txn)?;
            Ok(txn.insert(row)?)
        })
        .await
    }

    /// Changes a row as the function says, and returns what it became. `None`: there is no such row.
    pub(crate) async fn change<R: Record + PartialEq>(
        &self,
        key: &str,
        f: impl Fn(&mut Txn, &R) -> Result<R, Error>,
    ) -> Result<Option<R>, Error> {
        let mut meant: Option<R> = None;
        self.commit(|txn, look| {
            let Some(stored) = txn.get::<R>(key)? else { return Ok(None) };
            if look && meant.as_ref() == Some(&stored) {
                return Ok(Some(stored));
            }
            let new = f(txn, &stored)?;
            if new != stored {
                txn.put(&new)?;
            }
            meant = Some(new.clone());
            Ok(Some(new))
        })
        .await
    }

    /// Runs the function as a transaction, and again, as a look, while the outcome is unknown.
    pub(crate) async fn commit<T>(
        &self,
        mut f: impl FnMut(&mut Txn, bool) -> Result<T, Error>,
    ) -> Result<T, Error> {
        for look in 0.. {
            match self.store.transact(|txn| f(txn, look > 0)).await {
                Err(Error::Store(StoreError::Unknown)) if look < LOOKS_MAX => {
                    self.env.sleep(LOOK_PAUSE).await;
                }
                answer => return answer,
            }
        }
        Err(Error::Store(StoreError::Unknown))
    }
}
