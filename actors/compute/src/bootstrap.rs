//! What a new cloud has from the start.

use std::collections::{BTreeMap, BTreeSet};

use updraft_protocol::compute::FlavorSpec;
use updraft_runtime::store::{Store, StoreError};

use crate::rows::FlavorRow;

/// Flavors as DevStack has them: id, name, virtual processors, MiB of memory, GiB of root disk.
const FLAVORS: [(&str, &str, u32, u64, u64); 5] = [
    ("1", "m1.tiny", 1, 512, 1),
    ("2", "m1.small", 1, 2_048, 20),
    ("3", "m1.medium", 2, 4_096, 40),
    ("4", "m1.large", 4, 8_192, 80),
    ("5", "m1.xlarge", 8, 16_384, 160),
];

/// Makes the flavors, if there are none at all.
pub(crate) async fn flavors(store: &Store) -> Result<(), StoreError> {
    store
        .transact(|txn| {
            if !txn.scan::<FlavorRow>(None, 1)?.is_empty() {
                return Ok(());
            }
            FLAVORS.iter().try_for_each(|flavor| txn.insert(&row(*flavor)))
        })
        .await
}

fn row((id, name, vcpus, ram_mib, disk_gib): (&str, &str, u32, u64, u64)) -> FlavorRow {
    FlavorRow {
        spec: FlavorSpec {
            id: id.to_owned(),
            name: name.to_owned(),
            vcpus,
            ram_mib,
            disk_gib,
            ephemeral_gib: 0,
            swap_mib: 0,
            extra_specs: BTreeMap::new(),
        },
        description: None,
        rxtx_factor: 1.0,
        is_public: true,
        access: BTreeSet::new(),
    }
}
