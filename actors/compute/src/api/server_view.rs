//! A server as its users see it: the keys of each version, in nova's order and types.
//!
//! Written straight from the row, without a tree of values in between: a list of a thousand is one pass.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use base16ct::lower;
use serde::{Serialize, Serializer, ser::SerializeMap};
use sha2::{Digest, Sha224};
use updraft_edge::rest::{Links, time};
use updraft_protocol::{compute::FlavorSpec, network::PortInfo};
use updraft_runtime::{
    directory::Directory,
    store::{StoreError, Txn},
    transport::NodeId,
};
use uuid::Uuid;

use super::call::Call;
use crate::{
    conductor::{ZONE, instance_name},
    rows::{FaultRow, HostRow, ServerRow, VmState, VolumeRow},
    view::{self, State},
};

/// The device that a guest boots from.
const ROOT_DEVICE: &str = "/dev/vda";

/// What all servers of one answer have in common.
pub(crate) struct Scene<'a> {
    links: &'a Links,
    version: u32,
    /// Whether the caller may know of hosts.
    admin: bool,
    /// Whether the caller may know how a host is.
    host_status: bool,
    /// Whether this is a list, which leaves the server groups out.
    list: bool,
    hosts: BTreeMap<String, Host>,
}

/// What a server shows of its host.
struct Host {
    zone: String,
    status: &'static str,
}

impl<'a> Scene<'a> {
    /// The scene of an answer to this call.
    pub(crate) fn new(call: &'a Call, txn: &Txn, list: bool) -> Result<Self, StoreError> {
        let directory = call.api.context.rpc.directory();
        let rows = txn.scan_decoded(&call.api.hosts)?;
        let host = |row: Arc<HostRow>| {
            let status = host_status(&row, directory);
            (row.name.clone(), Host { zone: row.zone.clone(), status })
        };
        Ok(Self {
            links: &call.links,
            version: call.version,
            admin: call.may("os-extended-server-attributes"),
            host_status: call.may("servers:show:host_status"),
            list,
            hosts: rows.into_iter().map(host).collect(),
        })
    }

    /// A server by id and name alone.
    pub(crate) fn brief<'r>(&self, row: &'r ServerRow) -> Brief<'r> {
        Brief { id: row.id, name: &row.name, links: self.links_of("servers", &row.id.to_string()) }
    }

    /// A server in full.
    pub(crate) fn full<'r>(&'r self, row: &'r ServerRow) -> Full<'r> {
        Full { scene: self, row }
    }

    fn links_of(&self, collection: &str, id: &str) -> [Link; 2] {
        let path = format!("{collection}/{id}");
        [
            Link { rel: "self", href: self.links.api(&path) },
            Link { rel: "bookmark", href: self.links.bookmark(&path) },
        ]
    }

    fn bookmark(&self, collection: &str, id: &str) -> [Link; 1] {
        let href = self.links.bookmark(&format!("{collection}/{id}"));
        [Link { rel: "bookmark", href }]
    }

    fn host_of(&self, row: &ServerRow) -> Option<&Host> {
        self.hosts.get(&row.placement.as_ref()?.host)
    }

    fn zone<'r>(&'r self, row: &'r ServerRow) -> &'r str {
        match (self.host_of(row), &row.placement) {
            (Some(host), _) => &host.zone,
            (None, Some(_)) => ZONE,
            (None, None) => row.availability_zone.as_deref().unwrap_or_default(),
        }
    }
}

fn host_status(row: &HostRow, directory: &Directory) -> &'static str {
    let live =
        !row.forced_down && NodeId::new(&row.name).is_ok_and(|node| directory.is_live(&node));
    match (live, row.disabled.is_some()) {
        (false, _) => "DOWN",
        (true, true) => "MAINTENANCE",
        (true, false) => "UP",
    }
}

#[derive(Serialize)]
pub(crate) struct Link {
    rel: &'static str,
    href: String,
}

/// A server by id and name alone.
#[derive(Serialize)]
pub(crate) struct Brief<'r> {
    id: Uuid,
    name: &'r str,
    links: [Link; 2],
}

/// A server in full.
pub(crate) struct Full<'r> {
    scene: &'r Scene<'r>,
    row: &'r ServerRow,
}

impl Serialize for Full<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let state = view::state(self.row);
        let mut map = serializer.serialize_map(None)?;
        self.identity(&mut map, &state)?;
        self.addresses(&mut map)?;
        self.extensions(&mut map, &state)?;
        if self.scene.admin {
            self.host_attributes(&mut map)?;
        }
        self.newer(&mut map)?;
        map.end()
    }
}

