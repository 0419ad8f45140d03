//! Typed rows, and how they and their index entries are named.
//!
//! A row of table `compute/server` with key `K` is stored under `compute/server/K`. Its entry in the index
//! `project` with value `V` is stored under `compute/server~project/V/K`. Control characters and `%` are
//! percent-encoded everywhere, and `/` in index values, so that no two names can be confused and an operator
//! can read them all.

use std::{borrow::Cow, fmt::Display};

use serde::{Serialize, de::DeserializeOwned};

use super::RowRef;
use crate::notify::Notice;

/// A value that is stored as one JSON row.
pub trait Record: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// The table: `service/kind`, each of lower-case letters, digits, `-` and `_`.
    const TABLE: &'static str;

    /// The key of this row within its table; never changes for a row.
    fn key(&self) -> String;

    /// The index entries that this row shall have.
    fn indexes(&self) -> Vec<IndexEntry> {
        Vec::new()
    }

    /// The rows that this one belongs to, of the same service. One that is gained must be there, and must not itself
    /// belong to this one; one that is lost, or gone, is no error. See [`crate::rows`] for what comes of it.
    ///
    /// What a row owns is known from when the owned row is written. Rows that were stored before their kind named owners
    /// are found once a change of the service's [`Schema`](super::Schema) has [reindexed](super::Change::reindex) them.
    fn owners(&self) -> Vec<RowRef> {
        Vec::new()
    }

    /// What subscribers are told when such a row comes (`old` is `None`), changes, or goes (`new` is `None`). It is
    /// written in the same transaction; see [`crate::notify`].
    fn notices(_old: Option<&Self>, _new: Option<&Self>) -> Vec<Notice> {
        Vec::new()
    }
}

/// One entry that a row wants in an index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexEntry {
    pub(super) name: &'static str,
    pub(super) value: String,
    pub(super) unique: bool,
}

impl IndexEntry {
    /// An entry that no other row may have too.
    #[must_use]
    pub fn unique(name: &'static str, value: &(impl Display + ?Sized)) -> Self {
        Self { name, value: value.to_string(), unique: true }
    }

    /// An entry that many rows may share.
    #[must_use]
    pub fn many(name: &'static str, value: &(impl Display + ?Sized)) -> Self {
        Self { name, value: value.to_string(), unique: false }
    }
}

/// Whether this can be the name of a table. The slash divides; a second one could be mistaken for part of a key.
pub(super) const fn is_table_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let (mut i, mut slashes) = (0, 0);
    while i < bytes.len() {
        match bytes[i] {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => {}
            b'/' if i > 0 && i + 1 < bytes.len() => slashes += 1,
            _ => return false,
        }
        i += 1;
    }
    slashes == 1
}

/// The prefix of all rows of a table.
pub(super) fn table_prefix(table: &str) -> String {
    format!("{table}/")
}

/// The full key of a row.
pub(super) fn row_key(table: &str, key: &str) -> String {
    format!("{table}/{}", encode(key, false))
}

/// The full key of what is kept of a row under this prefix.
pub(crate) fn key_under(prefix: &str, key: &str) -> String {
    format!("{prefix}{}", encode(key, false))
}

/// The key within its table of the row that is stored under this full key; `None` for keys of anything else.
#[must_use]
pub fn key_in<R: Record>(stored: &str) -> Option<String> {
    let key = stored.strip_prefix(R::TABLE)?.strip_prefix('/')?;
    percent_encoding::percent_decode_str(key).decode_utf8().ok().map(Cow::into_owned)
}

/// The prefix of everything in an index: what to watch to hear of entries that come and go.
#[must_use]
pub fn index_in<R: Record>(index: &str) -> String {
    format!("{}~{index}/", R::TABLE)
}

