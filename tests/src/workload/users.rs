//! Users who do not wait: they remember what they were told, and complain when it turns out not to be so.

use std::{
    collections::{BTreeMap, BTreeSet},
    task::Poll,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::oneshot::Receiver;
use updraft_edge::token::CLOCK_SKEW_MAX;
use updraft_harness::campaign::Run;
use uuid::Uuid;

use super::{
    Ask, NewServer,
    requests::{
        self, About, IMAGES, KEY_PAIRS, Known, NETWORKS, PORTS, Request, SERVERS, SNAPSHOTS,
        VOLUMES,
    },
};
use crate::{
    census::{self, Server, Volume},
    cloud::{Answer, Client, Pending, SimCloud},
    flow::Prepared,
    life,
};

/// What the first servers and volumes take to be there.
const SETTLES_IN: Duration = Duration::from_secs(3);

/// A token may be from the future by no more than [`CLOCK_SKEW_MAX`]; its time is in whole seconds.
const CLOCKS_AGREE: Duration = CLOCK_SKEW_MAX.saturating_sub(Duration::from_secs(1));

/// A request was taken though the keys had changed since its token was issued.
pub(crate) const ROTATED: &str = "passed after a rotation of the keys";

/// What users make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Server,
    Snapshot,
    Volume,
    Port,
    Network,
    Image,
    KeyPair,
}

/// In an order in which they can be deleted.
const KINDS: [(Kind, &str, &str); 7] = [
    (Kind::Server, SERVERS, "servers"),
    (Kind::Snapshot, SNAPSHOTS, "snapshots"),
    (Kind::Volume, VOLUMES, "volumes"),
    (Kind::Port, PORTS, "ports"),
    (Kind::Network, NETWORKS, "networks"),
    (Kind::Image, IMAGES, "images"),
    (Kind::KeyPair, KEY_PAIRS, "keypairs"),
];

/// What a user knows of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was made.
    Made,
    /// It was asked for its end, and nobody said whether that was taken.
    Doubtful,
    /// Its end was promised.
    Ended,
}

struct Waiting {
    ask: String,
    /// The server that is acted on.
    server: Option<String>,
    /// Whether its token is older than the keys.
    rotated: bool,
    /// By how much the clock of the node that was asked was wrong meanwhile, at most.
    clock_wrong: Duration,
    about: About,
    request: Pending,
}

/// All users of a run.
pub(super) struct Users {
    client: Client,
    have: Prepared,
    small: String,
    known: BTreeMap<Kind, Vec<(String, Fate)>>,
    waiting: Vec<Waiting>,
    /// What was last taken of each server's actions.
    last: BTreeMap<String, String>,
    rotating: Vec<Receiver<bool>>,
    /// Whether the keys were rotated since the token was asked for.
    rotated: bool,
    /// By how much the clock of the node that issued the token was wrong then, at most.
    issued_wrong: Duration,
    asked: u64,
}

impl Known for Users {
    fn pick(&self, kind: Kind, which: u8) -> Option<String> {
        let known = self.known.get(&kind)?;
        let there: Vec<&String> =
            known.iter().filter(|(_, fate)| *fate != Fate::Ended).map(|(id, _)| id).collect();
        let index = usize::from(which).checked_rem(there.len())?;
        there.get(index).map(|id| (*id).clone())
    }

    fn have(&self) -> &Prepared {
        &self.have
    }

    fn small_flavor(&self) -> &str {
        &self.small
    }

    fn fresh_number(&mut self) -> u64 {
        self.asked += 1;
        self.asked
    }
}

impl Users {
    pub(super) fn new(client: Client, have: Prepared, small: String) -> Self {
        Self {
            client,
            have,
            small,
            known: BTreeMap::new(),
            waiting: Vec::new(),
            last: BTreeMap::new(),
            rotating: Vec::new(),
            rotated: false,
            issued_wrong: Duration::ZERO,
            asked: 0,
        }
    }

    /// Makes what most cases begin with: volumes on every host, and servers with ports.
    pub(super) fn settle_in(&mut self, cloud: &mut SimCloud, run: &Run) {
        let on_the_network = NewServer { network: Some(0), ..NewServer::default() };
        let mut asks = vec![Ask::MakeVolume(1); 3];
        asks.extend([Ask::MakeServer(on_the_network), Ask::MakeServer(NewServer::default())]);
        for ask in asks {
            self.ask(cloud, 0, &ask);
            while self.are_waiting() {
                cloud.world.step();
                self.look(cloud, run);
            }
        }
        cloud.world.run_for(SETTLES_IN);
    }

