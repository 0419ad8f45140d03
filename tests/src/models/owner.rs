//! What a server owns: a port, made for it and plugged on its host, and a volume that it holds. They are the rest of
//! [`server`](super::server)'s states.
//!
//! Real: the plan of ports, what the network service remembers of a server, the L2 agent's fence, and what becomes of a
//! volume when it is kept, reached, used and let go of. An agent does at once what it takes in: its own troubles are
//! [`port`](super::port)'s. A service's answer comes at once too, or is lost with its question.

mod judge;

use std::fmt;

use serde::Serialize;
use updraft_compute::{
    node::{self, refused},
    plan::{self, Effect, Learned},
    rows::VolumeRow as Held,
};
use updraft_network::{
    Ports,
    agent::{Fence, Row, fence},
    plan::port::{self, Facts, info_of},
    rows::{DeviceRow, Nic, PortRow},
};
use updraft_protocol::{
    compute::{Goal, GuestWant, Seal},
    network::{self, Allocate, NicRequest, PortInfo, PortWant},
    volume::{self, Attached, Connect, Reserve},
};
use updraft_runtime::{
    rows::Kind,
    rpc::{CallError, Fault, FaultKind, TraceContext},
};
use updraft_volume::decisions::{Learned as VolumeLearned, VolumeRow, Volumes};
use uuid::Uuid;

pub use self::judge::{PORT_MARKS, VOLUME_MARKS};
use super::{
    EARLY, Law,
    server::{HOSTS, Message as Carried, State, named},
    settle,
};

/// The server.
pub const SERVER: Uuid = Uuid::from_u128(1);

const VOLUME: Uuid = Uuid::from_u128(5);
const ATTACHMENT: Uuid = Uuid::from_u128(6);

/// What a server is to own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Owns {
    /// A port.
    pub port: bool,
    /// A volume, which binds it to the first host.
    pub volume: bool,
}

impl Owns {
    /// The interfaces that the server asks for.
    #[must_use]
    pub fn nics(self) -> Vec<NicRequest> {
        let nic = NicRequest { index: 0, network: None, port: None, fixed_ip: None };
        self.port.then_some(nic).into_iter().collect()
    }

    /// The volumes that it has.
    #[must_use]
    pub fn volumes(self) -> Vec<Held> {
        let held = Held {
            volume: VOLUME,
            attachment: ATTACHMENT,
            goal: Goal::Present,
            boot: false,
            delete_on_termination: false,
            device: None,
            announced: false,
        };
        self.volume.then_some(held).into_iter().collect()
    }
}

/// What is asked of the services that own the parts, and of the agents.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Message {
    /// A host asks for the server's ports.
    Allocate(Allocate),
    /// A host asks how to reach the volume.
    Connect(Connect),
    /// A host hears of the server's ports.
    Ready {
        /// The host.
        host: usize,
        /// The ports.
        ports: Vec<PortInfo>,
    },
    /// An agent is to plug the port, or to unplug it.
    Plug {
        /// The host.
        host: usize,
        /// What is wanted.
        want: PortWant,
    },
    /// The server needs no port any longer.
    ReleaseNetwork(network::Release),
    /// The guest sees the volume.
    Attached(Attached),
    /// The attachment is over.
    ReleaseVolume(volume::Release),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allocate(Allocate { host, generation, .. }) => {
                write!(f, "{host} asks for the port, generation {generation}")
            }
            Self::Connect(Connect { host, generation, .. }) => {
                write!(f, "{host} asks for the volume, generation {generation}")
            }
            Self::Ready { host, .. } => write!(f, "host {host} hears of the port"),
            Self::Plug { host, want: PortWant { generation, present, .. } } => {
                let verb = if *present { "plug" } else { "unplug" };
                write!(f, "{verb} on host {host}, generation {generation}")
            }
            Self::ReleaseNetwork(_) => write!(f, "the port is needed no longer"),
            Self::Attached(_) => write!(f, "the volume is in use"),
            Self::ReleaseVolume(_) => write!(f, "the volume is needed no longer"),
        }
    }
}

/// What a host's L2 agent has of the port.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Plugs {
    row: Option<Row<PortWant>>,
    tap: bool,
}

/// The rows of what a server owns.
#[derive(Clone, Serialize)]
pub struct Owned {
    port: Option<PortRow>,
    device: Option<DeviceRow>,
    volume: Option<VolumeRow>,
}

impl Owned {
    /// No port yet; and the volume ready and kept for the server.
    #[must_use]
    pub fn new(owns: Owns) -> Self {
        Self { port: None, device: None, volume: owns.volume.then(kept).flatten() }
    }