impl Full<'_> {
    fn identity<M: SerializeMap>(&self, map: &mut M, state: &State) -> Result<(), M::Error> {
        let Self { scene, row } = self;
        map.serialize_entry("id", &row.id)?;
        map.serialize_entry("name", &row.name)?;
        map.serialize_entry("status", state.status)?;
        map.serialize_entry("tenant_id", &row.project_id)?;
        map.serialize_entry("user_id", &row.user_id)?;
        map.serialize_entry("metadata", &row.metadata)?;
        let host =
            row.placement.as_ref().map(|placement| host_id(&row.project_id, &placement.host));
        map.serialize_entry("hostId", &host.unwrap_or_default())?;
        match row.image {
            Some(image) => map.serialize_entry("image", &self.image(image))?,
            None => map.serialize_entry("image", "")?,
        }
        if scene.version < 47 {
            let links = scene.bookmark("flavors", &row.flavor.id);
            map.serialize_entry("flavor", &Linked { id: &row.flavor.id, links, properties: None })?;
        } else {
            map.serialize_entry("flavor", &EmbeddedFlavor::of(&row.flavor))?;
        }
        map.serialize_entry("created", &time::iso_secs_z(row.created))?;
        map.serialize_entry("updated", &time::iso_secs_z(row.updated))
    }

    fn image(&self, image: Uuid) -> Linked<'_, String> {
        let id = image.to_string();
        let links = self.scene.bookmark("images", &id);
        let properties = &self.row.details.image_properties;
        Linked { id, links, properties: (self.scene.version >= 98).then_some(properties) }
    }

    fn addresses<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let Self { scene, row } = self;
        map.serialize_entry("addresses", &addresses(&row.ports))?;
        let details = &row.details;
        map.serialize_entry("accessIPv4", details.access_ip_v4.as_deref().unwrap_or_default())?;
        map.serialize_entry("accessIPv6", details.access_ip_v6.as_deref().unwrap_or_default())?;
        map.serialize_entry("links", &scene.links_of("servers", &row.id.to_string()))
    }

    fn extensions<M: SerializeMap>(&self, map: &mut M, state: &State) -> Result<(), M::Error> {
        let Self { scene, row } = self;
        let disk_config = row.details.disk_config.as_deref().unwrap_or("MANUAL");
        map.serialize_entry("OS-DCF:diskConfig", disk_config)?;
        if let Some(progress) = progress(state.status) {
            map.serialize_entry("progress", &progress)?;
        }
        if let (Some(fault), VmState::Error) = (&row.fault, row.state) {
            map.serialize_entry("fault", &Fault::of(fault, scene.admin))?;
        }
        map.serialize_entry("OS-EXT-AZ:availability_zone", scene.zone(row))?;
        map.serialize_entry("config_drive", if row.config_drive { "True" } else { "" })?;
        map.serialize_entry("key_name", &row.key.as_ref().map(|key| &key.name))?;
        map.serialize_entry("OS-SRV-USG:launched_at", &row.launched.map(time::iso_micros))?;
        map.serialize_entry("OS-SRV-USG:terminated_at", &None::<String>)?;
        let groups = security_groups(row);
        if !groups.is_empty() {
            map.serialize_entry("security_groups", &groups)?;
        }
        map.serialize_entry("OS-EXT-STS:task_state", &state.task_state)?;
        map.serialize_entry("OS-EXT-STS:vm_state", state.vm_state)?;
        map.serialize_entry("OS-EXT-STS:power_state", &state.power_state)?;
        let volume = |volume: &VolumeRow| Volume {
            id: volume.volume,
            delete_on_termination: (scene.version >= 3).then_some(volume.delete_on_termination),
        };
        let volumes: Vec<Volume> = row.volumes.iter().map(volume).collect();
        map.serialize_entry("os-extended-volumes:volumes_attached", &volumes)
    }

    fn host_attributes<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let Self { scene, row } = self;
        let host = row.placement.as_ref().map(|placement| &placement.host);
        map.serialize_entry("OS-EXT-SRV-ATTR:host", &host)?;
        map.serialize_entry("OS-EXT-SRV-ATTR:instance_name", &instance_name(row.id))?;
        map.serialize_entry("OS-EXT-SRV-ATTR:hypervisor_hostname", &host)?;
        if scene.version < 3 {
            return Ok(());
        }
        let id = |id: Option<Uuid>| id.map(|id| id.to_string()).unwrap_or_default();
        map.serialize_entry("OS-EXT-SRV-ATTR:reservation_id", &row.reservation_id)?;
        map.serialize_entry("OS-EXT-SRV-ATTR:launch_index", &row.launch_index)?;
        map.serialize_entry("OS-EXT-SRV-ATTR:kernel_id", &id(row.details.kernel))?;
        map.serialize_entry("OS-EXT-SRV-ATTR:ramdisk_id", &id(row.details.ramdisk))?;
        map.serialize_entry("OS-EXT-SRV-ATTR:root_device_name", ROOT_DEVICE)?;
        map.serialize_entry("OS-EXT-SRV-ATTR:user_data", &row.user_data)
    }

    /// What later versions added.
    fn newer<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        let Self { scene, row } = self;
        let version = scene.version;
        if version >= 90 || (version >= 3 && scene.admin) {
            map.serialize_entry("OS-EXT-SRV-ATTR:hostname", &row.hostname)?;
        }
        if version >= 9 {
            map.serialize_entry("locked", &row.locked.is_some())?;
        }
        if version >= 16 && scene.host_status {
            let status = match (scene.host_of(row), &row.placement) {
                (Some(host), _) => host.status,
                (None, Some(_)) => "UNKNOWN",
                (None, None) => "",
            };
            map.serialize_entry("host_status", status)?;
        }
        if version >= 19 {
            map.serialize_entry("description", &row.description)?;
        }
        if version >= 26 {
            map.serialize_entry("tags", &row.tags)?;
        }
        if version >= 63 {
            map.serialize_entry("trusted_image_certificates", &None::<Vec<String>>)?;
        }
        if version >= 71 && !scene.list {
            map.serialize_entry("server_groups", &row.group.iter().collect::<Vec<_>>())?;
        }
        if version >= 73 {
            let reason = row.locked.as_ref().and_then(|lock| lock.reason.as_ref());
            map.serialize_entry("locked_reason", &reason)?;
        }
        if version >= 96 {
            map.serialize_entry("pinned_availability_zone", &row.availability_zone)?;
        }
        if version >= 100 {
            map.serialize_entry("scheduler_hints", &row.scheduler_hints)?;
        }
        Ok(())
    }
}