    /// The same with what its user would see at a glance: which volumes are near, and what came last.
    fn sensibly(&self, cloud: &SimCloud, ask: &Ask) -> Ask {
        match *ask {
            Ask::Attach(server, volume) => {
                let host = |server: &Server| server.host().map(str::to_owned);
                let near = self.volumes(cloud, server, |server, _, volume| {
                    volume.attachment.is_none() && volume.file.host == host(server)
                });
                Ask::Attach(server, position(&near, volume).unwrap_or(volume))
            }
            Ask::Detach(server, volume) => {
                let own = self.volumes(cloud, server, |server, id, _| {
                    server.volumes.iter().any(|attached| attached.volume == *id)
                });
                Ask::Detach(server, position(&own, volume).unwrap_or(volume))
            }
            Ask::Proceed(server, further) => {
                let id = self.pick(Kind::Server, server).unwrap_or_default();
                match (self.last.get(&id).map(String::as_str).unwrap_or_default(), further) {
                    ("Stop", _) => Ask::Start(server),
                    ("Resize", true) => Ask::ConfirmResize(server),
                    ("Resize", false) => Ask::RevertResize(server),
                    (_, true) => Ask::Resize(server),
                    (_, false) => Ask::Stop(server),
                }
            }
            _ => ask.clone(),
        }
    }

    /// The places of those volumes, among all that are known, of which this is so for the server.
    fn volumes(
        &self,
        cloud: &SimCloud,
        server: u8,
        is_so: impl Fn(&Server, &Uuid, &Volume) -> bool,
    ) -> Vec<u8> {
        if !cloud.database_serves() {
            return Vec::new();
        }
        let world = census::take(cloud);
        let server = self.pick(Kind::Server, server).and_then(|id| id.parse().ok());
        let Some(server) = server.and_then(|id: Uuid| world.servers.get(&id)) else {
            return Vec::new();
        };
        let fits = |which: &u8| {
            let id = self.pick(Kind::Volume, *which).and_then(|id| id.parse().ok());
            let Some(id) = id else { return false };
            world.volumes.get(&id).is_some_and(|volume| is_so(server, &id, volume))
        };
        let known = self.known.get(&Kind::Volume).map_or(0, Vec::len);
        (0..u8::try_from(known).unwrap_or(u8::MAX)).filter(fits).collect()
    }

