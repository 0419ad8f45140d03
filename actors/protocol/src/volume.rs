//! What the volume actors tell each other and the rest.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol};
use uuid::Uuid;

use crate::{compute::Seal, hypervisor::DiskFormat};

/// Calls to this topic reach any volume server.
pub const API: &str = "volume.api";
/// What volume servers understand.
pub struct Api;
protocol!(Api = API);

/// Calls to this topic reach the volume node named.
pub const NODE: &str = "volume.node";
/// What the volume nodes of hosts understand.
pub struct Node;
protocol!(Node = NODE);

/// "Keep this volume for that server." Refused unless it is available, or kept by the same attachment.
/// The caller's principal travels in the context.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserve {
    /// The volume.
    pub volume: Uuid,
    /// The server.
    pub server: Uuid,
    /// The attachment to be.
    pub attachment: Uuid,
}
message!(call Reserve = Api / "reserve", Fenced,
    from ["control"], to ["control"], reply VolumeInfo);

/// "How does this host reach the volume?" (steps 22 to 25). The caller's token and principal travel in the
/// context and are checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// The volume.
    pub volume: Uuid,
    /// The attachment.
    pub attachment: Uuid,
    /// The server.
    pub server: Uuid,
    /// The host that will reach it.
    pub host: String,
    /// Of the server's want; an older one than the attachment remembers is refused.
    pub generation: u64,
    /// That this generation of the server is placed on this host.
    pub seal: Seal,
}
message!(call Connect = Api / "connect", Fenced,
    from ["compute"], to ["control"], reply Connection);

/// What a volume is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeInfo {
    /// The volume.
    pub volume: Uuid,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_gib: u64,
    /// Whether a server can boot from it.
    pub bootable: bool,
    /// The host that has its bytes.
    pub host: String,
}

/// How a host reaches a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// What it is.
    pub volume: VolumeInfo,
    /// Its file, on the host that has it.
    pub path: PathBuf,
    /// The file's format.
    pub format: DiskFormat,
    /// Where it is served to the host that asked; `None` on the host that has the file.
    #[serde(default)]
    pub remote: Option<Export>,
}

/// Where a volume's file is served, by the NBD protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Export {
    /// An address of the host that has the file.
    pub address: String,
    /// The TCP port there.
    pub port: u16,
    /// The export's name: that of the attachment it is for.
    pub name: String,
    /// It is spoken under TLS, with the certificates of the cloud on both sides: the name that the server's bears.
    pub tls: Option<String>,
}

/// "The guest sees it", with the device's name: the volume is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The volume.
    pub volume: Uuid,
    /// The attachment.
    pub attachment: Uuid,
    /// Such as `/dev/vdb`.
    pub device: String,
}
message!(call Attached = Api / "attached", Fenced,
    from ["control"], to ["control"], reply ());

/// "The attachment is over": asked only when the guest is confirmed to have let go, or is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// The volume.
    pub volume: Uuid,
    /// The attachment.
    pub attachment: Uuid,
}
message!(call Release = Api / "release", Fenced,
    from ["control"], to ["control"], reply ());

/// "Make the volume, or its snapshot, so." Fenced by its generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realize {
    /// What is wanted.
    pub want: FileWant,
}
message!(call Realize = Node / "realize", Fenced,
    from ["control"], to ["compute"], reply Realized, deadline_ms 30_000);

/// "What is wanted of this file on my host?" A node asks about what it did not know before, and now and then about what
/// it has. Answered with the newest want for the asking host; with none if nothing is wanted there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetFile {
    /// The volume or snapshot.
    pub id: Uuid,
}
message!(call GetFile = Api / "get_file", Fenced,
    from ["compute"], to ["control"], reply Option<FileWant>);

/// What a volume node is to make of one file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileWant {
    /// The volume or snapshot.
    pub id: Uuid,
    /// Grows whenever the rest changes.
    pub generation: u64,
    /// Whether it shall be.
    pub present: bool,
    /// Its size.
    pub size_gib: u64,
    /// The file's format.
    pub format: DiskFormat,
    /// What it starts as.
    pub source: FileSource,
    /// Whom it is served to over the network; `None`: it is not.
    #[serde(default)]
    pub export: Option<ExportWant>,
}

/// Whom a volume's file is served to: one attachment, and the host of its guest alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportWant {
    /// The attachment.
    pub attachment: Uuid,
    /// The one host that may connect.
    pub host: String,
}

/// What a volume's file starts as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileSource {
    /// Zeros.
    Empty,
    /// A copy of another volume's or snapshot's file on the same host.
    File(Uuid),
    /// An image's bytes.
    Image(Uuid),
}

/// What a volume node made of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Realized {
    /// The generation served.
    pub generation: u64,
    /// Where it is; `None` when it is gone.
    pub path: Option<PathBuf>,
    /// Where it is served, if that is wanted.
    pub export: Option<Export>,
}

/// "How much room has this node?"
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Survey;
message!(call Survey = Node / "survey", Fenced,
    from ["control"], to ["compute"], reply Room, deadline_ms 3_000);

/// The room of a volume node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// All there is.
    pub total_gib: u64,
    /// What is left of it now.
    pub free_gib: u64,
}
