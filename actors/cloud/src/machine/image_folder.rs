//! Where the bytes of images are: a folder that every control node has to have.
//!
//! Owns the file `cloud-images` in that folder. The store knows what stands in it, so that a control node that was
//! given another folder notices before it answers that images have no bytes.

use std::path::PathBuf;

use updraft_runtime::Env;
use updraft_transport::files;
use uuid::Uuid;

use super::{config::Settings, data_dir::DataDir, link::Failure};
use crate::membership::{ImagesAt, Roster};

/// The file that tells the folder from others.
const MARK: &str = "cloud-images";

/// The folder of images, where the settings have it.
pub(super) fn path(settings: &Settings, data: &DataDir) -> PathBuf {
    let set = &settings.image_dir;
    if set.as_os_str().is_empty() { data.path("images") } else { set.clone() }
}

/// That the folder is not the one of the other control nodes.
#[derive(Debug, thiserror::Error)]
#[error(
    "{here} is not the folder in which the cloud keeps the bytes of its images, and which other control nodes call \
     {there}: share that folder, as with NFS, and say with --image-dir where it is here"
)]
struct NotShared {
    here: String,
    there: String,
}

fn mark(settings: &Settings, data: &DataDir) -> Result<Option<Uuid>, Failure> {
    let file = path(settings, data).join(MARK);
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(text.trim().parse().ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display()).into()),
    }
}

/// Refuses a folder that is not the cloud's.
pub(super) fn is_shared(
    settings: &Settings,
    data: &DataDir,
    images: Option<&ImagesAt>,
) -> Result<(), Failure> {
    let Some(images) = images else { return Ok(()) };
    if mark(settings, data)? == Some(images.id) {
        return Ok(());
    }
    let here = path(settings, data).display().to_string();
    Err(NotShared { here, there: images.path.clone() }.into())
}

/// Marks the folder for the cloud, unless it is; a control node that is not `alone` has to have the others'.
pub(super) async fn settle(
    env: &Env,
    settings: &Settings,
    data: &DataDir,
    roster: &Roster,
    alone: bool,
) -> Result<(), Failure> {
    let known = roster.cloud().await?.and_then(|cloud| cloud.images);
    let checked = is_shared(settings, data, known.as_ref());
    if known.is_some() && (checked.is_ok() || !alone) {
        return checked;
    }
    let folder = path(settings, data);
    let id = match mark(settings, data)? {
        Some(id) => id,
        None => {
            let id = env.uuid();
            files::write_private(&folder.join(MARK), &format!("{id}\n")).map_err(|error| {
                format!("images cannot be kept in {}: {error}", folder.display())
            })?;
            id
        }
    };
    let images = ImagesAt { id, path: folder.display().to_string() };
    Ok(roster.note_images(&images).await?)
}
