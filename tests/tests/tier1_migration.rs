//! A server moves to another host with its disk: it runs on one host at a time, and its disk is on one at least.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use updraft_compute::rows::{HostRow, LeftRow, MigrationPhase, ServerRow};
use updraft_harness::world::Tier;
use updraft_protocol::compute::{DescribeDisk, Goal, KeptDisk, Node};
use updraft_runtime::rpc::{CallError, Cx, FaultKind, TraceContext};
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size, running},
    flow::{self, Prepared},
    life,
};
use updraft_transport::NodeId;
use uuid::Uuid;

/// Longer than a host that is silent is taken for one that may live.
const SILENT: Duration = Duration::from_secs(10);

/// Longer than until a host hears by its next report what it is to clear away.
const CLEARED: Duration = Duration::from_secs(20);

/// What the guest has written to its disk: some pieces of a body.
const WRITTEN_BYTES: usize = 3 << 20;

/// Looks in every instant whether a guest runs twice, or has run and has its disk nowhere.
fn watch(cloud: &mut SimCloud) {
    let machines = cloud.machines();
    cloud.world.watch(move |_| {
        for guest in running(&machines) {
            let disks = machines.iter().filter(|machine| machine.disks.root(guest).is_some());
            assert!(disks.count() > 0, "a guest runs without a disk");
        }
    });
}

/// A cloud with a server that has written to its disk.
struct Moving {
    cloud: SimCloud,
    client: Client,
    have: Prepared,
    server: String,
    from: NodeId,
    written: Bytes,
}

impl Moving {
    fn new(seed: u64) -> Self {
        Self::on(seed, Tier::Memory)
    }

    fn on(seed: u64, tier: Tier) -> Self {
        let mut cloud = SimCloud::start(seed, tier, Size::default(), &Menu::default());
        watch(&mut cloud);
        let client = Client::log_in(&mut cloud);
        let have = flow::prepare(&mut cloud, &client);
        let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
        assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")));
        let row = cloud.compute_rows::<ServerRow>().pop().unwrap();
        let from = NodeId::new(&row.placement.unwrap().host).unwrap();
        let written: Vec<u8> =
            (0..WRITTEN_BYTES).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let written = Bytes::from(written);
        cloud.machine(&from).unwrap().disks.write_root(row.id, written.clone());
        Self { cloud, client, have, server, from, written }
    }

    fn path(&self) -> String {
        format!("/compute/v2.1/servers/{}/action", self.server)
    }

    fn act(&mut self, body: Value) {
        let path = self.path();
        self.client.must(&mut self.cloud, "POST", &path, body);
    }

    fn refused(&mut self, body: Value) -> (u16, String) {
        let path = self.path();
        let answer = self.client.send(&mut self.cloud, "POST", &path, body).unwrap();
        (answer.status, answer.body.to_string())
    }

    fn is(&mut self, status: &str) {
        let is = self.client.wait_for(&mut self.cloud, &self.server, Some(status));
        assert!(is, "not {status}: {:#?}", self.cloud.compute_rows::<ServerRow>());
    }

    fn row(&mut self) -> ServerRow {
        let all = self.cloud.compute_rows::<ServerRow>();
        all.into_iter().find(|row| row.id.to_string() == self.server).unwrap()
    }

    /// The host that has it, or is to have it.
    fn host(&mut self) -> Option<NodeId> {
        self.row().placement.map(|placement| NodeId::new(&placement.host).unwrap())
    }

    /// The hosts with a copy of its disk, and what is on it.
    fn disks(&mut self) -> Vec<(NodeId, Bytes)> {
        let id = self.server.parse().unwrap();
        let hosts = self.cloud.hosts().to_vec();
        let root = |host: &NodeId| self.cloud.machine(host)?.disks.root(id);
        hosts.iter().filter_map(|host| Some((host.clone(), root(host)?))).collect()
    }