/// A thing of another service, by its id.
#[derive(Serialize)]
struct Linked<'r, I: Serialize> {
    id: I,
    links: [Link; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    properties: Option<&'r BTreeMap<String, String>>,
}

#[derive(Serialize)]
struct EmbeddedFlavor<'r> {
    vcpus: u32,
    ram: u64,
    disk: u64,
    ephemeral: u64,
    swap: u64,
    original_name: &'r str,
    extra_specs: &'r BTreeMap<String, String>,
}

impl<'r> EmbeddedFlavor<'r> {
    fn of(flavor: &'r FlavorSpec) -> Self {
        Self {
            vcpus: flavor.vcpus,
            ram: flavor.ram_mib,
            disk: flavor.disk_gib,
            ephemeral: flavor.ephemeral_gib,
            swap: flavor.swap_mib,
            original_name: &flavor.name,
            extra_specs: &flavor.extra_specs,
        }
    }
}

#[derive(Serialize)]
struct Fault<'r> {
    code: u16,
    created: String,
    message: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'r str>,
}

impl<'r> Fault<'r> {
    fn of(fault: &'r FaultRow, admin: bool) -> Self {
        Self {
            code: fault.code,
            created: time::iso_secs_z(fault.created),
            message: &fault.message,
            details: admin.then_some(fault.details.as_str()),
        }
    }
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Group<'r> {
    name: &'r str,
}

#[derive(Serialize)]
struct Volume {
    id: Uuid,
    #[serde(skip_serializing_if = "Option::is_none")]
    delete_on_termination: Option<bool>,
}

/// One address of a server.
#[derive(Serialize)]
pub(crate) struct Address<'r> {
    pub(crate) version: u8,
    pub(crate) addr: IpAddr,
    #[serde(rename = "OS-EXT-IPS:type")]
    pub(crate) kind: &'static str,
    #[serde(rename = "OS-EXT-IPS-MAC:mac_addr")]
    pub(crate) mac_address: &'r str,
}

/// A server's addresses by network.
pub(crate) fn addresses(ports: &[PortInfo]) -> BTreeMap<&str, Vec<Address<'_>>> {
    let mut networks: BTreeMap<&str, Vec<Address<'_>>> = BTreeMap::new();
    for port in ports {
        let address = |addr: IpAddr, kind| Address {
            version: if addr.is_ipv4() { 4 } else { 6 },
            addr,
            kind,
            mac_address: &port.mac_address,
        };
        let all = networks.entry(&port.network_name).or_default();
        for ip in &port.fixed_ips {
            all.push(address(ip.address, "fixed"));
            all.extend(ip.floating.map(|floating| address(floating, "floating")));
        }
    }
    networks
}

fn security_groups(row: &ServerRow) -> BTreeSet<Group<'_>> {
    let own_ports = row.nics.iter().any(|nic| nic.port.is_none());
    // A server of before the names were kept is told with what its user gave.
    let named = match row.security_group_names.is_empty() {
        true => &row.security_groups,
        false => &row.security_group_names,
    };
    match named.as_slice() {
        [] if own_ports => BTreeSet::from([Group { name: "default" }]),
        these => these.iter().map(|name| Group { name }).collect(),
    }
}

/// How much of what is going on is done. Only these states have it.
fn progress(status: &str) -> Option<u8> {
    match status {
        "ACTIVE" => Some(100),
        "BUILD" | "REBUILD" | "RESIZE" | "VERIFY_RESIZE" | "MIGRATING" => Some(0),
        _ => None,
    }
}

/// What tells two hosts of one project apart without naming them.
pub(crate) fn host_id(project_id: &str, host: &str) -> String {
    let mut digest = Sha224::new();
    digest.update(project_id.as_bytes());
    digest.update(host.as_bytes());
    lower::encode_string(&digest.finalize())
}
