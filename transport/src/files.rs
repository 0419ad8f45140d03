//! Files that nobody but their owner may read: private keys.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

/// Read and write for the owner, nothing for anybody else.
const FILE_MODE: u32 = 0o600;
/// The same for the directories made on the way.
const DIRECTORY_MODE: u32 = 0o700;
/// The bits of group and others.
const OTHERS_MASK: u32 = 0o077;
/// Largest private file: a key in PEM is below 1 KiB.
const PRIVATE_MAX_BYTES: u64 = 64 * 1024;

/// Writes a file of mode 0600, whole or not at all, durably. Blocks; call it at start-up.
pub fn write_private(path: &Path, content: &str) -> io::Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent)?;
    let unfinished = unfinished_name(path);
    // A rest of a former attempt may be of any mode; `create_new` never opens one.
    let _ = fs::remove_file(&unfinished);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&unfinished)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    File::open(parent)?.sync_all()
}

/// Reads a private file; refuses one that others could read too. Blocks; call it at start-up.
pub fn read_private(path: &Path) -> io::Result<Zeroizing<String>> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & OTHERS_MASK != 0 {
        let message = format!(
            "{} has mode {:o}: a private file must be closed to group and others",
            path.display(),
            mode & 0o777
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
    }
    let mut content = Zeroizing::new(String::new());
    file.take(PRIVATE_MAX_BYTES).read_to_string(&mut content)?;
    Ok(content)
}

fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".unfinished");
    name.into()
}
