//! What stands between the agents of a host and the machine: by the settings, real or simulated.

use std::{net::IpAddr, path::PathBuf, sync::Arc};

use updraft_compute::{
    child::{ChildHypervisor, Program},
    files::FileDisks,
    simulated::{NoFaults, SimulatedDisks, SimulatedHost, SimulatedHypervisor},
};
use updraft_network::{
    agent::{MemoryMetadata, MetadataConfig},
    driver::{
        linux::{LinuxConfig, LinuxDhcp, LinuxL2, LinuxL3, NamespaceMetadata},
        names::Tag,
        sim::SimHost,
    },
};
use updraft_runtime::Env;
use updraft_transport::tls::Credentials;
use updraft_volume::driver::{QemuVolumes, Serving, ServingTls, SimulatedVolumes};

use super::{
    config::{HypervisorKind, Settings},
    data_dir::DataDir,
    libvirtd,
    link::Failure,
    nbd_tls,
};
use crate::host::HostDrivers;

/// The room that simulated volumes find, in GiB.
const SIMULATED_VOLUMES_GIB: u64 = 10_000;

/// The drivers that the settings ask for, of the host with these certificates that others reach at this address.
pub(super) fn drivers(
    env: &Env,
    settings: &Settings,
    data: &DataDir,
    credentials: &Credentials,
    address: IpAddr,
) -> Result<HostDrivers, Failure> {
    match settings.hypervisor {
        HypervisorKind::Simulated => simulated(env, settings, data),
        HypervisorKind::Libvirt => {
            let folder = nbd_tls::keep(data, credentials)?;
            let name = credentials.identity().node.to_string();
            libvirt(
                env,
                settings,
                data,
                Serving { address, tls: Some(ServingTls { name, folder }) },
            )
        }
    }
}

/// Drivers whose guests and volumes are files of a few hundred bytes, and whose networks are in memory. Guests and
/// volumes outlive this process, as real ones do.
fn simulated(env: &Env, settings: &Settings, data: &DataDir) -> Result<HostDrivers, Failure> {
    let size = settings.simulated_host;
    let machine = SimulatedHost::new(size.vcpus, size.memory_mib, size.disk_gib);
    let machine = machine.kept_in(env, &data.path("simulated/guests"))?;
    let volumes = SimulatedVolumes::new(env, SIMULATED_VOLUMES_GIB);
    let network = Arc::new(SimHost::new(env.clone()));
    Ok(HostDrivers {
        hypervisor: Arc::new(SimulatedHypervisor::new(env.clone(), machine, Arc::new(NoFaults))),
        disks: Arc::new(SimulatedDisks::default()),
        l2: network.clone(),
        dhcp: network.clone(),
        l3: network,
        physical_networks: settings.physical_networks.names(),
        metadata: MetadataConfig::new(MemoryMetadata::default()),
        tunnel_address: tunnel_address(settings),
        volumes: Arc::new(volumes.kept_in(&data.path("simulated/volumes"))?),
    })
}

/// Where the settings say that other hosts reach tunnels, if they do.
fn tunnel_address(settings: &Settings) -> Option<IpAddr> {
    Some(settings.tunnel_address).filter(|end| !end.is_unspecified())
}

/// Drivers that make guests, networks and volumes of this machine.
fn libvirt(
    env: &Env,
    settings: &Settings,
    data: &DataDir,
    serving: Serving,
) -> Result<HostDrivers, Failure> {
    let tag = data.keep("tag", || env.uuid().simple().to_string()[..8].to_owned())?;
    let mut linux = LinuxConfig::new(data.path("network"), Tag::new(&tag)?);
    linux.physical_networks = settings.physical_networks.bridges();
    let instances = data.folder("instances")?;
    env.spawn("libvirtd keeper", libvirtd::keep(env.clone(), data.clone()));
    let disks = FileDisks::new(env, instances.clone());
    env.spawn("image cache", disks.clone().look_after_images());
    let program = Program {
        path: beside("updraft-libvirt")?,
        arguments: vec![
            "--uri".into(),
            libvirtd::uri(data).into(),
            "--instances".into(),
            instances.into(),
            "--virt-type".into(),
            settings.virt_type.as_str().into(),
        ],
    };
    Ok(HostDrivers {
        hypervisor: Arc::new(ChildHypervisor::start(env, program)),
        disks: Arc::new(disks),
        l2: Arc::new(LinuxL2::new(env, &linux)),
        dhcp: Arc::new(LinuxDhcp::new(env, &linux)),
        l3: Arc::new(LinuxL3::new(env, &linux)),
        physical_networks: settings.physical_networks.names(),
        metadata: MetadataConfig::new(NamespaceMetadata::new(env.clone())),
        tunnel_address: tunnel_address(settings),
        volumes: Arc::new(QemuVolumes::new(env, &data.path("volumes"), serving)?),
    })
}

/// A program in the folder of this one.
fn beside(name: &str) -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()?;
    Ok(this.with_file_name(name))
}
