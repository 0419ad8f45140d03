//! A tree of small files, as a metadata service presents one: a directory is the list of what is in it.

/// A file or a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    /// Text.
    Text(String),
    /// A JSON document.
    Json(String),
    /// Anything.
    Bytes(bytes::Bytes),
    /// What is in it, in the order in which it is listed.
    Directory(Vec<Entry>),
}

/// One thing in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its name in a path.
    pub(super) name: String,
    /// How it is listed, where that is not its name with a slash behind a directory.
    pub(super) listed: Option<String>,
    /// What it is.
    pub(super) tree: Tree,
}

impl Entry {
    /// A thing that is listed as it is named.
    pub(super) fn new(name: &str, tree: Tree) -> Self {
        Self { name: name.to_owned(), listed: None, tree }
    }

    /// A text file.
    pub(super) fn text(name: &str, text: impl Into<String>) -> Self {
        Self::new(name, Tree::Text(text.into()))
    }

    /// The same, listed like this.
    pub(super) fn listed(mut self, listed: impl Into<String>) -> Self {
        self.listed = Some(listed.into());
        self
    }

    fn line(&self) -> String {
        match (&self.listed, &self.tree) {
            (Some(listed), _) => listed.clone(),
            (None, Tree::Directory(_)) => format!("{}/", self.name),
            (None, _) => self.name.clone(),
        }
    }
}

impl Tree {
    /// What is at this path; empty parts of it mean nothing.
    pub(super) fn at(&self, path: &str) -> Option<&Self> {
        path.split('/').filter(|part| !part.is_empty()).try_fold(self, |tree, part| match tree {
            Self::Directory(entries) => {
                entries.iter().find(|entry| entry.name == part).map(|entry| &entry.tree)
            }
            Self::Text(_) | Self::Json(_) | Self::Bytes(_) => None,
        })
    }

    /// The content type and the bytes.
    pub(super) fn render(&self) -> (&'static str, bytes::Bytes) {
        match self {
            Self::Text(text) => ("text/plain; charset=utf-8", text.clone().into()),
            Self::Json(text) => ("application/json", text.clone().into()),
            Self::Bytes(bytes) => ("application/octet-stream", bytes.clone()),
            Self::Directory(entries) => {
                let lines: Vec<String> = entries.iter().map(Entry::line).collect();
                ("text/plain; charset=utf-8", lines.join("\n").into())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let keys = Tree::Directory(vec![Entry::text("0", "key").listed("0=mine")]);
        Tree::Directory(vec![Entry::text("hostname", "one"), Entry::new("public-keys", keys)])
    }

    fn read(path: &str) -> Option<String> {
        let tree = tree();
        tree.at(path).map(|found| String::from_utf8(found.render().1.to_vec()).unwrap())
    }

    #[test]
    fn a_directory_lists_its_files_and_marks_directories() {
        assert_eq!(read("/").as_deref(), Some("hostname\npublic-keys/"));
        assert_eq!(read("/public-keys/").as_deref(), Some("0=mine"));
    }

    #[test]
    fn a_file_is_found_by_its_path_however_many_slashes_it_has() {
        assert_eq!(read("/public-keys/0").as_deref(), Some("key"));
        assert_eq!(read("//hostname/").as_deref(), Some("one"));
    }

    #[test]
    fn what_does_not_exist_is_not_found() {
        for path in ["/other", "/hostname/deeper", "/public-keys/1", "/.."] {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
