//! Whether bytes are what they are said to be.
//!
//! Looks at the first kilobytes as they pass. A disk image may name other files that whoever opens it will
//! read: a backing file, an external data file. Such an image would hand out the files of the host that uses
//! it, so it is refused whatever its disk and its container are said to be.

/// How much of the beginning is kept: the last signature looked for, that of ISO 9660, ends at 32,774.
pub(crate) const HEAD_BYTES: usize = 33 * 1024;

/// The first bytes of an upload.
#[derive(Clone, Default)]
pub(crate) struct Head(Vec<u8>);

impl Head {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let room = HEAD_BYTES.saturating_sub(self.0.len());
        self.0.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn has(&self, offset: usize, signature: &[u8]) -> bool {
        self.0.get(offset..offset + signature.len()) == Some(signature)
    }

    fn number<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..offset + N)?.try_into().ok()
    }
}

/// What was refused, in words for the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("Image disk_format {declared} does not match stream data {found}")]
    Mismatch { declared: String, found: &'static str },
    #[error("Image failed safety checks: {0}")]
    Unsafe(&'static str),
}

/// Containers that add nothing: the bytes are those of the disk, the kernel or the ramdisk itself.
const PLAIN_CONTAINERS: [&str; 4] = ["bare", "ami", "aki", "ari"];

/// Formats that have a signature to look for.
const RECOGNISED: [&str; 7] = ["qcow2", "vhd", "vhdx", "vmdk", "vdi", "iso", "luks"];

/// Judges the beginning of an image of `size_bytes` whose disk is said to be `declared`, in a `container`; the
/// size that a guest will see, if it can be told.
pub(crate) fn inspect(
    head: &Head,
    container: &str,
    declared: &str,
    size_bytes: u64,
) -> Result<Option<u64>, Refused> {
    let found = recognise(head);
    if found == "qcow2" {
        check_qcow2(head)?;
    }
    if !PLAIN_CONTAINERS.contains(&container) {
        // Where the disk begins in it is not known.
        return Ok(None);
    }
    if found == declared {
        return Ok(match found {
            "qcow2" => head.number(24).map(u64::from_be_bytes),
            "raw" => Some(size_bytes),
            _ => None,
        });
    }
    match declared {
        "raw" => Ok(Some(size_bytes)),
        _ if found == "raw" && !RECOGNISED.contains(&declared) => Ok(None),
        _ => Err(Refused::Mismatch { declared: declared.to_owned(), found }),
    }
}

fn recognise(head: &Head) -> &'static str {
    const SIGNATURES: [(&str, usize, &[u8]); 7] = [
        ("qcow2", 0, b"QFI\xfb"),
        ("vhd", 0, b"conectix"),
        ("vhdx", 0, b"vhdxfile"),
        ("vmdk", 0, b"KDMV"),
        ("vdi", 0x40, b"\x7f\x10\xda\xbe"),
        ("iso", 0x8001, b"CD001"),
        ("luks", 0, b"LUKS\xba\xbe"),
    ];
    let found = SIGNATURES.into_iter().find(|(_, offset, bytes)| head.has(*offset, bytes));
    found.map_or("raw", |(name, _, _)| name)
}

/// Bits of a version 3 header that whoever opens the image must understand, and that name no other file:
/// dirty, corrupt, compression type, extended L2 entries.
const QCOW2_HARMLESS_BITS: u64 = 0b1_1011;
/// The image's data is in another file.
const QCOW2_DATA_FILE_BIT: u64 = 0b100;

fn check_qcow2(head: &Head) -> Result<(), Refused> {
    let truncated = Refused::Unsafe("the qcow2 header is cut off");
    let version = head.number(4).map(u32::from_be_bytes).ok_or_else(|| truncated.clone())?;
    let backing_file = head.number(8).map(u64::from_be_bytes).ok_or_else(|| truncated.clone())?;
    if backing_file != 0 {
        return Err(Refused::Unsafe("the qcow2 image has a backing file"));
    }
    match version {
        2 => head.number::<72>(0).map(|_| ()).ok_or(truncated),
        3 => match head.number(72).map(u64::from_be_bytes) {
            None => Err(truncated),
            Some(bits) if bits & QCOW2_DATA_FILE_BIT != 0 => {
                Err(Refused::Unsafe("the qcow2 image keeps its data in another file"))
            }
            Some(bits) if bits & !QCOW2_HARMLESS_BITS != 0 => {
                Err(Refused::Unsafe("the qcow2 image uses features that are not known"))
            }
            Some(_) => Ok(()),
        },
        _ => Err(Refused::Unsafe("the qcow2 image is of an unknown version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::{CONTAINER_FORMATS, DISK_FORMATS};

    fn head(bytes: &[u8]) -> Head {
        let mut head = Head::default();
        head.update(bytes);
        head
    }

    /// A version 3 header for a disk of 1 GiB.
    fn qcow2() -> Vec<u8> {
        let mut bytes = vec![0; 112];
        bytes[..4].copy_from_slice(b"QFI\xfb");
        bytes[7] = 3;
        bytes[24..32].copy_from_slice(&(1_u64 << 30).to_be_bytes());
        bytes
    }

    #[test]
    fn a_qcow2_image_tells_the_size_that_a_guest_sees() {
        assert_eq!(inspect(&head(&qcow2()), "bare", "qcow2", 112), Ok(Some(1 << 30)));
    }

    #[test]
    fn what_is_declared_must_be_what_arrives() {
        let refused = inspect(&head(b"plain"), "bare", "qcow2", 5).expect_err("accepted");
        let words = "Image disk_format qcow2 does not match stream data raw";
        assert_eq!(refused.to_string(), words);
        assert!(inspect(&head(&qcow2()), "bare", "vmdk", 112).is_err());
    }

    #[test]
    fn raw_and_formats_without_a_signature_take_anything_harmless() {
        assert_eq!(inspect(&head(b"plain"), "bare", "raw", 5), Ok(Some(5)));
        assert_eq!(inspect(&head(&qcow2()), "bare", "raw", 112), Ok(Some(112)));
        assert_eq!(inspect(&head(b"plain"), "bare", "aki", 5), Ok(None));
    }

    #[test]
    fn an_image_that_names_other_files_is_refused_whatever_it_is_said_to_be() {
        let (mut backed, mut external) = (qcow2(), qcow2());
        backed[15] = 104;
        external[79] = 0b100;
        for bytes in [&backed, &external] {
            for container in CONTAINER_FORMATS {
                for disk in DISK_FORMATS {
                    let judged = inspect(&head(bytes), container, disk, 112);
                    assert!(matches!(judged, Err(Refused::Unsafe(_))), "{disk} in {container}");
                }
            }
        }
    }

    #[test]
    fn what_is_inside_another_container_is_not_compared_and_has_no_size() {
        assert_eq!(inspect(&head(b"a tar of a disk"), "ova", "vmdk", 15), Ok(None));
        assert_eq!(inspect(&head(&qcow2()), "ovf", "qcow2", 112), Ok(None));
        assert!(inspect(&head(b"plain"), "ami", "qcow2", 5).is_err(), "ami is no container");
    }

    #[test]
    fn a_header_that_is_cut_off_is_refused() {
        assert!(inspect(&head(&qcow2()[..40]), "bare", "qcow2", 40).is_err());
        assert!(inspect(&head(b"QFI\xfb"), "bare", "qcow2", 4).is_err());
    }
}
