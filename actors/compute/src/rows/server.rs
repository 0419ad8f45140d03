//! A server: its goal, its placement and what its host sees.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use updraft_protocol::{
    compute::{FlavorSpec, Goal, Observation, Power, Reboots},
    identity::AuthContext,
    network::{NicRequest, PortInfo},
};
use updraft_runtime::{
    env::UnixMicros,
    notify::Notice,
    rpc::TraceContext,
    store::{IndexEntry, Record},
};
use uuid::Uuid;

use super::Claim;

/// A server. Written by the API when something is asked for, and by its plan; never by a host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServerRow {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Its host name.
    pub hostname: String,
    /// The user's words on it.
    pub description: Option<String>,
    /// Its project.
    pub project_id: String,
    /// Who asked for it.
    pub user_id: String,
    /// When it was asked for.
    pub created: UnixMicros,
    /// When it last changed for the user.
    pub updated: UnixMicros,
    /// When its guest first ran.
    pub launched: Option<UnixMicros>,
    /// The request that made it, with others if it asked for several.
    pub reservation_id: String,
    /// Its place in that request.
    pub launch_index: u32,
    /// What it is made of.
    pub flavor: FlavorSpec,
    /// What its root disk is made from.
    pub image: Option<Uuid>,
    /// Its key pair, copied when it was made.
    pub key: Option<KeyRow>,
    /// The user data, as given: base64.
    pub user_data: Option<String>,
    /// The user's keys and values.
    pub metadata: BTreeMap<String, String>,
    /// The user's tags.
    pub tags: Vec<String>,
    /// Whether a configuration drive was asked for.
    pub config_drive: bool,
    /// The host that its volumes bind it to.
    pub volume_host: Option<String>,
    /// The zone asked for.
    pub availability_zone: Option<String>,
    /// The server group that it is in.
    pub group: Option<Uuid>,
    /// Further hints to the scheduler, as given.
    pub scheduler_hints: BTreeMap<String, serde_json::Value>,
    /// Security groups for ports made on the way.
    pub security_groups: Vec<String>,
    /// What these groups were called when it was made; people know them so.
    #[serde(default)]
    pub security_group_names: Vec<String>,
    /// Its interfaces.
    pub nics: Vec<NicRequest>,
    /// Whether, by whom and why it is locked.
    pub locked: Option<Lock>,
    /// What the API shows of it and nobody acts upon.
    pub details: Details,

    /// Whether it shall be.
    pub goal: Goal,
    /// Whether it shall run.
    pub power: Power,
    /// The reboots asked for.
    pub reboots: Reboots,
    /// Its volumes.
    pub volumes: Vec<VolumeRow>,
    /// A resize under way or to be confirmed.
    pub resize: Option<Resize>,
    /// It is being taken from a host that is down.
    #[serde(default)]
    pub evacuation: Option<Evacuation>,
    /// It is being moved to another host with its disk, or was and waits for a word.
    #[serde(default)]
    pub migration: Option<Migration>,
    /// Grows with every change of what is wanted on the host; the fence of every command.
    pub generation: u64,
    /// The host that has it, or is to have it. A claim stands there for as long as this does.
    pub placement: Option<Placement>,
    /// The hosts that were next best when it was placed, best first: where a build goes on that fails here.
    #[serde(default)]
    pub alternates: Vec<String>,
    /// Hosts that tried and failed, with their reasons.
    pub tried: Vec<(String, String)>,
    /// What the host last reported of the current generation.
    pub observed: Option<Observation>,
    /// Its ports, as last heard.
    pub ports: Vec<PortInfo>,
    /// Whether the network service has let go of all its ports.
    pub network_released: bool,
    /// When a build that has not ended is given up.
    pub build_deadline: UnixMicros,
    /// What it was when it last settled.
    pub state: VmState,
    /// What is being done with it.
    pub action: Option<Action>,
    /// Why it is in error.
    pub fault: Option<FaultRow>,
    /// The request that last changed what is wanted.
    pub trace: TraceContext,
    /// The audit id of the token that made it: its own steps are recorded under it.
    #[serde(default)]
    pub token_trace: [u8; 16],
    /// Who asked for the action under way; dropped when it ends, so that no token outlives its use.
    pub auth: Option<AuthContext>,
}

