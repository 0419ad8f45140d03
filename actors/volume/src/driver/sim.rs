//! Volumes that are made of nothing, on hosts that fail as a test wants.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{Export, ExportWant, Room},
};
use updraft_runtime::{
    Env,
    bulk::{Sink, SinkError},
    shelf::Shelf,
};
use uuid::Uuid;

use super::{
    DriverError, FileSpec, FoundFile, Image, VolumeDriver, failed,
    fence::{Fences, GENERATIONS},
};

/// How much of a file's beginning is remembered, in bytes: enough to tell copies apart.
const CONTENT_MAX_BYTES: usize = 4_096;

/// Where every simulated file is served.
const PORT: u16 = 10_809;

/// How long a simulated copy may take: it has nothing to copy.
const COPY_DEADLINE: Duration = Duration::from_secs(30);

/// What goes wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and nothing happens.
    Fails,
    /// It never answers and nothing happens.
    Hangs,
    /// It happens, and the answer says that it failed.
    SucceedsButSaysFailure,
    /// It happens twice.
    Twice,
    /// It happens this much later, whether or not anybody still waits.
    Late(Duration),
    /// The host forgets every file that it had, then it happens.
    LosesState,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Look for a file.
    Find,
    /// Make one of zeros.
    Create,
    /// Make one as a copy.
    Copy,
    /// Make one from an image.
    Import,
    /// Make one larger.
    Grow,
    /// Serve one.
    Export,
    /// Serve one no longer.
    Unexport,
    /// Remove one.
    Delete,
}

/// An operation, as a hook sees it before it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// How many there were on this host before it.
    pub number: u64,
    /// What it does.
    pub verb: Verb,
    /// To which volume or snapshot.
    pub id: Uuid,
    /// For which want; 0 for a look.
    pub generation: u64,
}

/// Decides what goes wrong; asked once for every operation.
pub trait Faults: Send + Sync + 'static {
    /// `None` lets it be.
    fn decide(&self, operation: &Operation) -> Option<Fault>;
}

/// Nothing goes wrong.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFaults;

impl Faults for NoFaults {
    fn decide(&self, _operation: &Operation) -> Option<Fault> {
        None
    }
}

/// A simulated file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulatedFile {
    /// Its size.
    pub size_gib: u64,
    /// Its format.
    pub format: DiskFormat,
    /// Its first bytes.
    pub content: Vec<u8>,
    /// Whom it is served to.
    #[serde(default)]
    pub export: Option<SimulatedExport>,
}

/// What serves a simulated file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SimulatedExport {
    /// To whom.
    pub to: ExportWant,
    /// Whether it has not died.
    pub alive: bool,
}

/// The files of one simulated host; clones share them, and they outlive the node.
#[derive(Clone)]
pub struct SimulatedVolumes {
    env: Env,
    host: Arc<Mutex<Host>>,
    faults: Arc<dyn Faults>,
    kept: Option<Kept>,
}

/// What a host has on its disk.
#[derive(Clone)]
struct Kept {
    shelf: Shelf,
    fences: Fences,
}

#[derive(Clone)]
struct Host {
    total_gib: u64,
    files: BTreeMap<Uuid, SimulatedFile>,
    /// The newest generation that was asked for, by file.
    newest: BTreeMap<Uuid, u64>,
    operations: u64,
}

/// What happens to a host when an operation does.
type Change = Arc<dyn Fn(&mut Host) -> Result<(), DriverError> + Send + Sync>;

impl SimulatedVolumes {
    /// A host with this much room.
    #[must_use]
    pub fn new(env: &Env, total_gib: u64) -> Self {
        let host =
            Host { total_gib, files: BTreeMap::new(), newest: BTreeMap::new(), operations: 0 };
        let (host, faults) = (Arc::new(Mutex::new(host)), Arc::new(NoFaults));
        Self { env: env.clone(), host, faults, kept: None }
    }

