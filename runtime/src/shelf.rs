//! Small things by name that outlive the process, and not the machine.
//!
//! For simulated machines: what a real one would still have when the process that drives it was killed. Each
//! thing is a JSON file of its own, replaced whole. Nothing is synced: a machine that loses its power loses what
//! it ran, and a shelf may forget just as much. Never the place for what somebody was promised; that is the
//! store's.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::Env;

/// What the names of files end in.
const EXTENSION: &str = "json";

/// A folder of such things; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: Arc<PathBuf>,
}

impl Shelf {
    /// The shelf in this folder, which is made if there is none, and what is on it. Blocks; call it at start-up.
    pub fn open<T: DeserializeOwned>(folder: &Path) -> io::Result<(Self, BTreeMap<String, T>)> {
        fs::create_dir_all(folder)?;
        let mut things = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            let ours = path.extension().is_some_and(|extension| extension == EXTENSION);
            if let Some(name) = name.filter(|_| ours) {
                match serde_json::from_slice(&fs::read(&path)?) {
                    Ok(thing) => drop(things.insert(name, thing)),
                    Err(error) => {
                        // As after a loss of power: it is forgotten.
                        tracing::warn!(path = %path.display(), %error, "a damaged thing is forgotten");
                        fs::remove_file(&path)?;
                    }
                }
            }
        }
        Ok((Self { folder: Arc::new(folder.to_owned()) }, things))
    }

    /// Puts a thing there, in place of what had its name. Whoever puts one name at the same time takes turns.
    pub async fn put(&self, env: &Env, name: &str, thing: &impl Serialize) -> io::Result<()> {
        let content = serde_json::to_vec(thing)?;
        let path = self.path(name);
        blocking(env, move || {
            let fresh = path.with_extension("new");
            fs::write(&fresh, content)?;
            fs::rename(fresh, path)
        })
        .await
    }

    /// Takes a thing away, if it is there.
    pub async fn remove(&self, env: &Env, name: &str) -> io::Result<()> {
        let path = self.path(name);
        blocking(env, move || match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.{EXTENSION}"))
    }
}

async fn blocking(
    env: &Env,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> io::Result<()> {
    env.blocking(work).await.unwrap_or_else(|gone| Err(io::Error::other(gone)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path) -> (Shelf, BTreeMap<String, u32>) {
        Shelf::open(folder).unwrap()
    }

    #[tokio::test]
    async fn what_was_put_there_last_is_found_again() {
        let (folder, env) = (tempfile::tempdir().unwrap(), Env::real());
        let (shelf, empty) = open(&folder.path().join("deep/down"));
        assert!(empty.is_empty());
        for (name, thing) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            shelf.put(&env, name, &thing).await.unwrap();
        }
        shelf.remove(&env, "c").await.unwrap();
        shelf.remove(&env, "never there").await.unwrap();
        let (_, things) = open(&folder.path().join("deep/down"));
        assert_eq!(things, [("a".to_owned(), 3), ("b".to_owned(), 2)].into());
    }

    #[test]
    fn half_a_thing_is_none_and_a_damaged_one_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.new"), "1").unwrap();
        fs::write(folder.path().join("b.json"), "{").unwrap();
        fs::write(folder.path().join("c.json"), "7").unwrap();
        assert_eq!(open(folder.path()).1, [("c".to_owned(), 7)].into());
        assert!(!folder.path().join("b.json").exists());
    }
}
