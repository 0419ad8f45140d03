//! Files on a disk: what is there when the power fails at once, and what a reader sees that reads meanwhile.

use std::{
    fmt, fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use updraft_harness::world::World;
use updraft_network::driver::linux::write_atomically;
use updraft_runtime::{
    Env,
    folder::{self, RealFiles},
    store::{Store, StoreError},
};

use super::Steps;

/// Most steps of a case.
const STEPS_MAX: usize = 20;

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A store writes this under one of a few keys; the power fails as soon as it is acknowledged.
    Commit(u8, u16),
    /// The host file of DHCP is replaced by one of so many lines while somebody has read so many bytes of it.
    Replace(u8, u16),
}

/// A case.
pub type Case = Steps<Step>;

/// The case of a seed.
#[must_use]
pub fn draw(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut step = || match rng.random_bool(0.5) {
        true => Step::Commit(rng.random_range(0..4), rng.random()),
        false => Step::Replace(rng.random_range(1..20), rng.random_range(0..400)),
    };
    let steps = (0..STEPS_MAX).map(|_| step()).collect();
    Case { seed, steps }
}

/// A folder that is gone with this value.
struct Folder(PathBuf);

impl Folder {
    fn new(seed: u64) -> io::Result<Self> {
        let name = format!("updraft-bugs-{}-{seed}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs a case.
///
/// # Panics
/// If something acknowledged is not on the disk, or a reader sees a file that is neither the old nor the new one.
pub fn run(case: &Case) {
    let folder = Folder::new(case.seed).unwrap_or_else(|error| panic!("no folder: {error}"));
    let mut world = World::new(case.seed);
    let node = world.node("one", &["control"], |context| {
        let (env, handles) = (context.env.clone(), context.handles());
        async move {
            handles.keep(|| env);
        }
    });
    world.run_for(Duration::from_millis(10));
    let Some(env) = world.handle::<Env>(&node) else { panic!("the node does not run") };
    let (steps, path) = (case.steps.clone(), folder.0.clone());
    let course = async move { all(&steps, &path, &env).await };
    match world.on(&node, Duration::from_secs(60), course) {
        Some(Ok(())) => {}
        Some(Err(why)) => panic!("{why}"),
        None => panic!("it never ends"),
    }
}

async fn all(steps: &[Step], folder: &Path, env: &Env) -> Result<(), String> {
    let words = |error: &dyn fmt::Display| error.to_string();
    let file = folder.join("store.redb");
    let store = Store::redb(env.clone(), &file).await.map_err(|error| words(&error))?;
    for (number, step) in steps.iter().enumerate() {
        match *step {
            Step::Commit(key, value) => {
                let written = (format!("bugs/{key}"), value.to_string());
                put(&store, &written).await.map_err(|error| words(&error))?;
                let copy = folder.join(format!("after-{number}.redb"));
                fs::copy(&file, &copy).map_err(|error| words(&error))?;
                is_kept(env, &copy, &written).await?;
            }
            Step::Replace(lines, read) => replace(folder, lines, read.into())?,
        }
    }
    store.close().await;
    Ok(())
}

async fn put(store: &Store, (key, value): &(String, String)) -> Result<(), StoreError> {
    store.transact(|txn| txn.put_raw(key, value.clone().into())).await
}

/// What a machine finds that starts after the power has failed.
async fn is_kept(env: &Env, file: &Path, (key, value): &(String, String)) -> Result<(), String> {
    let store = Store::redb(env.clone(), file).await.map_err(|error| error.to_string())?;
    let found =
        store.read(|txn| txn.get_raw(key)).await.map_err(|error: StoreError| error.to_string())?;
    store.close().await;
    match found {
        Some(entry) if *entry.value == *value.as_bytes() => Ok(()),
        found => Err(format!(
            "what is acknowledged is on the disk: {key} should be {value}, and is {:?}",
            found.map(|entry| entry.value)
        )),
    }
}

/// Replaces a file of lines while somebody reads it, on this machine: there a file that is open is still the old one.
fn replace(folder: &Path, lines: u8, read: usize) -> Result<(), String> {
    let words = |error: io::Error| error.to_string();
    let files = Arc::new(RealFiles::open(folder).map_err(words)?);
    let (folder, name) = (folder::Folder::on(folder, files), "hosts");
    let path = &folder.path(name);
    let new: String = (0..lines)
        .map(|line| format!("52:54:00:00:{lines:02x}:{line:02x},10.0.{lines}.{line}\n"))
        .collect();
    let old = fs::read_to_string(path).unwrap_or_default();
    let reader = fs::File::open(path).ok();
    let mut seen = Vec::new();
    if let Some(file) = &reader {
        file.take(read as u64).read_to_end(&mut seen).map_err(words)?;
    }
    write_atomically(&folder, name, &new).map_err(words)?;
    if let Some(mut file) = reader {
        file.read_to_end(&mut seen).map_err(words)?;
    }
    let seen = String::from_utf8_lossy(&seen).into_owned();
    let left = fs::read_to_string(path).map_err(words)?;
    if (seen == old || seen == new) && left == new {
        return Ok(());
    }
    Err(format!("a reader sees a file whole: it saw {seen:?}, and there were {old:?} and {new:?}"))
}
