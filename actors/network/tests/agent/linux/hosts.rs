//! Hosts as namespaces with drivers of their own, on a cable to one another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    net::IpAddr,
    sync::Arc,
    thread,
};

use nix::sched::{CloneFlags, setns, unshare};
use tokio::runtime::Runtime;
use updraft_network::driver::{
    DhcpDriver, DriverError, L2Driver, TapSpec,
    linux::{LinuxConfig, LinuxDhcp, LinuxL2, LinuxL3},
    names::{self, Tag},
};
use updraft_protocol::network::{DhcpWant, FilterWant, OverlayWant, Tunnel};
use updraft_runtime::Env;
use uuid::Uuid;

use super::{super::world::*, guest::Guest, sandbox::output_of};

/// A host: threads that are in namespaces of their own, and the drivers that run on them.
pub(super) struct Host {
    pub(super) number: u8,
    runtime: Option<Runtime>,
    pub(super) l2: Arc<LinuxL2>,
    pub(super) dhcp: Arc<LinuxDhcp>,
    pub(super) l3: Arc<LinuxL3>,
    _state: tempfile::TempDir,
}

impl Drop for Host {
    fn drop(&mut self) {
        // Within another runtime, nobody waits for it.
        self.runtime.take().unwrap().shutdown_background();
    }
}

/// The cable's other end is here, where all of them meet.
fn plug_in(number: u8) {
    let (host, near) = (format!("h{number}"), format!("port{number}"));
    output_of("ip", &["netns", "add", &host]);
    let words = ["link", "add", "name", &near, "type", "veth", "peer", "name", "eth0", "netns"];
    output_of("ip", &[words.as_slice(), &[&host]].concat());
    output_of("ip", &["link", "set", "dev", &near, "master", "fabric", "up"]);
    let address = format!("{}/24", end(number));
    output_of("ip", &["-n", &host, "address", "add", &address, "dev", "eth0"]);
    output_of("ip", &["-n", &host, "link", "set", "dev", "lo", "up"]);
    output_of("ip", &["-n", &host, "link", "set", "dev", "eth0", "up"]);
}

/// A mount namespace in which the names of network namespaces are a host's own.
fn own_names() -> File {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        output_of("mount", &["--make-rprivate", "/"]);
        output_of("mount", &["-t", "tmpfs", "tmpfs", "/run/netns"]);
        File::open("/proc/thread-self/ns/mnt").unwrap()
    });
    made.join().unwrap()
}

impl Host {
    fn new(number: u8) -> Self {
        plug_in(number);
        let net = File::open(format!("/run/netns/h{number}")).unwrap();
        let mount = own_names();
        let enter = move || {
            unshare(CloneFlags::CLONE_FS).unwrap();
            setns(&mount, CloneFlags::CLONE_NEWNS).unwrap();
            setns(&net, CloneFlags::CLONE_NEWNET).unwrap();
        };
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime =
            builder.worker_threads(1).enable_all().on_thread_start(enter).build().unwrap();
        let state = tempfile::tempdir().unwrap();
        let mut config = LinuxConfig::new(state.path().to_owned(), Tag::new("test").unwrap());
        config.physical_networks = [("public".to_owned(), "br-public".to_owned())].into();
        // Of the runtime that it is made in.
        let env = {
            let _here = runtime.enter();
            Env::real()
        };
        let l2 = Arc::new(LinuxL2::new(&env, &config));
        let dhcp = Arc::new(LinuxDhcp::new(&env, &config));
        let l3 = Arc::new(LinuxL3::new(&env, &config));
        Self { number, runtime: Some(runtime), l2, dhcp, l3, _state: state }
    }

