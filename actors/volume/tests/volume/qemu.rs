//! The real driver, with the real `qemu-img`, in a directory of its own.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use updraft_protocol::{hypervisor::DiskFormat, image::ImageLocation};
use updraft_runtime::{Env, bulk::Sink};
use updraft_volume::driver::{self, DriverError, FileSpec, QemuVolumes, Serving, VolumeDriver};
use uuid::Uuid;

const FILE: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);

fn volumes(directory: &Path) -> QemuVolumes {
    let serving = Serving { address: IpAddr::V4(Ipv4Addr::LOCALHOST), tls: None };
    QemuVolumes::new(&Env::real(), directory, serving).expect("a driver")
}

fn spec(id: Uuid, size_gib: u64) -> FileSpec {
    FileSpec { id, generation: 1, size_gib, format: DiskFormat::Qcow2 }
}

/// An image of these bytes.
struct Image {
    location: ImageLocation,
    bytes: Bytes,
    fetches: AtomicUsize,
}

impl Image {
    fn new(disk_format: &str, bytes: Vec<u8>) -> Self {
        let location = ImageLocation {
            image: OTHER,
            name: String::new(),
            uri: String::new(),
            status: "active".to_owned(),
            disk_format: disk_format.to_owned(),
            container_format: "bare".to_owned(),
            size_bytes: bytes.len() as u64,
            virtual_size_bytes: None,
            sha512: String::new(),
            min_disk_gib: 0,
            min_ram_mib: 0,
            kernel: None,
            ramdisk: None,
            properties: [].into(),
        };
        Self { location, bytes: bytes.into(), fetches: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl driver::Image for Image {
    fn location(&self) -> &ImageLocation {
        &self.location
    }

    async fn fetch(&self, into: &mut dyn Sink) -> Result<(), DriverError> {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let written = into.write(self.bytes.clone()).await.and(into.finish().await);
        written.map_err(|error| DriverError::Failed(error.to_string()))
    }
}

/// What is in the directory besides the folders of generations and of exports.
fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).expect("a directory");
    let names = entries.map(|entry| entry.expect("one").file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "generations" && name != "exports").collect()
}

/// The first bytes of a volume as a guest sees them.
fn content(path: &Path, count: usize) -> Vec<u8> {
    let raw = path.with_extension("raw");
    let done = std::process::Command::new("qemu-img")
        .args(["convert", "-f", "qcow2", "-O", "raw"])
        .args([path, &raw])
        .status();
    assert!(done.expect("qemu-img").success());
    let mut bytes = std::fs::read(&raw).expect("a file");
    std::fs::remove_file(raw).expect("removed");
    bytes.truncate(count);
    bytes
}

#[tokio::test]
async fn a_volume_is_made_found_grown_and_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = volumes(directory.path());
    assert_eq!(driver.find(FILE, DiskFormat::Qcow2).await, Ok(None));
    for _ in 0..2 {
        driver.create(&spec(FILE, 1)).await.expect("made, and made again");
    }
    let found = driver.find(FILE, DiskFormat::Qcow2).await.expect("looked").expect("there");
    assert_eq!(found.size_gib, 1);
    for _ in 0..2 {
        driver.grow(&spec(FILE, 3)).await.expect("grown, and grown again");
    }
    let found = driver.find(FILE, DiskFormat::Qcow2).await.expect("looked").expect("there");
    assert_eq!(found.size_gib, 3);
    assert_eq!(driver.files().await.expect("listed"), [FILE]);
    for _ in 0..2 {
        driver.delete(FILE, 2).await.expect("removed, and removed again");
    }
    assert!(files(directory.path()).is_empty());
}

#[tokio::test]
async fn an_older_generation_is_refused_also_by_the_next_process() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = || volumes(directory.path());
    let old = spec(FILE, 1);
    let (first, newer) = (driver(), FileSpec { generation: 2, size_gib: 2, ..old.clone() });
    first.create(&newer).await.expect("made");
    first.create(&spec(OTHER, 1)).await.expect("made");
    let image = Image::new("raw", b"plain".to_vec());
    for driver in [first, driver()] {
        let bigger = FileSpec { size_gib: 9, ..old.clone() };
        assert_eq!(driver.grow(&bigger).await, Err(DriverError::Stale));
        assert_eq!(driver.delete(FILE, 1).await, Err(DriverError::Stale));
        let found = driver.find(FILE, DiskFormat::Qcow2).await.expect("looked").expect("there");
        assert_eq!(found.size_gib, 2);
    }
    driver().delete(FILE, 3).await.expect("removed");
    for driver in [driver(), driver()] {
        assert_eq!(driver.create(&newer).await, Err(DriverError::Stale));
        assert_eq!(driver.import(&newer, &image).await, Err(DriverError::Stale));
        let copied = driver.copy(&newer, OTHER, DiskFormat::Qcow2).await;
        assert_eq!(copied, Err(DriverError::Stale));
        assert_eq!(files(directory.path()), [OTHER.to_string()]);
    }
}

