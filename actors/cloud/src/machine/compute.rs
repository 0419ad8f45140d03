//! The compute process of a machine.

use std::{net::SocketAddr, path::PathBuf, process::Stdio, sync::Arc, time::Duration};

use tokio::process::Command;
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
    link::{self, Failure},
    processes::Processes,
};
use crate::host::{Host, HostDrivers};

/// The compute node's id on a machine of its own.
pub const COMPUTE: &str = "compute-1";

/// The cell's name until there are several.
const CELL: &str = "cell-1";

/// How long a compute process left over from a former control process may take to end.
const GRACE: Duration = Duration::from_secs(5);

/// The room that simulated volumes find, in GiB.
const SIMULATED_VOLUMES_GIB: u64 = 10_000;

/// The script that runs a libvirtd of the cloud's own.
const LIBVIRTD: &str = include_str!("../../../../scripts/libvirtd.sh");

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
        HypervisorKind::Libvirt => libvirt(&env, &settings, &data).await?,
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
    let machine =
        SimulatedHost::new(u32::try_from(vcpus).unwrap_or(u32::MAX), memory_mib, disk_gib);
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
async fn libvirt(
    env: &Env,
    settings: &Settings,
    data: &DataDir,
) -> Result<HostDrivers, Failure> {
    let tag = data.keep("tag", || env.uuid().simple().to_string()[..8].to_owned())?;
    let linux = LinuxConfig::new(data.path("network"), Tag::new(&tag)?);
    let instances = data.path("instances");
    std::fs::create_dir_all(&instances)?;
    let uri = libvirtd(data).await.unwrap_or_else(|reason| {
        tracing::warn!(reason, "guests cannot be run yet");
        "qemu:///system".to_owned()
    });
    let program = Program {
        path: beside("updraft-libvirt")?,
        arguments: vec![
            "--uri".into(),
            uri.into(),
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

/// Starts the cloud's own libvirtd, or finds it running; its connection URI, or why there is none.
async fn libvirtd(data: &DataDir) -> Result<String, String> {
    let script = data.path("bin/libvirtd.sh");
    data.write("bin/libvirtd.sh", LIBVIRTD).map_err(|error| error.to_string())?;
    let output = Command::new("bash")
        .arg(&script)
        .arg("start")
        .arg(data.path("libvirt"))
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// A program in the folder of this one.
fn beside(name: &str) -> Result<PathBuf, Failure> {
    let this = std::env::current_exe()?;
    Ok(this.with_file_name(name))
}
