//! Small things by name that outlive the process.
//!
//! For simulated machines: what a real one would still have when the process that drives it was killed, or when its
//! power failed. Each thing is a JSON file of its own, [replaced whole and durably](crate::folder); one that is damaged
//! is an error and not forgotten. Never the place for rows; that is the store's.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Env, folder::Folder};

/// What the names of files end in.
const EXTENSION: &str = ".json";

/// A folder of such things; cheap to clone.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: Folder,
}

impl Shelf {
    /// The shelf in this folder, which is made if there is none, and what is on it. Blocks; call it at start-up.
    pub fn open<T: DeserializeOwned>(
        env: &Env,
        folder: &Path,
    ) -> io::Result<(Self, BTreeMap<String, T>)> {
        let folder = env.folder(folder)?;
        let mut things = BTreeMap::new();
        for file in folder.names()? {
            let Some(name) = file.strip_suffix(EXTENSION) else { continue };
            let content = folder.read(&file)?.unwrap_or_default();
            let thing = serde_json::from_slice(&content).map_err(|error| {
                let words = format!("{} is damaged: {error}", folder.path(&file).display());
                io::Error::new(ErrorKind::InvalidData, words)
            })?;
            things.insert(name.to_owned(), thing);
        }
        Ok((Self { folder }, things))
    }

    /// Puts a thing there, in place of what had its name. Whoever puts one name at the same time takes turns. Blocks.
    pub fn put(&self, name: &str, thing: &impl Serialize) -> io::Result<()> {
        self.folder.replace(&format!("{name}{EXTENSION}"), &serde_json::to_vec(thing)?)
    }

    /// Takes a thing away, if it is there. Blocks.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        self.folder.remove(&format!("{name}{EXTENSION}"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn open(folder: &Path) -> io::Result<(Shelf, BTreeMap<String, u32>)> {
        Shelf::open(&Env::real(), folder)
    }

    #[tokio::test]
    async fn what_was_put_there_last_is_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let (shelf, empty) = open(&folder.path().join("deep/down")).unwrap();
        assert!(empty.is_empty());
        for (name, thing) in [("a", 1), ("b", 2), ("a", 3), ("c", 4)] {
            shelf.put(name, &thing).unwrap();
        }
        shelf.remove("c").unwrap();
        shelf.remove("never there").unwrap();
        let (_, things) = open(&folder.path().join("deep/down")).unwrap();
        assert_eq!(things, [("a".to_owned(), 3), ("b".to_owned(), 2)].into());
    }

    #[tokio::test]
    async fn half_a_thing_is_none_and_a_damaged_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.json.new"), "1").unwrap();
        fs::write(folder.path().join("c.json"), "7").unwrap();
        assert_eq!(open(folder.path()).unwrap().1, [("c".to_owned(), 7)].into());
        fs::write(folder.path().join("b.json"), "{").unwrap();
        let error = open(folder.path()).unwrap_err().to_string();
        assert!(error.contains("b.json is damaged"), "{error}");
    }
}
