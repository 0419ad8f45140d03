//! With the real `qemu-img`, in a directory of its own.

use std::{fs, process::Command, time::Duration};

use base16ct::lower;
use serde_json::Value;
use sha2::{Digest, Sha512};
use tempfile::TempDir;

use super::{cache::UNUSED_MAX, *};

const SERVER: Uuid = Uuid::from_u128(1);

fn disks() -> (TempDir, FileDisks) {
    let folder = tempfile::tempdir().expect("a folder");
    let disks = FileDisks::new(&Env::real(), folder.path().to_owned());
    (folder, disks)
}

fn location(disk_format: &str, bytes: &[u8]) -> ImageLocation {
    ImageLocation {
        image: Uuid::from_u128(2),
        name: String::new(),
        uri: String::new(),
        status: "active".to_owned(),
        disk_format: disk_format.to_owned(),
        container_format: "bare".to_owned(),
        size_bytes: bytes.len() as u64,
        virtual_size_bytes: None,
        sha512: lower::encode_string(&Sha512::digest(bytes)),
        min_disk_gib: 0,
        min_ram_mib: 0,
        kernel: None,
        ramdisk: None,
        properties: [].into(),
    }
}

/// Brings an image of these bytes to the host.
async fn bring(disks: &FileDisks, disk_format: &str, bytes: Vec<u8>) -> ImageLocation {
    let image = location(disk_format, &bytes);
    let mut sink = disks.receive(&image).await.expect("begun");
    sink.write(bytes.into()).await.expect("written");
    sink.finish().await.expect("kept");
    image
}