#[tokio::test]
async fn what_is_under_way_when_the_volume_goes_does_not_bring_it_back() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = volumes(directory.path());
    for round in 1..=5 {
        let old = FileSpec { generation: 2 * round - 1, ..spec(FILE, 1) };
        let (made, gone) = tokio::join!(driver.create(&old), driver.delete(FILE, 2 * round));
        // It is told that it is stale, or its program that the file went away beneath it.
        assert!(made.is_err(), "round {round}");
        assert_eq!(gone, Ok(()), "round {round}");
        assert_eq!(driver.find(FILE, DiskFormat::Qcow2).await, Ok(None));
    }
}

#[tokio::test]
async fn a_raw_volume_is_sparse_and_as_large_as_it_shall_be() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = volumes(directory.path());
    let raw = FileSpec { format: DiskFormat::Raw, ..spec(FILE, 2) };
    driver.create(&raw).await.expect("made");
    let length = std::fs::metadata(directory.path().join(FILE.to_string())).expect("it").len();
    assert_eq!(length, 2 << 30);
}

#[tokio::test]
async fn an_image_becomes_a_volume_and_a_volume_another_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = volumes(directory.path());
    let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| (n % 251) as u8).collect();
    let image = Image::new("raw", bytes.clone());
    driver.import(&spec(FILE, 1), &image).await.expect("imported");
    driver.copy(&spec(OTHER, 2), FILE, DiskFormat::Qcow2).await.expect("copied");
    let copy = driver.find(OTHER, DiskFormat::Qcow2).await.expect("looked").expect("there");
    assert_eq!(copy.size_gib, 2);
    assert!(content(&copy.path, bytes.len()) == bytes, "other bytes came out");
    assert_eq!(files(directory.path()).len(), 2, "something was left behind");
}

#[tokio::test]
async fn an_image_that_is_none_or_too_large_never_becomes_a_volume() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = volumes(directory.path());
    let odd = Image::new("iso", b"bytes".to_vec());
    let refused = driver.import(&spec(FILE, 1), &odd).await;
    assert!(matches!(refused, Err(DriverError::Impossible(_))), "{refused:?}");
    let not_one = Image::new("qcow2", b"plain".to_vec());
    assert!(driver.import(&spec(FILE, 1), &not_one).await.is_err());
    driver.delete(FILE, 1).await.expect("removed");
    driver.create(&spec(OTHER, 2)).await.expect("made");
    let larger = std::fs::read(directory.path().join(OTHER.to_string())).expect("a file");
    let refused = driver.import(&spec(FILE, 1), &Image::new("qcow2", larger)).await;
    assert!(matches!(refused, Err(DriverError::Impossible(_))), "{refused:?}");
    driver.delete(FILE, 1).await.expect("removed");
    assert_eq!(files(directory.path()), [OTHER.to_string()], "something was left behind");
}

#[tokio::test]
async fn an_image_that_has_come_is_not_fetched_again_by_the_next_attempt() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = volumes(directory.path());
    let image = Image::new("raw", b"plain".to_vec());
    // Where the volume is to be made, something is in the way.
    let partial = directory.path().join(format!("{FILE}.partial"));
    std::fs::create_dir(&partial).expect("made");
    driver.import(&spec(FILE, 1), &image).await.expect_err("imported");
    std::fs::remove_dir(&partial).expect("removed");
    driver.import(&spec(FILE, 1), &image).await.expect("imported");
    assert_eq!(image.fetches.load(Ordering::Relaxed), 1);
    assert_eq!(files(directory.path()), [FILE.to_string()], "something was left behind");
}

#[tokio::test]
async fn an_image_with_a_backing_file_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = volumes(directory.path());
    driver.create(&spec(OTHER, 1)).await.expect("made");
    let backed = directory.path().join("backed");
    let made = std::process::Command::new("qemu-img")
        .args(["create", "-q", "-f", "qcow2", "-F", "qcow2", "-b"])
        .args([directory.path().join(OTHER.to_string()), backed.clone()])
        .status();
    assert!(made.expect("qemu-img").success());
    let image = Image::new("qcow2", std::fs::read(backed).expect("a file"));
    let refused = driver.import(&spec(FILE, 1), &image).await;
    let words =
        DriverError::Impossible("the image names another file, which is not allowed".into());
    assert_eq!(refused, Err(words));
}

#[tokio::test]
async fn a_directory_has_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let driver = volumes(directory.path());
    let room = driver.room().await.expect("looked");
    assert!(room.total_gib > 0 && room.free_gib <= room.total_gib);
}
