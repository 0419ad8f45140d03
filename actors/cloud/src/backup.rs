//! A store as lines of JSON, for people and other programs, and for putting it back.
//!
//! The first line tells the version of this form and the last commit; each further one is a row or an entry of a
//! log with the number of its commit; the last one counts them and has the SHA-256 of all before. A file that was
//! cut off or changed is noticed. Lines are no longer than the largest row, whatever a file claims.

use std::{io, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use updraft_runtime::store::{
    Copy, Entry, LogEntry, Piece, StoreError,
    limits::{KEY_MAX_BYTES, VALUE_MAX_BYTES},
};

/// The version of this form.
pub const VERSION: u64 = 1;

/// The longest line, in bytes: a value, a key of which each byte may be escaped with six, and names and numbers.
const LINE_MAX_BYTES: usize = VALUE_MAX_BYTES + 6 * KEY_MAX_BYTES + 256;

/// Why a backup cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A row is no text that another program could read.
    #[error("{0:?} holds something else than one line of JSON")]
    NotJson(Arc<str>),
    /// A line is not what it should be.
    #[error("line {line} of the backup: {reason}")]
    Line {
        /// Which one, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
    },
    /// It ends before its end.
    #[error("the backup is not whole: it ends behind line {0}")]
    Short(u64),
    /// It cannot be written or read.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    updraft_backup: u64,
    sequence: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Foot {
    pieces: u64,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Line<'a> {
    Row {
        key: &'a str,
        version: u64,
        #[serde(borrow)]
        value: &'a RawValue,
    },
    Log {
        log: &'a str,
        sequence: u64,
        #[serde(borrow)]
        value: &'a RawValue,
    },
}

/// What was read, kept apart from the bytes that it was read from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    key: Option<String>,
    log: Option<String>,
    version: Option<u64>,
    sequence: Option<u64>,
    value: Box<RawValue>,
}

/// Writes a backup, a line at a time.
pub struct Encoder {
    hash: Sha256,
    pieces: u64,
}

impl Encoder {
    /// Begins one of a store as it was at this commit; also its first line.
    #[must_use]
    pub fn begin(sequence: u64) -> (Self, String) {
        let mut encoder = Self { hash: Sha256::new(), pieces: 0 };
        let head = encoder.hashed(&Head { updraft_backup: VERSION, sequence });
        (encoder, head)
    }

    fn hashed(&mut self, line: &impl Serialize) -> String {
        let text = text(line);
        self.hash.update(&text);
        text
    }

    /// The line of a piece.
    pub fn piece(&mut self, piece: &Piece) -> Result<String, BackupError> {
        let (name, bytes) = match piece {
            Piece::Row { key, entry } => (key, &entry.value),
            Piece::Log { log, entry } => (log, &entry.value),
        };
        let not_json = || BackupError::NotJson(Arc::clone(name));
        let value: &RawValue = serde_json::from_slice(bytes).map_err(|_| not_json())?;
        if value.get().contains('\n') {
            return Err(not_json());
        }
        self.pieces += 1;
        Ok(self.hashed(&match piece {
            Piece::Row { key, entry } => Line::Row { key, version: entry.version, value },
            Piece::Log { log, entry } => Line::Log { log, sequence: entry.sequence, value },
        }))
    }

    /// The last line.
    #[must_use]
    pub fn end(self) -> String {
        let sha256 = base16ct::lower::encode_string(&self.hash.finalize());
        text(&Foot { pieces: self.pieces, sha256 })
    }
}

fn text(line: &impl Serialize) -> String {
    // What is made of texts and numbers alone can be written.
    let mut text = serde_json::to_string(line).unwrap_or_default();
    text.push('\n');
    text
}

/// Hands the lines of a backup of this copy to `take`, as far as it goes along.
pub async fn encode<E: From<BackupError>>(
    mut copy: Copy,
    mut take: impl FnMut(&str) -> Result<(), E>,
) -> Result<(), E> {
    let (mut encoder, head) = Encoder::begin(copy.sequence());
    take(&head)?;
    while let Some(piece) = copy.next().await {
        let piece = piece.map_err(BackupError::from)?;
        take(&encoder.piece(&piece)?)?;
    }
    take(&encoder.end())
}

/// Reads a backup in pieces of any size.
#[derive(Default)]
pub struct Decoder {
    /// A line that has not ended yet.
    begun: Vec<u8>,
    hash: Sha256,
    lines: u64,
    pieces: u64,
    sequence: Option<u64>,
    ended: bool,
}