fn qemu_img(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("qemu-img").args(arguments).output().expect("qemu-img");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A qcow2 image made with these options, of this size.
fn qcow2(options: &[&str], size: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("image").display().to_string();
    let create = ["create", "-q", "-f", "qcow2"];
    qemu_img(&[&create, options, &[file.as_str(), size][..]].concat());
    fs::read(file).expect("the image")
}

#[tokio::test]
async fn a_root_disk_shows_the_image_and_is_as_large_as_the_flavor_says() {
    let (_folder, disks) = disks();
    let image = bring(&disks, "qcow2", qcow2(&[], "1M")).await;
    let (path, format) = disks.make_root(SERVER, &image, 1).await.expect("made");
    assert_eq!(format, DiskFormat::Qcow2);
    let file = path.display().to_string();
    let info = qemu_img(&["info", "--output=json", "-f", "qcow2", &file]);
    let info: Value = serde_json::from_slice(&info).expect("JSON");
    assert_eq!(info["virtual-size"], GIB);
    assert_eq!(info["backing-filename-format"], "qcow2");
    assert_eq!(disks.make_root(SERVER, &image, 1).await.expect("made already").0, path);
}

#[tokio::test]
async fn no_root_disk_is_made_of_an_image_that_names_another_file() {
    let (folder, disks) = disks();
    let secret = folder.path().join("secret");
    fs::write(&secret, vec![b's'; 1 << 20]).expect("written");
    let secret = secret.display().to_string();
    let elsewhere = folder.path().join("data").display().to_string();
    let backed = qcow2(&["-F", "raw", "-b", &secret], "1M");
    let external = qcow2(&["-o", &format!("data_file={elsewhere}")], "1M");
    for bytes in [backed, external] {
        let image = bring(&disks, "qcow2", bytes).await;
        let refused = disks.make_root(SERVER, &image, 1).await.expect_err("made");
        assert_eq!(refused, DiskError::Unsafe { image: image.image });
        assert!(!refused.may_succeed_elsewhere());
    }
}

#[tokio::test]
async fn the_bytes_of_a_raw_image_are_never_taken_for_another_format() {
    let (folder, disks) = disks();
    let secret = folder.path().join("secret");
    fs::write(&secret, vec![b's'; 1 << 20]).expect("written");
    let secret = secret.display().to_string();
    let bytes = qcow2(&["-F", "raw", "-b", &secret], "1M");
    let image = bring(&disks, "raw", bytes.clone()).await;
    let (path, _) = disks.make_root(SERVER, &image, 0).await.expect("made");
    let (disk, shown) = (path.display().to_string(), folder.path().join("shown"));
    // As the hypervisor does: the overlay's format is said, the overlay says that of the image.
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", &disk, &shown.display().to_string()]);
    let shown = fs::read(shown).expect("what a guest sees");
    assert!(shown.starts_with(&bytes), "the guest sees something else than the image's bytes");
}

#[tokio::test]
async fn a_small_file_that_is_a_large_disk_needs_a_large_flavor() {
    let (_folder, disks) = disks();
    let image = bring(&disks, "qcow2", qcow2(&[], "2G")).await;
    let refused = disks.make_root(SERVER, &image, 1).await.expect_err("made");
    assert_eq!(
        refused.to_string(),
        "Flavor's disk is too small for requested image. Flavor disk is 1073741824 bytes, image is \
         2147483648 bytes."
    );
    assert!(!refused.may_succeed_elsewhere());
    disks.make_root(SERVER, &image, 2).await.expect("it fits");
}

impl FileDisks {
    /// Lets an image look as if it was last used so long ago.
    fn age(&self, image: &ImageLocation, by: Duration) {
        let file = fs::File::open(self.image(image)).expect("the image");
        file.set_modified(self.wall() - by).expect("changed");
    }

    async fn has(&self, image: &ImageLocation) -> bool {
        self.look_over_images().await.expect("looked over");
        self.image(image).exists()
    }
}

#[tokio::test]
async fn an_image_that_nobody_uses_stays_for_a_day() {
    let (_folder, disks) = disks();
    let image = bring(&disks, "raw", b"bytes".to_vec()).await;
    disks.age(&image, UNUSED_MAX - Duration::from_secs(60));
    assert!(disks.has(&image).await, "it was used today");
    disks.age(&image, UNUSED_MAX);
    assert!(!disks.has(&image).await, "it was not used for a day");
    assert_eq!(disks.cached(&image).await, Ok(false));
}

#[tokio::test]
async fn who_asks_for_an_image_finds_it_when_it_is_made_a_disk_of() {
    let (_folder, disks) = disks();
    let image = bring(&disks, "raw", b"bytes".to_vec()).await;
    disks.age(&image, UNUSED_MAX);
    assert_eq!(disks.cached(&image).await, Ok(true));
    assert!(disks.has(&image).await, "it is about to be used");
}

#[tokio::test]
async fn an_image_stays_for_as_long_as_a_server_has_it_and_a_day_more() {
    let (_folder, disks) = disks();
    let image = bring(&disks, "raw", b"bytes".to_vec()).await;
    disks.make_root(SERVER, &image, 1).await.expect("made");
    disks.age(&image, UNUSED_MAX);
    assert!(disks.has(&image).await, "a server has it");
    disks.remove(SERVER).await.expect("removed");
    assert!(disks.has(&image).await, "a server had it a moment ago");
    disks.age(&image, UNUSED_MAX);
    assert!(!disks.has(&image).await, "nobody has it");
}

#[tokio::test]
async fn every_image_stays_while_there_is_a_server_of_before_the_links() {
    let (_folder, disks) = disks();
    let image = bring(&disks, "raw", b"bytes".to_vec()).await;
    disks.make_root(SERVER, &image, 1).await.expect("made");
    let link = disks.server(SERVER).join(format!("{LINK}{}", image.sha512));
    fs::remove_file(link).expect("removed");
    disks.age(&image, UNUSED_MAX);
    assert!(disks.has(&image).await, "its disk may need it");
    disks.remove(SERVER).await.expect("removed");
    disks.age(&image, UNUSED_MAX);
    assert!(!disks.has(&image).await, "nobody needs it");
}

#[tokio::test]
async fn what_a_server_boots_from_is_its_own_whatever_becomes_of_the_cache() {
    let (folder, disks) = disks();
    let bytes = qcow2(&[], "1M");
    let image = bring(&disks, "qcow2", bytes.clone()).await;
    let (root, _) = disks.make_root(SERVER, &image, 1).await.expect("made");
    let kernel = disks.make_boot_file(SERVER, &image).await.expect("made");
    fs::remove_dir_all(disks.images()).expect("removed");
    assert_eq!(fs::read(kernel).expect("the kernel"), bytes);
    let shown = folder.path().join("shown").display().to_string();
    qemu_img(&["convert", "-f", "qcow2", "-O", "raw", &root.display().to_string(), &shown]);
}

#[tokio::test]
async fn what_a_killed_process_left_half_written_is_gone_on_with() {
    let (folder, killed) = disks();
    let image = location("raw", b"bytes");
    let mut sink = killed.receive(&image).await.expect("begun");
    sink.write(b"by".as_slice().into()).await.expect("written");
    // A killed process closes its files, and nothing else.
    drop((sink, killed));
    let disks = FileDisks::new(&Env::real(), folder.path().to_owned());
    disks.look_over_images().await.expect("looked over");
    assert_eq!(disks.cached(&image).await, Ok(false), "a part is taken for the image");
    let mut sink = disks.receive(&image).await.expect("begun");
    assert_eq!(sink.kept_bytes().await, Ok(2));
    sink.write(b"tes".as_slice().into()).await.expect("written");
    sink.finish().await.expect("kept");
    assert_eq!(disks.cached(&image).await, Ok(true));
    assert_eq!(fs::read(disks.image(&image)).expect("the image"), b"bytes");
}

#[tokio::test]
async fn what_nobody_goes_on_with_for_a_day_goes() {
    let (_folder, disks) = disks();
    let image = location("raw", b"bytes");
    let mut sink = disks.receive(&image).await.expect("begun");
    sink.write(b"by".as_slice().into()).await.expect("written");
    let entries =
        || fs::read_dir(disks.images()).expect("the folder").flatten().collect::<Vec<_>>();
    let part = entries()[0].path();
    let age = |by: Duration| {
        let file = fs::File::open(&part).expect("the part");
        file.set_modified(disks.wall() - by).expect("changed");
    };
    age(UNUSED_MAX);
    drop(disks.receive(&image).await.expect("begun"));
    disks.look_over_images().await.expect("looked over");
    assert_eq!(entries().len(), 1, "somebody is about to go on with it");
    age(UNUSED_MAX);
    disks.look_over_images().await.expect("looked over");
    assert_eq!(entries().len(), 0, "nobody wants it");
}

/// Brings what one host keeps of a server to another one, as a fetch does, from where the sink has it on.
async fn copy(from: &FileDisks, to: &FileDisks, generation: u64) {
    let digest = from.digest(SERVER).await.expect("read");
    let source = from.offer_root(SERVER, digest).await.expect("offered");
    let mut sink = to.receive_root(SERVER, generation).await.expect("begun").expect("not come");
    let mut at = sink.kept_bytes().await.expect("a length");
    while at < source.size_bytes() {
        let piece = source.read(at, 64 << 10).await.expect("a piece");
        at += piece.len() as u64;
        sink.write(piece).await.expect("written");
    }
    sink.finish().await.expect("kept");
}

#[tokio::test]
async fn a_root_disk_that_is_copied_shows_on_the_other_host_what_was_written_to_it() {
    let ((_here, from), (there, to)) = (disks(), disks());
    let image = bring(&from, "raw", vec![b'i'; 1 << 20]).await;
    let (path, _) = from.make_root(SERVER, &image, 0).await.expect("made");
    let written = there.path().join("written");
    fs::write(&written, vec![b'w'; 1 << 16]).expect("written");
    let target = path.display().to_string();
    let dd = ["convert", "-n", "-f", "raw", "-O", "qcow2", &written.display().to_string(), &target];
    qemu_img(&dd);
    let shown = |disk: &Path| {
        let out = disk.with_extension("raw");
        let (disk, out) = (disk.display().to_string(), out.display().to_string());
        qemu_img(&["convert", "-f", "qcow2", "-O", "raw", &disk, &out]);
        fs::read(out).expect("what a guest sees")
    };
    let before = shown(&path);
    assert_eq!((before[0], before[1 << 17]), (b'w', b'i'));
    bring(&to, "raw", vec![b'i'; 1 << 20]).await;
    copy(&from, &to, 3).await;
    assert!(to.receive_root(SERVER, 3).await.expect("looked").is_none(), "it has come");
    let (copied, format) = to.adopt_root(SERVER, &image, 3).await.expect("taken over");
    assert_eq!(format, DiskFormat::Qcow2);
    from.remove(SERVER).await.expect("removed");
    assert!(shown(&copied) == before, "the guest sees something else than it wrote");
    assert_eq!(to.kept_root(SERVER).await.expect("there").0, copied);
    assert!(from.kept_root(SERVER).await.is_err(), "no disk is made anew");
    let again = to.adopt_root(SERVER, &image, 3).await.expect("taken over already");
    assert_eq!(again.0, copied);
}

#[tokio::test]
async fn a_copy_goes_on_where_it_was_and_one_that_names_other_data_is_refused() {
    let ((_here, from), (there, to)) = (disks(), disks());
    let image = bring(&from, "raw", vec![b'i'; 1 << 20]).await;
    from.make_root(SERVER, &image, 0).await.expect("made");
    let mut sink = to.receive_root(SERVER, 3).await.expect("begun").expect("not come");
    sink.write(vec![b'x'; 100].into()).await.expect("written");
    drop(sink);
    let mut again = to.receive_root(SERVER, 3).await.expect("begun").expect("not come");
    assert_eq!(again.kept_bytes().await.expect("a length"), 100);
    let mut other = to.receive_root(SERVER, 4).await.expect("begun").expect("not come");
    assert_eq!(other.kept_bytes().await.expect("a length"), 0, "of another generation");
    bring(&to, "raw", vec![b'i'; 1 << 20]).await;
    let elsewhere = there.path().join("data").display().to_string();
    let foreign = qcow2(&["-o", &format!("data_file={elsewhere}")], "1M");
    other.write(foreign.into()).await.expect("written");
    other.finish().await.expect("kept");
    let refused = to.adopt_root(SERVER, &image, 4).await.expect_err("taken over");
    assert_eq!(refused, DiskError::Unsafe { image: image.image });
}
