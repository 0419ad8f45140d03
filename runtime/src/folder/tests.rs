use std::fs;

use parking_lot::Mutex;

use super::*;
use crate::Env;

/// Files that fail when this is done to one, and note what was.
#[derive(Debug, Default)]
struct Watched {
    fails: &'static str,
    done: Mutex<Vec<String>>,
}

impl Watched {
    fn note(&self, what: String) -> io::Result<()> {
        let fails = !self.fails.is_empty() && what.starts_with(self.fails);
        self.done.lock().push(what);
        if fails { Err(io::Error::other("no")) } else { Ok(()) }
    }
}

impl Files for Watched {
    fn read(&self, _: &str) -> io::Result<Vec<u8>> {
        Err(ErrorKind::NotFound.into())
    }
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.note(format!("write {name} {}", String::from_utf8_lossy(content)))
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        self.note(format!("sync {name}"))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.note(format!("rename {from} {to}"))
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.note(format!("remove {name}"))?;
        Err(ErrorKind::NotFound.into())
    }
    fn sync_names(&self) -> io::Result<()> {
        self.note("sync names".to_owned())
    }
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn written_at(&self, _: &str) -> io::Result<UnixMicros> {
        Ok(UnixMicros(0))
    }
}

#[test]
fn a_file_is_replaced_in_this_order_and_no_further_than_what_fails() {
    let steps = ["write a.new 7", "sync a.new", "rename a.new a", "sync names"];
    for (index, fails) in steps.iter().enumerate() {
        let files = Arc::new(Watched { fails, ..Watched::default() });
        Folder::on(Path::new("/"), files.clone()).replace("a", b"7").unwrap_err();
        assert_eq!(*files.done.lock(), steps[..=index]);
    }
    let files = Arc::new(Watched::default());
    Folder::on(Path::new("/"), files.clone()).replace("a", b"7").unwrap();
    assert_eq!(*files.done.lock(), steps);
}

#[test]
fn what_went_by_an_attempt_that_could_not_sync_is_synced_by_the_next() {
    let files = Arc::new(Watched::default());
    Folder::on(Path::new("/"), files.clone()).remove("a").unwrap();
    assert_eq!(*files.done.lock(), ["remove a", "sync names"]);
}

#[tokio::test]
async fn what_was_put_into_a_folder_of_the_machine_is_found_by_another_handle() {
    let (root, env) = (tempfile::tempdir().unwrap(), Env::real());
    let path = root.path().join("deep/down");
    let folder = env.folder(&path).unwrap();
    assert_eq!(folder.read("a").unwrap(), None);
    for content in ["one", "two"] {
        folder.replace("a", content.as_bytes()).unwrap();
    }
    folder.replace("b", b"three").unwrap();
    fs::create_dir(path.join("a folder")).unwrap();
    let other = env.folder(&path).unwrap();
    assert_eq!(other.names().unwrap(), ["a", "b"]);
    assert_eq!(other.read("a").unwrap().unwrap(), b"two");
    other.remove("a").unwrap();
    other.remove("a").unwrap();
    assert_eq!(folder.names().unwrap(), ["b"]);
    assert!(env.wall().since(folder.written_at("b").unwrap()).as_secs() < 3_600);
}

#[tokio::test]
async fn the_rest_of_an_attempt_is_in_nobodys_way_and_nobody_else_reads_what_is_written() {
    use std::os::unix::fs::PermissionsExt;
    let (root, env) = (tempfile::tempdir().unwrap(), Env::real());
    let folder = env.folder(&root.path().join("made")).unwrap();
    fs::write(folder.path("a.new"), "a longer rest").unwrap();
    fs::set_permissions(folder.path("a.new"), fs::Permissions::from_mode(0o444)).unwrap();
    folder.replace("a", b"7").unwrap();
    assert_eq!(fs::read(folder.path("a")).unwrap(), b"7");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&folder.path("a")), mode(&root.path().join("made"))), (0o600, 0o700));
}
