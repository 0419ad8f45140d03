//! What stays in the cache of images, and for how long.
//!
//! Each server has its images as links of its own, so an image with one name is used by nobody, and one that is
//! removed here is not lost for a server. When an image was last used is the time of its file.

use std::{
    fs::{self, DirEntry, File},
    io::{self, ErrorKind},
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use super::{FileDisks, LINK, PART, ROOT_DISK};
use crate::disks::DiskError;

/// How long an image stays that no server here uses. A day: what is made every day, as tests and nightly jobs are, is
/// fetched once.
pub(super) const UNUSED_MAX: Duration = Duration::from_secs(24 * 3_600);

/// How often the cache is looked over: the error of [`UNUSED_MAX`].
const LOOK: Duration = Duration::from_secs(3_600);

impl FileDisks {
    /// Keeps the cache free of what nobody uses, for as long as the node lives.
    pub async fn look_after_images(self) {
        loop {
            if let Err(error) = self.look_over_images().await {
                tracing::warn!(%error, "the cache of images is not looked over");
            }
            self.env.sleep(LOOK).await;
        }
    }

    /// Removes what was left half written and not gone on with, and images that were not used, for [`UNUSED_MAX`].
    pub(super) async fn look_over_images(&self) -> Result<(), DiskError> {
        let (folder, servers) = (self.images(), self.servers());
        let (staying, now) = (self.staying.clone(), self.wall());
        self.files(format!("looking over {}", folder.display()), move || {
            let may_go = !is_used_unseen(&servers)?;
            let entries = match fs::read_dir(folder) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
                entries => entries?,
            };
            for entry in entries {
                let _held = staying.lock();
                look_at(&entry?, now, may_go)?;
            }
            Ok(())
        })
        .await
    }

    /// The time as files have it.
    pub(super) fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_micros(self.env.wall().0)
    }
}

/// Whether there is a server whose disk was made when servers had no links of their images yet: which one it needs
/// cannot be seen, so all stay as long as it does.
fn is_used_unseen(servers: &Path) -> io::Result<bool> {
    let servers = match fs::read_dir(servers) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        servers => servers?,
    };
    for server in servers {
        let folder = server?.path();
        if folder.join(ROOT_DISK).try_exists()? && !has_link(&folder)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has_link(server: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(server)? {
        if entry?.file_name().to_string_lossy().starts_with(LINK) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes what was not used for [`UNUSED_MAX`]; of whole images, if any may go.
fn look_at(entry: &DirEntry, now: SystemTime, may_go: bool) -> io::Result<()> {
    let path = entry.path();
    let may_go = may_go || entry.file_name().to_string_lossy().contains(PART);
    let about = entry.metadata()?;
    if about.nlink() > 1 {
        return touch(&path, now).map(|_| ());
    }
    // A clock that was set back makes it young, and it stays.
    let unused = now.duration_since(about.modified()?).unwrap_or_default();
    if !may_go || unused < UNUSED_MAX {
        return Ok(());
    }
    tracing::info!(image = %path.display(), "not used for long, and removed");
    remove(&path)
}

/// Notes that a file is used now, and whether there is one.
pub(super) fn touch(path: &Path, now: SystemTime) -> io::Result<bool> {
    match File::open(path) {
        Ok(file) => file.set_modified(now).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes a file; that it is not there is as good.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