    /// It is there alone, and its disk with what was written.
    fn is_alone_on(&mut self, host: &NodeId) {
        self.cloud.world.run_for(CLEARED);
        let disks = self.disks();
        assert!(disks == [(host.clone(), self.written.clone())], "on {:?}", names(&disks));
        assert_eq!(self.cloud.compute_rows::<LeftRow>(), []);
        let claimed: Vec<String> = self
            .cloud
            .compute_rows::<HostRow>()
            .into_iter()
            .filter(|row| !row.claims.is_empty())
            .map(|row| row.name)
            .collect();
        assert_eq!(claimed, [host.as_str()]);
        let row = self.row();
        assert_eq!((row.migration, row.resize, row.action), (None, None, None));
        life::rest(&mut self.cloud);
    }

    fn others(&self) -> Vec<NodeId> {
        self.cloud.hosts().iter().filter(|host| **host != self.from).cloned().collect()
    }

    fn put_service(&mut self, host: &NodeId, body: Value) {
        let path = "/compute/v2.1/os-services";
        let services = self.client.must(&mut self.cloud, "GET", path, Value::Null);
        let services = services["services"].as_array().unwrap();
        let service = services.iter().find(|service| service["host"] == host.as_str()).unwrap();
        let path = format!("{path}/{}", service["id"].as_str().unwrap());
        self.client.must(&mut self.cloud, "PUT", &path, body);
    }

    /// Lets time go on by little until it is so.
    fn until(&mut self, what: &str, is: impl Fn(&mut Self) -> bool) {
        for _ in 0..20_000 {
            if is(self) {
                return;
            }
            self.cloud.world.run_for(Duration::from_millis(5));
        }
        panic!("not {what}: {:#?}", self.row());
    }

    fn is_moving(&mut self) -> bool {
        let row = self.row();
        let placed = row.placement.is_some_and(|placed| placed.goal == Goal::Present);
        placed && row.migration.is_some_and(|migration| migration.parked > 0)
    }

    fn lose_power(&mut self, host: &NodeId) {
        self.cloud.world.crash(host);
        self.cloud.machine(host).unwrap().guests.power_fails();
    }
}

fn names(disks: &[(NodeId, Bytes)]) -> Vec<(String, usize)> {
    disks.iter().map(|(host, bytes)| (host.to_string(), bytes.len())).collect()
}

#[test]
fn a_server_moves_with_its_disk_and_stays_when_that_is_confirmed() {
    let mut moving = Moving::new(1);
    let address = moving.row().ports[0].fixed_ips.clone();
    moving.act(json!({"migrate": null}));
    moving.is("VERIFY_RESIZE");
    let to = moving.host().unwrap();
    assert_ne!(to, moving.from);
    assert_eq!(moving.disks().len(), 2, "the old disk stays until then");
    moving.act(json!({"confirmResize": null}));
    moving.is("ACTIVE");
    moving.is_alone_on(&to);
    assert_eq!(moving.row().ports[0].fixed_ips, address);
}

#[test]
fn hosts_that_never_met_copy_the_disk_over_quic() {
    let mut moving = Moving::on(7, Tier::Quic);
    moving.act(json!({"migrate": null}));
    moving.is("VERIFY_RESIZE");
    let to = moving.host().unwrap();
    moving.act(json!({"confirmResize": null}));
    moving.is_alone_on(&to);
}

#[test]
fn a_server_that_moved_comes_back_to_the_disk_that_it_left() {
    let mut moving = Moving::new(2);
    let from = moving.from.clone();
    moving.act(json!({"migrate": {"host": null}}));
    moving.is("VERIFY_RESIZE");
    let to = moving.host().unwrap();
    let id = moving.server.parse().unwrap();
    let disks = moving.cloud.machine(&to).unwrap().disks;
    disks.write_root(id, Bytes::from_static(b"what is not to stay"));
    moving.act(json!({"revertResize": null}));
    moving.is("ACTIVE");
    moving.is_alone_on(&from);
}

