//! Giving addresses to ports and taking them back.

use std::{collections::BTreeSet, net::IpAddr};

use rand::{Rng, seq::IndexedRandom};
use updraft_runtime::store::{StoreError, Txn};
use uuid::Uuid;

use super::Pool;
use crate::{
    error::{Outcome, l2},
    rows::{AllocationRow, SubnetRow},
};

/// How many addresses are tried one by one before the subnet is read whole. In a subnet that is half full
/// one in 65,536 choices gets that far.
const PROBES_MAX: usize = 16;

/// Among how many of the first free addresses is chosen when a subnet is read whole.
const FREE_MAX: usize = 1_000;

/// Gives a port any free address of the subnet's pools; `None` if there is none.
pub(crate) fn choose(
    txn: &mut Txn,
    rng: &mut impl Rng,
    subnet: &SubnetRow,
    port: Uuid,
) -> Result<Option<IpAddr>, StoreError> {
    let found = match probe(txn, rng, subnet)? {
        Some(address) => Some(address),
        None => any_free(txn, rng, subnet)?,
    };
    if let Some(address) = found {
        txn.insert(&AllocationRow { subnet: subnet.id, address, port })?;
    }
    Ok(found)
}

/// Gives a port this address of the subnet, in a pool or not.
pub(crate) fn take(txn: &mut Txn, subnet: Uuid, address: IpAddr, port: Uuid) -> Outcome<()> {
    match txn.insert(&AllocationRow { subnet, address, port }) {
        Err(StoreError::Exists { .. }) => Err(l2::address_allocated(address, subnet)),
        done => Ok(done?),
    }
}

/// Takes an address back, if this port has it.
pub(crate) fn release(
    txn: &mut Txn,
    subnet: Uuid,
    address: IpAddr,
    port: Uuid,
) -> Result<(), StoreError> {
    let key = AllocationRow::key_of(subnet, address);
    if txn.get::<AllocationRow>(&key)?.is_some_and(|row| row.port == port) {
        txn.delete::<AllocationRow>(&key)?;
    }
    Ok(())
}

fn probe(txn: &Txn, rng: &mut impl Rng, subnet: &SubnetRow) -> Result<Option<IpAddr>, StoreError> {
    let weight = |pool: &Pool| pool.last_index() as f64 + 1.0;
    let Ok(pool_of) = rand::distr::weighted::WeightedIndex::new(subnet.pools.iter().map(weight))
    else {
        return Ok(None);
    };
    for _ in 0..PROBES_MAX {
        let pool = subnet.pools[rng.sample(&pool_of)];
        let address = pool.nth(rng.random_range(0..=pool.last_index()));
        if txn.get::<AllocationRow>(&AllocationRow::key_of(subnet.id, address))?.is_none() {
            return Ok(Some(address));
        }
    }
    Ok(None)
}

fn any_free(
    txn: &Txn,
    rng: &mut impl Rng,
    subnet: &SubnetRow,
) -> Result<Option<IpAddr>, StoreError> {
    let given: BTreeSet<IpAddr> = txn
        .find::<AllocationRow>("subnet", &subnet.id.to_string())?
        .into_iter()
        .map(|row| row.address)
        .collect();
    let all = subnet.pools.iter().flat_map(|pool| (0..=pool.last_index()).map(|at| pool.nth(at)));
    let free: Vec<IpAddr> = all.filter(|address| !given.contains(address)).take(FREE_MAX).collect();
    Ok(free.choose(rng).copied())
}

#[cfg(test)]
mod tests;