    pub(super) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty() || !self.rotating.is_empty()
    }

    /// Sends a request and does not wait.
    pub(super) fn ask(&mut self, cloud: &mut SimCloud, node: u8, ask: &Ask) {
        let ask = &self.sensibly(cloud, ask);
        let Some(request) = requests::of(self, ask) else { return };
        let said = format!("{ask:?}");
        let name = said.split(['(', ' ']).next().unwrap_or_default().to_owned();
        self.send(cloud, name, node, request);
    }

    fn send(&mut self, cloud: &mut SimCloud, ask: String, node: u8, request: Request) {
        let Request { method, path, content_type, body, about } = request;
        let server = path.strip_prefix(SERVERS).and_then(|rest| rest.strip_suffix("/action"));
        let server = server.map(|id| id.trim_matches('/').to_owned());
        let begun = self.client.begin(cloud, node, (method, &path), content_type, body);
        if let About::Deletes(kind, id) = &about {
            self.set(*kind, id, Fate::Doubtful);
        }
        let (rotated, clock_wrong) = (self.rotated, Duration::ZERO);
        let waiting = |request| Waiting { ask, server, rotated, clock_wrong, about, request };
        self.waiting.extend(begun.map(waiting));
    }

    /// An operator has the keys rotated, and nobody waits for it.
    pub(super) fn have_keys_rotated(&mut self, cloud: &mut SimCloud) {
        if let Some((node, rotation)) = cloud.rotation() {
            self.rotating.extend(cloud.world.begin(&node, rotation));
        }
    }

    /// Takes the answers that have come.
    pub(super) fn look(&mut self, cloud: &mut SimCloud, run: &Run) {
        self.rotating.retain_mut(|rotation| {
            self.rotated |= rotation.try_recv() == Ok(true);
            !rotation.is_terminated()
        });
        for mut waiting in std::mem::take(&mut self.waiting) {
            let wrong = cloud.world.faults().clock_wrong(waiting.request.node());
            waiting.clock_wrong = waiting.clock_wrong.max(wrong);
            match waiting.request.look(cloud) {
                Poll::Pending => self.waiting.push(waiting),
                Poll::Ready(None) => run.count(&format!("{} never", waiting.ask)),
                Poll::Ready(Some(answer)) => self.hear(cloud, waiting, &answer, run),
            }
        }
    }

    fn hear(&mut self, cloud: &mut SimCloud, waiting: Waiting, answer: &Answer, run: &Run) {
        let Waiting { ask, server, rotated, clock_wrong, about, request } = waiting;
        run.count(&format!("{ask} {}", answer.status));
        match answer.status {
            401 if self.issued_wrong + clock_wrong < CLOCKS_AGREE => {
                let id = answer.request_id.as_deref().unwrap_or("without an id");
                let words =
                    format!("{ask} is refused with 401 by {} (request {id})", request.node());
                run.violated("a token that is good passes", &words);
            }
            200..300 => {
                run.reached(&ask);
                if rotated {
                    run.reached(ROTATED);
                }
                self.last.extend(server.map(|server| (server, ask)));
            }
            _ => {}
        }
        self.learn(cloud, about, answer, clock_wrong);
    }

    fn learn(
        &mut self,
        cloud: &mut SimCloud,
        about: About,
        answer: &Answer,
        clock_wrong: Duration,
    ) {
        let taken = (200..300).contains(&answer.status);
        match about {
            About::Makes(kind) if taken => {
                let id = id_of(kind, &answer.body);
                self.known.entry(kind).or_default().push((id.clone(), Fate::Made));
                if kind == Kind::Network {
                    self.add_subnet(cloud, &id);
                }
            }
            About::LogsIn if taken => {
                self.client = Client::with(answer.subject_token.clone().unwrap_or_default());
                (self.rotated, self.issued_wrong) = (false, clock_wrong);
            }
            About::Deletes(kind, id) if taken || answer.status == 404 => {
                self.set(kind, &id, Fate::Ended);
            }
            _ => {}
        }
    }

    fn set(&mut self, kind: Kind, id: &str, fate: Fate) {
        let known = self.known.entry(kind).or_default().iter_mut().find(|(known, _)| known == id);
        match known {
            Some((_, known)) if *known != Fate::Ended => *known = fate,
            _ => {}
        }
    }

    fn add_subnet(&mut self, cloud: &mut SimCloud, network: &str) {
        let cidr = format!("10.2.{}.0/28", self.asked % 250);
        let body = json!({"subnet": {"network_id": network, "ip_version": 4, "cidr": cidr}});
        let request = Request {
            method: "POST",
            path: "/networking/v2.0/subnets".to_owned(),
            content_type: "application/json",
            body: body.to_string().into_bytes(),
            about: About::Changes,
        };
        self.send(cloud, "MakeSubnet".to_owned(), 0, request);
    }

    /// Gets a token anew: the first one has expired.
    pub(super) fn log_in_again(&mut self, cloud: &mut SimCloud) {
        self.client = Client::log_in(cloud);
    }

    /// What was made and never asked to end is there, and what was promised to end is gone.
    pub(super) fn check_promises(&self, cloud: &mut SimCloud) {
        for (kind, path, name) in KINDS {
            let there: BTreeSet<String> = self.listed(cloud, kind, path, name);
            for (id, fate) in self.known.get(&kind).into_iter().flatten() {
                match fate {
                    Fate::Made if !there.contains(id) => {
                        panic!("an acknowledged {kind:?} {id} is lost");
                    }
                    Fate::Ended if there.contains(id) => panic!("{kind:?} {id} did not end"),
                    Fate::Made | Fate::Ended | Fate::Doubtful => {}
                }
            }
        }
    }

    fn listed(&self, cloud: &mut SimCloud, kind: Kind, path: &str, name: &str) -> BTreeSet<String> {
        let answer = self.client.send(cloud, "GET", path, Value::Null);
        let listed = answer.filter(|answer| answer.status == 200);
        let listed = listed.and_then(|answer| answer.body[name].as_array().cloned());
        let Some(listed) = listed else { panic!("{name} are not listed though nothing is wrong") };
        let own = listed.iter().map(|item| match kind {
            Kind::KeyPair => text(&item["keypair"]["name"]),
            _ => text(&item["id"]),
        });
        let prepared = [&self.have.image, &self.have.network];
        own.filter(|id| !prepared.contains(&id)).collect()
    }

    /// Deletes everything that users made, also what they do not know of.
    pub(super) fn delete_all(&mut self, cloud: &mut SimCloud) {
        for (kind, path, name) in KINDS {
            let until = cloud.world.now() + life::SETTLES;
            loop {
                let there = self.listed(cloud, kind, path, name);
                let theirs: Vec<String> =
                    there.into_iter().filter(|id| !self.is_the_services(cloud, kind, id)).collect();
                if theirs.is_empty() {
                    break;
                }
                for id in &theirs {
                    let request = requests::delete(path, kind, id);
                    self.client.send(cloud, request.method, &request.path, Value::Null);
                }
                assert!(cloud.world.now() < until, "{name} do not go: {theirs:?}");
                cloud.world.run_for(super::LOOKS);
            }
        }
    }

    /// Ports that the network service makes for itself go with their network.
    fn is_the_services(&self, cloud: &mut SimCloud, kind: Kind, id: &str) -> bool {
        if kind != Kind::Port {
            return false;
        }
        let shown = self.client.send(cloud, "GET", &format!("{PORTS}/{id}"), Value::Null);
        shown.is_some_and(|answer| {
            text(&answer.body["port"]["device_owner"]).starts_with("network:")
        })
    }
}

fn position(places: &[u8], which: u8) -> Option<u8> {
    places.get(usize::from(which).checked_rem(places.len())?).copied()
}

fn id_of(kind: Kind, body: &Value) -> String {
    match kind {
        Kind::Server => text(&body["server"]["id"]),
        Kind::Snapshot => text(&body["snapshot"]["id"]),
        Kind::Volume => text(&body["volume"]["id"]),
        Kind::Port => text(&body["port"]["id"]),
        Kind::Network => text(&body["network"]["id"]),
        Kind::Image => text(&body["id"]),
        Kind::KeyPair => text(&body["keypair"]["name"]),
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
