//! Files on a real disk.

use std::fs;

use tempfile::TempDir;

use super::*;

struct Files {
    _folder: TempDir,
    part: PathBuf,
    path: PathBuf,
}

fn files() -> Files {
    let folder = tempfile::tempdir().expect("a folder");
    let (part, path) = (folder.path().join("part"), folder.path().join("whole"));
    Files { _folder: folder, part, path }
}

impl Files {
    fn sink(&self) -> FileSink {
        FileSink::new(&Env::real(), self.part.clone(), self.path.clone())
    }
}

#[tokio::test]
async fn what_is_not_whole_has_another_name_and_is_gone_on_with() {
    let files = files();
    let mut sink = files.sink();
    assert_eq!(sink.kept_bytes().await, Ok(0));
    sink.write(Bytes::from_static(b"the fi")).await.expect("written");
    drop(sink);
    assert!(!files.path.exists(), "a part has the name of the whole");
    let mut sink = files.sink();
    assert_eq!(sink.kept_bytes().await, Ok(6));
    assert_eq!(sink.read_kept(4, 10).await, Ok(Bytes::from_static(b"fi")));
    sink.write(Bytes::from_static(b"le")).await.expect("written");
    sink.finish().await.expect("kept");
    assert_eq!(fs::read(&files.path).expect("the file"), b"the file");
    assert!(!files.part.exists());
}

#[tokio::test(start_paused = true)]
async fn one_sink_at_a_time_writes_to_a_part() {
    let files = files();
    let (mut one, mut other) = (files.sink(), files.sink());
    one.write(Bytes::from_static(b"one")).await.expect("written");
    let refused = other.write(Bytes::from_static(b"other")).await.expect_err("written");
    assert!(refused.to_string().contains("another fetch writes to it"), "{refused}");
    drop(one);
    assert_eq!(other.kept_bytes().await, Ok(3));
}

#[tokio::test]
async fn what_is_discarded_is_gone_and_the_sink_begins_anew() {
    let files = files();
    let mut sink = files.sink();
    sink.write(Bytes::from_static(b"something wrong")).await.expect("written");
    sink.discard().await.expect("thrown away");
    assert_eq!(sink.kept_bytes().await, Ok(0));
    sink.write(Bytes::from_static(b"right")).await.expect("written");
    sink.finish().await.expect("kept");
    assert_eq!(fs::read(&files.path).expect("the file"), b"right");
}

#[tokio::test]
async fn a_sink_without_a_folder_says_which_file_it_is() {
    let files = files();
    let nowhere = files.part.join("nowhere");
    let mut sink = FileSink::new(&Env::real(), nowhere.clone(), files.path.clone());
    let refused = sink.kept_bytes().await.expect_err("opened").to_string();
    assert!(refused.starts_with(&format!("{}: ", nowhere.display())), "{refused}");
}

#[tokio::test]
async fn a_file_is_read_as_it_is_and_ends_where_it_ends() {
    let (files, env) = (files(), Env::real());
    fs::write(&files.path, b"all of it").expect("written");
    let digest = FileSource::digest_of(&env, &files.path, Algorithm::Sha512).await.expect("made");
    assert_eq!(digest, Hasher::digest(Algorithm::Sha512, b"all of it"));
    let source = FileSource::open(&env, &files.path, digest).await.expect("opened");
    assert_eq!((source.size_bytes(), source.digest()), (9, digest));
    assert_eq!(source.read(4, 2).await, Ok(Bytes::from_static(b"of")));
    assert_eq!(source.read(7, 100).await, Ok(Bytes::from_static(b"it")));
    fs::write(&files.path, b"all").expect("cut");
    let fault = source.read(4, 2).await.expect_err("read");
    assert_eq!(fault.kind, FaultKind::Unavailable);
    assert!(fault.message.contains("it ends at 4 or before"), "{}", fault.message);
}

#[tokio::test]
async fn a_full_disk_is_told_from_other_failures() {
    let full = Path::new("/dev/full").to_owned();
    let mut sink = FileSink::new(&Env::real(), full.clone(), full);
    let refused = sink.write(Bytes::from_static(b"one too many")).await;
    assert!(matches!(refused, Err(SinkError::Full(_))), "{refused:?}");
}

#[test]
fn a_file_that_got_its_name_while_it_was_opened_is_no_part_any_more() {
    let files = files();
    fs::write(&files.part, b"all of it").expect("written");
    let opened = File::options().read(true).write(true).open(&files.part).expect("opened");
    fs::rename(&files.part, &files.path).expect("renamed");
    assert!(locked(opened, &files.part).expect("looked").is_none(), "the whole file is a part");
    let opened = File::options().read(true).write(true).open(&files.path).expect("opened");
    fs::write(&files.part, b"another").expect("written");
    assert!(locked(opened, &files.part).expect("looked").is_none(), "the whole file is a part");
    let part = open(&files.part).expect("opened").expect("free");
    assert_eq!(part.length_bytes, 7);
}
