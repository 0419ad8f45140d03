//! Opening a store on a file or another storage.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use redb::StorageBackend;

use super::{
    OpenError, Store,
    core::Core,
    disk::{self, Loaded},
    flusher,
    limits::{OPEN_LOCK_PATIENCE, OPEN_LOCK_PAUSE},
};
use crate::Env;

/// What errors call a storage that is not a file.
const BACKEND_NAME: &str = "(given storage)";

pub(super) async fn file(env: Env, path: &Path) -> Result<Store, OpenError> {
    let give_up = env.now() + OPEN_LOCK_PATIENCE;
    loop {
        let to_open = path.to_owned();
        match load(&env, path, move || disk::open(&to_open)).await {
            Err(OpenError::Locked { .. }) if env.now() < give_up => {
                env.sleep(OPEN_LOCK_PAUSE).await;
            }
            loaded => return Ok(start(env, loaded?)),
        }
    }
}

pub(super) async fn backend(env: Env, backend: impl StorageBackend) -> Result<Store, OpenError> {
    let name = PathBuf::from(BACKEND_NAME);
    let to_open = name.clone();
    let loaded = load(&env, &name, move || disk::open_on(backend, &to_open)).await?;
    Ok(start(env, loaded))
}

async fn load(
    env: &Env,
    path: &Path,
    open: impl FnOnce() -> Result<Loaded, OpenError> + Send + 'static,
) -> Result<Loaded, OpenError> {
    env.blocking(open).await.unwrap_or_else(|gone| {
        Err(OpenError::Damaged { path: path.to_owned(), reason: format!("opening it: {gone}") })
    })
}

fn start(env: Env, loaded: Loaded) -> Store {
    let Loaded { disk, rows, sequence } = loaded;
    let disk = Arc::new(disk);
    let core = Arc::new(Core::on_disk(env.clone(), rows, sequence, Arc::downgrade(&disk)));
    env.spawn("store-flusher", flusher::run(Arc::clone(&core), disk));
    Store::from_core(core)
}
