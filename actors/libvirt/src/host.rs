//! What the host is and has.

use std::path::Path;

use nix::sys::statvfs::statvfs;
use updraft_protocol::hypervisor::{DriverError, HostReport};
use virt::connect::Connect;

use crate::{connection::CallError, driver::Driver, failure::Fault};

const BYTES_PER_GIB: u64 = 1 << 30;
const KIB_PER_MIB: u64 = 1 << 10;

/// libvirt's account of the host, and the disk below the instances' folder.
pub(crate) async fn report(driver: &Driver) -> Result<HostReport, DriverError> {
    let instances = driver.instances.clone();
    let report = driver.link.call(None, move |connect| ask(connect, &instances)).await;
    let report = report.map_err(to_driver_error)?;
    // Which may take a while at first: it is found out by running something.
    let virt_type = driver.virt_types.get().await.as_str().to_owned();
    Ok(HostReport { virt_type, ..report })
}

fn ask(connect: &Connect, instances: &Path) -> Result<HostReport, Fault> {
    let node = connect.get_node_info()?;
    Ok(HostReport {
        hypervisor_type: connect.get_type()?,
        hypervisor_version: connect.get_hyp_version()?,
        virt_type: String::new(),
        vcpus: node.cpus,
        memory_mib: node.memory / KIB_PER_MIB,
        disk_gib: disk_bytes(instances)? / BYTES_PER_GIB,
        architecture: node.model,
    })
}

fn disk_bytes(folder: &Path) -> Result<u64, Fault> {
    let found = statvfs(folder)
        .map_err(|error| Fault::File { what: "the instances' folder", source: error.into() })?;
    Ok(found.blocks() * found.fragment_size())
}

/// For calls that concern no guest and change nothing.
pub(crate) fn to_driver_error(error: CallError) -> DriverError {
    match error {
        CallError::Fault(fault) => DriverError::Failed(fault.to_string()),
        CallError::Down(reason) | CallError::Broken(reason) => DriverError::Unavailable(reason),
    }
}
