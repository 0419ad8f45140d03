//! A router is a namespace: a cable to each bridge that it stands on, routes, and rules for what it rewrites.
//!
//! All of it follows from the want as a whole. The rules are replaced in one transaction of the kernel's; devices,
//! addresses and routes are compared with what there is, and only what differs is touched, so that what stays is never
//! interrupted. Its folder keeps the want once all is done, and the kernel's own listing of the rules: what is not as
//! these say was changed by somebody else.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use updraft_protocol::network::{RouterWant, Routing};
use updraft_runtime::Env;
use uuid::Uuid;

use super::{
    LinuxConfig, files,
    ip::{Ip, Link},
    netns,
    rooms::{Kind, Rooms},
};
use crate::driver::{
    DriverError, FoundRouter, L3Driver,
    names::{self, Made},
    newest::Newest,
};

mod nat;
mod shape;

use nat::Seen;
use shape::{Cable, Shape};

/// The file that says what was done, and what of it may still be remembered.
const DONE: &str = "done.json";

/// What is switched on and off inside: packets are passed on, an address is answered for where it is alone, and
/// neighbours are told of addresses.
const SETTINGS: [(&str, &str); 5] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/arp_ignore", "1"),
    ("ipv4/conf/all/arp_announce", "2"),
    ("ipv4/conf/all/arp_notify", "1"),
    ("ipv6/conf/all/forwarding", "1"),
];

/// What a router's folder keeps.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    /// What was made in full; `None` while something is being done.
    want: Option<RouterWant>,
    /// The rules as the kernel lists them.
    rules: String,
    /// By which addresses there may be connections.
    seen: BTreeSet<Seen>,
}

/// Routers of this machine, or of the network namespace in which the process runs.
pub struct LinuxL3 {
    env: Env,
    ip: Ip,
    config: LinuxConfig,
    rooms: Rooms,
    newest: Newest,
}

const ROOMS: Kind = Kind {
    folder: "routers",
    name: names::router,
    of_name: names::router_of_namespace,
    made: Made::Router,
};

impl LinuxL3 {
    /// A driver with these settings.
    #[must_use]
    pub fn new(env: &Env, config: &LinuxConfig) -> Self {
        let (ip, rooms) = (Ip::new(env, config), Rooms::new(env, config, ROOMS));
        Self { env: env.clone(), ip, config: config.clone(), rooms, newest: Newest::default() }
    }