impl Record for ServerRow {
    const TABLE: &'static str = "compute/server";
    fn key(&self) -> String {
        self.id.to_string()
    }
    fn indexes(&self) -> Vec<IndexEntry> {
        let mut indexes = vec![IndexEntry::many("project", &self.project_id)];
        if let Some(placement) = &self.placement {
            indexes.push(IndexEntry::many("host", &placement.host));
        }
        if let Some(group) = &self.group {
            indexes.push(IndexEntry::many("group", &group.to_string()));
        }
        indexes
    }
    fn notices(old: Option<&Self>, new: Option<&Self>) -> Vec<Notice> {
        super::notices::of(old, new)
    }
}

/// A lock on a server: its users cannot change it until it is unlocked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// An administrator locked it, so that its owner cannot unlock it.
    pub by_admin: bool,
    /// Why, if it was said.
    pub reason: Option<String>,
}

/// What the API shows of a server and nobody acts upon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    /// How the disk was asked to be parted: `AUTO`, or `MANUAL`.
    pub disk_config: Option<String>,
    /// An IPv4 address that the user wrote on it.
    pub access_ip_v4: Option<String>,
    /// An IPv6 address that the user wrote on it.
    pub access_ip_v6: Option<String>,
    /// What its image said of itself when it was made.
    pub image_properties: BTreeMap<String, String>,
    /// The kernel's image, for a boot without a boot loader.
    pub kernel: Option<Uuid>,
    /// The ramdisk's image.
    pub ramdisk: Option<Uuid>,
    /// An operator put it in error by hand; it stays so until somebody acts on it.
    pub held_in_error: bool,
}

/// A key pair as a server remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// Its name.
    pub name: String,
    /// The public key.
    pub public_key: String,
}

/// The host that has, or is to have, a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The host.
    pub host: String,
    /// What the server shall be there. `Absent` is how a build that failed is cleared away, too: nothing
    /// is placed elsewhere before this host has confirmed that it has nothing.
    pub goal: Goal,
}

/// A volume of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRow {
    /// The volume.
    pub volume: Uuid,
    /// The attachment.
    pub attachment: Uuid,
    /// Whether it shall be attached.
    pub goal: Goal,
    /// Whether the server boots from it.
    pub boot: bool,
    /// Whether it goes with the server.
    pub delete_on_termination: bool,
    /// The device's name in the guest, once it sees it.
    pub device: Option<String>,
    /// Whether the volume service knows that it is in use.
    pub announced: bool,
}

/// What a server was when it last settled (nova's `vm_state`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VmState {
    /// It has never settled.
    Building,
    /// It runs.
    Active,
    /// It is stopped.
    Stopped,
    /// It was resized and waits for a word.
    Resized,
    /// It cannot be what it should.
    Error,
}

/// A resize.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resize {
    /// What it was made of before.
    pub old_flavor: FlavorSpec,
    /// What it was before.
    pub old_state: VmState,
    /// How far it is.
    pub phase: ResizePhase,
}

/// How far a resize is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResizePhase {
    /// The guest is being made anew.
    Resizing,
    /// The user is to confirm or revert.
    Verify,
    /// The guest is being made as it was.
    Reverting,
}

/// A server that is taken from a host that is down, to be made anew on another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evacuation {
    /// The host that had it.
    pub from: String,
    /// The host that it was asked to go to, if one was named.
    pub to: Option<String>,
    /// Why nothing of it runs there any more; `None` as long as nobody knows that, and as long as nothing is placed
    /// elsewhere.
    pub release: Option<Release>,
    /// Whether its ports wait for that host no longer, if nobody can ask the host.
    pub ports_left: bool,
    /// When its guest had first run.
    pub launched: Option<UnixMicros>,
}

