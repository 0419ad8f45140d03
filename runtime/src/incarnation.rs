//! How often a node has started, counted on its disk.
//!
//! Promises that no two starts have the same number, whatever the disk loses and wherever a start is ended: a number is
//! durable before it is given out. What cannot be read is refused, and never counted anew. Blocks; call it at start-up.

use std::io;

use updraft_transport::Incarnation;

use crate::folder::Folder;

/// The file that holds the number of the last start, in decimal.
pub const FILE: &str = "incarnation";

/// Why a start was not counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The disk.
    #[error(transparent)]
    Disk(#[from] io::Error),
    /// The file holds no number.
    #[error("the number of the last start is damaged: {0:?}")]
    Damaged(String),
}

/// Counts a start of the node whose folder this is.
pub fn next(folder: &Folder) -> Result<Incarnation, CountError> {
    let last = match folder.read(FILE)? {
        None => 0,
        Some(content) => {
            let text = String::from_utf8_lossy(&content);
            let number = text.trim().parse::<u64>();
            number.map_err(|_| CountError::Damaged(text.into_owned()))?
        }
    };
    // The largest number has none after it, and no node has come to it by counting.
    let next = last.checked_add(1).ok_or_else(|| CountError::Damaged(last.to_string()))?;
    count_from(folder, Incarnation(next))?;
    Ok(Incarnation(next))
}

/// Notes the last start of the node.
pub fn count_from(folder: &Folder, last: Incarnation) -> io::Result<()> {
    folder.replace(FILE, format!("{}\n", last.0).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Env;

    fn folder(root: &tempfile::TempDir) -> Folder {
        Env::real().folder(&root.path().join("one")).unwrap()
    }

    #[tokio::test]
    async fn incarnations_only_grow() {
        let root = tempfile::tempdir().unwrap();
        let counted: Vec<u64> = (0..3).map(|_| next(&folder(&root)).unwrap().0).collect();
        assert_eq!(counted, [1, 2, 3]);
        count_from(&folder(&root), Incarnation(1_000)).unwrap();
        assert_eq!(next(&folder(&root)).unwrap(), Incarnation(1_001));
    }

    #[tokio::test]
    async fn an_incarnation_that_cannot_be_read_is_not_counted_anew() {
        let root = tempfile::tempdir().unwrap();
        for damaged in [&b""[..], b"seven", b"\xff", b"\0\0", b"18446744073709551615"] {
            folder(&root).replace(FILE, damaged).unwrap();
            assert!(matches!(next(&folder(&root)), Err(CountError::Damaged(_))), "{damaged:?}");
            assert_eq!(folder(&root).read(FILE).unwrap().unwrap(), damaged);
        }
    }
}
