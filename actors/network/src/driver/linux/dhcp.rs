//! One dnsmasq per network, in a namespace of its own on the network's bridge.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

use async_trait::async_trait;
use updraft_protocol::network::DhcpWant;
use updraft_runtime::Env;
use uuid::Uuid;

use super::{
    LinuxConfig,
    dnsmasq::{self, Running},
    files::{self, Files},
    ip::Ip,
    netns,
    rooms::{Kind, Rooms},
};
use crate::driver::{
    DhcpDriver, DriverError, FoundDhcp, Health, Serving,
    names::{self, Made},
    newest::Newest,
};

/// DHCP servers of this machine, or of the network namespace in which the process runs.
pub struct LinuxDhcp {
    env: Env,
    ip: Ip,
    config: LinuxConfig,
    rooms: Rooms,
    newest: Newest,
}

const ROOMS: Kind = Kind {
    folder: "dhcp",
    name: names::namespace,
    of_name: names::network_of_namespace,
    made: Made::Dhcp,
};

impl LinuxDhcp {
    /// A driver with these settings.
    #[must_use]
    pub fn new(env: &Env, config: &LinuxConfig) -> Self {
        let (ip, rooms) = (Ip::new(env, config), Rooms::new(env, config, ROOMS));
        Self { env: env.clone(), ip, config: config.clone(), rooms, newest: Newest::default() }
    }

    fn files(&self, network: Uuid) -> Files {
        Files { directory: self.rooms.folder(network) }
    }

    /// Writes what is wanted, unless something newer is by the time that the disk comes to it: nobody can stop a write
    /// that is under way.
    async fn writing<T: Send + 'static>(
        &self,
        doing: &str,
        want: &DhcpWant,
        write: impl FnOnce(&Env) -> io::Result<T> + Send + 'static,
    ) -> Result<T, DriverError> {
        let (env, newest) = (self.env.clone(), self.newest.clone());
        let (network, generation) = (want.network, want.generation);
        let write = move || Ok(newest.pass(network, generation, || write(&env)));
        self.rooms.blocking(doing, write).await??.map_err(|error| DriverError::failed(doing, error))
    }

    /// Connects the namespace with the bridge.
    async fn ensure_cable(&self, want: &DhcpWant) -> Result<(), DriverError> {
        let (outer, inner) = (names::dhcp_outer(want.network), names::dhcp_inner(want.network));
        let (namespace, bridge) = (names::namespace(want.network), names::bridge(want.network));
        let (alias, mtu) = (self.rooms.alias(want.network), want.mtu.to_string());
        let doing = format!("connecting {namespace} with {bridge}");
        let found = self.ip.find(None, &outer).await?;
        let is_foreign = |own: &String| *own != alias;
        if found.as_ref().is_some_and(|link| link.ifalias.as_ref().is_some_and(is_foreign)) {
            return Err(DriverError::Foreign { name: outer });
        }
        let is_whole = found.is_some() && self.ip.find(Some(&namespace), &inner).await?.is_some();
        if !is_whole {
            self.ip.remove(&outer).await?;
            let words = ["link", "add", "name", &outer, "type", "veth", "peer"];
            let peer = ["name", &inner, "netns", &namespace];
            self.ip.run_to(&doing, None, &[words.as_slice(), &peer].concat()).await?;
        }
        let words = ["link", "set", "dev", &outer, "alias", &alias, "mtu", &mtu];
        let rest = ["addrgenmode", "none", "master", &bridge];
        self.ip.run_to(&doing, None, &[words.as_slice(), &rest].concat()).await?;
        // No packet passes between it and the tunnel: each host's server has the same address.
        let words = ["link", "set", "dev", &outer, "up", "type", "bridge_slave", "isolated", "on"];
        self.ip.run_to(&doing, None, &words).await?;
        let words = ["link", "set", "dev", &inner, "mtu", &mtu, "up"];
        self.ip.run_to(&doing, Some(&namespace), &words).await
    }

    async fn ensure_addresses(&self, want: &DhcpWant) -> Result<(), DriverError> {
        let (namespace, inner) = (names::namespace(want.network), names::dhcp_inner(want.network));
        let have = self.ip.addresses(&namespace, &inner).await?;
        let shall: BTreeSet<String> = files::addresses(want).into_iter().collect();
        let surplus = have.difference(&shall).map(|address| ("delete", address));
        let missing = shall.difference(&have).map(|address| ("add", address));
        for (what, address) in surplus.chain(missing) {
            let words = ["address", what, address, "dev", &inner];
            let doing = format!("setting the addresses of {namespace}");
            self.ip.run_to(&doing, Some(&namespace), &words).await?;
        }
        Ok(())
    }

    /// The server runs with these arguments and has read these files.
    async fn ensure_server(&self, want: &DhcpWant, namespace: u64) -> Result<(), DriverError> {
        let files = self.files(want.network);
        let looked_for = files.clone();
        let seen =
            self.rooms.blocking("looking for dnsmasq", move || Seen::now(&looked_for)).await?;
        // A server remembers whom it has given an address, and gives it to nobody else: what is taken away
        // it must forget.
        let hosts = files::hosts(want);
        let forgets = seen.hosts.iter().any(|line| !hosts.contains(line));
        let server = match seen.servers.as_slice() {
            [server] if !forgets && seen.named.as_ref() == Some(server) => server,
            _ => return self.restart(want, &files, &seen.servers).await,
        };
        let is_placed = netns::of_process(server.pid) == Some(namespace);
        if !is_placed || server.arguments != files.arguments(want) {
            return self.restart(want, &files, &seen.servers).await;
        }
        if self.write(want, &files).await? {
            dnsmasq::reload(server)?;
        }
        Ok(())
    }

    async fn restart(
        &self,
        want: &DhcpWant,
        files: &Files,
        servers: &[Running],
    ) -> Result<(), DriverError> {
        let network = want.network;
        dnsmasq::end(&self.env, files, servers).await?;
        self.write(want, files).await?;
        let programs = (&*self.config.ip, &*self.config.dnsmasq);
        let (name, arguments) = (names::namespace(network), files.arguments(want));
        dnsmasq::start(&self.env, programs, &name, &arguments).await?;
        tracing::info!(%network, generation = want.generation, "dnsmasq was started");
        Ok(())
    }

    /// Writes the files, and says whether they differ from those before.
    async fn write(&self, want: &DhcpWant, files: &Files) -> Result<bool, DriverError> {
        let hosts = lines(&files::hosts(want));
        let texts = [(files::HOSTS, hosts), (files::OPTIONS, files::options(want))];
        let directory = files.directory.clone();
        let write = move |env: &Env| {
            let folder = env.folder(&directory)?;
            let mut changed = false;
            for (name, text) in texts {
                if folder.read(name).ok().flatten().as_deref() != Some(text.as_bytes()) {
                    files::write_atomically(&folder, name, &text)?;
                    changed = true;
                }
            }
            Ok(changed)
        };
        self.writing("writing the files of dnsmasq", want, write).await
    }

    async fn write_generation(&self, want: &DhcpWant) -> Result<(), DriverError> {
        let directory = self.files(want.network).directory;
        let text = want.generation.to_string();
        let write = move |env: &Env| {
            files::write_atomically(&env.folder(&directory)?, files::GENERATION, &text)
        };
        self.writing("writing down the generation", want, write).await
    }

    async fn generation(&self, network: Uuid) -> Result<Option<u64>, DriverError> {
        let path = self.files(network).generation();
        let read = move || Ok(fs::read_to_string(path).ok().and_then(|text| text.parse().ok()));
        self.rooms.blocking("reading the generation", read).await
    }
}

