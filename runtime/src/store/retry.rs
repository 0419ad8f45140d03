//! Running a function as a transaction, again and again while it conflicts.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    Store, StoreError, Txn,
    limits::{TRANSACT_ATTEMPTS_MAX, TRANSACT_BACKOFF, TRANSACT_BACKOFF_MAX},
};

impl Store {
    /// Runs `f` on a fresh transaction and commits, and does so again after a conflict, a bounded number of times.
    ///
    /// If `f` fails, nothing is written, and the error is returned once what `f` has read is durable. An
    /// unknown outcome is returned as such and never tried again.
    pub async fn transact<T, E: From<StoreError>>(
        &self,
        mut f: impl FnMut(&mut Txn) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut rng = None;
        for attempt in 1..=TRANSACT_ATTEMPTS_MAX {
            let mut txn = self.begin().await?;
            let value = match f(&mut txn) {
                Ok(value) => value,
                Err(error) => {
                    txn.settle().await?;
                    return Err(error);
                }
            };
            match txn.commit().await {
                Ok(_) => return Ok(value),
                Err(StoreError::Conflict) if attempt < TRANSACT_ATTEMPTS_MAX => {
                    let rng = rng.get_or_insert_with(|| self.open.core.env.rng("store-backoff"));
                    self.open.core.env.sleep(pause(attempt, rng)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Runs `f` on a snapshot, and returns its result once what `f` has read is durable.
    pub async fn read<T, E: From<StoreError>>(
        &self,
        f: impl FnOnce(&Txn) -> Result<T, E>,
    ) -> Result<T, E> {
        let txn = self.begin().await?;
        let result = f(&txn);
        txn.settle().await?;
        result
    }
}

/// A random time below a bound that doubles with each attempt.
fn pause(attempt: u32, rng: &mut ChaCha8Rng) -> Duration {
    let bound = TRANSACT_BACKOFF.saturating_mul(1 << attempt.min(16)).min(TRANSACT_BACKOFF_MAX);
    bound.mul_f64(rng.random::<f64>())
}
