//! What every operation on the rows works with.

use rand_chacha::ChaCha8Rng;
use updraft_runtime::{
    Env,
    env::UnixMicros,
    rpc::TraceContext,
    store::{Store, Txn},
};
use uuid::Uuid;

use crate::{config::Config, error::Outcome};

/// The service's part of the store, and what transactions on it need.
#[derive(Clone)]
pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) store: Store,
    pub(crate) config: std::sync::Arc<Config>,
}

/// A transaction under way.
pub(crate) struct Work<'a> {
    pub(crate) txn: &'a mut Txn,
    pub(crate) env: &'a Env,
    pub(crate) config: &'a Config,
    pub(crate) rng: ChaCha8Rng,
    /// The time of the whole transaction.
    pub(crate) now: UnixMicros,
    /// The request that it belongs to.
    pub(crate) trace: TraceContext,
}

impl Work<'_> {
    /// A fresh id.
    pub(crate) fn id(&self) -> Uuid {
        self.env.uuid()
    }
}

impl Core {
    /// Runs `work` as a transaction, again and again while it conflicts.
    pub(crate) async fn transact<T>(
        &self,
        trace: TraceContext,
        mut work: impl FnMut(&mut Work<'_>) -> Outcome<T>,
    ) -> Outcome<T> {
        self.store
            .transact(|txn| {
                work(&mut Work {
                    txn,
                    env: &self.env,
                    config: &self.config,
                    rng: self.env.rng("network"),
                    now: self.env.wall(),
                    trace,
                })
            })
            .await
    }

    /// Runs `look` on a snapshot.
    pub(crate) async fn read<T>(&self, look: impl FnOnce(&Txn) -> Outcome<T>) -> Outcome<T> {
        self.store.read(look).await
    }
}
