//! A server that goes away and comes back, as those see it who use it meanwhile.

use std::{sync::Arc, time::Duration};

use updraft_runtime::{
    Env,
    store::{Store, StoreError},
};

use super::server::Server;
use crate::support::{json, put, stored};

/// How long it may take until commits succeed again once the server is back.
const RESUME_PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_server_is_away_everything_is_refused_and_then_goes_on() {
    let Some(server) = Server::start(&[]) else { return };
    let database = Arc::new(server).database().await;
    let store = database.store().await;
    put(&store, "t/a", "1").await;
    let mut open = store.begin().await.unwrap();
    open.put_raw("t/b", json("1")).unwrap();
    database.server.kill();
    for _ in 0..3 {
        let refused = store.begin().await.unwrap_err();
        assert!(matches!(&refused, StoreError::Unavailable(why) if why.contains("database")));
        assert!(matches!(store.log_read("t/log", 0, 1).await, Err(StoreError::Unavailable(_))));
    }
    assert!(matches!(open.commit().await, Err(StoreError::Unavailable(_))));

    database.server.start_again();
    let env = Env::real();
    let resumed = env.timeout(RESUME_PATIENCE, async {
        while commit(&store, "t/c").await.is_err() {
            env.sleep(PAUSE).await;
        }
    });
    resumed.await.expect("it does not serve again");
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("1"));
    assert_eq!(stored(&store, "t/b").await, None);
    assert_eq!(stored(&store, "t/c").await.as_deref(), Some("1"));
}

async fn commit(store: &Store, key: &str) -> Result<(), StoreError> {
    let mut txn = store.begin().await?;
    txn.put_raw(key, json("1"))?;
    txn.commit().await.map(drop)
}
