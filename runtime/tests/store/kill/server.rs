//! PostgreSQL is killed, with everything that belongs to it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};
use updraft_runtime::{Env, store::Store};

use super::{
    KILLS, WRITERS,
    steps::{self, Said, Step},
    told::Told,
};
use crate::postgres::server::Server;

/// Commits that are acknowledged before the server is killed.
const COMMITS_PER_LIFE: usize = 40;
/// How long it may take until commits succeed again once the server is back.
const RESUME_PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_commit_outlives_a_killed_server() {
    let Some(server) = Server::start(&[]) else { return };
    let database = Arc::new(server).database().await;
    let stores = [database.store().await, database.store().await];
    let mut told = Told::default();
    for life in 0..KILLS {
        let mut writing = Writing::begin(&stores, life);
        writing.hear_acknowledged(COMMITS_PER_LIFE, &mut told).await;
        database.server.kill();
        database.server.start_again();
        writing.end(&mut told).await;
        drop(database.admin().await);
        let store = database.store().await;
        told.assert_found(&store).await;
        store.close().await;
    }
    told.assert_said(&[Said::Done, Said::Refused]);
}

/// Writers on two stores, as of two processes.
struct Writing {
    stop: watch::Sender<bool>,
    writers: JoinSet<()>,
    said: mpsc::UnboundedReceiver<(Said, Step)>,
}

impl Writing {
    fn begin(stores: &[Store; 2], life: u64) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (sender, said) = mpsc::unbounded_channel();
        let mut writers = JoinSet::new();
        for (writer, store) in (0..WRITERS).zip(stores.iter().cycle()) {
            let (name, seed) = (format!("{life}.{writer}"), life * WRITERS + writer);
            let (sender, stopped) = (sender.clone(), stopped.clone());
            writers.spawn(steps::write(store.clone(), name, seed, move |said, step| {
                sender.send((said, step.clone())).unwrap();
                !*stopped.borrow()
            }));
        }
        Self { stop, writers, said }
    }

    async fn hear_acknowledged(&mut self, mut count: usize, told: &mut Told) {
        let hearing = async {
            while count > 0 {
                let (said, step) = self.said.recv().await.unwrap();
                count -= usize::from(said == Said::Done);
                told.hear(said, step);
            }
        };
        let heard = Env::real().timeout(RESUME_PATIENCE, hearing).await;
        assert!(heard.is_some(), "commits do not succeed again");
    }

    async fn end(mut self, told: &mut Told) {
        self.stop.send(true).unwrap();
        self.writers.join_all().await;
        while let Some((said, step)) = self.said.recv().await {
            told.hear(said, step);
        }
    }
}
