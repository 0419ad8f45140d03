//! The services that compute asks, as far as it can see them.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha512};
use updraft_protocol::{
    hypervisor::DiskFormat,
    image::{self, Fetch, ImageLocation, Locate},
    network::{self, Allocate, FixedIp, NetworkInfo, NicRequest, PortInfo, Validate, Validated},
    volume::{self, Attached, Connect, Connection, Export, Reserve, VolumeInfo},
};
use updraft_runtime::{
    bulk::{Algorithm, Memory},
    rpc::{Fault, FaultKind, Rpc, Service},
};
use uuid::Uuid;

pub(crate) const IMAGE: Uuid = Uuid::from_u128(0x1111_0001);
pub(crate) const NETWORK: Uuid = Uuid::from_u128(0x2222_0001);
pub(crate) const VOLUME: Uuid = Uuid::from_u128(0x3333_0001);
/// The host of the volumes, and the only one.
pub(crate) const HOST: &str = "host-1";

/// What the image is made of.
const IMAGE_BYTES: &[u8] = b"an image";

/// The state of the services; clones share it.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) images: BTreeMap<Uuid, ImageLocation>,
    pub(crate) networks: BTreeSet<Uuid>,
    /// The attachment that has each volume.
    pub(crate) volumes: BTreeMap<Uuid, Option<Uuid>>,
    /// What the network service says to every request.
    pub(crate) network_refusal: Option<Fault>,
    /// The host that has the volumes.
    pub(crate) volume_host: String,
    /// How often an image was fetched.
    pub(crate) reads: usize,
    /// Whether nobody answers.
    pub(crate) away: bool,
    /// The servers that have ports.
    pub(crate) allocated: BTreeSet<Uuid>,
}

impl Default for Peers {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(State {
            images: BTreeMap::from([(IMAGE, image())]),
            networks: BTreeSet::from([NETWORK]),
            volumes: BTreeMap::from([(VOLUME, None)]),
            network_refusal: None,
            volume_host: HOST.to_owned(),
            reads: 0,
            away: false,
            allocated: BTreeSet::new(),
        })))
    }
}

fn image() -> ImageLocation {
    ImageLocation {
        image: IMAGE,
        name: "tiny".to_owned(),
        uri: format!("updraft+image:///{IMAGE}"),
        status: "active".to_owned(),
        disk_format: "qcow2".to_owned(),
        container_format: "bare".to_owned(),
        size_bytes: IMAGE_BYTES.len() as u64,
        virtual_size_bytes: None,
        sha512: Sha512::digest(IMAGE_BYTES).iter().map(|b| format!("{b:02x}")).collect(),
        min_disk_gib: 0,
        min_ram_mib: 0,
        kernel: None,
        ramdisk: None,
        properties: BTreeMap::from([("os_type".to_owned(), "linux".to_owned())]),
    }
}