/// The value and the row's key that the index entry under this full key tells; `None` for keys of anything else.
#[must_use]
pub fn entry_in<R: Record>(index: &str, stored: &str) -> Option<(String, String)> {
    let (value, key) = stored.strip_prefix(index_in::<R>(index).as_str())?.split_once('/')?;
    let decoded =
        |text| percent_encoding::percent_decode_str(text).decode_utf8().ok().map(Cow::into_owned);
    Some((decoded(value)?, decoded(key)?))
}

/// The key of the row that the index entry under this full key belongs to; `None` for keys of anything else.
pub(super) fn owner_of<R: Record>(stored: &str) -> Option<String> {
    let entry = stored.strip_prefix(R::TABLE)?.strip_prefix('~')?;
    let (_, key) = entry.split_once('/')?.1.split_once('/')?;
    percent_encoding::percent_decode_str(key).decode_utf8().ok().map(Cow::into_owned)
}

/// The prefix of all entries of one value of an index.
pub(super) fn index_prefix(table: &str, index: &str, value: &str) -> String {
    format!("{table}~{index}/{}/", encode(value, true))
}

/// The full key of an index entry.
pub(super) fn index_key(table: &str, entry: &IndexEntry, key: &str) -> String {
    format!("{}{}", index_prefix(table, entry.name, &entry.value), encode(key, false))
}

/// Percent-encodes what would make a name ambiguous or unreadable.
pub(super) fn encode(text: &str, slash: bool) -> Cow<'_, str> {
    let special = |c: char| c == '%' || c.is_control() || (slash && c == '/');
    if !text.contains(special) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 8);
    let mut buffer = [0; 4];
    for c in text.chars() {
        if special(c) {
            for byte in c.encode_utf8(&mut buffer).bytes() {
                encoded.push('%');
                encoded.push(hex_digit(byte >> 4));
                encoded.push(hex_digit(byte & 0xF));
            }
        } else {
            encoded.push(c);
        }
    }
    Cow::Owned(encoded)
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).map_or('0', |digit| digit.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Serialize, serde::Deserialize)]
    struct Named(String);

    impl Record for Named {
        const TABLE: &'static str = "compute/server";
        fn key(&self) -> String {
            self.0.clone()
        }
    }

    #[test]
    fn a_table_is_a_service_and_a_kind() {
        assert!(is_table_name("compute/server"));
        for wrong in ["", "server", "/server", "compute/", "a/b/c", "compute/Server", "a/b~c"] {
            assert!(!is_table_name(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_value_with_slashes_cannot_pass_for_a_value_and_a_key() {
        let odd = index_key("compute/server", &IndexEntry::many("name", "a/b"), "c");
        let plain = index_key("compute/server", &IndexEntry::many("name", "a"), "b/c");
        assert_eq!(odd, "compute/server~name/a%2Fb/c");
        assert_eq!(plain, "compute/server~name/a/b/c");
    }

    #[test]
    fn a_key_is_read_back_as_it_was() {
        for key in ["plain", "100%", "%41", "a/b", "Zürich\n\u{85}"] {
            assert_eq!(key_in::<Named>(&row_key(Named::TABLE, key)).as_deref(), Some(key));
        }
        for foreign in ["compute/server~name/a/b", "compute/servers/a", "image/image/a"] {
            assert_eq!(key_in::<Named>(foreign), None);
        }
    }

    #[test]
    fn an_index_entry_tells_its_value_and_its_rows_key() {
        let stored = index_key(Named::TABLE, &IndexEntry::many("at", "a/b%"), "c/d");
        let told = entry_in::<Named>("at", &stored);
        assert_eq!(told, Some(("a/b%".to_owned(), "c/d".to_owned())));
        assert!(stored.starts_with(&index_in::<Named>("at")));
        assert_eq!(entry_in::<Named>("attic", &stored), None);
    }

    #[test]
    fn control_characters_are_spelled_out_and_letters_of_any_script_are_not() {
        assert_eq!(encode("Zürich\n100%\u{85}", true), "Zürich%0A100%25%C2%85");
    }
}
