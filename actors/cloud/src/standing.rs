//! A control node that has lost the store leaves what needs it to those that have it.
//!
//! Owns no rows. Who acts for a row, and who is asked, is chosen among the nodes that say that they serve a topic; a
//! node that lives but cannot commit would keep its share of the rows standing still. It goes on to verify tokens, to
//! hear of revocations and to tell who lives.

use std::{collections::BTreeSet, time::Duration};

use updraft_runtime::{
    Env,
    directory::Directory,
    rpc::Topic,
    store::{Store, StoreError},
};

/// How often the store is asked: as often as others hear of this node.
const PROBE: Duration = updraft_runtime::directory::BEAT;

/// How long an answer may take: a healthy store needs milliseconds.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);

/// Failures in a row after which the store is taken for lost: one may be a server that was restarted.
const FAILURES: u32 = 2;

/// Follows the store, for as long as it is open.
pub(crate) async fn follow(
    env: Env,
    store: Store,
    directory: Directory,
    needs_store: BTreeSet<Topic>,
) {
    let mut failures = 0;
    loop {
        let asked = store.read(|_| Ok::<_, StoreError>(()));
        match env.timeout(ANSWERED_WITHIN, asked).await {
            Some(Err(StoreError::Closed)) => return,
            Some(Ok(())) => {
                if failures >= FAILURES {
                    tracing::info!("the store answers again; this node serves everything");
                    directory.leave_to_others(BTreeSet::new());
                }
                failures = 0;
            }
            _ => {
                failures += 1;
                if failures == FAILURES {
                    tracing::warn!(
                        "the store does not answer; what needs it is left to other control nodes"
                    );
                    directory.leave_to_others(needs_store.clone());
                }
            }
        }
        env.sleep(PROBE).await;
    }
}