#[test]
fn it_goes_where_it_is_told_or_is_refused() {
    let mut moving = Moving::new(3);
    let (from, to) = (moving.from.clone(), moving.others().pop().unwrap());
    let (status, said) = moving.refused(json!({"migrate": {"host": from.as_str()}}));
    assert!(status == 400 && said.contains("it is there"), "{status} {said}");
    let (status, said) = moving.refused(json!({"migrate": {"host": "nowhere"}}));
    assert!(status == 400 && said.contains("could not be found"), "{status} {said}");
    moving.act(json!({"migrate": {"host": to.as_str()}}));
    moving.is("VERIFY_RESIZE");
    assert_eq!(moving.host(), Some(to.clone()));
    moving.act(json!({"confirmResize": null}));
    moving.is_alone_on(&to);
}

#[test]
fn what_no_other_host_could_take_is_not_even_stopped() {
    let mut moving = Moving::new(4);
    for other in moving.others() {
        moving.put_service(&other, json!({"status": "disabled"}));
    }
    let (status, said) = moving.refused(json!({"migrate": null}));
    assert!(status == 400 && said.contains("the host is disabled"), "{status} {said}");
    let from = moving.from.clone();
    moving.is_alone_on(&from);
}

#[test]
fn what_no_host_takes_in_the_end_is_again_what_it_was() {
    let mut moving = Moving::new(5);
    let (from, to) = (moving.from.clone(), moving.others().pop().unwrap());
    moving.act(json!({"migrate": {"host": to.as_str()}}));
    moving.put_service(&to, json!({"status": "disabled"}));
    moving.until("taken back", |moving| moving.row().migration.is_none());
    moving.is("ACTIVE");
    moving.is_alone_on(&from);
    let path = format!("/compute/v2.1/servers/{}/os-instance-actions", moving.server);
    let actions = moving.client.must(&mut moving.cloud, "GET", &path, Value::Null);
    let action = &actions["instanceActions"][0];
    assert_eq!(action["action"], "migrate");
    assert!(action["message"].as_str().unwrap().contains("No valid host"), "{action}");
}

#[test]
fn a_server_that_is_resized_moves_when_its_own_host_has_no_room() {
    let mut moving = Moving::new(6);
    let from = moving.from.clone();
    let memory = moving.cloud.compute_rows::<HostRow>()[0].report.memory_mib;
    let flavor = json!({"flavor": {"name": "most", "id": "most", "ram": memory * 3 / 4, "disk": 1, "vcpus": 1}});
    moving.client.must(&mut moving.cloud, "POST", "/compute/v2.1/flavors", flavor);
    let quota = json!({"quota_set": {"ram": -1}});
    let project = moving.row().project_id;
    let path = format!("/compute/v2.1/os-quota-sets/{project}");
    moving.client.must(&mut moving.cloud, "PUT", &path, quota);
    moving.cloud.world.run_for(SILENT);
    // Another server takes what would be left.
    let others = moving.others();
    for host in &others {
        moving.put_service(host, json!({"status": "disabled"}));
    }
    let other = json!({"server": {"name": "other", "imageRef": moving.have.image, "flavorRef": "most",
        "networks": "none"}});
    let made = moving.client.must(&mut moving.cloud, "POST", "/compute/v2.1/servers", other);
    let other = made["server"]["id"].as_str().unwrap().to_owned();
    assert!(moving.client.wait_for(&mut moving.cloud, &other, Some("ACTIVE")));
    for host in &others {
        moving.put_service(host, json!({"status": "enabled"}));
    }
    moving.act(json!({"resize": {"flavorRef": "most"}}));
    moving.is("VERIFY_RESIZE");
    let to = moving.host().unwrap();
    assert_ne!(to, from);
    let claims = |moving: &mut Moving, host: &NodeId| {
        let id: Uuid = moving.server.parse().unwrap();
        let hosts = moving.cloud.compute_rows::<HostRow>();
        hosts
            .iter()
            .find(|row| row.name == host.as_str())?
            .claims
            .get(&id)
            .map(|claim| claim.ram_mib)
    };
    assert_eq!(claims(&mut moving, &to), Some(memory * 3 / 4));
    let old = claims(&mut moving, &from).unwrap();
    assert!(old < memory / 4, "its old host keeps {old} MiB for it");
    life::rest(&mut moving.cloud);
    moving.act(json!({"revertResize": null}));
    moving.is("ACTIVE");
    moving.cloud.world.run_for(CLEARED);
    assert_eq!((claims(&mut moving, &to), claims(&mut moving, &from)), (None, Some(old)));
    assert_eq!(moving.disks(), [(from, moving.written.clone())]);
    life::rest(&mut moving.cloud);
}