    /// The same host with its files and their fences in this folder: it has those that are there, and no others. Blocks;
    /// call it at start-up.
    pub fn kept_in(self, folder: &Path) -> io::Result<Self> {
        let (shelf, files) = Shelf::open::<SimulatedFile>(&self.env, folder)?;
        let fences = Fences::open(&self.env, &folder.join(GENERATIONS))?;
        let files = files.into_iter().filter_map(|(id, file)| Some((id.parse().ok()?, file)));
        self.host.lock().files = files.collect();
        Ok(Self { kept: Some(Kept { shelf, fences }), ..self })
    }

    /// A handle on the same host whose operations go wrong as the hook says.
    #[must_use]
    pub fn with_faults(self, faults: Arc<dyn Faults>) -> Self {
        Self { faults, ..self }
    }

    /// The same host seen from another life of its node.
    #[must_use]
    pub fn with_env(self, env: &Env) -> Self {
        Self { env: env.clone(), ..self }
    }

    /// Another host that is as this one is now, and goes its own way from here; nothing fails there, and it keeps
    /// nothing on a shelf.
    #[must_use]
    pub fn fork(&self) -> Self {
        let host = Arc::new(Mutex::new(self.host.lock().clone()));
        Self { env: self.env.clone(), host, faults: Arc::new(NoFaults), kept: None }
    }

    /// The newest generation that was asked for, by file.
    #[must_use]
    pub fn newest(&self) -> BTreeMap<Uuid, u64> {
        self.host.lock().newest.clone()
    }

    /// Forgets which generations were asked for, as a driver would that keeps no fence.
    pub fn forget_newest(&self) {
        self.host.lock().newest.clear();
    }

    /// The files, for a test to look at.
    #[must_use]
    pub fn simulated_files(&self) -> BTreeMap<Uuid, SimulatedFile> {
        self.host.lock().files.clone()
    }

    /// The host forgets every file that it had.
    pub fn lose_everything(&self) {
        self.host.lock().files.clear();
    }

    /// What serves this file dies; nobody asked for it.
    pub fn export_dies(&self, id: Uuid) {
        if let Some(export) =
            self.host.lock().files.get_mut(&id).and_then(|file| file.export.as_mut())
        {
            export.alive = false;
        }
    }

    /// Asks what goes wrong, and does it.
    async fn perform(
        &self,
        verb: Verb,
        id: Uuid,
        generation: u64,
        change: Change,
    ) -> Result<(), DriverError> {
        let operation = {
            let mut host = self.host.lock();
            host.operations += 1;
            Operation { number: host.operations - 1, verb, id, generation }
        };
        let said = || DriverError::Failed(format!("the simulated {verb:?} of {id} failed"));
        match self.faults.decide(&operation) {
            None => self.happen(operation, change).await,
            Some(Fault::Fails) => Err(said()),
            Some(Fault::Hangs) => std::future::pending().await,
            Some(Fault::SucceedsButSaysFailure) => {
                self.happen(operation, change).await.and(Err(said()))
            }
            Some(Fault::Twice) => {
                self.happen(operation, change.clone()).await?;
                self.happen(operation, change).await
            }
            Some(Fault::Late(delay)) => self.happen_late(operation, change, delay).await,
            Some(Fault::LosesState) => {
                self.lose_kept().await?;
                self.lose_everything();
                self.happen(operation, change).await
            }
        }
    }

