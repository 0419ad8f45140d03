//! Volumes as qcow2 or raw files in a directory, made with `qemu-img`.
//!
//! A file gets its name only when it is whole and on disk; until then it is `ID.partial`, and an image on its
//! way in is `ID.image.part` and then `ID.image`. Formats are always said, never guessed, and an image that names other files is
//! refused. Each operation is fenced by its generation, when it begins and when it gives a file its name.

use std::{
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use serde::Deserialize;
use updraft_protocol::{
    hypervisor::DiskFormat,
    volume::{Export, ExportWant, Room},
};
use updraft_runtime::{Env, bulk::FileSink};
use uuid::Uuid;

use super::{
    COPY_DEADLINE, DriverError, FileSpec, FoundFile, Image, QUICK_DEADLINE, VolumeDriver, command,
    exports::{EXPORTS, Exports, Serving},
    failed,
    fence::{Fences, GENERATIONS},
};

const GIB: u64 = 1 << 30;

/// Files of volumes in one directory.
#[derive(Clone, Debug)]
pub struct QemuVolumes {
    env: Env,
    directory: PathBuf,
    fences: Fences,
    exports: Exports,
    program: OsString,
}

/// What `qemu-img info` says, as far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Info {
    virtual_size: u64,
    backing_filename: Option<String>,
    #[serde(default)]
    format_specific: FormatSpecific,
}

#[derive(Default, Deserialize)]
struct FormatSpecific {
    #[serde(default)]
    data: FormatData,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct FormatData {
    data_file: Option<String>,
}

impl QemuVolumes {
    /// Files in this directory, which is made if it does not exist.
    pub fn new(env: &Env, directory: &Path, serving: Serving) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let directory = directory.canonicalize()?;
        let fences = Fences::open(env, &directory.join(GENERATIONS))?;
        let exports = Exports::open(env, &directory.join(EXPORTS), serving)?;
        Ok(Self { env: env.clone(), directory, fences, exports, program: "qemu-img".into() })
    }

    fn path(&self, id: Uuid) -> PathBuf {
        self.directory.join(id.to_string())
    }

    fn partial(&self, id: Uuid) -> PathBuf {
        self.directory.join(format!("{id}.partial"))
    }

    fn image(&self, id: Uuid) -> PathBuf {
        self.directory.join(format!("{id}.image"))
    }

    fn image_part(&self, id: Uuid) -> PathBuf {
        self.directory.join(format!("{id}.image.part"))
    }

    async fn qemu_img(
        &self,
        arguments: &[&OsStr],
        deadline: Duration,
    ) -> Result<Vec<u8>, DriverError> {
        command::run(&self.env, &self.program, arguments, deadline).await
    }

    async fn info(&self, path: &Path, format: &str) -> Result<Info, DriverError> {
        let arguments = ["info", "-U", "--output=json", "-f", format].map(OsStr::new);
        let arguments = [arguments.as_slice(), &[path.as_os_str()]].concat();
        let printed = self.qemu_img(&arguments, QUICK_DEADLINE).await?;
        serde_json::from_slice(&printed).map_err(|error| {
            DriverError::Failed(format!("`qemu-img info` is not understood: {error}"))
        })
    }

    /// Copies `source` into the file's partial, as large as it shall be.
    async fn convert(
        &self,
        file: &FileSpec,
        source: &Path,
        source_format: &str,
    ) -> Result<(), DriverError> {
        let partial = self.partial(file.id);
        let arguments = ["convert", "-f", source_format, "-O", name(file.format)].map(OsStr::new);
        let arguments = [arguments.as_slice(), &[source.as_os_str(), partial.as_os_str()]].concat();
        self.qemu_img(&arguments, COPY_DEADLINE).await?;
        self.resize(&partial, file).await
    }

