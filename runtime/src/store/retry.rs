//! Running a function as a transaction, again and again while it conflicts.

use std::time::Duration;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{Store, StoreError, Txn, limits::TRANSACT_ATTEMPTS_MAX};
use crate::{
    planted::{Bug, is_planted},
    sometimes,
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
        let (mut rng, mut attempt) = (None, 0);
        loop {
            attempt += 1;
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
                    let rng =
                        rng.get_or_insert_with(|| self.open.engine.env().rng("store-backoff"));
                    let pause = pause(attempt, self.open.engine.backoff(), rng);
                    self.open.engine.env().sleep(pause).await;
                }
                Err(StoreError::Unknown)
                    if is_planted(Bug::CommitUnknownTakenAsFailure)
                        && attempt < TRANSACT_ATTEMPTS_MAX => {}
                Err(error) => {
                    sometimes!(
                        matches!(error, StoreError::Unknown),
                        "nobody knows whether it was committed"
                    );
                    sometimes!(
                        matches!(error, StoreError::Conflict),
                        "a transaction meets a change at each of its attempts"
                    );
                    return Err(error.into());
                }
            }
        }
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

/// A random time below a bound that doubles with each attempt, from the first to the longest.
fn pause(attempt: u32, (first, longest): (Duration, Duration), rng: &mut ChaCha8Rng) -> Duration {
    let bound = first.saturating_mul(1 << attempt.min(16)).min(longest);
    bound.mul_f64(rng.random::<f64>())
}
