//! What a compute node asks of its hypervisor, and what it hears back.
//!
//! The same operations reach the simulated driver by a function call and the libvirt driver by its
//! standard input and output: one JSON object a line, a [`Request`] in, an [`Outgoing`] out.
//! Every operation is idempotent, names the generation of the want that it serves, and is refused
//! ([`DriverError::Stale`]) when the driver has already served a newer generation of that guest.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::volume::Export;

/// Largest picture of a screen: one of 4K pixels that nothing repeats in is larger, and no console is that.
pub const PICTURE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// One request to a driver process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Chosen by the asker; the answer repeats it.
    pub id: u64,
    /// How long the asker waits.
    pub deadline_ms: u32,
    /// What to do.
    pub op: Op,
}

/// One line from a driver process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outgoing {
    /// The answer to a request.
    Answer {
        /// The request's id.
        id: u64,
        /// What came of it.
        result: Result<Answer, DriverError>,
    },
    /// Something happened by itself.
    Event(GuestEvent),
}

/// An operation on the host or on one guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Op {
    /// What the host is and has.
    Probe,
    /// Which guests exist, and their states.
    List,
    /// One guest's state.
    Describe {
        /// The guest.
        guest: Uuid,
    },
    /// Make the guest known to the hypervisor with exactly these devices; it does not start.
    /// A stopped guest that is known already is defined anew.
    Define(Box<GuestSpec>),
    /// Let it run. A guest that runs already is a success.
    Start(GuestRef),
    /// Let it stop: politely for `grace_ms`, then by force. A stopped guest is a success.
    Stop {
        /// The guest.
        guest: GuestRef,
        /// How long the guest may take to shut down by itself; 0 pulls the plug.
        grace_ms: u32,
    },
    /// Restart it; `hard` pulls the plug.
    Reboot {
        /// The guest.
        guest: GuestRef,
        /// Whether the guest is not asked.
        hard: bool,
    },
    /// Stop it and forget it with everything that `Define` made. An unknown guest is a success.
    Remove(GuestRef),
    /// Plug a disk into a guest, running or not. A disk plugged already is a success.
    AttachDisk {
        /// The guest.
        guest: GuestRef,
        /// The disk.
        disk: Disk,
    },
    /// Unplug a disk and wait until the guest has let go of it. A missing disk is a success.
    DetachDisk {
        /// The guest.
        guest: GuestRef,
        /// The disk's serial.
        serial: String,
    },
    /// Plug an interface.
    AttachInterface {
        /// The guest.
        guest: GuestRef,
        /// The interface.
        interface: Interface,
    },
    /// Unplug an interface by its MAC address.
    DetachInterface {
        /// The guest.
        guest: GuestRef,
        /// Lower-case, colons.
        mac_address: String,
    },
    /// Where the guest's console listens, if the guest runs.
    Console {
        /// The guest.
        guest: Uuid,
        /// Which of its consoles.
        kind: ConsoleKind,
    },
    /// A picture of the guest's screen, if it runs.
    Screenshot {
        /// The guest.
        guest: Uuid,
    },
    /// The last bytes of what the guest wrote to its serial console.
    ConsoleLog {
        /// The guest.
        guest: Uuid,
        /// At most so many bytes, from the end.
        bytes_max: u32,
    },
}

/// What a guest can be talked to by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConsoleKind {
    /// Its screen, keyboard and mouse: RFB, the protocol of VNC, without a password.
    Screen,
    /// Its first serial line.
    Serial,
}

/// A guest and the generation of the want that an operation serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRef {
    /// The server's id; also the hypervisor's own id for the guest.
    pub guest: Uuid,
    /// The generation of the want.
    pub generation: u64,
}

/// Everything a guest is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSpec {
    /// Which guest, for which generation.
    pub guest: GuestRef,
    /// The hypervisor's name for it, such as `instance-1b2c3d4e`.
    pub name: String,
    /// The server's own name, for people who look at the hypervisor.
    pub title: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// How it starts.
    pub boot: Boot,
    /// Its disks; the first is the root disk.
    pub disks: Vec<Disk>,
    /// Its interfaces.
    pub interfaces: Vec<Interface>,
    /// Where its serial console is written to.
    pub console_log: PathBuf,
}