    async fn resize(&self, path: &Path, file: &FileSpec) -> Result<(), DriverError> {
        let info = self.info(path, name(file.format)).await?;
        let wanted_bytes = file.size_gib * GIB;
        if info.virtual_size > wanted_bytes {
            return Err(DriverError::Impossible(format!(
                "{} bytes do not fit into a volume of {} GiB",
                info.virtual_size, file.size_gib
            )));
        }
        if info.virtual_size == wanted_bytes {
            return Ok(());
        }
        let size = wanted_bytes.to_string();
        let arguments = ["resize", "-q", "-f", name(file.format)].map(OsStr::new);
        let arguments = [arguments.as_slice(), &[path.as_os_str(), OsStr::new(&size)]].concat();
        self.qemu_img(&arguments, QUICK_DEADLINE).await.map(|_| ())
    }

    /// Does something short for this generation of a file, unless a newer one has been seen.
    async fn fenced(
        &self,
        what: &str,
        id: Uuid,
        generation: u64,
        work: impl FnOnce() -> io::Result<()> + Send + 'static,
    ) -> Result<(), DriverError> {
        let fences = self.fences.clone();
        let passed = self.blocking(what, move || fences.pass(id, generation, work)).await?;
        passed.ok_or(DriverError::Stale)
    }

    /// Writes down that this generation was asked for, and says whether the file is there.
    async fn begin(&self, file: &FileSpec) -> Result<bool, DriverError> {
        self.fenced("fencing a volume", file.id, file.generation, || Ok(())).await?;
        self.exists(file.id).await
    }

    /// Gives a partial its name, with everything on disk before and after. Nobody may wait for it any more, so that it
    /// does so only if nothing newer has been asked for.
    async fn publish(&self, file: &FileSpec) -> Result<(), DriverError> {
        let (partial, path) = (self.partial(file.id), self.path(file.id));
        let (directory, whole) = (self.directory.clone(), partial.clone());
        let sync = move || std::fs::File::open(&whole)?.sync_all();
        self.blocking("syncing the file", sync).await?;
        self.fenced("keeping the file", file.id, file.generation, move || {
            std::fs::rename(&partial, &path)?;
            std::fs::File::open(directory)?.sync_all()
        })
        .await
    }

    /// Forgets the generations of files that went long ago.
    async fn forget(&self) -> Result<(), DriverError> {
        let (fences, directory) = (self.fences.clone(), self.directory.clone());
        let is_gone = move |id: Uuid| !directory.join(id.to_string()).exists();
        self.blocking("forgetting old generations", move || fences.forget(is_gone)).await
    }

    /// Fetches an image; what an earlier life or attempt has of it is gone on with. It has its name only when it is whole
    /// and right, and then it is not fetched again: a file begins as one image for as long as it is wanted.
    async fn receive(&self, id: Uuid, image: &dyn Image) -> Result<PathBuf, DriverError> {
        let path = self.image(id);
        let whole = path.clone();
        if self.blocking("looking for an image", move || whole.try_exists()).await? {
            return Ok(path);
        }
        let mut sink = FileSink::new(&self.env, self.image_part(id), path.clone());
        image.fetch(&mut sink).await?;
        Ok(path)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        what: &str,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, DriverError> {
        let done = self.env.blocking(work).await;
        done.map_err(|gone| DriverError::Failed(format!("{what}: {gone}")))?
            .map_err(|error| failed(what, &error))
    }

    /// Whether the file is there, durably: whoever gave it its name may have been ended, or told that the disk fails,
    /// before the name was on the disk.
    async fn exists(&self, id: Uuid) -> Result<bool, DriverError> {
        let (path, directory) = (self.path(id), self.directory.clone());
        self.blocking("looking for a volume", move || {
            let exists = path.try_exists()?;
            if exists {
                std::fs::File::open(directory)?.sync_all()?;
            }
            Ok(exists)
        })
        .await
    }
}

/// QEMU's word for a format.
pub(super) fn name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
    }
}

/// Removes a file; that it is not there is as good.
fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[async_trait]
impl VolumeDriver for QemuVolumes {
    async fn find(&self, id: Uuid, format: DiskFormat) -> Result<Option<FoundFile>, DriverError> {
        if !self.exists(id).await? {
            return Ok(None);
        }
        let path = self.path(id);
        let info = self.info(&path, name(format)).await?;
        Ok(Some(FoundFile { path, size_gib: info.virtual_size / GIB }))
    }