/// A host loses its power at some instant of the move, and comes back.
fn settles_though(seed: u64, instant: Duration, from_fails: bool) -> &'static str {
    let mut moving = Moving::new(seed);
    let from = moving.from.clone();
    moving.act(json!({"migrate": null}));
    if from_fails {
        moving.cloud.world.run_for(instant);
    } else {
        moving.until("on its way", Moving::is_moving);
        moving.cloud.world.run_for(instant);
    }
    let fails = if from_fails { from.clone() } else { moving.host().unwrap() };
    let stage = match moving.row().migration.map(|migration| migration.phase) {
        Some(MigrationPhase::Leaving) => "leaving",
        Some(MigrationPhase::Moving) => "moving",
        Some(_) => "moved",
        None => "not begun",
    };
    moving.lose_power(&fails);
    moving.cloud.world.run_for(SILENT);
    moving.cloud.world.start(&fails);
    moving.is("VERIFY_RESIZE");
    let to = moving.host().unwrap();
    assert_ne!(to, from);
    moving.act(json!({"confirmResize": null}));
    moving.cloud.world.run_for(CLEARED);
    moving.cloud.world.run_for(SILENT);
    moving.is_alone_on(&to);
    stage
}

#[test]
fn the_host_that_it_leaves_may_fail_at_any_moment() {
    let mut stages = BTreeSet::new();
    for step in 0..10 {
        stages.insert(settles_though(20 + step, Duration::from_millis(step * 40), true));
    }
    assert!(stages.contains("leaving") && stages.contains("moving"), "{stages:?}");
}

#[test]
fn the_host_that_it_goes_to_may_fail_at_any_moment() {
    let mut stages = BTreeSet::new();
    for step in 0..8 {
        stages.insert(settles_though(40 + step, Duration::from_millis(step * 30), false));
    }
    assert!(stages.contains("moving"), "{stages:?}");
}

#[test]
fn a_server_comes_back_when_an_operator_says_that_the_host_it_goes_to_is_down() {
    let mut moving = Moving::new(60);
    let from = moving.from.clone();
    moving.act(json!({"migrate": null}));
    moving.until("on its way", Moving::is_moving);
    let first = moving.host().unwrap();
    moving.lose_power(&first);
    moving.cloud.world.run_for(SILENT);
    assert_eq!(moving.host(), Some(first.clone()), "it waits as long as the host may have it");
    moving.put_service(&first, json!({"forced_down": true}));
    moving.until("taken back", |moving| moving.row().migration.is_none());
    moving.is("ACTIVE");
    assert_eq!(moving.host(), Some(from.clone()));
    moving.put_service(&first, json!({"forced_down": false}));
    moving.cloud.world.start(&first);
    moving.cloud.world.run_for(CLEARED);
    moving.is_alone_on(&from);
}

