//! A connection that is cut in the middle of a commit: what is known of it, and what is not.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
};
use updraft_runtime::{
    Env,
    store::{PostgresSettings, Store, StoreError},
};

use super::server::Database;
use crate::support::{json, put, stored};

/// As it is sent to the server.
const COMMIT: &[u8] = b"COMMIT\0";

/// How long it may take until commits succeed again once nothing is in their way.
const RESUME_PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

/// Bytes pass.
const CLEAR: u8 = 0;
/// The next `COMMIT` reaches the server, and its answer nobody.
const DROP_ANSWER: u8 = 1;
/// The same, and nobody can connect any more.
const DROP_ANSWER_AND_STAY_CUT: u8 = 2;
/// The next `COMMIT` does not reach the server, which is left to wait for it.
const DROP_COMMIT: u8 = 3;
/// Nobody can connect.
const CUT: u8 = 4;

/// Something between a store and its server that misbehaves on demand.
#[derive(Clone, Default)]
struct Proxy(Arc<AtomicU8>);

impl Proxy {
    /// Starts one; returns its port.
    async fn start(&self, database: &Database) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let socket = database.server.directory().join(".s.PGSQL.5432");
        let proxy = self.clone();
        Env::real().spawn("test-proxy", async move {
            while let Ok((client, _)) = listener.accept().await {
                if proxy.0.load(Ordering::SeqCst) != CUT {
                    let server = UnixStream::connect(&socket).await.unwrap();
                    Env::real().spawn("test-proxy", proxy.clone().carry(client, server));
                }
            }
        });
        port
    }

    fn set(&self, what: u8) {
        self.0.store(what, Ordering::SeqCst);
    }

    /// What is to be done about this piece from the client, if it is a `COMMIT`; done once.
    fn on(&self, piece: &[u8]) -> u8 {
        if !piece.ends_with(COMMIT) {
            return CLEAR;
        }
        let what = self.0.load(Ordering::SeqCst);
        let next = if what == DROP_ANSWER_AND_STAY_CUT { CUT } else { CLEAR };
        self.set(next);
        what
    }

    async fn carry(self, client: TcpStream, server: UnixStream) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = server.into_split();
        let mut up = vec![0; 1 << 16];
        let mut down = vec![0; 1 << 16];
        loop {
            tokio::select! {
                biased;
                read = from_client.read(&mut up) => {
                    let Some(count) = read.ok().filter(|count| *count > 0) else { return };
                    let what = self.on(&up[..count]);
                    if what == DROP_COMMIT {
                        drop((from_client, to_client));
                        // The server hears nothing until it has had enough.
                        while from_server.read(&mut down).await.is_ok_and(|count| count > 0) {}
                        return;
                    }
                    if to_server.write_all(&up[..count]).await.is_err() { return }
                    if what != CLEAR {
                        // It has answered, so it is done.
                        let _ = from_server.read(&mut down).await;
                        return;
                    }
                }
                read = from_server.read(&mut down) => {
                    let Some(count) = read.ok().filter(|count| *count > 0) else { return };
                    if to_client.write_all(&down[..count]).await.is_err() { return }
                }
            }
        }
    }
}

/// A store behind a proxy, and one that is not.
async fn behind_a_proxy() -> Option<(Database, Proxy, Store, Store)> {
    let database = Database::fresh().await?;
    let proxy = Proxy::default();
    let port = proxy.start(&database).await;
    let text = database.text_at("127.0.0.1", &format!("port={port}"));
    let settings = PostgresSettings::parse(&text).unwrap();
    let store = Store::postgres(Env::real(), settings).await.unwrap();
    let other = database.store().await;
    Some((database, proxy, store, other))
}

async fn outcome(store: &Store, key: &str) -> Result<u64, StoreError> {
    let mut txn = store.begin().await.unwrap();
    txn.put_raw(key, json("1")).unwrap();
    txn.commit().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_whose_answer_was_lost_is_found() {
    let Some((_database, proxy, store, other)) = behind_a_proxy().await else { return };
    proxy.set(DROP_ANSWER);
    let sequence = outcome(&store, "t/a").await.expect("it was committed");
    let txn = other.begin().await.unwrap();
    assert_eq!(txn.get_raw("t/a").unwrap().unwrap().version, sequence);
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("1"));
    assert!(put(&store, "t/b", "1").await > sequence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_did_not_arrive_is_known_not_to_have() {
    let Some((_database, proxy, store, other)) = behind_a_proxy().await else { return };
    proxy.set(DROP_COMMIT);
    let (refused, waited) = tokio::join!(outcome(&store, "t/a"), async {
        // Meanwhile the server holds everyone up, and lets go by itself.
        put(&other, "t/b", "1").await
    });
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    assert!(waited > 0);
    assert_eq!(stored(&other, "t/a").await, None);
    put(&store, "t/a", "2").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_cannot_be_looked_for_is_unknown() {
    let Some((_database, proxy, store, other)) = behind_a_proxy().await else { return };
    proxy.set(DROP_ANSWER_AND_STAY_CUT);
    assert_eq!(outcome(&store, "t/a").await, Err(StoreError::Unknown));
    // It was committed, as it happens.
    assert_eq!(stored(&other, "t/a").await.as_deref(), Some("1"));
    proxy.set(CLEAR);
    let env = Env::real();
    let resumed = env.timeout(RESUME_PATIENCE, async {
        while let Err(error) = outcome(&store, "t/b").await {
            assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
            env.sleep(PAUSE).await;
        }
    });
    resumed.await.expect("it does not commit again");
    assert_eq!(stored(&store, "t/a").await.as_deref(), Some("1"));
}
