//! Which addresses a port gets.

use std::net::IpAddr;

use uuid::Uuid;

use super::subnets;
use crate::{
    error::{Outcome, invalid_input, l2},
    ipam,
    rows::{Fixed, SubnetRow, owner},
    work::Work,
};

/// An address that a client asks for: by itself, by its subnet, or both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FixedRequest {
    pub(crate) subnet: Option<String>,
    pub(crate) address: Option<IpAddr>,
}

/// The port that addresses are for.
pub(crate) struct Holder<'a> {
    pub(crate) port: Uuid,
    pub(crate) network: Uuid,
    pub(crate) mac_address: &'a str,
    pub(crate) device_owner: &'a str,
}

impl Holder<'_> {
    fn is_router(&self) -> bool {
        matches!(self.device_owner, owner::ROUTER_INTERFACE | owner::ROUTER_GATEWAY)
    }
}

/// Gives a new port what it asks for; without a request, one address of each version that the network has.
pub(crate) fn allocate(
    work: &mut Work<'_>,
    holder: &Holder<'_>,
    requests: Option<&[FixedRequest]>,
) -> Outcome<Vec<Fixed>> {
    let subnets = subnets::on(work.txn, holder.network)?;
    let mut fixed_ips = match requests {
        Some(requests) => requested(work, holder, &subnets, requests)?,
        None => {
            let mut chosen = Vec::new();
            for version in [4, 6] {
                let of_version =
                    |row: &&SubnetRow| row.ip_version() == version && !row.is_automatic();
                let candidates: Vec<&SubnetRow> = subnets.iter().filter(of_version).collect();
                chosen.extend(any_of(work, holder, &candidates)?);
            }
            chosen
        }
    };
    if requests.is_none_or(|requests| !requests.is_empty()) {
        add_automatic(work, holder, &subnets, &mut fixed_ips)?;
    }
    Ok(fixed_ips)
}

/// Gives a port what it asks for instead of what it has; what stays is not given anew.
pub(crate) fn reallocate(
    work: &mut Work<'_>,
    holder: &Holder<'_>,
    had: &[Fixed],
    requests: &[FixedRequest],
) -> Outcome<Vec<Fixed>> {
    let subnets = subnets::on(work.txn, holder.network)?;
    let mut left: Vec<Fixed> = had.to_vec();
    let mut kept = Vec::new();
    let mut missing = Vec::new();
    let (by_address, by_subnet): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.address.is_some());
    for request in by_address.into_iter().chain(by_subnet) {
        let same = |fixed: &Fixed| match (request.address, &request.subnet) {
            (Some(address), _) => fixed.address == address,
            (None, Some(subnet)) => fixed.subnet.to_string() == *subnet,
            (None, None) => false,
        };
        match left.iter().position(same) {
            Some(at) => kept.push(left.swap_remove(at)),
            None => missing.push(request.clone()),
        }
    }
    let automatic =
        |fixed: &Fixed| subnets.iter().any(|row| row.id == fixed.subnet && row.is_automatic());
    for fixed in left {
        if automatic(&fixed) && !holder.is_router() && !requests.is_empty() {
            kept.push(fixed);
        } else {
            ipam::release(work.txn, fixed.subnet, fixed.address, holder.port)?;
        }
    }
    kept.extend(requested(work, holder, &subnets, &missing)?);
    if !requests.is_empty() {
        add_automatic(work, holder, &subnets, &mut kept)?;
    }
    Ok(kept)
}

/// Takes back all addresses of a port.
pub(crate) fn release_all(work: &mut Work<'_>, port: Uuid, fixed_ips: &[Fixed]) -> Outcome<()> {
    for fixed in fixed_ips {
        ipam::release(work.txn, fixed.subnet, fixed.address, port)?;
    }
    Ok(())
}