/// A host asks another one for the disk that it keeps.
fn asks_for_the_disk(moving: &mut Moving, asks: &NodeId) -> Result<KeptDisk, CallError> {
    let row = moving.row();
    let generation = row.migration.unwrap().parked;
    let rpc = moving.cloud.world.handle::<updraft_cloud::Host>(asks).unwrap().node().rpc().clone();
    let keeper = moving.from.clone();
    let member = rpc.directory().member(&keeper);
    assert!(member.is_none(), "hosts know of one another only what a conductor tells them");
    let address = {
        let control = moving.cloud.controls()[0].clone();
        let control = moving.cloud.world.handle::<updraft_cloud::Control>(&control).unwrap();
        control.node().rpc().directory().member(&keeper).unwrap().member.address
    };
    let question = async move {
        rpc.directory().introduce(&keeper, address);
        let cx = Cx::new("test", TraceContext::fresh(rpc.env()));
        let message = DescribeDisk { server: row.id, generation };
        rpc.client::<Node>().on(&keeper).call(&message, &cx).await
    };
    moving.cloud.world.on(asks, SILENT, question).unwrap()
}

#[test]
fn a_disk_is_given_to_the_host_alone_that_the_server_moves_to() {
    let mut moving = Moving::new(61);
    moving.act(json!({"migrate": null}));
    moving.is("VERIFY_RESIZE");
    let to = moving.host().unwrap();
    let third = moving.others().into_iter().find(|host| *host != to).unwrap();
    match asks_for_the_disk(&mut moving, &third) {
        Err(CallError::Rejected(fault)) => assert_eq!(fault.kind, FaultKind::Forbidden, "{fault}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_deleted_on_its_way_leaves_nothing() {
    for (seed, begun) in [(70, false), (71, true)] {
        let mut moving = Moving::new(seed);
        moving.act(json!({"migrate": null}));
        if begun {
            moving.until("on its way", Moving::is_moving);
        }
        let path = format!("/compute/v2.1/servers/{}", moving.server);
        moving.client.must(&mut moving.cloud, "DELETE", &path, Value::Null);
        assert!(moving.client.wait_for(&mut moving.cloud, &moving.server, None));
        moving.cloud.world.run_for(CLEARED);
        assert_eq!(names(&moving.disks()), []);
        assert_eq!(moving.cloud.compute_rows::<LeftRow>(), []);
        life::rest(&mut moving.cloud);
    }
}

#[test]
fn what_waits_for_a_word_is_deleted_with_both_its_disks() {
    let mut moving = Moving::new(72);
    moving.act(json!({"migrate": null}));
    moving.is("VERIFY_RESIZE");
    let path = format!("/compute/v2.1/servers/{}", moving.server);
    moving.client.must(&mut moving.cloud, "DELETE", &path, Value::Null);
    assert!(moving.client.wait_for(&mut moving.cloud, &moving.server, None));
    moving.cloud.world.run_for(CLEARED);
    assert_eq!(names(&moving.disks()), []);
    life::rest(&mut moving.cloud);
}

#[test]
fn a_server_takes_its_volume_along() {
    let mut moving = Moving::new(73);
    let volume = json!({"volume": {"size": 1, "name": "data"}});
    let made = moving.client.must(&mut moving.cloud, "POST", "/volume/v3/volumes", volume);
    let volume = made["volume"]["id"].as_str().unwrap().to_owned();
    let is = |moving: &mut Moving, status: &str| {
        let path = format!("/volume/v3/volumes/{volume}");
        let found = moving.client.must(&mut moving.cloud, "GET", &path, Value::Null);
        found["volume"]["status"] == status
    };
    moving.until("made", |moving| is(moving, "available"));
    let path = format!("/compute/v2.1/servers/{}/os-volume_attachments", moving.server);
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    moving.client.must(&mut moving.cloud, "POST", &path, attach);
    moving.until("attached", |moving| is(moving, "in-use"));
    moving.act(json!({"migrate": null}));
    moving.is("VERIFY_RESIZE");
    assert!(is(&mut moving, "in-use"));
    let to = moving.host().unwrap();
    let guests = moving.cloud.machine(&to).unwrap().guests.guests();
    assert_eq!(guests[0].disks.len(), 2, "the root disk and the volume");
    moving.act(json!({"confirmResize": null}));
    moving.is_alone_on(&to);
}