impl Peers {
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.lock());
    }

    pub(crate) fn attachment_of(&self, volume: Uuid) -> Option<Uuid> {
        self.0.lock().volumes.get(&volume).copied().flatten()
    }

    pub(crate) fn reads(&self) -> usize {
        self.0.lock().reads
    }

    pub(crate) fn servers_with_ports(&self) -> usize {
        self.0.lock().allocated.len()
    }

    pub(crate) fn services(&self, rpc: &Rpc) -> Vec<Service> {
        vec![self.image(rpc), self.network(), self.volume()]
    }

    fn image(&self, rpc: &Rpc) -> Service {
        let (peers, reading) = (self.clone(), self.clone());
        Service::of::<image::Api>()
            .call(move |_, Locate { image }: Locate| {
                let state = peers.0.lock();
                let (away, found) = (state.away, state.images.get(&image).cloned());
                async move {
                    match (away, found) {
                        (true, _) => Err(Fault::new(FaultKind::Unavailable, "Away", "away")),
                        (false, found) => {
                            found.ok_or_else(|| missing("ImageNotFound", "image", image))
                        }
                    }
                }
            })
            .body(rpc, move |_, _: Fetch| {
                reading.change(|state| state.reads += 1);
                let bytes = Memory::new(Bytes::from_static(IMAGE_BYTES), Algorithm::Sha512);
                async move { Ok(bytes) }
            })
            .into()
    }

    fn network(&self) -> Service {
        let [validate, allocate, release] = std::array::from_fn(|_| self.clone());
        Service::of::<network::Server>()
            .call(move |_, message: Validate| {
                let named = |group| format!("the group {group}");
                let security_groups = message.security_groups.iter().map(named).collect();
                let nics = validate.validate(message.nics);
                async move { nics.map(|nics| Validated { nics, security_groups }) }
            })
            .call(move |_, message: Allocate| {
                allocate.0.lock().allocated.insert(message.server);
                async move { Ok(NetworkInfo { ports: message.nics.iter().map(port).collect() }) }
            })
            .call(move |_, message: network::Release| {
                release.0.lock().allocated.remove(&message.server);
                async move { Ok(true) }
            })
            .into()
    }

    fn validate(&self, nics: Vec<NicRequest>) -> Result<Vec<NicRequest>, Fault> {
        let state = self.0.lock();
        if let Some(refusal) = &state.network_refusal {
            return Err(refusal.clone());
        }
        let known = |nic: NicRequest| match nic.network.unwrap_or(NETWORK) {
            network if state.networks.contains(&network) => {
                Ok(NicRequest { network: Some(network), ..nic })
            }
            network => Err(missing("NetworkNotFound", "Network", network)),
        };
        nics.into_iter().map(known).collect()
    }

    fn volume(&self) -> Service {
        let [reserve, connect, release] = std::array::from_fn(|_| self.clone());
        Service::of::<volume::Api>()
            .call(move |_, message: Reserve| {
                let answer = reserve.reserve(&message);
                async move { answer }
            })
            .call(move |_, message: Connect| {
                let held = connect.attachment_of(message.volume) == Some(message.attachment);
                let is_remote = connect.0.lock().volume_host != message.host;
                let remote = is_remote.then(|| Export {
                    address: "192.0.2.1".to_owned(),
                    port: 10_809,
                    name: message.attachment.to_string(),
                    tls: None,
                });
                async move {
                    let fault =
                        || missing("VolumeAttachmentNotFound", "attachment", message.attachment);
                    held.then(|| Connection {
                        volume: info(message.volume),
                        path: PathBuf::from(format!("/volumes/{}", message.volume)),
                        format: DiskFormat::Raw,
                        remote,
                    })
                    .ok_or_else(fault)
                }
            })
            .call(|_, _: Attached| async { Ok(()) })
            .call(move |_, message: volume::Release| {
                let mut state = release.0.lock();
                if let Some(held) = state.volumes.get_mut(&message.volume)
                    && *held == Some(message.attachment)
                {
                    *held = None;
                }
                async { Ok(()) }
            })
            .into()
    }

    fn reserve(&self, message: &Reserve) -> Result<VolumeInfo, Fault> {
        let mut state = self.0.lock();
        let held = state.volumes.get_mut(&message.volume);
        let held = held.ok_or_else(|| missing("VolumeNotFound", "Volume", message.volume))?;
        if held.is_some_and(|other| other != message.attachment) {
            let words = "Invalid volume: Volume status must be available to reserve, but the status \
                         is in-use.";
            return Err(Fault::new(FaultKind::Conflict, "InvalidVolume", words));
        }
        *held = Some(message.attachment);
        Ok(VolumeInfo { host: state.volume_host.clone(), ..info(message.volume) })
    }
}

fn info(volume: Uuid) -> VolumeInfo {
    VolumeInfo {
        volume,
        name: "data".to_owned(),
        size_gib: 1,
        bootable: true,
        host: HOST.to_owned(),
    }
}

fn port(nic: &NicRequest) -> PortInfo {
    PortInfo {
        port: Uuid::from_u128(0x4444_0000 + u128::from(nic.index)),
        network: nic.network.unwrap_or(NETWORK),
        network_name: "net".to_owned(),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        fixed_ips: vec![FixedIp {
            subnet: Uuid::from_u128(0x5555_0001),
            address: "10.0.0.5".parse().expect("an address"),
            floating: None,
        }],
        mtu: 1_450,
        device: Some("tap0".to_owned()),
        up: true,
    }
}

fn missing(code: &str, what: &str, id: Uuid) -> Fault {
    Fault::new(FaultKind::NotFound, code, format!("{what} {id} could not be found."))
}
