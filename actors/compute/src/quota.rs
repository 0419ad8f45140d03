//! What a project may still have, in nova's words when it may not.
//!
//! Asked inside the transaction that takes, so that no two requests take the same rest.

use updraft_runtime::store::{StoreError, Txn};

use crate::{
    error::{Outcome, forbidden},
    rows::{Claim, QuotaRow, UsageRow},
};

/// A quota without limit.
pub(crate) const UNLIMITED: i64 = -1;

/// What a project may use.
pub(crate) fn of(txn: &Txn, project_id: &str) -> Result<QuotaRow, StoreError> {
    let row = txn.get::<QuotaRow>(project_id)?;
    Ok(row.unwrap_or_else(|| QuotaRow::default_of(project_id)))
}

/// What a project uses.
pub(crate) fn usage(txn: &Txn, project_id: &str) -> Result<UsageRow, StoreError> {
    let empty = || UsageRow { project_id: project_id.to_owned(), ..UsageRow::default() };
    Ok(txn.get::<UsageRow>(project_id)?.unwrap_or_else(empty))
}

/// One resource: what each server needs of it, what is used and what is allowed.
struct Resource {
    name: &'static str,
    each: u64,
    used: u64,
    allowed: i64,
}

impl Resource {
    /// How many servers the rest is enough for.
    fn room(&self) -> u64 {
        match u64::try_from(self.allowed) {
            Err(_) => u64::MAX,
            Ok(allowed) => {
                allowed.saturating_sub(self.used).checked_div(self.each).unwrap_or(u64::MAX)
            }
        }
    }
}

/// How many servers of this size, from `min` to `max`, the project may have more.
pub(crate) fn servers(
    txn: &Txn,
    project_id: &str,
    claim: Claim,
    (min, max): (u64, u64),
) -> Outcome<u64> {
    let resources = resources(txn, project_id, claim)?;
    let room = resources.iter().map(Resource::room).min().unwrap_or(0);
    if room >= min {
        return Ok(room.min(max));
    }
    let count = if min == max { min.to_string() } else { format!("{min}-{max}") };
    Err(exceeded(&resources, max, &count))
}

/// Whether a server of the project may grow from one size to another.
pub(crate) fn growth(txn: &Txn, project_id: &str, old: Claim, new: Claim) -> Outcome<()> {
    let more = Claim {
        vcpus: new.vcpus.saturating_sub(old.vcpus),
        ram_mib: new.ram_mib.saturating_sub(old.ram_mib),
        disk_gib: 0,
    };
    let mut resources = resources(txn, project_id, more)?;
    // The server itself is counted already; what does not grow cannot exceed anything.
    resources.retain(|resource| resource.name != "instances" && resource.each > 0);
    match resources.iter().any(|resource| resource.room() < 1) {
        true => Err(exceeded(&resources, 1, "1")),
        false => Ok(()),
    }
}

fn resources(txn: &Txn, project_id: &str, claim: Claim) -> Result<Vec<Resource>, StoreError> {
    let (quota, usage) = (of(txn, project_id)?, usage(txn, project_id)?);
    Ok(vec![
        Resource { name: "cores", each: claim.vcpus, used: usage.cores, allowed: quota.cores },
        Resource { name: "instances", each: 1, used: usage.instances, allowed: quota.instances },
        Resource { name: "ram", each: claim.ram_mib, used: usage.ram_mib, allowed: quota.ram_mib },
    ])
}

fn exceeded(resources: &[Resource], wanted: u64, count: &str) -> crate::error::Error {
    let over: Vec<&Resource> = resources.iter().filter(|r| r.room() < wanted).collect();
    let list = |of: &dyn Fn(&Resource) -> String| {
        over.iter().map(|resource| of(resource)).collect::<Vec<_>>().join(", ")
    };
    let overs = list(&|resource| resource.name.to_owned());
    let requested = list(&|resource| match resource.name {
        "instances" => count.to_owned(),
        _ => (resource.each * wanted).to_string(),
    });
    let used = list(&|resource| resource.used.to_string());
    let allowed = list(&|resource| resource.allowed.to_string());
    forbidden(format!(
        "Quota exceeded for {overs}: Requested {requested}, but already used {used} of {allowed} {overs}"
    ))
}

/// Whether one more may be added to what is counted, such as key pairs.
pub(crate) fn one_more(have: usize, allowed: i64, words: &str) -> Outcome<()> {
    let fits = allowed <= UNLIMITED || have < usize::try_from(allowed).unwrap_or(0);
    if fits { Ok(()) } else { Err(forbidden(words)) }
}

/// Whether a server may have this many keys and values.
pub(crate) fn metadata_items(txn: &Txn, project_id: &str, count: usize) -> Outcome<()> {
    let allowed = of(txn, project_id)?.metadata_items;
    if allowed <= UNLIMITED || count <= usize::try_from(allowed).unwrap_or(0) {
        return Ok(());
    }
    Err(forbidden(format!("Maximum number of metadata items exceeds {allowed}")))
}