    pub(super) fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// The same, whether it works or not.
    pub(super) async fn try_run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DriverError>> + Send + 'static,
    ) -> Result<T, DriverError> {
        self.runtime().spawn(work).await.unwrap()
    }

    /// On a thread that is in the host's namespaces.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, DriverError>> + Send + 'static,
    ) -> T {
        self.try_run(work)
            .await
            .unwrap_or_else(|error| panic!("host {}: {}", self.number, error.chain()))
    }

    /// The guest's tap is on this host, and plugged.
    pub(super) async fn plug(&self, guest: &Guest, tap: TapSpec) {
        let device = names::tap(tap.port);
        if guest.is_here() {
            let host = format!("h{}", self.number);
            output_of("ip", &["link", "set", "dev", &device, "netns", &host]);
        }
        let l2 = self.l2.clone();
        self.run(async move {
            l2.ensure_bridge(tap.network, tap.mtu).await?;
            l2.ensure_tap(&tap).await
        })
        .await;
    }

    /// The guest's tap is taken off its bridge and brought back to where all hosts meet.
    pub(super) fn unplug(&self, port: Uuid) {
        let (host, device) = (format!("h{}", self.number), names::tap(port));
        output_of("ip", &["-n", &host, "link", "set", "dev", &device, "nomaster"]);
        output_of("ip", &["-n", &host, "link", "set", "dev", &device, "alias", ""]);
        let main = std::process::id().to_string();
        output_of("ip", &["-n", &host, "link", "set", "dev", &device, "netns", &main]);
    }

    pub(super) async fn overlay(&self, want: &OverlayWant) {
        let (l2, want) = (self.l2.clone(), want.clone());
        self.run(async move {
            match &want.tunnel {
                Some(tunnel) => {
                    l2.ensure_bridge(want.network, tunnel.mtu).await?;
                    l2.ensure_overlay(&want).await
                }
                None => l2.remove_overlay(want.network).await,
            }
        })
        .await;
    }

    /// The tunnel of a network, to hosts with these ports.
    pub(super) async fn reach(
        &self,
        network: Uuid,
        vni: u32,
        generation: u64,
        peers: &[(u8, &[u8])],
    ) {
        let macs = |ports: &[u8]| -> BTreeSet<String> { ports.iter().map(|n| mac(*n)).collect() };
        let peers: BTreeMap<IpAddr, BTreeSet<String>> =
            peers.iter().map(|(host, ports)| (end(*host), macs(ports))).collect();
        let tunnel = Tunnel { vni, mtu: 1450, local: end(self.number), peers };
        self.overlay(&OverlayWant { network, generation, tunnel: Some(tunnel) }).await;
    }

    pub(super) async fn filter(&self, want: FilterWant) {
        let l2 = self.l2.clone();
        self.run(async move { l2.ensure_filter(&want).await }).await;
    }

    pub(super) async fn serve(&self, want: DhcpWant) {
        let dhcp = self.dhcp.clone();
        self.run(async move { dhcp.serve(&want).await }).await;
    }

    pub(super) async fn stop(&self, network: Uuid) {
        let dhcp = self.dhcp.clone();
        self.run(async move { dhcp.stop(network).await }).await;
    }

    /// How many packets have left by the tunnel of a network.
    pub(super) fn sent(&self, network: Uuid) -> u64 {
        let (host, device) = (format!("h{}", self.number), names::overlay(network));
        let shown = output_of("ip", &["-n", &host, "-s", "-j", "link", "show", "dev", &device]);
        let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
        shown[0]["stats64"]["tx"]["packets"].as_u64().unwrap()
    }

    pub(super) fn entries(&self, network: Uuid) -> String {
        let (host, device) = (format!("h{}", self.number), names::overlay(network));
        output_of("bridge", &["-n", &host, "fdb", "show", "dev", &device])
    }
}

/// Hosts on one cable.
pub(super) fn hosts<const N: usize>() -> [Host; N] {
    output_of("ip", &["link", "add", "name", "fabric", "type", "bridge"]);
    output_of("ip", &["link", "set", "dev", "fabric", "up"]);
    std::array::from_fn(|index| Host::new(u8::try_from(index + 1).unwrap()))
}

pub(super) fn mac(number: u8) -> String {
    format!("fa:16:3e:00:00:{number:02x}")
}

pub(super) fn port(number: u8) -> Uuid {
    Uuid::from_u128(u128::from(number) << 96 | 1)
}

/// A guest whose address ends with this number, and its tap on no network yet.
pub(super) fn guest(number: u8) -> Guest {
    guest_with(number, number)
}

pub(super) fn guest_with(number: u8, last: u8) -> Guest {
    Guest::at(port(number), &mac(number), &[&format!("10.1.0.{last}/24")])
}

pub(super) fn tap(number: u8, network: Uuid) -> TapSpec {
    TapSpec {
        port: port(number),
        generation: 1,
        network,
        mac_address: mac(number),
        addresses: vec![IpAddr::from([10, 1, 0, number])],
        mtu: 1450,
        secured: false,
        groups: BTreeSet::new(),
        pairs: BTreeSet::new(),
    }
}
