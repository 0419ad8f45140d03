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
    engine::Engine,
    flusher::{Flusher, Opener},
    limits::{OPEN_LOCK_PATIENCE, OPEN_LOCK_PAUSE},
};
use crate::Env;

/// What errors call a storage that is not a file.
const BACKEND_NAME: &str = "(given storage)";

pub(super) async fn file(env: Env, path: &Path) -> Result<Store, OpenError> {
    let path = path.to_owned();
    let to_open = path.clone();
    open(&env, &path, Arc::new(move || disk::open(&to_open))).await
}

pub(super) async fn backend(
    env: Env,
    backend: impl StorageBackend + Clone,
) -> Result<Store, OpenError> {
    let name = PathBuf::from(BACKEND_NAME);
    let to_open = name.clone();
    open(&env, &name, Arc::new(move || disk::open_on(backend.clone(), &to_open))).await
}

async fn open(env: &Env, name: &Path, opener: Opener) -> Result<Store, OpenError> {
    let give_up = env.now() + OPEN_LOCK_PATIENCE;
    loop {
        match load(env, name, Arc::clone(&opener)).await {
            Err(OpenError::Locked { .. }) if env.now() < give_up => {
                env.sleep(OPEN_LOCK_PAUSE).await;
            }
            loaded => return Ok(start(env, loaded?, opener)),
        }
    }
}

async fn load(env: &Env, name: &Path, opener: Opener) -> Result<Loaded, OpenError> {
    env.blocking(move || opener()).await.unwrap_or_else(|gone| {
        Err(OpenError::Damaged { path: name.to_owned(), reason: format!("opening it: {gone}") })
    })
}

fn start(env: &Env, loaded: Loaded, opener: Opener) -> Store {
    let core = Arc::new(Core::on_disk(env.clone(), &loaded));
    let flusher = Flusher::new(Arc::clone(&core), loaded.disk, opener);
    env.spawn("store-flusher", flusher.run());
    Store::on(Engine::Local(core))
}
