//! Things go wrong: disks, commits, nodes. Afterwards rows and bytes agree, and nothing leaks.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, http::StatusCode};
use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart, memory::InMemory,
    path::Path,
};
use updraft_image::ByteStore;
use updraft_runtime::store::{CommitFate, StoreFaults};

use crate::support::{Cloud, Settings, Who};

/// A disk that is full after so many parts, and on which so many removals never end.
#[derive(Debug, Default)]
struct BadDisk {
    disk: InMemory,
    parts_left: Arc<AtomicUsize>,
    stuck: Arc<AtomicUsize>,
}

/// Takes one of those that are left, if any are.
fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl fmt::Display for BadDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BadDisk")
    }
}

#[derive(Debug)]
struct FullUpload {
    upload: Box<dyn MultipartUpload>,
    parts_left: Arc<AtomicUsize>,
}

fn no_space() -> object_store::Error {
    let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
    object_store::Error::Generic { store: "disk", source: Box::new(source) }
}

#[async_trait::async_trait]
impl MultipartUpload for FullUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        if take(&self.parts_left) {
            return self.upload.put_part(data);
        }
        Box::pin(async { Err(no_space()) })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

#[async_trait::async_trait]
impl ObjectStore for BadDisk {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.disk.put_opts(at, bytes, o).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.disk.put_multipart_opts(at, options).await?;
        Ok(Box::new(FullUpload { upload, parts_left: self.parts_left.clone() }))
    }

    async fn get_opts(&self, at: &Path, options: GetOptions) -> Result<GetResult> {
        self.disk.get_opts(at, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        if take(&self.stuck) {
            return stream::pending().boxed();
        }
        self.disk.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.disk.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.disk.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.disk.copy_opts(from, to, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_removal_that_never_ends_is_tried_again() {
    let stuck = Arc::new(AtomicUsize::new(0));
    let parts_left = Arc::new(AtomicUsize::new(100));
    let bytes =
        ByteStore::on(Arc::new(BadDisk { stuck: stuck.clone(), parts_left, ..BadDisk::default() }));
    let cloud = Cloud::with(Settings { bytes, ..Settings::default() }).await;
    let image = cloud.queued().await;
    let uploaded = cloud.upload(Who::Member, &image, Body::from("bytes")).await;
    assert_eq!(uploaded.status, StatusCode::NO_CONTENT);
    stuck.store(1, Ordering::SeqCst);
    let path = format!("/v2/images/{image}");
    assert_eq!(cloud.delete(Who::Member, &path).await.status, StatusCode::NO_CONTENT);
    assert!(cloud.settled().await.images.is_empty());
    assert_eq!(stuck.load(Ordering::SeqCst), 0, "no removal was stuck");
}

#[tokio::test(start_paused = true)]
async fn a_full_disk_is_told_and_the_image_is_queued_again() {
    let parts_left = Arc::new(AtomicUsize::new(1));
    let disk = BadDisk { parts_left: parts_left.clone(), ..BadDisk::default() };
    let bytes = ByteStore::on(Arc::new(disk));
    let cloud = Cloud::with(Settings { bytes, ..Settings::default() }).await;
    let image = cloud.queued().await;
    let body = || Body::from(vec![0; 12 << 20]);
    cloud.upload(Who::Member, &image, body()).await.says(413, "Image storage media is full");
    assert_eq!(cloud.status(&image).await, "queued");

    parts_left.store(100, Ordering::SeqCst);
    assert_eq!(cloud.upload(Who::Member, &image, body()).await.status, StatusCode::NO_CONTENT);
    assert_eq!(cloud.settled().await.images.len(), 1);
}

/// One commit, by its number, has this fate.
struct OneCommit {
    number: AtomicUsize,
    at: usize,
    fate: CommitFate,
}

impl StoreFaults for OneCommit {
    fn on_commit(&self, _keys: &[Arc<str>]) -> CommitFate {
        if self.number.fetch_add(1, Ordering::SeqCst) == self.at {
            self.fate
        } else {
            CommitFate::Proceed
        }
    }
}

/// Makes, fills, patches and deletes an image; the number of commits.
async fn whole_life(at: usize, fate: CommitFate) -> usize {
    let faults = Arc::new(OneCommit { number: AtomicUsize::new(0), at, fate });
    let settings = Settings { store_faults: Some(faults.clone()), ..Settings::default() };
    let cloud = Cloud::with(settings).await;
    let what = format!("commit {at} {fate:?}");
    let image = cloud.queued().await;
    let uploaded = cloud.upload(Who::Member, &image, "bytes").await;
    assert_eq!(uploaded.status, StatusCode::NO_CONTENT, "{what}");
    let patch = serde_json::json!([{"op": "add", "path": "/x", "value": "1"}]);
    let patched = cloud.patch(Who::Member, &format!("/v2/images/{image}"), patch).await;
    assert_eq!(patched.status, StatusCode::OK, "{what}");
    assert_eq!(cloud.settled().await.images.len(), 1, "{what}");
    let deleted = cloud.delete(Who::Member, &format!("/v2/images/{image}")).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT, "{what}");
    assert!(cloud.settled().await.images.is_empty(), "{what}");
    faults.number.load(Ordering::SeqCst)
}

#[tokio::test(start_paused = true)]
async fn no_commit_of_unknown_outcome_is_taken_for_a_failure_or_leaks_a_byte() {
    let commits = whole_life(usize::MAX, CommitFate::Proceed).await;
    assert!(commits >= 6, "create, claim, commit, patch, delete, erase: only {commits} were seen");
    for at in 0..commits {
        for fate in [
            CommitFate::UnknownApplied,
            CommitFate::UnknownNotApplied,
            CommitFate::Conflict,
            CommitFate::Delay(Duration::from_secs(1)),
        ] {
            whole_life(at, fate).await;
        }
    }
}

/// The store is away for good from this commit on, until it is told to come back.
struct Away {
    number: AtomicUsize,
    from: usize,
    back: AtomicUsize,
}

impl StoreFaults for Away {
    fn on_commit(&self, _keys: &[Arc<str>]) -> CommitFate {
        let number = self.number.fetch_add(1, Ordering::SeqCst);
        let away = number >= self.from && self.back.load(Ordering::SeqCst) == 0;
        if away { CommitFate::Unavailable } else { CommitFate::Proceed }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_costs_the_upload_and_nothing_else() {
    for from in 1..4 {
        let faults =
            Arc::new(Away { number: AtomicUsize::new(0), from, back: AtomicUsize::new(0) });
        let settings = Settings { store_faults: Some(faults.clone()), ..Settings::default() };
        let cloud = Cloud::with(settings).await;
        let image = cloud.queued().await;
        let answer = cloud.upload(Who::Member, &image, "bytes").await;
        faults.back.store(1, Ordering::SeqCst);
        let settled = cloud.settled().await.images.len();
        match answer.status {
            StatusCode::NO_CONTENT => assert_eq!(settled, 1, "an acknowledged image is lost"),
            status => {
                assert_eq!((status.as_u16(), settled), (503, 0));
                assert_eq!(cloud.status(&image).await, "queued");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_the_middle_of_an_upload_leaves_a_queued_image_and_no_bytes() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = ByteStore::directory(directory.path()).expect("a byte store");
    let mut cloud = Cloud::with(Settings { bytes, ..Settings::default() }).await;
    let image = cloud.queued().await;
    let endless = stream::iter([Ok::<_, std::io::Error>(Bytes::from(vec![0; 6 << 20]))])
        .chain(stream::pending());
    let upload = cloud.upload(Who::Member, &image, Body::from_stream(endless));
    assert!(cloud.env.timeout(Duration::from_secs(2), upload).await.is_none());
    assert_eq!(cloud.status(&image).await, "saving");
    // Files stay when a process dies; a dropped task would have taken its own along.
    let kept = copy_of(directory.path());
    cloud.restart().await;
    restore(&kept, directory.path());
    assert_eq!(cloud.image.usage().await.expect("compared").unsettled.len(), 1);
    assert!(cloud.settled().await.images.is_empty());
    assert_eq!(cloud.status(&image).await, "queued");
    assert_eq!(files(directory.path()), 0, "a file was left behind");
}

type Files = Vec<(std::path::PathBuf, Vec<u8>)>;

fn copy_of(directory: &std::path::Path) -> Files {
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            kept.extend(copy_of(&path));
        } else {
            let bytes = std::fs::read(&path).expect("a file");
            kept.push((path, bytes));
        }
    }
    kept
}

fn restore(kept: &Files, directory: &std::path::Path) {
    assert!(!kept.is_empty(), "nothing was written before the crash");
    for (path, bytes) in kept {
        assert!(path.starts_with(directory));
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, bytes).expect("written");
    }
}

fn files(directory: &std::path::Path) -> usize {
    copy_of(directory).len()
}

#[tokio::test(start_paused = true)]
async fn images_in_a_directory_survive_a_restart() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = ByteStore::directory(directory.path()).expect("a byte store");
    let mut cloud = Cloud::with(Settings { bytes, ..Settings::default() }).await;
    let image = cloud.active(b"bytes").await;
    cloud.restart().await;
    assert_eq!(cloud.get(Who::Member, &format!("/v2/images/{image}/file")).await.text(), "bytes");
    cloud.delete(Who::Member, &format!("/v2/images/{image}")).await;
    assert!(cloud.settled().await.images.is_empty());
    assert_eq!(files(directory.path()), 0, "a file was left behind");
}

#[tokio::test(start_paused = true)]
async fn bytes_that_no_row_names_are_swept() {
    let directory = tempfile::tempdir().expect("a directory");
    let bytes = ByteStore::directory(directory.path()).expect("a byte store");
    let cloud = Cloud::with(Settings { bytes, ..Settings::default() }).await;
    let image = cloud.active(b"bytes").await;
    let stray = uuid::Uuid::from_u128(9);
    for name in [format!("images/{image}/{stray}"), format!("images/{stray}/{stray}#3")] {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(path, b"stray").expect("written");
    }
    let usage = cloud.image.usage().await.expect("compared");
    assert_eq!(usage.leaked.len(), 2, "strays are not seen");
    assert_eq!(cloud.settled().await.images.len(), 1);
}