    fn infos(&self) -> Vec<PortInfo> {
        let port = self.port.as_ref().filter(|port| port.is_present());
        port.map(|port| info_of(port, &facts(), "net", 1450, |_| None)).into_iter().collect()
    }
}

/// A volume on the first host that is kept for the server.
fn kept() -> Option<VolumeRow> {
    let mut row = Some(VolumeRow::wanted(VOLUME, 1, EARLY));
    if let Some(row) = &mut row {
        let room = volume::Room { total_gib: 10, free_gib: 10 };
        Volumes::learn(row, VolumeLearned::Rooms([(named(0), room)].into()), EARLY);
    }
    let facts = updraft_volume::decisions::Facts {
        copies_under_way: false,
        source: updraft_volume::decisions::SourceHost::Any,
        pending: std::collections::BTreeMap::new(),
    };
    settle::<Volumes>(&mut row, |_| facts.clone(), EARLY);
    let mut row = row?;
    let made = volume::Realized { generation: 1, path: Some("/file".into()), export: None };
    Volumes::learn(&mut row, VolumeLearned::Realized(made), EARLY);
    row.reserved(&Reserve { volume: VOLUME, server: SERVER, attachment: ATTACHMENT })
}

fn facts() -> Facts {
    Facts { mtu: Some(1450), ..Facts::default() }
}

fn index_of(host: &str) -> Option<usize> {
    (0..HOSTS).find(|index| named(*index) == host)
}

impl State {
    fn ask_owned(&mut self, message: Message) {
        self.bag.ask(Carried::Owned(message));
    }

    /// Asks a service for what the server's plan wants of it.
    pub(super) fn act_for_owned(&mut self, effect: &Effect) {
        let Some(row) = &self.server else { return };
        let held = |attachment: &Uuid| {
            let volumes = row.volumes.iter();
            volumes.clone().find(|volume| volume.attachment == *attachment)
        };
        let message = match effect {
            Effect::ReleaseNetwork => {
                let release = network::Release { server: SERVER, generation: row.generation };
                Some(Message::ReleaseNetwork(release))
            }
            Effect::ReleaseVolume { attachment } => {
                let release = volume::Release { volume: VOLUME, attachment: *attachment };
                Some(Message::ReleaseVolume(release))
            }
            Effect::AnnounceVolume { attachment } => {
                let device = held(attachment).and_then(|volume| volume.device.clone());
                let (volume, attachment) = (VOLUME, *attachment);
                device.map(|device| Message::Attached(Attached { volume, attachment, device }))
            }
            // No host goes down under a server that owns anything here.
            Effect::LeaveNetwork { .. } | Effect::SelectHost | Effect::Converge { .. } => None,
        };
        message.into_iter().for_each(|message| self.ask_owned(message));
    }

    /// Asks a service for what a guest's plan wants of it.
    pub(super) fn advance_owned(&mut self, host: usize, want: &GuestWant, effect: &node::Effect) {
        let (server, generation, host) = (SERVER, want.generation, named(host));
        let message = match effect {
            node::Effect::Allocate => Message::Allocate(Allocate {
                server,
                host,
                generation,
                project_id: want.project_id.clone(),
                hostname: want.name.clone(),
                nics: want.nics.clone(),
                security_groups: Vec::new(),
                seal: Seal::default(),
            }),
            node::Effect::Connect(volume) => {
                let (volume, attachment) = (volume.volume, volume.attachment);
                let seal = Seal::default();
                Message::Connect(Connect { volume, attachment, server, host, generation, seal })
            }
            _ => return,
        };
        self.ask_owned(message);
    }

    pub(super) fn deliver_owned(&mut self, message: &Message, broken: Option<Law>) {
        match message {
            Message::Allocate(request) => self.allocate(request),
            Message::Connect(request) => self.connect(request),
            Message::Ready { host, ports } => {
                self.teach(*host, node::Learned::Ports(ports.clone()));
            }
            Message::Plug { host, want } => self.plug(*host, want, broken),
            Message::ReleaseNetwork(request) => self.release_network(request, broken),
            Message::Attached(request) => {
                let volume = &mut self.owned.volume;
                if let Some(row) = volume.as_ref().and_then(|row| row.attached(request, EARLY)) {
                    *volume = Some(row);
                    self.learn_owned(Learned::VolumeAnnounced(request.attachment), broken);
                }
            }
            Message::ReleaseVolume(request) => {
                let volume = &mut self.owned.volume;
                *volume = volume.as_ref().map(|row| row.released(request, EARLY));
                self.learn_owned(Learned::VolumeReleased(request.attachment), broken);
            }
        }
    }

    fn learn_owned(&mut self, learned: Learned, broken: Option<Law>) {
        if let Some(row) = &mut self.server {
            plan::learn(row, learned);
        }
        self.plan_server(broken);
    }

