//! A disk without space.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::cloud::Machine;

/// The size of the file system: what an idle cloud takes, several times.
const SIZE: &str = "size=16m";

/// A file system of its own in a machine's place; it is let go of when dropped.
struct Small {
    machine: Machine,
    mounted: PathBuf,
}

impl Small {
    /// `None` where nothing can be mounted.
    fn new() -> Option<Self> {
        let machine = Machine::new();
        let mounted = machine.data_dir();
        fs::create_dir(&mounted).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", SIZE, "updraft-test"]).arg(&mounted);
        let done = nix::unistd::geteuid().is_root() && mount.status().is_ok_and(|s| s.success());
        if !done {
            println!("skipped: only root can mount a small file system");
        }
        done.then_some(Self { machine, mounted })
    }

    fn ballast(&self) -> PathBuf {
        self.mounted.join("lost+found")
    }

    /// Takes all the space that there is.
    fn fill(&self) {
        let mut ballast =
            OpenOptions::new().create(true).append(true).open(self.ballast()).unwrap();
        for bytes in [1 << 16, 1 << 12, 1] {
            while ballast.write_all(&vec![0; bytes]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        self.machine.end_by_force();
        unmount(&self.mounted);
    }
}

fn unmount(path: &Path) {
    // Lazily: a process that was killed just now may still have a file open.
    let _ = Command::new("umount").arg("--lazy").arg(path).status();
}

#[tokio::test]
async fn no_space_at_the_start_is_said() {
    let Some(small) = Small::new() else { return };
    small.fill();
    let said = small.machine.up();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("No space left") && said.err.contains("free some space"), "{said:?}");
    small.free();
    assert_eq!(small.machine.up().code, Some(0));
    assert_eq!(small.machine.run(&["down"]).code, Some(0));
    small.fill();
    let said = small.machine.up();
    assert_eq!(said.code, Some(4), "{said:?}");
    assert!(said.err.contains("No space left") && said.err.contains("free some space"), "{said:?}");
}
