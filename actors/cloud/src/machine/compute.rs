//! The compute process of a machine.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use updraft_compute::{
    child::{ChildHypervisor, Program},
    files::FileDisks,
    node::NodeConfig,
    simulated::{NoFaults, SimulatedDisks, SimulatedHost, SimulatedHypervisor},
};
use updraft_network::{
    agent::{MemoryMetadata, MetadataConfig},
    driver::{
        linux::{LinuxConfig, LinuxDhcp, LinuxL2, NamespaceMetadata},
        names::Tag,
        sim::SimHost,
    },
};
use updraft_runtime::{Env, node::Parts, store::Store};
use updraft_transport::NodeId;
use updraft_volume::driver::{QemuVolumes, SimulatedVolumes};

use super::{
    config::{HypervisorKind, Settings},
    control::{CONTROL, told_to_end},
    data_dir::DataDir,
    libvirtd,
    link::{self, Failure},
    processes::Processes,
};
use crate::host::{Host, HostDrivers};

/// The compute node's id on a machine of its own.
const COMPUTE: &str = "compute-1";

/// The cell's name until there are several.
const CELL: &str = "cell-1";

/// How long a compute process left over from a former control process may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// The room that simulated volumes find, in GiB.
const SIMULATED_VOLUMES_GIB: u64 = 10_000;

/// Runs a compute host until it is told to end.
pub async fn run_compute(settings: Settings, control: SocketAddr) -> Result<(), Failure> {
    let env = Env::real();
    let data = DataDir::open(&settings.data_dir)?;
    let processes = Processes::of(&data);
    processes.stop(&env, "compute", GRACE).await?;
    processes.note("compute")?;
    let store = Store::redb(env.clone(), &data.path("compute.redb")).await?;
    let credentials = link::credentials(&env, &data, COMPUTE, &["compute"])?;
    let incarnation = data.next_incarnation(COMPUTE)?;
    let listen = SocketAddr::new(control.ip(), 0);
    let (quic, events) = link::link(&env, credentials, incarnation, listen)?;
    let parts = Parts {
        env: env.clone(),
        address: quic.local_addr()?,
        transport: quic,
        events,
        incarnation,
        cell: CELL.to_owned(),
        seeds: vec![(NodeId::new(CONTROL)?, control)],
        topics: std::collections::BTreeSet::new(),
    };
    let drivers = match settings.hypervisor {
        HypervisorKind::Simulated => simulated(&env, &settings),
        HypervisorKind::Libvirt => libvirt(&env, &settings, &data)?,
    };
    let host = Host::start(parts, store.clone(), drivers, NodeConfig::default()).await?;
    tokio::select! {
        biased;
        () = told_to_end() => {}
        reason = host.node().failed() => return Err(reason.into()),
    }
    host.network().stop().await;
    host.node().stop().await;
    store.close().await;
    processes.forget("compute");
    Ok(())
}

/// Drivers whose guests, networks and volumes exist in this process only.
fn simulated(env: &Env, settings: &Settings) -> HostDrivers {
    let (vcpus, memory_mib, disk_gib) = settings.simulated_host;
    let machine = SimulatedHost::new(vcpus, memory_mib, disk_gib);
    let network = Arc::new(SimHost::new(env.clone()));
    HostDrivers {
        hypervisor: Arc::new(SimulatedHypervisor::new(env.clone(), machine, Arc::new(NoFaults))),
        disks: Arc::new(SimulatedDisks::default()),
        l2: network.clone(),
        dhcp: network,
        metadata: MetadataConfig::new(MemoryMetadata::default()),
        volumes: Arc::new(SimulatedVolumes::new(env, SIMULATED_VOLUMES_GIB)),
    }
}

/// Drivers that make guests, networks and volumes of this machine.
fn libvirt(env: &Env, settings: &Settings, data: &DataDir) -> Result<HostDrivers, Failure> {
    let tag = data.keep("tag", || env.uuid().simple().to_string()[..8].to_owned())?;
    let linux = LinuxConfig::new(data.path("network"), Tag::new(&tag)?);
    let instances = data.path("instances");
    std::fs::create_dir_all(&instances)?;
    env.spawn("libvirtd keeper", libvirtd::keep(env.clone(), data.clone()));
    let program = Program {
        path: beside("updraft-libvirt")?,
        arguments: vec![
            "--uri".into(),
            libvirtd::uri(data).into(),
            "--instances".into(),
            instances.clone().into(),
            "--virt-type".into(),
            settings.virt_type.as_str().into(),
        ],
    };
    Ok(HostDrivers {
        hypervisor: Arc::new(ChildHypervisor::start(env, program)),
        disks: Arc::new(FileDisks::new(env, instances)),
        l2: Arc::new(LinuxL2::new(env, &linux)),
        dhcp: Arc::new(LinuxDhcp::new(env, &linux)),
        metadata: MetadataConfig::new(NamespaceMetadata::new(env.clone())),
        volumes: Arc::new(QemuVolumes::new(env, &data.path("volumes"))?),
    })
}

/// A program in the folder of this one.
fn beside(name: &str) -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()?;
    Ok(this.with_file_name(name))
}