    /// What was done; nothing if it cannot be read.
    async fn done(&self, router: Uuid) -> Result<Done, DriverError> {
        let path = self.rooms.folder(router).join(DONE);
        let read = move || Ok(fs::read(path).ok());
        let bytes = self.rooms.blocking("reading what was done", read).await?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Writes down what is done, unless something newer is wanted by the time that the disk comes to it.
    async fn write(&self, want: &RouterWant, done: &Done) -> Result<(), DriverError> {
        let doing = "writing down what was done";
        let text =
            serde_json::to_string(done).map_err(|error| DriverError::failed(doing, error))?;
        let (env, newest, folder) =
            (self.env.clone(), self.newest.clone(), self.rooms.folder(want.router));
        let (router, generation) = (want.router, want.generation);
        let write = move || {
            let write = || files::write_atomically(&env.folder(&folder)?, DONE, &text);
            Ok(newest.pass(router, generation, write))
        };
        self.rooms.blocking(doing, write).await??.map_err(|error| DriverError::failed(doing, error))
    }

    /// The rules are these; returns how the kernel lists them.
    async fn load(&self, namespace: &str, routing: &Routing) -> Result<String, DriverError> {
        let doing = format!("loading the rules of {namespace}");
        let nft = &*self.config.nft;
        let loaded = self.ip.execute(namespace, nft, &["-f", "-"], &nat::script(routing)).await;
        loaded.map_err(|error| DriverError::failed(&*doing, error))?;
        self.rules(namespace).await
    }

    async fn rules(&self, namespace: &str) -> Result<String, DriverError> {
        let listed = self.ip.execute(namespace, &self.config.nft, &["list", "ruleset"], "").await;
        let doing = format!("listing the rules of {namespace}");
        listed.map_err(|error| DriverError::failed(doing, error))
    }

    /// The router stands where it shall, and nowhere else.
    async fn connect(&self, router: Uuid, shape: &Shape) -> Result<(), DriverError> {
        let (name, alias) = (names::router(router), self.rooms.alias(router));
        let (links, inside) = (self.ip.links().await?, self.ip.inside(&name).await?);
        let wanted = |device: &str| shape.cables.iter().any(|it| it.inner == *device);
        let surplus = inside.keys().filter(|it| names::is_leg_inner(it) && !wanted(it));
        let lines: Vec<String> = surplus.map(|name| format!("link delete dev {name}")).collect();
        self.ip.batch(&format!("taking {name} off a network"), Some(&name), &lines).await?;
        for cable in &shape.cables {
            let doing = format!("connecting {name} with {}", cable.bridge);
            let outer = links.get(&cable.outer);
            self.check_ends(cable, outer, &links, &alias)?;
            let whole = outer.filter(|_| inside.contains_key(&cable.inner));
            if whole.is_none() {
                self.lay(&doing, &name, cable).await?;
            }
            if !whole.is_some_and(|link| cable.is_as_made_outside(link, &alias)) {
                self.ip.batch(&doing, None, &[cable.outside(&alias)]).await?;
            }
            let have = inside.get(&cable.inner).filter(|_| whole.is_some());
            self.ip.batch(&doing, Some(&name), &cable.inside(have)).await?;
        }
        Ok(())
    }

    /// Whether the ends of a cable are, or may be, this agent's.
    fn check_ends(
        &self,
        cable: &Cable,
        outer: Option<&Link>,
        links: &BTreeMap<String, Link>,
        alias: &str,
    ) -> Result<(), DriverError> {
        let is_foreign = |link: &Link| link.ifalias.as_ref().is_some_and(|own| own != alias);
        if outer.is_some_and(is_foreign) {
            return Err(DriverError::Foreign { name: cable.outer.clone() });
        }
        if !links.get(&cable.bridge).is_some_and(Link::is_bridge) {
            return Err(DriverError::Invalid(format!("this host has no bridge {}", cable.bridge)));
        }
        Ok(())
    }

    async fn lay(&self, doing: &str, namespace: &str, cable: &Cable) -> Result<(), DriverError> {
        self.ip.remove(&cable.outer).await?;
        let words = ["link", "add", "name", &cable.outer, "type", "veth", "peer", "name"];
        let peer = [&*cable.inner, "address", &cable.mac, "netns", namespace];
        self.ip.run_to(doing, None, &[words.as_slice(), &peer].concat()).await
    }

    async fn ensure_routes(&self, router: Uuid, shape: &Shape) -> Result<(), DriverError> {
        let name = names::router(router);
        let lines = shape.routing(&self.ip.routes(&name).await?);
        self.ip.batch(&format!("setting the routes of {name}"), Some(&name), &lines).await
    }

    /// Ends what was let through by these addresses.
    async fn forget(&self, namespace: &str, seen: &Seen) -> Result<(), DriverError> {
        for words in nat::forgetting(seen) {
            let words = words.each_ref().map(String::as_str);
            match self.ip.execute(namespace, &self.config.conntrack, &words, "").await {
                // It fails where there was none.
                Err(error) if !error.says("0 flow entries") => {
                    let doing = format!("ending connections by {}", seen.outside);
                    return Err(DriverError::failed(doing, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn shape(&self, routing: &Routing) -> Result<Shape, DriverError> {
        let missing = |name| {
            DriverError::Invalid(format!(
                "this host has no bridge for physical network {name}: its settings name none"
            ))
        };
        Shape::of(routing, &self.config.physical_networks).map_err(missing)
    }

    /// The generation that made the router all that it is; `links` are those of the host.
    async fn generation(
        &self,
        router: Uuid,
        links: &BTreeMap<String, Link>,
    ) -> Result<Option<u64>, DriverError> {
        let Done { want, rules, .. } = self.done(router).await?;
        let Some(want) = want else { return Ok(None) };
        let Some(Ok(shape)) = want.routing.as_ref().map(|routing| self.shape(routing)) else {
            return Ok(None);
        };
        let (name, alias) = (names::router(router), self.rooms.alias(router));
        let inside = self.ip.inside(&name).await?;
        let is_whole = |cable: &Cable| {
            let near = inside.get(&cable.inner).is_some_and(|link| cable.is_as_made_inside(link));
            let far = links.get(&cable.outer);
            near && far.is_some_and(|link| cable.is_as_made_outside(link, &alias))
        };
        let ends = inside.keys().filter(|device| names::is_leg_inner(device)).count();
        let devices = ends == shape.cables.len() && shape.cables.iter().all(is_whole);
        let within = name.clone();
        let looking = move || netns::within(&within, is_set_up);
        let is_as_made = devices
            && self.rooms.blocking("looking at the settings of a router", looking).await?
            && self.ip.routes(&name).await? == shape.routes
            && self.rules(&name).await? == rules;
        Ok(is_as_made.then_some(want.generation))
    }

    /// Nothing of this agent's is left of a router.
    async fn clear(&self, router: Uuid) -> Result<(), DriverError> {
        let alias = self.rooms.alias(router);
        // First the cables: a namespace goes in its own time.
        let links = self.ip.links().await?;
        for link in links.values().filter(|link| link.ifalias.as_ref() == Some(&alias)) {
            self.ip.remove(&link.ifname).await?;
        }
        self.rooms.remove(router).await
    }
}

#[async_trait]
impl L3Driver for LinuxL3 {
    async fn ensure_router(&self, want: &RouterWant) -> Result<(), DriverError> {
        let (router, name) = (want.router, names::router(want.router));
        let missing = || DriverError::Invalid(format!("{name} is to be made, and does nothing"));
        let routing = want.routing.as_ref().ok_or_else(missing)?;
        self.newest.pass(router, want.generation, || ())?;
        let shape = self.shape(routing)?;
        let before = self.done(router).await?;
        self.rooms.ensure(router, set_up).await?;
        let seen = nat::seen(routing);
        // Before there can be connections by them.
        let both = before.seen.union(&seen).cloned().collect();
        let begun = Done { want: None, rules: String::new(), seen: both };
        self.write(want, &begun).await?;
        let rules = self.load(&name, routing).await?;
        self.connect(router, &shape).await?;
        self.ensure_routes(router, &shape).await?;
        // Of an address that is new, those that were tried before led nowhere, and would go on doing so.
        for changed in begun.seen.difference(&seen).chain(seen.difference(&before.seen)) {
            self.forget(&name, changed).await?;
        }
        self.write(want, &Done { want: Some(want.clone()), rules, seen }).await
    }

    async fn remove_router(&self, router: Uuid, generation: u64) -> Result<(), DriverError> {
        self.newest.pass(router, generation, || ())?;
        self.clear(router).await
    }

    async fn inventory(&self) -> Result<BTreeMap<Uuid, FoundRouter>, DriverError> {
        let routers = self.rooms.all().await?;
        if routers.is_empty() {
            return Ok(BTreeMap::new());
        }
        let links = self.ip.links().await?;
        let mut found = BTreeMap::new();
        for router in routers {
            if self.rooms.identity(router).await?.is_some() {
                let mine = self.rooms.is_mine(router).await?;
                let generation = self.generation(router, &links).await?;
                found.insert(router, FoundRouter { mine, generation });
            }
        }
        Ok(found)
    }

    async fn purge(&self) -> Result<(), DriverError> {
        for router in self.rooms.all().await? {
            self.clear(router).await?;
        }
        self.rooms.remove_root().await
    }
}

/// Inside a namespace that has just been made.
fn set_up() -> io::Result<()> {
    for (name, value) in SETTINGS {
        match fs::write(format!("/proc/sys/net/{name}"), value) {
            // A kernel without IPv6 passes none on.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Whether that is so.
fn is_set_up() -> io::Result<bool> {
    for (name, value) in SETTINGS {
        match fs::read_to_string(format!("/proc/sys/net/{name}")) {
            Ok(text) if text.trim() != value => return Ok(false),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(true)
}
