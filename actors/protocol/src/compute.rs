//! What the compute actors tell each other and the rest.

mod disks;

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use updraft_runtime::{message, protocol, rpc::TraceContext};
use uuid::Uuid;

pub use self::disks::{
    CopyDisk, DescribeDisk, DiskFile, FindDisk, KeptDisk, MayCopyDisk, RootDisk,
};
use crate::{
    hypervisor::{ConsoleKind, HostReport, PowerState},
    network::{NicRequest, PortInfo},
};

/// Casts to this topic reach any scheduler.
pub const SCHEDULER: &str = "compute.scheduler";
/// What schedulers understand.
pub struct Scheduler;
protocol!(Scheduler = SCHEDULER);

/// Calls to this topic reach any conductor.
pub const CONDUCTOR: &str = "compute.conductor";
/// What conductors understand.
pub struct Conductor;
protocol!(Conductor = CONDUCTOR);

/// Messages to this topic reach the compute node named.
pub const NODE: &str = "compute.node";
/// What compute nodes understand.
pub struct Node;
protocol!(Node = NODE);

/// "Choose a host for this server" (document 000, step 6).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectHost {
    /// The server.
    pub server: Uuid,
}
message!(cast SelectHost = Scheduler / "select_host", from ["control"], to ["control"]);

/// "Something is wanted of this server on your host" (step 9): the node asks a conductor what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Converge {
    /// The server.
    pub server: Uuid,
    /// The generation of what is wanted; an older one than known is ignored.
    pub generation: u64,
    /// The request that it belongs to.
    pub trace: TraceContext,
}
message!(cast Converge = Node / "converge", from ["control"], to ["compute"]);

/// "What is wanted of this server?" (steps 10 to 12). Answered with the newest generation for the asking host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetServer {
    /// The server.
    pub server: Uuid,
}
message!(call GetServer = Conductor / "get_server", Fenced,
    from ["compute"], to ["control"], reply GuestWant);

/// "This is how the server is" (steps 27 and 28).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportServer {
    /// The server.
    pub server: Uuid,
    /// What the node sees.
    pub observation: Observation,
}
message!(call ReportServer = Conductor / "report_server", Fenced,
    from ["compute"], to ["control"], reply ReportTaken);

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportTaken {
    /// The generation now wanted on the reporting host, if anything is; larger than the report's means: ask.
    pub wanted_generation: Option<u64>,
}

/// Why a host's hypervisor says nothing of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unusable {
    /// In words.
    pub reason: String,
    /// Its node has only just started: it may still become usable by itself.
    pub starting: bool,
}

/// "This is how my host is."
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportHost {
    /// What the hypervisor says, or why it says nothing.
    pub hypervisor: Result<HostReport, Unusable>,
    /// The servers that the node has something of, with the generation it serves.
    pub guests: Vec<(Uuid, u64)>,
}
message!(call ReportHost = Conductor / "report_host", Fenced,
    from ["compute"], to ["control"], reply HostSlice);

/// The code of the fault that says that a host is down by an operator's word, so that it is to begin nothing.
pub const FORCED_DOWN: &str = "HostForcedDown";

/// What is wanted of a host, in short: what differs from its report is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSlice {
    /// The servers placed there, and what it is to clear away, with the generation wanted. A guest of the node that is not among them is
    /// not wanted by anybody and is reported, never removed unasked.
    pub servers: Vec<(Uuid, u64)>,
}

/// "Show the end of the server's console."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleLog {
    /// The server.
    pub server: Uuid,
    /// At most so many bytes, from the end.
    pub bytes_max: u32,
}
message!(call ConsoleLog = Node / "console_log", Fenced,
    from ["control"], to ["compute"], reply String);

/// "Let me talk to the server's console."
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenConsole {
    /// The server.
    pub server: Uuid,
    /// Which of its consoles.
    pub kind: ConsoleKind,
}
message!(tunnel OpenConsole = Node / "open_console", from ["control"], to ["compute"]);

/// "Show the server's screen": a PNG.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Screenshot {
    /// The server.
    pub server: Uuid,
}
message!(body Screenshot = Node / "screenshot", from ["control"], to ["compute"]);

/// The code of the fault that says that a guest has no such console now.
pub const NO_CONSOLE: &str = "ConsoleNotAvailable";

/// "The server's ports are up" (step 20); a hint that spares the node its next question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkReady {
    /// The server.
    pub server: Uuid,
    /// All its ports.
    pub ports: Vec<PortInfo>,
}
message!(cast NetworkReady = Node / "network_ready", from ["control"], to ["compute"]);

/// "The server's addresses changed", as by a floating IP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkChanged {
    /// The server.
    pub server: Uuid,
    /// All its ports.
    pub ports: Vec<PortInfo>,
}
message!(call NetworkChanged = Conductor / "network_changed", Fenced,
    from ["control"], to ["control"], reply ());

