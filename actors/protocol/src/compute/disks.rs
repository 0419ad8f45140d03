//! A server's root disk on its way from one host to another: nobody writes to it from before the copy begins until a
//! host has it alone.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use updraft_runtime::message;
use uuid::Uuid;

use super::{Conductor, Node};
use crate::image::ImageLocation;

/// Where the root disk of a server is to be, and where it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum RootDisk {
    /// On the host, with the guest: made from the image if it is not there, and gone with the guest.
    #[default]
    Here,
    /// On the host since before the guest left it; never made anew.
    Kept,
    /// On the host, as a copy of what another one keeps.
    CopyOf {
        /// That host.
        host: String,
        /// The generation that it is kept at there.
        generation: u64,
    },
    /// Without the guest: it stays, for another host to copy.
    Parked,
}

/// "Where is the disk that I am to copy?" Answered only to the host that the server is placed on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindDisk {
    /// The server.
    pub server: Uuid,
}
message!(call FindDisk = Conductor / "find_disk", Fenced,
    from ["compute"], to ["control"], reply SocketAddr);

/// "This host asks for a disk that I keep: may it have it?"
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MayCopyDisk {
    /// The server.
    pub server: Uuid,
    /// The host that asks.
    pub host: String,
    /// The generation that it asks for.
    pub generation: u64,
}
message!(call MayCopyDisk = Conductor / "may_copy_disk", Fenced,
    from ["compute"], to ["control"], reply bool);

/// "What do you keep of this server?" Asked by the host that is to copy it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescribeDisk {
    /// The server.
    pub server: Uuid,
    /// The generation that it is kept at.
    pub generation: u64,
}
message!(call DescribeDisk = Node / "describe_disk", Fenced,
    from ["compute"], to ["compute"], reply KeptDisk);

/// What a host keeps of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDisk {
    /// The images that its files are made over, the root disk's first.
    pub images: Vec<ImageLocation>,
}

/// "Give me this file of the server": a body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyDisk {
    /// The server.
    pub server: Uuid,
    /// The generation that it is kept at.
    pub generation: u64,
    /// Which file.
    pub file: DiskFile,
}
message!(body CopyDisk = Node / "copy_disk", from ["compute"], to ["compute"]);

/// A file of a server's disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DiskFile {
    /// What was written since the disk was made.
    Root,
    /// One of the images that it was made over.
    Image(Uuid),
}
