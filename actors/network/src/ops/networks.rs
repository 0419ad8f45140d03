//! Networks.

use rand::Rng;
use updraft_runtime::store::{StoreError, Txn};
use uuid::Uuid;

use super::{dhcp, floatingips, ports, quotas, save, subnets};
use crate::{
    error::{NetworkError, Outcome, invalid_input, l2},
    rows::{
        FloatingIpRow, NetworkRow, NetworkType, PortRow, Resource, RouterRow, Segment, Standard,
        SubnetRow, owner, parse_id,
    },
    work::Work,
};

/// How often a free segment is looked for at random.
const SEGMENT_TRIES_MAX: usize = 64;

/// A network to be made.
pub(crate) struct NewNetwork {
    pub(crate) project_id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) admin_state_up: bool,
    pub(crate) shared: bool,
    pub(crate) external: bool,
    pub(crate) mtu: Option<u32>,
    pub(crate) segment: Option<SegmentRequest>,
    pub(crate) port_security_enabled: bool,
    pub(crate) availability_zone_hints: Vec<String>,
}

/// What an administrator says of a network's segment.
#[derive(Clone, Default)]
pub(crate) struct SegmentRequest {
    pub(crate) network_type: Option<String>,
    pub(crate) physical_network: Option<String>,
    pub(crate) segmentation_id: Option<i64>,
}

/// The network that a client's text names.
pub(crate) fn get(txn: &Txn, id: &str) -> Outcome<NetworkRow> {
    let row = match parse_id(id) {
        Some(_) => txn.get::<NetworkRow>(id)?,
        None => None,
    };
    row.ok_or_else(|| l2::network_not_found(id))
}

/// The network of a row that names it.
pub(crate) fn of(txn: &Txn, id: Uuid) -> Outcome<NetworkRow> {
    get(txn, &id.to_string())
}

/// Makes a network.
pub(crate) fn create(work: &mut Work<'_>, new: NewNetwork) -> Outcome<NetworkRow> {
    quotas::check(work, &new.project_id, Resource::Network, 1)?;
    let segment = match &new.segment {
        Some(wanted) => given_segment(work, wanted)?,
        None => any_segment(work)?,
    };
    let largest = work.config.mtu(segment.network_type);
    let mtu = match new.mtu.filter(|mtu| *mtu > 0) {
        Some(mtu) if mtu > largest => {
            return Err(invalid_input(format!("Requested MTU is too big, maximum is {largest}")));
        }
        Some(mtu) => mtu,
        None => largest,
    };
    let row = NetworkRow {
        id: work.id(),
        project_id: new.project_id,
        name: new.name,
        admin_state_up: new.admin_state_up,
        shared: new.shared,
        external: new.external,
        mtu,
        segment,
        port_security_enabled: new.port_security_enabled,
        availability_zone_hints: new.availability_zone_hints,
        standard: Standard::new(new.description, work.now),
    };
    match work.txn.insert(&row) {
        Err(StoreError::Duplicate { .. }) => Err(segment_in_use(&row.segment)),
        done => Ok(done.map(|()| row)?),
    }
}

fn segment_in_use(segment: &Segment) -> NetworkError {
    let physical = segment.physical_network.as_deref().unwrap_or_default();
    let id = segment.segmentation_id.unwrap_or_default();
    match segment.network_type {
        NetworkType::Vlan => l2::vlan_in_use(id, physical),
        NetworkType::Vxlan => l2::tunnel_in_use(id),
        NetworkType::Flat | NetworkType::Local => l2::flat_network_in_use(physical),
    }
}

fn given_segment(work: &mut Work<'_>, wanted: &SegmentRequest) -> Outcome<Segment> {
    let Some(name) = &wanted.network_type else {
        return Err(invalid_input("network_type required"));
    };
    let Some(network_type) = NetworkType::parse(name) else {
        return Err(invalid_input(format!("network_type value '{name}' not supported")));
    };
    let physical_network = wanted.physical_network.clone().filter(|name| !name.is_empty());
    let prohibited = |key: &str, kind: &str| {
        invalid_input(format!("{key} prohibited for {kind} provider network"))
    };
    let (least, most) = match network_type {
        NetworkType::Local => {
            if physical_network.is_some() {
                return Err(prohibited("physical_network", "local"));
            }
            (0, 0)
        }
        NetworkType::Flat => {
            if physical_network.is_none() {
                return Err(invalid_input("physical_network required for flat provider network"));
            }
            (0, 0)
        }
        NetworkType::Vlan => work.config.vlan_ids,
        NetworkType::Vxlan => {
            if physical_network.is_some() {
                return Err(invalid_input("provider:physical_network specified for vxlan network"));
            }
            work.config.vxlan_ids
        }
    };
    if network_type == NetworkType::Vlan && physical_network.is_none() {
        if wanted.segmentation_id.is_some() {
            return Err(invalid_input(
                "segmentation_id requires physical_network for VLAN provider network",
            ));
        }
        return free_segment(work, network_type, work.config.vlan_physical_network.as_deref());
    }
    let Some(id) = wanted.segmentation_id else {
        if most == 0 {
            return Ok(Segment { network_type, physical_network, segmentation_id: None });
        }
        return free_segment(work, network_type, physical_network.as_deref());
    };
    if most == 0 {
        return Err(prohibited("segmentation_id", name));
    }
    match u32::try_from(id).ok().filter(|id| (least..=most).contains(id)) {
        Some(id) => Ok(Segment { network_type, physical_network, segmentation_id: Some(id) }),
        None => {
            Err(invalid_input(format!("segmentation_id out of range ({least} through {most})")))
        }
    }
}