    /// What a host hears when a service says no.
    fn refuse(&mut self, host: usize, generation: u64, fault: Fault) {
        let Some(row) = &self.hosts[host].row else { return };
        let Some(want) = row.want.clone() else { return };
        let want = GuestWant { generation, ..want };
        if let Some(learned) = refused(row, &want, &CallError::Rejected(fault)) {
            self.teach(host, learned);
        }
    }

    fn allocate(&mut self, request: &Allocate) {
        let Some(host) = index_of(&request.host) else { return };
        match DeviceRow::asked(self.owned.device.as_ref(), request) {
            Err(known) => {
                let fault = Fault::new(FaultKind::Stale, "StaleGeneration", known.to_string());
                self.refuse(host, request.generation, fault);
            }
            Ok(device) => {
                self.owned.device = Some(device);
                self.owned.port = Some(match self.owned.port.take() {
                    // One that is going is not given again.
                    Some(port) if !port.is_present() => port,
                    Some(port) => port.bound(request, 0, port.device_owner.clone()),
                    None => {
                        let nic = Some(Nic::asked(request, 0, true));
                        PortRow { host: Some(request.host.clone()), nic, ..super::port::row() }
                    }
                });
                self.plan_port();
                let ports = self.owned.infos();
                self.teach(host, node::Learned::Ports(ports));
            }
        }
    }

    fn connect(&mut self, request: &Connect) {
        let Some(host) = index_of(&request.host) else { return };
        let Some(row) = &self.owned.volume else { return };
        match row.connected(request) {
            Ok((row, heard)) => {
                self.owned.volume = Some(row);
                match heard {
                    Ok(connection) => {
                        self.teach(host, node::Learned::Connection(request.attachment, connection));
                    }
                    Err(fault) => self.refuse(host, request.generation, fault),
                }
            }
            Err(fault) => self.refuse(host, request.generation, fault),
        }
    }

    /// The timer of what a server owns comes round.
    pub(super) fn plan_owned(&mut self) {
        self.plan_port();
    }

    fn plan_port(&mut self) {
        loop {
            let effects = settle::<Ports>(&mut self.owned.port, |_| facts(), EARLY);
            let Some(row) = &mut self.owned.port else { return };
            // How often it changed counts for no plan.
            row.standard.revision = 0;
            let row = row.clone();
            let mut told = false;
            for effect in effects {
                told |= self.act_for_port(&row, effect);
            }
            if !told {
                return;
            }
        }
    }

    /// Does what a port's plan asks for; whether the port learnt something by it.
    fn act_for_port(&mut self, row: &PortRow, effect: port::Effect) -> bool {
        match effect {
            port::Effect::Plug { host, .. } => {
                let want = row.bindings.get(&host).map(|binding| binding.want.clone());
                if let (Some(want), Some(host)) = (want, index_of(&host)) {
                    self.ask_owned(Message::Plug { host, want });
                }
                false
            }
            port::Effect::TellNode { host, generation } => {
                let ports = self.owned.infos();
                if let Some(host) = index_of(&host) {
                    self.bag.answer(Carried::Owned(Message::Ready { host, ports }));
                }
                let told = port::Learned::NodeTold(generation);
                self.owned.port.as_mut().is_some_and(|row| port::learn(row, told))
            }
            port::Effect::TellCompute { .. } | port::Effect::TellTaken(_) => false,
        }
    }

    fn plug(&mut self, host: usize, want: &PortWant, broken: Option<Law>) {
        let plugs = &mut self.hosts[host].plugs;
        if broken == Some(Law::Fence) {
            plugs.row = None;
        }
        match fence(plugs.row.as_ref().map(|row| &row.want), want) {
            Fence::Stale { .. } => return,
            Fence::New | Fence::Same | Fence::Differs => {}
        }
        plugs.row = Some(Row::new(want.clone(), TraceContext::default(), EARLY));
        plugs.tap = want.present;
        let device = want.present.then(|| "tap".to_owned());
        let (host, generation) = (named(host), want.generation);
        if let Some(row) = &mut self.owned.port {
            port::learn(row, port::Learned::Plugged { host, generation, device });
        }
        self.plan_port();
    }

    fn release_network(&mut self, request: &network::Release, broken: Option<Law>) {
        let known = self.owned.device.as_ref();
        self.owned.device = Some(DeviceRow::released(known, request, EARLY));
        if let Some(row) = &mut self.owned.port {
            row.goal = Goal::Absent;
        }
        self.plan_port();
        if self.owned.port.is_none() {
            self.learn_owned(Learned::NetworkReleased, broken);
        }
    }
}
