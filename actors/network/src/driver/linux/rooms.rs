//! Namespaces of one kind, each with a folder of this agent's: whose they are, and how they are made, marked and removed.
//!
//! Promises that what somebody else has made under one of their names is left alone. A folder is made before its
//! namespace and goes after it, so that it says whose the rest is.

use std::{collections::BTreeSet, fs, io, path::PathBuf};

use updraft_runtime::Env;
use uuid::Uuid;

use super::{LinuxConfig, ip::Ip, netns};
use crate::driver::{
    DriverError,
    names::{Made, Tag},
};

/// What they are for.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Their folder, in the agent's.
    pub(super) folder: &'static str,
    /// The name of one.
    pub(super) name: fn(Uuid) -> String,
    /// Whose name it is.
    pub(super) of_name: fn(&str) -> Option<Uuid>,
    /// What one is marked as.
    pub(super) made: fn(Uuid) -> Made,
}

/// The namespaces of this kind.
pub(super) struct Rooms {
    env: Env,
    ip: Ip,
    tag: Tag,
    root: PathBuf,
    kind: Kind,
}

impl Rooms {
    pub(super) fn new(env: &Env, config: &LinuxConfig, kind: Kind) -> Self {
        let (ip, root) = (Ip::new(env, config), config.state_dir.join(kind.folder));
        Self { env: env.clone(), ip, tag: config.tag.clone(), root, kind }
    }

    pub(super) fn folder(&self, id: Uuid) -> PathBuf {
        self.root.join(id.to_string())
    }

    /// What devices of one bear.
    pub(super) fn alias(&self, id: Uuid) -> String {
        self.tag.alias((self.kind.made)(id))
    }

    /// Does what blocks.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, DriverError> {
        match self.env.blocking(work).await {
            Ok(done) => done.map_err(|error| DriverError::failed(doing, error)),
            Err(gone) => Err(DriverError::failed(doing, gone)),
        }
    }

    /// As [`netns::identity`] says.
    pub(super) async fn identity(&self, id: Uuid) -> Result<Option<u64>, DriverError> {
        let name = (self.kind.name)(id);
        self.blocking("looking at a namespace", move || netns::identity(&name)).await
    }

    /// Whether the namespace is this agent's: it has a folder for it, or its own alias is in it.
    pub(super) async fn is_mine(&self, id: Uuid) -> Result<bool, DriverError> {
        let folder = self.folder(id);
        if self.blocking("looking for a folder", move || folder.try_exists()).await? {
            return Ok(true);
        }
        let lo = self.ip.find(Some(&(self.kind.name)(id)), "lo").await?;
        let alias = lo.and_then(|link| link.ifalias);
        Ok(alias.is_some_and(|alias| self.tag.read(&alias) == Some((self.kind.made)(id))))
    }

    /// Makes the namespace if it is missing, marks it, and sets it up from inside; says which one it is.
    pub(super) async fn ensure(
        &self,
        id: Uuid,
        set_up: fn() -> io::Result<()>,
    ) -> Result<u64, DriverError> {
        let name = (self.kind.name)(id);
        let exists = self.identity(id).await?.is_some();
        if exists && !self.is_mine(id).await? {
            return Err(DriverError::Foreign { name });
        }
        let folder = self.folder(id);
        self.blocking("making a folder", move || fs::create_dir_all(folder)).await?;
        if !exists {
            self.make(&name).await?;
        }
        let (alias, doing) = (self.alias(id), format!("setting up namespace {name}"));
        let words = ["link", "set", "dev", "lo", "alias", &alias, "up"];
        self.ip.run_to(&doing, Some(&name), &words).await?;
        self.blocking(&doing, move || netns::within(&name, set_up)).await?;
        let missing = || DriverError::failed(doing.clone(), "it has vanished");
        self.identity(id).await?.ok_or_else(missing)
    }

    async fn make(&self, name: &str) -> Result<(), DriverError> {
        // What a crash or a restart of the host has left stands in the way of the new one.
        let stale = netns::path(name);
        if self.blocking("looking for a namespace", move || stale.try_exists()).await? {
            self.ip.run_to("removing a stale namespace", None, &["netns", "delete", name]).await?;
        }
        let doing = format!("making namespace {name}");
        self.ip.run_to(&doing, None, &["netns", "add", name]).await
    }

    /// Nothing of this agent's is left: neither the namespace nor, last, its folder.
    pub(super) async fn remove(&self, id: Uuid) -> Result<(), DriverError> {
        let (name, folder) = ((self.kind.name)(id), self.folder(id));
        if self.identity(id).await?.is_some() && self.is_mine(id).await? {
            let doing = format!("removing namespace {name}");
            self.ip.run_to(&doing, None, &["netns", "delete", &name]).await?;
        }
        let doing = format!("removing the folder of {name}");
        self.blocking(&doing, move || gone(fs::remove_dir_all(folder))).await
    }

    /// Those of which there is a folder or a namespace.
    pub(super) async fn all(&self) -> Result<BTreeSet<Uuid>, DriverError> {
        let (root, of_name) = (self.root.clone(), self.kind.of_name);
        let list = move || {
            let folders = match fs::read_dir(root) {
                Ok(entries) => entries.collect::<Result<Vec<_>, _>>()?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
                Err(error) => return Err(error),
            };
            let names = folders.into_iter().map(|entry| entry.file_name());
            let of_folders = names.filter_map(|name| name.to_str()?.parse().ok());
            let namespaces = netns::names()?;
            let of_namespaces = namespaces.iter().filter_map(|name| of_name(name));
            Ok(of_folders.chain(of_namespaces).collect())
        };
        self.blocking(&format!("listing what is in {}", self.kind.folder), list).await
    }

    /// The folder of their folders is gone, which are gone.
    pub(super) async fn remove_root(&self) -> Result<(), DriverError> {
        let root = self.root.clone();
        let doing = format!("removing the folder {}", root.display());
        self.blocking(&doing, move || gone(fs::remove_dir(root))).await
    }
}

/// What was gone before is as good.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