/// How a guest starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Boot {
    /// From its first disk.
    Disk,
    /// A kernel that the hypervisor loads itself.
    Kernel {
        /// The kernel's file.
        kernel: PathBuf,
        /// The ramdisk's file.
        ramdisk: Option<PathBuf>,
        /// The kernel's command line.
        command_line: String,
    },
}

/// A disk of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Names the disk inside the guest (`/sys/block/*/serial`); at most 20 characters reach it.
    pub serial: String,
    /// Its file on the host.
    pub path: PathBuf,
    /// The file's format.
    pub format: DiskFormat,
    /// Whether the guest may not write.
    pub read_only: bool,
    /// Where it is served, if its file is on another host; path and format are then the file's there.
    #[serde(default)]
    pub remote: Option<Export>,
}

/// The format of a disk file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskFormat {
    /// Plain bytes.
    Raw,
    /// QEMU copy on write, version 2 or 3.
    Qcow2,
}

/// A network interface of a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The port it belongs to.
    pub port: Uuid,
    /// Lower-case, colons.
    pub mac_address: String,
    /// The tap device on the host, made beforehand by the L2 agent.
    pub tap: String,
    /// Largest packet.
    pub mtu: u32,
}

/// What a driver answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Done.
    Done,
    /// To [`Op::Probe`].
    Host(HostReport),
    /// To [`Op::List`].
    Guests(Vec<GuestReport>),
    /// To [`Op::Describe`] and to whatever changed one guest.
    Guest(GuestReport),
    /// To [`Op::ConsoleLog`].
    Console(String),
    /// To [`Op::Screenshot`]: a PNG of at most [`PICTURE_MAX_BYTES`], in base64.
    Picture(String),
    /// To [`Op::Console`]: a Unix socket of this host that is nobody else's to open.
    Socket(PathBuf),
}

/// What the host is and has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostReport {
    /// `QEMU`, or `simulated`.
    pub hypervisor_type: String,
    /// Its version as OpenStack counts: major * 1,000,000 + minor * 1,000 + micro.
    pub hypervisor_version: u32,
    /// `qemu` (emulated) or `kvm`.
    pub virt_type: String,
    /// Processors.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Disk in GiB below the instances' folder.
    pub disk_gib: u64,
    /// `x86_64`.
    pub architecture: String,
}

/// What a guest does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum PowerState {
    /// It runs.
    Running,
    /// It exists and does not run.
    Shutdown,
    /// It was stopped by a fault of its own.
    Crashed,
    /// It is held.
    Paused,
    /// The hypervisor does not know it.
    Absent,
}

/// One guest as the hypervisor sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestReport {
    /// Which guest, and the newest generation served.
    pub guest: GuestRef,
    /// What it does.
    pub power: PowerState,
    /// The serials of its disks.
    pub disks: Vec<String>,
    /// The MAC addresses of its interfaces.
    pub mac_addresses: Vec<String>,
}

/// A change that nobody asked for through this driver.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestEvent {
    /// A guest's power state changed.
    Power {
        /// The guest.
        guest: Uuid,
        /// Its new state.
        power: PowerState,
    },
    /// A guest let go of a disk.
    DiskRemoved {
        /// The guest.
        guest: Uuid,
        /// The disk's serial.
        serial: String,
    },
    /// The connection to the hypervisor is gone or back.
    Hypervisor {
        /// Whether operations can succeed.
        available: bool,
        /// Why not, in words.
        reason: String,
    },
}

/// Why a driver did not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum DriverError {
    /// It tried and the hypervisor said no.
    #[error("the hypervisor refused: {0}")]
    Failed(String),
    /// The driver already served a newer generation of this guest.
    #[error("generation {asked} of the guest is older than {served}")]
    Stale {
        /// The operation's.
        asked: u64,
        /// The driver's.
        served: u64,
    },
    /// The hypervisor cannot be reached.
    #[error("the hypervisor cannot be reached: {0}")]
    Unavailable(String),
    /// No answer in time; it may or may not have happened.
    #[error("the hypervisor gave no answer within {0} ms")]
    Unknown(u32),
    /// The hypervisor does not know the guest.
    #[error("the hypervisor does not know guest {0}")]
    NoGuest(Uuid),
}