/// A server that is moved to another host with its disk. From when the disk is parked until the move is confirmed or
/// taken back, the host that it leaves has a claim and keeps the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The host that it leaves.
    pub from: String,
    /// The host that it was asked to go to, if one was named.
    pub to: Option<String>,
    /// How far it is.
    pub phase: MigrationPhase,
    /// The generation that the disk is parked at; 0 before it is.
    pub parked: u64,
    /// When its guest had first run.
    pub launched: Option<UnixMicros>,
    /// Whether nobody is to be asked whether it stays where it is then.
    pub unasked: bool,
    /// Why it is taken back, if nobody asked for that.
    pub failure: Option<String>,
}

/// How far a move is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MigrationPhase {
    /// The host that has it is to stop it, and to park its disk.
    Leaving,
    /// Another host is to make it of a copy of the disk.
    Moving,
    /// It is there; the user is to confirm or revert.
    Moved,
    /// It is to be again what it was, where its disk is parked.
    Returning,
}

/// Why a guest is known to run no longer on the host that had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Release {
    /// The host has confirmed that it has nothing.
    Confirmed,
    /// An operator said that the host is down, and nobody hears it.
    ForcedDown,
}

/// What is being done with a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    /// What.
    pub kind: ActionKind,
    /// The request that asked for it.
    pub request_id: String,
}

/// The actions that take time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionKind {
    /// Make it.
    Create,
    /// Stop it.
    Stop,
    /// Start it.
    Start,
    /// Reboot it by asking the guest.
    SoftReboot,
    /// Reboot it by pulling the plug.
    HardReboot,
    /// Make it anew of another flavor.
    Resize,
    /// Make it as it was before.
    RevertResize,
    /// Make it anew on another host.
    Evacuate,
    /// Move it to another host with its disk.
    Migrate,
    /// Plug a volume.
    AttachVolume,
    /// Unplug a volume.
    DetachVolume,
    /// Delete it.
    Delete,
}

/// Why a server is in error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRow {
    /// As HTTP counts.
    pub code: u16,
    /// In a sentence.
    pub message: String,
    /// In full: per host, what refused it and with which figures.
    pub details: String,
    /// When.
    pub created: UnixMicros,
}

impl ServerRow {
    /// What is reserved for it on its host: the larger of both flavors while a resize may yet be reverted there. One that
    /// moves has another size on each of its hosts.
    #[must_use]
    pub fn claim(&self) -> Claim {
        let new = Claim::of(&self.flavor);
        match (&self.resize, &self.migration) {
            (Some(resize), None) => new.max(Claim::of(&resize.old_flavor)),
            _ => new,
        }
    }

    /// What is reserved for it, by host.
    #[must_use]
    pub fn claims(&self) -> BTreeMap<String, Claim> {
        let placed = self.placement.iter().map(|placement| &placement.host);
        let kept = self.migration.iter().map(|migration| &migration.from);
        placed.chain(kept).map(|host| (host.clone(), self.claim_on(host))).collect()
    }

    fn claim_on(&self, host: &str) -> Claim {
        let (Some(resize), Some(migration)) = (&self.resize, &self.migration) else {
            return self.claim();
        };
        let leaves = migration.from == host;
        let turns_back = resize.phase == ResizePhase::Reverting;
        Claim::of(if leaves == turns_back { &self.flavor } else { &resize.old_flavor })
    }

    /// Whether this host keeps its disk while it is elsewhere.
    #[must_use]
    pub fn is_parked_on(&self, host: &str) -> bool {
        let elsewhere = self.placement.as_ref().is_none_or(|placement| placement.host != host);
        let kept = |migration: &Migration| migration.from == host;
        elsewhere && self.goal == Goal::Present && self.migration.as_ref().is_some_and(kept)
    }

    /// The observation, if it is of the current generation.
    #[must_use]
    pub fn current(&self) -> Option<&Observation> {
        self.observed.as_ref().filter(|seen| seen.generation == self.generation)
    }
}