    async fn create(&self, file: &FileSpec) -> Result<(), DriverError> {
        if self.begin(file).await? {
            return Ok(());
        }
        let (partial, size) = (self.partial(file.id), (file.size_gib * GIB).to_string());
        let arguments = ["create", "-q", "-f", name(file.format)].map(OsStr::new);
        let arguments = [arguments.as_slice(), &[partial.as_os_str(), OsStr::new(&size)]].concat();
        self.qemu_img(&arguments, QUICK_DEADLINE).await?;
        self.publish(file).await
    }

    async fn copy(
        &self,
        file: &FileSpec,
        source: Uuid,
        source_format: DiskFormat,
    ) -> Result<(), DriverError> {
        if self.begin(file).await? {
            return Ok(());
        }
        if !self.exists(source).await? {
            let words = format!("there is no file of {source} on this host to copy from");
            return Err(DriverError::Impossible(words));
        }
        self.convert(file, &self.path(source), name(source_format)).await?;
        self.publish(file).await
    }

    async fn import(&self, file: &FileSpec, image: &dyn Image) -> Result<(), DriverError> {
        if self.begin(file).await? {
            return Ok(());
        }
        let format = image.location().disk_format.clone();
        if format != "qcow2" && format != "raw" {
            let words = format!("images of format {format} cannot be made into volumes");
            return Err(DriverError::Impossible(words));
        }
        let path = self.receive(file.id, image).await?;
        let info = self.info(&path, &format).await?;
        if info.backing_filename.is_some() || info.format_specific.data.data_file.is_some() {
            let words = "the image names another file, which is not allowed";
            return Err(DriverError::Impossible(words.to_owned()));
        }
        self.convert(file, &path, &format).await?;
        self.blocking("removing an image", move || remove(&path)).await?;
        self.publish(file).await
    }

    async fn grow(&self, file: &FileSpec) -> Result<(), DriverError> {
        self.begin(file).await?;
        self.resize(&self.path(file.id), file).await
    }

    async fn export(&self, file: &FileSpec, to: &ExportWant) -> Result<Export, DriverError> {
        let (fences, exports, to) = (self.fences.clone(), self.exports.clone(), to.clone());
        let (path, FileSpec { id, generation, format, .. }) = (self.path(file.id), file.clone());
        let begin = move || fences.pass(id, generation, || exports.begin(id, &path, format, &to));
        self.blocking("serving a volume", begin).await?.ok_or(DriverError::Stale)
    }

    async fn unexport(&self, id: Uuid, generation: u64) -> Result<(), DriverError> {
        let exports = self.exports.clone();
        self.fenced("serving a volume no longer", id, generation, move || exports.end(id)).await
    }

    async fn delete(&self, id: Uuid, generation: u64) -> Result<(), DriverError> {
        // What an older generation began was killed when its future was dropped, or finds that it is older.
        let paths = [self.path(id), self.partial(id), self.image(id), self.image_part(id)];
        let (directory, exports) = (self.directory.clone(), self.exports.clone());
        self.fenced("removing a volume", id, generation, move || {
            exports.end(id)?;
            paths.iter().try_for_each(|path| remove(path))?;
            std::fs::File::open(directory)?.sync_all()
        })
        .await?;
        self.forget().await
    }

    async fn files(&self) -> Result<Vec<Uuid>, DriverError> {
        let directory = self.directory.clone();
        self.blocking("listing volumes", move || {
            let mut ids = std::collections::BTreeSet::new();
            for entry in std::fs::read_dir(directory)? {
                let name = entry?.file_name();
                let id = name.to_str().and_then(|name| name.split('.').next());
                ids.extend(id.and_then(|id| id.parse::<Uuid>().ok()));
            }
            Ok(ids.into_iter().collect())
        })
        .await
    }

    async fn room(&self) -> Result<Room, DriverError> {
        let directory = self.directory.clone();
        let room = move || {
            let stat = nix::sys::statvfs::statvfs(&directory).map_err(io::Error::from)?;
            let gib = |blocks: u64| blocks.saturating_mul(stat.fragment_size()) / GIB;
            Ok(Room { total_gib: gib(stat.blocks()), free_gib: gib(stat.blocks_available()) })
        };
        self.blocking("looking for room", room).await
    }
}
