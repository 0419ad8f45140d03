//! Files of uploads that were never finished.
//!
//! A directory's objects are written as `UPLOAD#N` beside their final name and renamed at the end. Listings
//! leave such files out, and after a crash nobody else would remove them.

use std::{
    fs::{self, DirEntry},
    io::{self, ErrorKind},
    path::Path,
};

use uuid::Uuid;

use super::Found;

/// All unfinished files, of one image or of all.
pub(super) fn unfinished(root: &Path, image: Option<Uuid>) -> io::Result<Vec<Found>> {
    let images = match image {
        Some(image) => vec![image],
        None => entries(root)?.iter().filter_map(uuid_name).collect(),
    };
    let mut found = Vec::new();
    for image in images {
        for file in entries(&root.join(image.to_string()))? {
            found.extend(unfinished_file(image, &file)?);
        }
    }
    Ok(found)
}

fn unfinished_file(image: Uuid, file: &DirEntry) -> io::Result<Option<Found>> {
    let name = file.file_name();
    let upload = name.to_str().and_then(|name| name.split_once('#')).map(|(upload, _)| upload);
    let Some(Ok(upload)) = upload.map(str::parse) else { return Ok(None) };
    let size_bytes = match file.metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Found { image, upload, size_bytes, unfinished: Some(file.path()) }))
}

fn entries(directory: &Path) -> io::Result<Vec<DirEntry>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn uuid_name(entry: &DirEntry) -> Option<Uuid> {
    entry.file_name().to_str()?.parse().ok()
}

/// Removes the file, and its directory if that was all in it.
pub(super) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if let Some(directory) = file.parent() {
        // It fails while anything is in it, which is as it should be.
        let _ = fs::remove_dir(directory);
    }
    Ok(())
}