#[async_trait]
impl DhcpDriver for LinuxDhcp {
    async fn serve(&self, want: &DhcpWant) -> Result<Serving, DriverError> {
        self.newest.pass(want.network, want.generation, || ())?;
        let namespace = self.rooms.ensure(want.network, silence_ipv6).await?;
        self.ensure_cable(want).await?;
        self.ensure_addresses(want).await?;
        self.ensure_server(want, namespace).await?;
        self.write_generation(want).await?;
        Ok(Serving { namespace })
    }

    async fn stop(&self, network: Uuid) -> Result<(), DriverError> {
        let (files, outer) = (self.files(network), names::dhcp_outer(network));
        let looked_for = files.clone();
        let servers =
            self.rooms.blocking("looking for dnsmasq", move || dnsmasq::all(&looked_for)).await?;
        dnsmasq::end(&self.env, &files, &servers).await?;
        if let Some(link) = self.ip.find(None, &outer).await?
            && link.ifalias.is_none_or(|own| own == self.rooms.alias(network))
        {
            self.ip.remove(&outer).await?;
        }
        self.rooms.remove(network).await?;
        self.newest.forget(network);
        Ok(())
    }

    async fn health(&self, network: Uuid) -> Result<Health, DriverError> {
        let (name, files) = (names::namespace(network), self.files(network));
        let look = move || {
            let Some(namespace) = netns::identity(&name)? else {
                return Ok(Health::Down("its namespace is gone".to_owned()));
            };
            let Some(server) = dnsmasq::named_by_file(&files) else {
                return Ok(Health::Down("its process is gone".to_owned()));
            };
            if netns::of_process(server.pid) != Some(namespace) {
                return Ok(Health::Down("its process is in another namespace".to_owned()));
            }
            dnsmasq::rotate_log(&files, &server).map_err(io::Error::other)?;
            Ok(Health::Answering)
        };
        self.rooms.blocking("looking after dnsmasq", look).await
    }

    async fn inventory(&self) -> Result<BTreeMap<Uuid, FoundDhcp>, DriverError> {
        let mut found = BTreeMap::new();
        for network in self.rooms.all().await? {
            if self.rooms.identity(network).await?.is_some() {
                let mine = self.rooms.is_mine(network).await?;
                let generation = self.generation(network).await?;
                found.insert(network, FoundDhcp { mine, generation });
            }
        }
        Ok(found)
    }

    async fn purge(&self) -> Result<(), DriverError> {
        for network in self.rooms.all().await? {
            self.stop(network).await?;
        }
        self.rooms.remove_root().await
    }
}

/// Inside a namespace that has just been made: DHCP is served for IPv4 alone, and no guest's router
/// advertisement shall be believed here.
fn silence_ipv6() -> io::Result<()> {
    for which in ["all", "default"] {
        match fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1") {
            // A kernel without IPv6 has nothing to silence.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn lines(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// What there is of a network's server.
struct Seen {
    servers: Vec<Running>,
    /// That of its process file.
    named: Option<Running>,
    /// Whom it answers.
    hosts: Vec<String>,
}

impl Seen {
    fn now(files: &Files) -> io::Result<Self> {
        let text = fs::read_to_string(files.hosts()).unwrap_or_default();
        Ok(Self {
            servers: dnsmasq::all(files)?,
            named: dnsmasq::named_by_file(files),
            hosts: text.lines().map(str::to_owned).collect(),
        })
    }
}
