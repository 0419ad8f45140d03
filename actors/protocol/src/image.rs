//! What the image actor is asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use updraft_runtime::{bulk::Digest, message, protocol};
use uuid::Uuid;

/// What image servers understand.
pub struct Api;
protocol!(Api = "image.api");

/// "Where is this image, and what is it?" (steps 13 to 15). The caller's token and principal travel in the
/// context and are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locate {
    /// The image.
    pub image: Uuid,
}
message!(call Locate = Api / "locate", Fenced, from ["compute", "control"], to ["control"],
    reply ImageLocation);

/// An image's location and metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLocation {
    /// The image.
    pub image: Uuid,
    /// Its name.
    pub name: String,
    /// Where its bytes are: `updraft+image:///ID`, given to [`Fetch`].
    pub uri: String,
    /// `active`, or why not.
    pub status: String,
    /// `qcow2`, `raw`, `aki`, `ari` ...
    pub disk_format: String,
    /// `bare`, `aki` ...
    pub container_format: String,
    /// Its length.
    pub size_bytes: u64,
    /// What a guest sees, if the format says so: a few MiB of qcow2 may be a disk of many GiB.
    #[serde(default)]
    pub virtual_size_bytes: Option<u64>,
    /// Lower-case hexadecimal SHA-512 of its bytes.
    pub sha512: String,
    /// Least root disk in GiB.
    pub min_disk_gib: u64,
    /// Least memory in MiB.
    pub min_ram_mib: u64,
    /// The kernel's image, for a boot without a boot loader.
    pub kernel: Option<Uuid>,
    /// The ramdisk's image.
    pub ramdisk: Option<Uuid>,
    /// Everything else that the user wrote on it.
    pub properties: BTreeMap<String, String>,
}

impl ImageLocation {
    /// How large a disk has to be to hold it, as far as is known.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.virtual_size_bytes.unwrap_or(self.size_bytes)
    }

    /// What its bytes are known by; `None` if what it says is no SHA-512.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        Digest::from_hex(&self.sha512)
    }
}

/// "Give me its bytes": a body, known by the image's SHA-512. The caller's token and principal travel in the context and
/// are checked each time that the fetch goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetch {
    /// The image.
    pub image: Uuid,
}
message!(body Fetch = Api / "fetch", from ["compute", "control"], to ["control"]);
