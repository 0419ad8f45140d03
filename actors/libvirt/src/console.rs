//! The files that guests' serial consoles are written to, and the sockets beside them by which guests are talked to.
//!
//! Owns the logs' size: QEMU appends for as long as a guest prints, so a log that grew beyond
//! [`LOG_MAX_BYTES`] is emptied, and its end moves to a second file beside it.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use updraft_protocol::hypervisor::{ConsoleKind, PICTURE_MAX_BYTES};
use uuid::Uuid;
use virt::{connect::Connect, stream::Stream};

use crate::{failure::Fault, work::look_up};

/// The size at which a log is emptied; a host of 250 guests keeps a gigabyte of consoles at most.
pub(crate) const LOG_MAX_BYTES: u64 = 4 * 1024 * 1024;

/// What is kept of it: more than any client asks for.
const LOG_KEPT_BYTES: u64 = 1024 * 1024;

/// Most that one answer carries.
pub(crate) const TAIL_MAX_BYTES: u32 = 1024 * 1024;

/// What the address of a Unix socket holds, without the zero at its end.
const SOCKET_PATH_MAX_BYTES: usize = 107;

/// Where a console of the guest with this log listens; `None` if the path is too long for a socket: such a guest runs
/// without.
pub(crate) fn socket(log: &Path, kind: ConsoleKind) -> Option<PathBuf> {
    let path = log.with_file_name(match kind {
        ConsoleKind::Screen => "vnc",
        ConsoleKind::Serial => "serial",
    });
    (path.as_os_str().len() <= SOCKET_PATH_MAX_BYTES).then_some(path)
}

/// The kind of picture that QEMU makes from 7.1 on.
const PNG: &str = "image/png";

/// What is taken of a picture at once.
const PIECE_BYTES: usize = 64 * 1024;

/// A picture of a guest's screen. Blocks.
pub(crate) fn picture(connect: &Connect, guest: Uuid) -> Result<Vec<u8>, Fault> {
    let refused = |words: String| Fault::File {
        what: "the picture of the screen",
        source: io::Error::other(words),
    };
    let (domain, stream) = (look_up(connect, guest)?, Stream::new(connect, 0)?);
    let kind = domain.screenshot(&stream, 0, 0)?;
    if kind != PNG {
        return Err(refused(format!("this QEMU makes {kind}, and {PNG} is wanted")));
    }
    let (mut picture, mut piece) = (Vec::new(), vec![0; PIECE_BYTES]);
    loop {
        match stream.recv(&mut piece)? {
            0 => break,
            count => picture.extend_from_slice(&piece[..count.min(PIECE_BYTES)]),
        }
        if picture.len() > PICTURE_MAX_BYTES {
            return Err(refused(format!("it has more than {PICTURE_MAX_BYTES} bytes")));
        }
    }
    stream.finish()?;
    Ok(picture)
}

/// The last bytes of a console, as text. A guest that has not written yet has an empty one.
pub(crate) fn tail(log: &Path, bytes_max: u32) -> io::Result<String> {
    let wanted = u64::from(bytes_max.min(TAIL_MAX_BYTES));
    let recent = tail_bytes(log, wanted)?;
    let missing = wanted - u64::try_from(recent.len()).unwrap_or(wanted).min(wanted);
    let mut bytes = tail_bytes(&moved(log), missing)?;
    bytes.extend(recent);
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Empties a log that grew too large.
pub(crate) fn trim(log: &Path) -> io::Result<()> {
    match fs::metadata(log) {
        Ok(found) if found.len() > LOG_MAX_BYTES => {}
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e),
    }
    let end = tail_bytes(log, LOG_KEPT_BYTES)?;
    File::create(moved(log))?.write_all(&end)?;
    // QEMU writes in append mode: its next line lands at the new end, and no hole appears.
    OpenOptions::new().write(true).open(log)?.set_len(0)
}

/// Deletes a guest's consoles.
pub(crate) fn remove(log: &Path) -> io::Result<()> {
    let sockets = [ConsoleKind::Screen, ConsoleKind::Serial].map(|kind| socket(log, kind));
    let files = [Some(log.to_owned()), Some(moved(log))];
    for path in files.into_iter().chain(sockets).flatten() {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    Ok(())
}

/// Makes the folder that QEMU will write the log in.
pub(crate) fn prepare(log: &Path) -> io::Result<()> {
    log.parent().map_or(Ok(()), fs::create_dir_all)
}

fn moved(log: &Path) -> PathBuf {
    let mut name = OsString::from(log);
    name.push(".1");
    name.into()
}

fn tail_bytes(path: &Path, wanted: u64) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(wanted)))?;
    let mut bytes = Vec::new();
    file.take(wanted).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_end_of_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        fs::write(&log, "first\nsecond\n").unwrap();
        assert_eq!(tail(&log, 7).unwrap(), "second\n");
    }

    #[test]
    fn a_guest_that_never_wrote_has_an_empty_console() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(tail(&folder.path().join("none"), 100).unwrap(), "");
    }

    #[test]
    fn a_log_that_grew_too_large_is_emptied_and_its_end_can_still_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        let mut content = vec![b'x'; usize::try_from(LOG_MAX_BYTES).unwrap()];
        content.extend(b"the end\n");
        fs::write(&log, content).unwrap();
        trim(&log).unwrap();
        assert_eq!(fs::metadata(&log).unwrap().len(), 0);
        let mut appended = OpenOptions::new().append(true).open(&log).unwrap();
        appended.write_all(b"and on\n").unwrap();
        assert_eq!(tail(&log, 15).unwrap(), "the end\nand on\n");
    }

    #[test]
    fn a_log_within_bounds_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        fs::write(&log, "short").unwrap();
        trim(&log).unwrap();
        assert_eq!(fs::read_to_string(&log).unwrap(), "short");
    }

    #[test]
    fn a_socket_whose_path_is_too_long_is_none() {
        let log = PathBuf::from(format!("/{}/console.log", "x".repeat(100)));
        assert_eq!(socket(&log, ConsoleKind::Serial), None);
        let screen = socket(&log, ConsoleKind::Screen).expect("it has 105 bytes");
        assert!(screen.ends_with("vnc"));
    }

    #[test]
    fn removing_takes_both_files_and_may_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("console.log");
        fs::write(&log, "a").unwrap();
        fs::write(moved(&log), "b").unwrap();
        remove(&log).unwrap();
        remove(&log).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
