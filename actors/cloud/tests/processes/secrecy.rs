//! What a cloud keeps is for its owner alone.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use crate::cloud::Machine;

/// Files and folders that others could look into.
fn open_to_others(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, kind) = (entry.path(), entry.file_type().unwrap());
        let mode = entry.metadata().unwrap().permissions().mode();
        // A link has no mode of its own.
        if mode & 0o077 != 0 && !kind.is_symlink() {
            found.push(format!("{} {:o}", path.display(), mode & 0o777));
        }
        if kind.is_dir() {
            open_to_others(&path, found);
        }
    }
}

#[tokio::test]
async fn stores_logs_and_disks_are_closed_to_others() {
    let machine = Machine::new();
    assert_eq!(machine.up().code, Some(0));
    let client = machine.client().await;
    client.furnish().await;
    let mut found = Vec::new();
    open_to_others(&machine.data_dir(), &mut found);
    assert!(found.is_empty(), "{found:#?}");
}