    async fn happen(&self, operation: Operation, change: Change) -> Result<(), DriverError> {
        match &self.kept {
            // Looking changes nothing, and fences nothing.
            Some(kept) if operation.verb != Verb::Find => {
                let (kept, host) = (kept.clone(), self.host.clone());
                self.on_disk(move || kept.happen(&host, &operation, &change)).await?
            }
            _ => self.happen_in_memory(&operation, &change),
        }
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, DriverError> {
        let what = "keeping what the simulated host has";
        let done = self.env.blocking(work).await;
        done.map_err(|gone| DriverError::Failed(format!("{what}: {gone}")))?
            .map_err(|error| failed(what, &error))
    }

    async fn lose_kept(&self) -> Result<(), DriverError> {
        let Some(Kept { shelf, .. }) = self.kept.clone() else { return Ok(()) };
        let ids: Vec<Uuid> = self.host.lock().files.keys().copied().collect();
        self.on_disk(move || ids.iter().try_for_each(|id| shelf.remove(&id.to_string()))).await
    }

    fn happen_in_memory(&self, operation: &Operation, change: &Change) -> Result<(), DriverError> {
        let mut host = self.host.lock();
        if operation.verb == Verb::Find {
            // Looking changes nothing, and fences nothing.
            return change(&mut host);
        }
        let newest = host.newest.entry(operation.id).or_default();
        if operation.generation < *newest {
            return Err(DriverError::Stale);
        }
        *newest = operation.generation;
        change(&mut host)
    }

    async fn happen_late(
        &self,
        operation: Operation,
        change: Change,
        delay: Duration,
    ) -> Result<(), DriverError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let driver = self.clone();
        self.env.spawn("volume.late", async move {
            driver.env.sleep(delay).await;
            // Whoever asked may have given up; it happens all the same.
            let _ = sender.send(driver.happen(operation, change).await);
        });
        receiver.await.unwrap_or_else(|_| Err(DriverError::Failed("the host is gone".to_owned())))
    }
}

impl Kept {
    /// As on a real host: a generation is on the disk before anything is done for it, and so is what is done before
    /// anybody sees it.
    fn happen(
        &self,
        host: &Mutex<Host>,
        operation: &Operation,
        change: &Change,
    ) -> io::Result<Result<(), DriverError>> {
        let id = operation.id;
        let passed = self.fences.pass(id, operation.generation, || {
            let mut after = host.lock().clone();
            if let Err(refused) = change(&mut after) {
                return Ok(Err(refused));
            }
            match after.files.remove(&id) {
                Some(file) => {
                    self.shelf.put(&id.to_string(), &file)?;
                    host.lock().files.insert(id, file);
                }
                None => {
                    self.shelf.remove(&id.to_string())?;
                    host.lock().files.remove(&id);
                }
            }
            Ok(Ok(()))
        })?;
        if operation.verb == Verb::Delete {
            self.fences.forget(|id| !host.lock().files.contains_key(&id))?;
        }
        Ok(passed.unwrap_or(Err(DriverError::Stale)))
    }
}

fn make(host: &mut Host, file: &FileSpec, content: Vec<u8>) -> Result<(), DriverError> {
    if host.files.contains_key(&file.id) {
        return Ok(());
    }
    let used: u64 = host.files.values().map(|file| file.size_gib).sum();
    if used + file.size_gib > host.total_gib {
        let words = format!("{used} of {} GiB are used", host.total_gib);
        return Err(DriverError::Full(words));
    }
    let (size_gib, format, export) = (file.size_gib, file.format, None);
    host.files.insert(file.id, SimulatedFile { size_gib, format, content, export });
    Ok(())
}

/// Remembers how an image begins, and of a part of one nothing.
#[derive(Default)]
struct Beginning(Vec<u8>);

#[async_trait]
impl Sink for Beginning {
    async fn kept_bytes(&mut self) -> Result<u64, SinkError> {
        self.discard().await.map(|()| 0)
    }

    async fn read_kept(&mut self, _: u64, _: usize) -> Result<Bytes, SinkError> {
        Ok(Bytes::new())
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        let room = CONTENT_MAX_BYTES.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    async fn discard(&mut self) -> Result<(), SinkError> {
        self.0.clear();
        Ok(())
    }
}

#[async_trait]
impl VolumeDriver for SimulatedVolumes {
    async fn find(&self, id: Uuid, _format: DiskFormat) -> Result<Option<FoundFile>, DriverError> {
        self.perform(Verb::Find, id, 0, Arc::new(|_| Ok(()))).await?;
        let host = self.host.lock();
        Ok(host.files.get(&id).map(|file| FoundFile {
            path: PathBuf::from(format!("/simulated/volumes/{id}")),
            size_gib: file.size_gib,
        }))
    }