fn any_segment(work: &mut Work<'_>) -> Outcome<Segment> {
    match work.config.network_type {
        NetworkType::Local => Ok(Segment {
            network_type: NetworkType::Local,
            physical_network: None,
            segmentation_id: None,
        }),
        NetworkType::Flat => Err(l2::no_network_available()),
        kind @ NetworkType::Vlan => {
            free_segment(work, kind, work.config.vlan_physical_network.as_deref())
        }
        kind @ NetworkType::Vxlan => free_segment(work, kind, None),
    }
}

/// A segment of this type that nobody has, chosen at random.
fn free_segment(
    work: &mut Work<'_>,
    network_type: NetworkType,
    physical_network: Option<&str>,
) -> Outcome<Segment> {
    let (least, most) = match network_type {
        NetworkType::Vlan if physical_network.is_some() => work.config.vlan_ids,
        NetworkType::Vxlan => work.config.vxlan_ids,
        _ => return Err(l2::no_network_available()),
    };
    for _ in 0..SEGMENT_TRIES_MAX {
        let id = work.rng.random_range(least..=most);
        let segment = Segment {
            network_type,
            physical_network: physical_network.map(str::to_owned),
            segmentation_id: Some(id),
        };
        let claim = segment.claim().unwrap_or_default();
        if work.txn.find_one::<NetworkRow>("segment", &claim)?.is_none() {
            return Ok(segment);
        }
    }
    Err(l2::no_network_available())
}

/// Changes a network to what `new` says.
pub(crate) fn update(
    work: &mut Work<'_>,
    old: &NetworkRow,
    new: NetworkRow,
) -> Outcome<NetworkRow> {
    if old.shared && !new.shared {
        check_unshared(work, old)?;
    }
    if old.external && !new.external {
        let used = work.txn.find_page::<RouterRow>("external", &old.id.to_string(), None, 1)?;
        if !used.is_empty() {
            return Err(l2::external_network_in_use(old.id));
        }
    }
    if old.mtu != new.mtu {
        for subnet in subnets::on(work.txn, old.id)? {
            subnets::check_mtu(&new, subnet.ip_version())?;
        }
    }
    Ok(save!(work, old, new))
}

/// Refuses if another project uses what shall no longer be shared.
fn check_unshared(work: &Work<'_>, network: &NetworkRow) -> Outcome<()> {
    let foreign = |project_id: &str| project_id != network.project_id;
    let ports = ports::on(work.txn, network.id)?;
    let port = ports.iter().any(|port| !port.is_infrastructure() && foreign(&port.project_id));
    let subnet = subnets::on(work.txn, network.id)?.iter().any(|row| foreign(&row.project_id));
    if port || subnet { Err(l2::sharing_in_use(&network.name)) } else { Ok(()) }
}

/// Deletes a network with its subnets, unless somebody uses it.
pub(crate) fn delete(work: &mut Work<'_>, network: &NetworkRow) -> Outcome<()> {
    let key = network.id.to_string();
    for floating in work.txn.find::<FloatingIpRow>("network", &key)? {
        if floating.port.is_none() {
            floatingips::delete(work, &floating)?;
        }
    }
    let ports = ports::on(work.txn, network.id)?;
    let used: Vec<Uuid> =
        ports.iter().filter(|port| port.device_owner != owner::DHCP).map(|port| port.id).collect();
    if !used.is_empty() {
        return Err(l2::network_in_use(network.id, &used));
    }
    for subnet in subnets::on(work.txn, network.id)? {
        work.txn.delete::<SubnetRow>(&subnet.id.to_string())?;
    }
    dhcp::refresh_port(work, network)?;
    debug_assert!(
        work.txn.find_page::<PortRow>("network", &key, None, 1).is_ok_and(|left| left.is_empty()),
        "a network that goes has no ports"
    );
    work.txn.delete::<NetworkRow>(&key)?;
    Ok(())
}