impl Decoder {
    /// Takes in bytes, and returns what they complete.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<Vec<Piece>, BackupError> {
        let mut pieces = Vec::new();
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            self.extend(line)?;
            bytes = rest;
            let line = std::mem::take(&mut self.begun);
            self.lines += 1;
            pieces.extend(self.line(&line)?);
        }
        self.extend(bytes)?;
        Ok(pieces)
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        if self.begun.len() + bytes.len() > LINE_MAX_BYTES {
            self.lines += 1;
            return Err(self.wrong(format!("it is longer than {LINE_MAX_BYTES} bytes")));
        }
        self.begun.extend_from_slice(bytes);
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Piece>, BackupError> {
        if self.ended {
            return Err(self.wrong("there is something behind its end".to_owned()));
        }
        if self.sequence.is_none() {
            self.head(line)?;
        } else if let Ok(foot) = serde_json::from_slice::<Foot>(line) {
            self.foot(&foot)?;
            return Ok(None);
        } else {
            let piece = self.piece(line)?;
            self.hash.update(line);
            self.pieces += 1;
            return Ok(Some(piece));
        }
        self.hash.update(line);
        Ok(None)
    }

    fn head(&mut self, line: &[u8]) -> Result<(), BackupError> {
        let head: Head = serde_json::from_slice(line)
            .map_err(|_| self.wrong("this is no backup of a cloud".to_owned()))?;
        if head.updraft_backup != VERSION {
            let found = head.updraft_backup;
            return Err(self.wrong(format!(
                "it has version {found} and this program reads version {VERSION}"
            )));
        }
        self.sequence = Some(head.sequence);
        Ok(())
    }

    fn piece(&self, line: &[u8]) -> Result<Piece, BackupError> {
        let read: Read =
            serde_json::from_slice(line).map_err(|error| self.wrong(error.to_string()))?;
        let value = bytes::Bytes::copy_from_slice(read.value.get().as_bytes());
        match (read.key, read.version, read.log, read.sequence) {
            (Some(key), Some(version), None, None) => {
                Ok(Piece::Row { key: key.into(), entry: Entry { value, version } })
            }
            (None, None, Some(log), Some(sequence)) => {
                Ok(Piece::Log { log: log.into(), entry: LogEntry { sequence, value } })
            }
            _ => Err(self.wrong("it is neither a row nor an entry of a log".to_owned())),
        }
    }

    fn foot(&mut self, foot: &Foot) -> Result<(), BackupError> {
        let sha256 = base16ct::lower::encode_string(&self.hash.clone().finalize());
        if foot.pieces != self.pieces || foot.sha256 != sha256 {
            return Err(self.wrong("the lines before are not those that were written".to_owned()));
        }
        self.ended = true;
        Ok(())
    }

    fn wrong(&self, reason: String) -> BackupError {
        BackupError::Line { line: self.lines.max(1), reason }
    }

    /// The last commit, if the backup is whole.
    pub fn finish(self) -> Result<u64, BackupError> {
        let whole = self.sequence.filter(|_| self.ended && self.begun.is_empty());
        whole.ok_or(BackupError::Short(self.lines))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn pieces() -> Vec<Piece> {
        let value = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        let row = |key: &str, version, text| Piece::Row {
            key: key.into(),
            entry: Entry { value: value(text), version },
        };
        let entry = LogEntry { sequence: 8, value: value("[1]") };
        vec![
            row("a/b/Zürich \"1\"", 3, "{\"n\":1.50,\"s\":\"a\\nb\"}"),
            row("a/c", 4, "null"),
            Piece::Log { log: "a/log".into(), entry },
        ]
    }

    fn written(pieces: &[Piece]) -> String {
        let (mut encoder, mut text) = Encoder::begin(9);
        for piece in pieces {
            text.push_str(&encoder.piece(piece).unwrap());
        }
        text.push_str(&encoder.end());
        text
    }

    fn read(text: &str, step: usize) -> Result<(u64, Vec<Piece>), BackupError> {
        let (mut decoder, mut pieces) = (Decoder::default(), Vec::new());
        for bytes in text.as_bytes().chunks(step) {
            pieces.extend(decoder.feed(bytes)?);
        }
        Ok((decoder.finish()?, pieces))
    }

    #[test]
    fn what_was_written_is_read_again_however_it_comes() {
        let text = written(&pieces());
        assert!(text.starts_with("{\"updraft_backup\":1,\"sequence\":9}\n"), "{text}");
        for step in [1, 7, text.len()] {
            assert_eq!(read(&text, step).unwrap(), (9, pieces()));
        }
    }

    #[test]
    fn a_backup_that_was_cut_off_anywhere_is_noticed() {
        let text = written(&pieces());
        for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
            assert!(read(&text[..end], 64).is_err(), "{}", &text[..end]);
        }
    }

    #[test]
    fn a_backup_that_was_changed_is_noticed() {
        let text = written(&pieces());
        for (old, new) in [("a/c", "a/d"), ("1.50", "1.51"), ("\"sequence\":9", "\"sequence\":8")] {
            let changed = text.replacen(old, new, 1);
            let refused = read(&changed, 64).unwrap_err().to_string();
            assert!(refused.contains("not those that were written"), "{refused}");
        }
        let lines: Vec<_> = text.lines().collect();
        let without_one = [&lines[..1], &lines[2..], &[""]].concat().join("\n");
        assert!(read(&without_one, 64).is_err());
        assert!(read(&format!("{text}{{}}\n"), 64).is_err());
    }

    #[test]
    fn another_version_or_file_is_refused_with_its_line() {
        for (text, words) in [
            ("{\"updraft_backup\":2,\"sequence\":1}\n", "version 2"),
            ("to my aunt\n", "line 1 of the backup: this is no backup"),
        ] {
            let refused = read(text, 64).unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let mut decoder = Decoder::default();
        let block = vec![b'x'; 1 << 16];
        let refused = (0..LINE_MAX_BYTES).find_map(|_| decoder.feed(&block).err());
        assert!(refused.unwrap().to_string().contains("longer than"));
        assert!(decoder.begun.len() <= LINE_MAX_BYTES);
    }

    #[test]
    fn what_is_no_json_is_named() {
        let entry = Entry { value: Bytes::from_static(b"{\n}"), version: 1 };
        let (mut encoder, _) = Encoder::begin(1);
        let refused = encoder.piece(&Piece::Row { key: "a/b".into(), entry }).unwrap_err();
        assert!(refused.to_string().contains("a/b"), "{refused}");
    }
}