    async fn create(&self, file: &FileSpec) -> Result<(), DriverError> {
        let made = file.clone();
        let change: Change = Arc::new(move |host| make(host, &made, Vec::new()));
        self.perform(Verb::Create, file.id, file.generation, change).await
    }

    async fn copy(
        &self,
        file: &FileSpec,
        source: Uuid,
        _source_format: DiskFormat,
    ) -> Result<(), DriverError> {
        let made = file.clone();
        let change: Change = Arc::new(move |host| {
            let missing = || DriverError::Impossible(format!("there is no file of {source} here"));
            let content = host.files.get(&source).ok_or_else(missing)?.content.clone();
            make(host, &made, content)
        });
        self.perform(Verb::Copy, file.id, file.generation, change).await
    }

    async fn import(&self, file: &FileSpec, image: &dyn Image) -> Result<(), DriverError> {
        let mut beginning = Beginning::default();
        image.fetch(&mut beginning).await?;
        let content = beginning.0;
        let made = file.clone();
        let change: Change = Arc::new(move |host| make(host, &made, content.clone()));
        self.perform(Verb::Import, file.id, file.generation, change).await
    }

    async fn grow(&self, file: &FileSpec) -> Result<(), DriverError> {
        let grown = file.clone();
        let change: Change = Arc::new(move |host| {
            let missing = || DriverError::Failed(format!("there is no file of {}", grown.id));
            let file = host.files.get_mut(&grown.id).ok_or_else(missing)?;
            file.size_gib = file.size_gib.max(grown.size_gib);
            Ok(())
        });
        self.perform(Verb::Grow, file.id, file.generation, change).await
    }

    async fn export(&self, file: &FileSpec, to: &ExportWant) -> Result<Export, DriverError> {
        let (id, to) = (file.id, to.clone());
        let served = Export {
            address: "192.0.2.1".to_owned(),
            port: PORT,
            name: to.attachment.to_string(),
            tls: None,
        };
        let change: Change = Arc::new(move |host| {
            let missing = || DriverError::Failed(format!("there is no file of {id} to serve"));
            let file = host.files.get_mut(&id).ok_or_else(missing)?;
            file.export = Some(SimulatedExport { to: to.clone(), alive: true });
            Ok(())
        });
        self.perform(Verb::Export, id, file.generation, change).await.map(|()| served)
    }

    async fn unexport(&self, id: Uuid, generation: u64) -> Result<(), DriverError> {
        let change: Change = Arc::new(move |host| {
            if let Some(file) = host.files.get_mut(&id) {
                file.export = None;
            }
            Ok(())
        });
        self.perform(Verb::Unexport, id, generation, change).await
    }

    async fn delete(&self, id: Uuid, generation: u64) -> Result<(), DriverError> {
        let change: Change = Arc::new(move |host| {
            host.files.remove(&id);
            Ok(())
        });
        self.perform(Verb::Delete, id, generation, change).await
    }

    async fn files(&self) -> Result<Vec<Uuid>, DriverError> {
        Ok(self.host.lock().files.keys().copied().collect())
    }

    fn copy_deadline(&self) -> Duration {
        COPY_DEADLINE
    }

    async fn room(&self) -> Result<Room, DriverError> {
        let host = self.host.lock();
        let used: u64 = host.files.values().map(|file| file.size_gib).sum();
        Ok(Room { total_gib: host.total_gib, free_gib: host.total_gib.saturating_sub(used) })
    }
}

#[cfg(test)]
mod tests;