fn requested(
    work: &mut Work<'_>,
    holder: &Holder<'_>,
    subnets: &[SubnetRow],
    requests: &[FixedRequest],
) -> Outcome<Vec<Fixed>> {
    let mut fixed_ips = Vec::new();
    // Named addresses first, lest one of them is chosen for another request.
    let (named, any): (Vec<_>, Vec<_>) =
        requests.iter().partition(|request| request.address.is_some());
    for request in named.into_iter().chain(any) {
        let subnet = subnet_of(work, holder, subnets, request)?;
        match request.address {
            Some(address) => {
                check_automatic(holder, subnet, address)?;
                ipam::take(work.txn, subnet.id, address, holder.port)?;
                fixed_ips.push(Fixed { subnet: subnet.id, address });
            }
            // An automatic subnet is added for itself.
            None if subnet.is_automatic() && !holder.is_router() => {}
            None => fixed_ips.extend(any_of(work, holder, &[subnet])?),
        }
    }
    Ok(fixed_ips)
}

/// The subnet that a request is about, if the request can be met there.
fn subnet_of<'a>(
    work: &Work<'_>,
    holder: &Holder<'_>,
    subnets: &'a [SubnetRow],
    request: &FixedRequest,
) -> Outcome<&'a SubnetRow> {
    if subnets.is_empty() {
        return Err(invalid_input("IP allocation requires subnets for network"));
    }
    let fits =
        |row: &SubnetRow, address| ipam::contains_host(row.cidr, address, holder.is_router());
    match (&request.subnet, request.address) {
        (Some(id), address) => {
            let Some(row) = subnets.iter().find(|row| row.id.to_string() == *id) else {
                subnets::get(work.txn, id)?;
                return Err(invalid_input(format!(
                    "Failed to create port on network {}, because fixed_ips included invalid \
                     subnet {id}",
                    holder.network
                )));
            };
            match address {
                Some(address) if !fits(row, address) => Err(l2::invalid_ip_for_subnet(address)),
                _ => Ok(row),
            }
        }
        (None, Some(address)) => subnets
            .iter()
            .find(|row| fits(row, address))
            .ok_or_else(|| l2::invalid_ip_for_network(address)),
        (None, None) => Err(invalid_input("IP allocation requires subnet_id or ip_address")),
    }
}

/// Refuses an address of an automatic subnet that the guest would not make itself.
fn check_automatic(holder: &Holder<'_>, subnet: &SubnetRow, address: IpAddr) -> Outcome<()> {
    if !subnet.is_automatic() || holder.is_router() {
        return Ok(());
    }
    if ipam::interface_id(subnet.cidr, holder.mac_address) == Some(address) {
        return Ok(());
    }
    Err(l2::automatic_address_only(address, subnet.id))
}

/// An address of the first of these subnets that has one to give; none if there are no subnets.
fn any_of(
    work: &mut Work<'_>,
    holder: &Holder<'_>,
    subnets: &[&SubnetRow],
) -> Outcome<Option<Fixed>> {
    for subnet in subnets {
        if let Some(address) = ipam::choose(work.txn, &mut work.rng, subnet, holder.port)? {
            return Ok(Some(Fixed { subnet: subnet.id, address }));
        }
    }
    if subnets.is_empty() { Ok(None) } else { Err(l2::no_address_on_network(holder.network)) }
}

/// Adds the addresses that the guest will make itself, of all automatic subnets.
fn add_automatic(
    work: &mut Work<'_>,
    holder: &Holder<'_>,
    subnets: &[SubnetRow],
    fixed_ips: &mut Vec<Fixed>,
) -> Outcome<()> {
    if holder.is_router() {
        return Ok(());
    }
    for subnet in subnets.iter().filter(|row| row.is_automatic()) {
        if fixed_ips.iter().any(|fixed| fixed.subnet == subnet.id) {
            continue;
        }
        if let Some(address) = ipam::interface_id(subnet.cidr, holder.mac_address) {
            ipam::take(work.txn, subnet.id, address, holder.port)?;
            fixed_ips.push(Fixed { subnet: subnet.id, address });
        }
    }
    Ok(())
}
