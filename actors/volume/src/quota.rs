//! What a project has and may have, counted from the rows themselves.

use updraft_runtime::store::Txn;

use crate::{
    error::Error,
    rows::{BY_PROJECT, Limits, QuotaRow, SnapshotRow, VolumeRow},
};

/// What a project has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) volumes: u64,
    pub(crate) snapshots: u64,
    pub(crate) gigabytes: u64,
}

/// What is asked for besides.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wanted {
    Volume { size_gib: u64 },
    Snapshot { size_gib: u64 },
    Growth { to_gib: u64, by_gib: u64 },
}

/// Counts what a project has: what is being deleted still counts, until it is gone.
pub(crate) fn used(txn: &Txn, project: &str) -> Result<Used, Error> {
    let volumes = txn.find::<VolumeRow>(BY_PROJECT, project)?;
    let snapshots = txn.find::<SnapshotRow>(BY_PROJECT, project)?;
    let of_volumes: u64 =
        volumes.iter().map(|row| row.file.size_gib.max(row.file.served_gib)).sum();
    let of_snapshots: u64 = snapshots.iter().map(|row| row.file.size_gib).sum();
    Ok(Used {
        volumes: volumes.len() as u64,
        snapshots: snapshots.len() as u64,
        gigabytes: of_volumes + of_snapshots,
    })
}

/// What a project may have.
pub(crate) fn limits(txn: &Txn, project: &str) -> Result<Limits, Error> {
    Ok(txn.get::<QuotaRow>(project)?.map(|row| row.limits).unwrap_or_default())
}

/// Refuses what would be too much, in the transaction that makes it.
pub(crate) fn check(txn: &Txn, project: &str, wanted: Wanted) -> Result<(), Error> {
    decide(&limits(txn, project)?, &used(txn, project)?, wanted)
}

fn decide(limits: &Limits, used: &Used, wanted: Wanted) -> Result<(), Error> {
    let over = |limit: i64, amount: u64| u64::try_from(limit).is_ok_and(|limit| amount > limit);
    let (size_gib, more_gib) = match wanted {
        Wanted::Volume { size_gib } => (size_gib, size_gib),
        Wanted::Snapshot { size_gib } => (0, size_gib),
        Wanted::Growth { to_gib, by_gib } => (to_gib, by_gib),
    };
    let no = |name, words| Err(Error::OverQuota { name, words });
    if over(limits.per_volume_gigabytes, size_gib) {
        let limit = limits.per_volume_gigabytes;
        return no(
            "VolumeSizeExceedsLimit",
            format!(
                "Requested volume size {size_gib}G is larger than maximum allowed limit {limit}G."
            ),
        );
    }
    if over(limits.gigabytes, used.gigabytes + more_gib) {
        return no(
            "VolumeSizeExceedsAvailableQuota",
            format!(
                "Requested volume or snapshot exceeds allowed gigabytes quota. Requested {more_gib}G, \
                 quota is {}G and {}G has been consumed.",
                limits.gigabytes, used.gigabytes
            ),
        );
    }
    match wanted {
        Wanted::Volume { .. } if over(limits.volumes, used.volumes + 1) => no(
            "VolumeLimitExceeded",
            format!(
                "Maximum number of volumes allowed ({}) exceeded for quota 'volumes'.",
                limits.volumes
            ),
        ),
        Wanted::Snapshot { .. } if over(limits.snapshots, used.snapshots + 1) => no(
            "SnapshotLimitExceeded",
            format!("Maximum number of snapshots allowed ({}) exceeded", limits.snapshots),
        ),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_one_fits_and_the_next_does_not() {
        let limits = Limits::default();
        let volume = Wanted::Volume { size_gib: 100 };
        let nine = Used { volumes: 9, snapshots: 0, gigabytes: 900 };
        assert!(decide(&limits, &nine, volume).is_ok());
        let ten = Used { volumes: 10, ..nine };
        assert!(decide(&limits, &ten, volume).is_err());
        let full = Used { gigabytes: 901, ..nine };
        let words = decide(&limits, &full, volume).expect_err("taken").to_string();
        assert!(words.contains("Requested 100G, quota is 1000G and 901G has been consumed."));
    }

    #[test]
    fn without_a_limit_anything_fits() {
        let limits = Limits { volumes: -1, gigabytes: -1, snapshots: -1, per_volume_gigabytes: -1 };
        let much = Used { volumes: 1 << 40, snapshots: 1 << 40, gigabytes: 1 << 40 };
        assert!(decide(&limits, &much, Wanted::Volume { size_gib: 1 << 40 }).is_ok());
    }

    #[test]
    fn a_snapshot_counts_by_number_and_by_size() {
        let limits = Limits { snapshots: 1, gigabytes: 10, ..Limits::default() };
        let none = Used::default();
        assert!(decide(&limits, &none, Wanted::Snapshot { size_gib: 10 }).is_ok());
        assert!(decide(&limits, &none, Wanted::Snapshot { size_gib: 11 }).is_err());
        let one = Used { snapshots: 1, ..none };
        assert!(decide(&limits, &one, Wanted::Snapshot { size_gib: 1 }).is_err());
    }
}
