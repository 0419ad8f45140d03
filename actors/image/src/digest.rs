//! What passes through an upload: counted, hashed and looked at, never kept.

use base16ct::lower;
use md5::{Digest, Md5};
use sha2::Sha512;

use crate::inspect::Head;

/// The running sums of an upload.
#[derive(Clone, Default)]
pub(crate) struct Digests {
    md5: Md5,
    sha512: Sha512,
    head: Head,
    size_bytes: u64,
}

/// What an upload came to.
pub(crate) struct Sums {
    /// Lower-case hexadecimal.
    pub(crate) md5: String,
    /// Lower-case hexadecimal.
    pub(crate) sha512: String,
    pub(crate) size_bytes: u64,
    pub(crate) head: Head,
}

impl Digests {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.md5.update(bytes);
        self.sha512.update(bytes);
        self.head.update(bytes);
        self.size_bytes += bytes.len() as u64;
    }

    pub(crate) fn finish(self) -> Sums {
        Sums {
            md5: lower::encode_string(&self.md5.finalize()),
            sha512: lower::encode_string(&self.sha512.finalize()),
            size_bytes: self.size_bytes,
            head: self.head,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_do_not_depend_on_how_the_bytes_arrive() {
        let mut whole = Digests::default();
        whole.update(b"abc");
        let mut pieces = Digests::default();
        for byte in b"abc" {
            pieces.update(&[*byte]);
        }
        let (whole, pieces) = (whole.finish(), pieces.finish());
        assert_eq!(whole.md5, "900150983cd24fb0d6963f7d28e17f72");
        assert!(whole.sha512.starts_with("ddaf35a193617abacc417349ae204131"));
        assert_eq!((whole.md5, whole.sha512, 3), (pieces.md5, pieces.sha512, pieces.size_bytes));
    }
}