/// "A client has taken this port away from the server": nova hears the same as `network-vif-deleted`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortTaken {
    /// The server.
    pub server: Uuid,
    /// The port.
    pub port: Uuid,
    /// Its place among the server's interfaces.
    pub index: u32,
}
message!(call PortTaken = Conductor / "port_taken", Fenced,
    from ["control"], to ["control"], reply ());

/// "Who has this address, and what may it know about itself?" Asked by a host's metadata service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetMetadata {
    /// The server, as the port that has the address names it.
    pub server: Uuid,
}
message!(call GetMetadata = Conductor / "get_metadata", Fenced,
    from ["compute"], to ["control"], reply ServerMetadata);

/// What a server may know about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMetadata {
    /// The server.
    pub server: Uuid,
    /// Its name.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// Its project.
    pub project_id: String,
    /// Its availability zone.
    pub availability_zone: String,
    /// The user's keys and values.
    pub metadata: BTreeMap<String, String>,
    /// The key pair's name and public key.
    pub key: Option<(String, String)>,
    /// The user data, decoded.
    pub user_data: Option<Bytes>,
}

/// Whether a thing shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Goal {
    /// It shall be.
    Present,
    /// It shall be gone, with everything it holds.
    Absent,
}

/// Whether a guest shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Power {
    /// It shall run.
    On,
    /// It shall be stopped.
    Off,
}

/// A control node's word that a server is placed on a host, at a generation. A host keeps it and shows it to the
/// services that give it something for the server; it can neither make nor change one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seal(pub Bytes);

/// The code of the fault that says that a seal does not hold, or no longer: a conductor gives another one.
pub const NOT_SEALED: &str = "NotSealed";

/// Everything that is wanted of one server on one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestWant {
    /// The server.
    pub server: Uuid,
    /// Grows whenever any of the rest changes.
    pub generation: u64,
    /// Whether the guest shall be.
    pub goal: Goal,
    /// Whether it shall run.
    pub power: Power,
    /// How many hard and soft reboots have been asked for since it was created.
    pub reboots: Reboots,
    /// The hypervisor's name for it.
    pub instance_name: String,
    /// The server's name.
    pub name: String,
    /// Its project.
    pub project_id: String,
    /// What it is made of.
    pub flavor: FlavorSpec,
    /// What its root disk is made from; `None` boots from its first volume.
    pub image: Option<Uuid>,
    /// Its interfaces, by index.
    pub nics: Vec<NicRequest>,
    /// Security groups for ports made on the way, by name or id.
    pub security_groups: Vec<String>,
    /// Its volumes, those to be let go of among them.
    pub volumes: Vec<VolumeWant>,
    /// The request that last changed it.
    pub trace: TraceContext,
    /// Who asked: an encoded [`crate::identity::AuthContext`].
    pub context: Bytes,
    /// That this generation is placed on the host.
    #[serde(default)]
    pub seal: Seal,
    /// Where its root disk comes from, and whether that stays when the guest goes.
    #[serde(default)]
    pub disk: RootDisk,
}

/// How many reboots have been asked for.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Reboots {
    /// Without asking the guest.
    pub hard: u32,
    /// By asking the guest.
    pub soft: u32,
}

/// What a flavor says, copied when the server was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FlavorSpec {
    /// The flavor's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub ram_mib: u64,
    /// Root disk in GiB; 0 takes the image's size.
    pub disk_gib: u64,
    /// Further disk in GiB.
    pub ephemeral_gib: u64,
    /// Swap in MiB.
    pub swap_mib: u64,
    /// Further specifications.
    pub extra_specs: BTreeMap<String, String>,
}

/// What is wanted of one volume of a server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VolumeWant {
    /// The volume.
    pub volume: Uuid,
    /// The attachment, unique to this pair and occasion.
    pub attachment: Uuid,
    /// Whether it shall be attached; `Absent` asks the guest to let go.
    pub goal: Goal,
    /// Whether the server boots from it.
    pub boot: bool,
}

/// How far a guest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// The node knows what is wanted.
    Accepted,
    /// Ports and addresses are being made.
    Networking,
    /// Volumes and the image are being made ready.
    BlockDeviceMapping,
    /// The hypervisor is at work.
    Spawning,
    /// Everything wanted is so.
    Settled,
    /// Nothing of it is left on this host.
    Gone,
}

/// What a node sees of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The generation of the want that the node is serving.
    pub generation: u64,
    /// Grows with every change that the node sees within a generation.
    pub counter: u64,
    /// How far it is.
    pub stage: Stage,
    /// What the guest does.
    pub power: PowerState,
    /// The reboots that have been carried out.
    pub reboots: Reboots,
    /// The ports it has.
    pub ports: Vec<PortInfo>,
    /// The attachments that the guest sees, with the device's name on the host side.
    pub attached: Vec<(Uuid, String)>,
    /// Why the want cannot be met on this host.
    pub fault: Option<BuildFault>,
}

/// Why a want cannot be met.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BuildFault {
    /// For a person.
    pub message: String,
    /// Whether another host may fare better.
    pub elsewhere: bool,
}
