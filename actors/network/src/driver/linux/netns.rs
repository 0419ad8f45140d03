//! Network namespaces by name, as `ip netns` makes them.
//!
//! A thread enters a namespace alone and ends there: no thread that does other work is ever in a foreign one.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    thread,
};

use nix::sched::{CloneFlags, setns};

/// Where `ip netns` keeps its namespaces.
const NAMED: &str = "/run/netns";

/// The namespace's file.
pub(super) fn path(name: &str) -> PathBuf {
    Path::new(NAMED).join(name)
}

/// Does something inside a namespace. Blocks the calling thread; sockets made inside stay there.
pub(super) fn within<T: Send>(
    name: &str,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let namespace = File::open(path(name))?;
    thread::scope(|scope| {
        let inside = scope.spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET)?;
            work()
        });
        inside.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked in a namespace")))
    })
}

/// A number that tells this making of the namespace from others, for as long as anything is in it; `None` if
/// there is none. A file that is left from before the host's restart leads nowhere.
pub(super) fn identity(name: &str) -> io::Result<Option<u64>> {
    let found = match fs::metadata(path(name)) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let namespaces = fs::metadata("/proc/self/ns/net")?.dev();
    Ok((found.dev() == namespaces).then(|| found.ino()))
}

/// The same of the namespace in which a process is; `None` if there is no such process.
pub(super) fn of_process(pid: i32) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/net")).ok().map(|found| found.ino())
}

/// The names of all namespaces.
pub(super) fn names() -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(NAMED) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry?.file_name().into_string());
    }
    names.sort();
    Ok(names)
}
