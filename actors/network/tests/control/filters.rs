//! What hosts are told of security groups, and when.

use std::{collections::BTreeSet, time::Duration};

use ipnet::IpNet;
use serde_json::{Value, json};
use updraft_protocol::network::{
    Direction, EtherType, FilterRule, FilterWant, NicRequest, Peer, PortWant,
};
use uuid::Uuid;

use crate::support::{A_WHILE, Cloud, Host, Net, Who, text};

/// What a change costs when no message is lost: far less than a rescan.
const SOON: Duration = Duration::from_secs(1);

/// A cloud with a server of the member on the first host, whose port is of the default group.
struct Scene {
    cloud: Cloud,
    net: Net,
    port: Uuid,
    default: Uuid,
}

fn id(value: &Value) -> Uuid {
    text(value, "id").parse().unwrap()
}

impl Scene {
    async fn new() -> Self {
        let cloud = Cloud::new().await;
        let net = cloud.net("10.0.0.0/24").await;
        let info = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
        cloud.pass(SOON).await;
        let groups = cloud.get(Who::Member, "/security-groups").await.list("security_groups");
        let (port, default) = (info.ports[0].port, id(&groups[0]));
        Self { cloud, net, port, default }
    }

    fn address(&self) -> IpNet {
        IpNet::from(self.plugged().addresses[0])
    }

    fn plugged(&self) -> PortWant {
        self.cloud.host1.state.lock().ports[&self.port].clone()
    }

    fn filter(&self, group: Uuid) -> Option<FilterWant> {
        filter(&self.cloud.host1, group)
    }

    async fn group(&self, name: &str) -> Uuid {
        id(&self.cloud.make(Who::Member, "security_group", json!({ "name": name })).await)
    }

    /// Adds a rule to the default group.
    async fn rule(&self, mut rule: Value) -> Uuid {
        rule["security_group_id"] = json!(self.default);
        id(&self.cloud.make(Who::Member, "security_group_rule", rule).await)
    }

    /// Makes a port that no host has, as of something that is yet to start.
    async fn unplugged(&self, fields: Value) -> (Uuid, IpNet) {
        let mut port = json!({"network_id": self.net.network});
        port.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let made = self.cloud.make(Who::Member, "port", port).await;
        let address: std::net::IpAddr = text(&made["fixed_ips"][0], "ip_address").parse().unwrap();
        (id(&made), IpNet::from(address))
    }

    async fn set(&self, port: Uuid, fields: Value) {
        let path = format!("/ports/{port}");
        self.cloud.put(Who::Member, &path, json!({ "port": fields })).await.is(200);
        self.cloud.pass(SOON).await;
    }

    fn members(&self, group: Uuid, of: Uuid) -> BTreeSet<IpNet> {
        self.filter(group).unwrap().peers[&of].clone()
    }
}

fn filter(host: &Host, group: Uuid) -> Option<FilterWant> {
    host.state.lock().filters.get(&group).filter(|want| want.present).cloned()
}

fn egress(ethertype: EtherType) -> FilterRule {
    let (direction, protocol, ports) = (Direction::Egress, None, (None, None));
    FilterRule { direction, ethertype, protocol, ports, peer: Peer::Any }
}

#[tokio::test(start_paused = true)]
async fn a_host_is_told_of_the_groups_of_its_ports_with_their_members() {
    let scene = Scene::new().await;
    assert_eq!(scene.plugged().groups, BTreeSet::from([scene.default]));
    assert!(scene.plugged().secured);
    let want = scene.filter(scene.default).unwrap();
    let from_itself = |ethertype| FilterRule {
        direction: Direction::Ingress,
        peer: Peer::Group(scene.default),
        ..egress(ethertype)
    };
    let rules: BTreeSet<FilterRule> = want.rules.iter().cloned().collect();
    let expected =
        [EtherType::V4, EtherType::V6].map(|version| [from_itself(version), egress(version)]);
    assert_eq!(rules, expected.into_iter().flatten().collect());
    assert!(want.stateful);
    assert_eq!(scene.members(scene.default, scene.default), BTreeSet::from([scene.address()]));
    assert_eq!(filter(&scene.cloud.host2, scene.default), None, "no port of it is there");
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_comes_or_goes_reaches_every_host_of_its_group() {
    let scene = Scene::new().await;
    let rule = scene
        .rule(json!({"direction": "ingress", "protocol": "tcp", "port_range_min": 22,
            "port_range_max": 23, "remote_ip_prefix": "192.0.2.7/24"}))
        .await;
    scene.cloud.pass(SOON).await;
    let told = FilterRule {
        direction: Direction::Ingress,
        ethertype: EtherType::V4,
        protocol: Some(6),
        ports: (Some(22), Some(23)),
        peer: Peer::Net("192.0.2.0/24".parse().unwrap()),
    };
    let want = scene.filter(scene.default).unwrap();
    assert!(want.rules.contains(&told), "{want:?}");
    scene.cloud.delete(Who::Member, &format!("/security-group-rules/{rule}")).await.is(204);
    scene.cloud.pass(SOON).await;
    let after = scene.filter(scene.default).unwrap();
    assert!(!after.rules.contains(&told) && after.generation > want.generation, "{after:?}");
    let status = scene.cloud.port(scene.port).await;
    assert_eq!(text(&status, "status"), "ACTIVE", "a rule is no reason to build a port anew");
}

#[tokio::test(start_paused = true)]
async fn protocols_are_told_by_number_whatever_they_are_called() {
    let scene = Scene::new().await;
    let cases = [
        (json!({"protocol": "icmp", "port_range_min": 8, "port_range_max": 0}), Some(1)),
        (json!({"protocol": "ipv6-icmp", "ethertype": "IPv6"}), Some(58)),
        (json!({"protocol": "89"}), Some(89)),
        (json!({"protocol": "ip"}), None),
    ];
    for (mut fields, number) in cases {
        fields["direction"] = json!("ingress");
        let rule = scene.rule(fields.clone()).await;
        scene.cloud.pass(SOON).await;
        let rules = scene.filter(scene.default).unwrap().rules;
        let is_it = |rule: &&FilterRule| {
            rule.protocol == number
                && rule.direction == Direction::Ingress
                && rule.peer == Peer::Any
        };
        assert_eq!(rules.iter().filter(is_it).count(), 1, "{fields}: {rules:?}");
        scene.cloud.delete(Who::Member, &format!("/security-group-rules/{rule}")).await.is(204);
    }
}

#[tokio::test(start_paused = true)]
async fn a_port_that_changes_its_groups_is_told_with_the_new_ones() {
    let scene = Scene::new().await;
    let group = scene.group("web").await;
    scene.set(scene.port, json!({"security_groups": [group]})).await;
    assert_eq!(scene.plugged().groups, BTreeSet::from([group]));
    assert!(scene.filter(group).is_some());
    assert_eq!(scene.filter(scene.default), None, "a group that nobody has is still there");
    assert_eq!(text(&scene.cloud.port(scene.port).await, "status"), "ACTIVE");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_a_host_has_had_before_is_in_force_as_soon_as_a_new_one() {
    let scene = Scene::new().await;
    let group = scene.group("web").await;
    for _ in 0..2 {
        scene.set(scene.port, json!({"security_groups": [group]})).await;
        assert!(scene.filter(group).is_some());
        assert_eq!(text(&scene.cloud.port(scene.port).await, "status"), "ACTIVE");
        scene.set(scene.port, json!({"security_groups": []})).await;
        assert_eq!(scene.filter(group), None);
    }
}

#[tokio::test(start_paused = true)]
async fn members_of_a_peer_group_that_come_or_go_reach_the_host() {
    let scene = Scene::new().await;
    let peers = scene.group("peers").await;
    scene.rule(json!({"direction": "ingress", "remote_group_id": peers})).await;
    scene.cloud.pass(SOON).await;
    assert_eq!(scene.members(scene.default, peers), BTreeSet::new());
    let (one, address) = scene.unplugged(json!({"security_groups": [peers]})).await;
    scene.cloud.pass(SOON).await;
    assert_eq!(scene.members(scene.default, peers), BTreeSet::from([address]), "one joined");
    scene.set(one, json!({"fixed_ips": [{"ip_address": "10.0.0.77"}]})).await;
    let moved: IpNet = "10.0.0.77/32".parse().unwrap();
    assert_eq!(scene.members(scene.default, peers), BTreeSet::from([moved]), "it moved");
    scene.set(one, json!({"security_groups": []})).await;
    assert_eq!(scene.members(scene.default, peers), BTreeSet::new(), "it left");
    let (other, _) = scene.unplugged(json!({"security_groups": [peers]})).await;
    scene.cloud.pass(SOON).await;
    scene.cloud.delete(Who::Member, &format!("/ports/{other}")).await.is(204);
    scene.cloud.pass(SOON).await;
    assert_eq!(scene.members(scene.default, peers), BTreeSet::new(), "another was deleted");
}

#[tokio::test(start_paused = true)]
async fn allowed_addresses_are_told_and_make_members_unless_they_are_all_there_are() {
    let scene = Scene::new().await;
    let pairs = json!([{"ip_address": "10.0.0.96/29"}, {"ip_address": "0.0.0.0/0"}]);
    scene.set(scene.port, json!({"allowed_address_pairs": pairs})).await;
    let nets: Vec<String> = scene.plugged().pairs.iter().map(|pair| pair.net.to_string()).collect();
    assert_eq!(nets, ["0.0.0.0/0", "10.0.0.96/29"]);
    let expected = BTreeSet::from([scene.address(), "10.0.0.96/29".parse().unwrap()]);
    assert_eq!(scene.members(scene.default, scene.default), expected);
}

#[tokio::test(start_paused = true)]
async fn a_port_without_port_security_has_no_groups_on_its_host() {
    let scene = Scene::new().await;
    let open = json!({"security_groups": [], "port_security_enabled": false});
    scene.set(scene.port, open).await;
    let want = scene.plugged();
    assert_eq!((want.secured, want.groups), (false, BTreeSet::new()));
    assert_eq!(scene.filter(scene.default), None);
}

#[tokio::test(start_paused = true)]
async fn a_port_works_only_once_its_groups_are_in_force() {
    let cloud = Cloud::new().await;
    let net = cloud.net("10.0.0.0/24").await;
    cloud.host1.state.lock().deaf_to_filters = true;
    let info = cloud.allocate(&cloud.host1, 1, vec![net.nic(0)]).await.unwrap();
    cloud.pass(A_WHILE).await;
    assert_eq!(text(&cloud.port(info.ports[0].port).await, "status"), "BUILD");
    cloud.host1.state.lock().deaf_to_filters = false;
    cloud.pass(A_WHILE).await;
    assert_eq!(text(&cloud.port(info.ports[0].port).await, "status"), "ACTIVE");
    assert!(cloud.host1.state.lock().ready.last().unwrap().ports[0].up);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_was_deaf_hears_the_last_word_later() {
    let scene = Scene::new().await;
    scene.cloud.host1.state.lock().deaf_to_filters = true;
    let rule = scene.rule(json!({"direction": "ingress", "protocol": "tcp"})).await;
    scene.rule(json!({"direction": "ingress", "protocol": "udp"})).await;
    scene.cloud.delete(Who::Member, &format!("/security-group-rules/{rule}")).await.is(204);
    scene.cloud.pass(A_WHILE).await;
    scene.cloud.host1.state.lock().deaf_to_filters = false;
    scene.cloud.pass(A_WHILE).await;
    let rules = scene.filter(scene.default).unwrap().rules;
    let has = |number| rules.iter().any(|rule| rule.protocol == Some(number));
    assert!(has(17) && !has(6), "{rules:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_has_nothing_of_a_group_once_its_last_port_is_gone() {
    let scene = Scene::new().await;
    scene.cloud.release(2).await.unwrap();
    scene.cloud.pass(SOON).await;
    assert!(scene.cloud.host1.state.lock().plugged().is_empty());
    assert_eq!(scene.filter(scene.default), None);
    assert_eq!(scene.cloud.keys("network/filter/").await.len(), 1, "its generation is remembered");
}

#[tokio::test(start_paused = true)]
async fn the_row_of_a_host_goes_with_the_group() {
    let scene = Scene::new().await;
    let group = scene.group("web").await;
    scene.set(scene.port, json!({"security_groups": [group]})).await;
    scene.set(scene.port, json!({"security_groups": [scene.default]})).await;
    scene.cloud.delete(Who::Member, &format!("/security-groups/{group}")).await.is(204);
    scene.cloud.pass(A_WHILE).await;
    let left = scene.cloud.keys("network/filter/").await;
    assert!(left.iter().all(|key| !key.contains(&group.to_string())), "{left:?}");
    assert_eq!(scene.filter(group), None);
}

#[tokio::test(start_paused = true)]
async fn a_second_port_on_the_host_needs_no_new_word_but_makes_a_member() {
    let scene = Scene::new().await;
    let before = scene.filter(scene.default).unwrap();
    let nics: Vec<NicRequest> = vec![scene.net.nic(0), scene.net.nic(1)];
    let info = scene.cloud.allocate(&scene.cloud.host1, 2, nics).await.unwrap();
    scene.cloud.pass(SOON).await;
    let after = scene.filter(scene.default).unwrap();
    assert_eq!((after.peers[&scene.default].len(), &after.rules), (2, &before.rules));
    let status = scene.cloud.port(info.ports[1].port).await;
    assert_eq!(text(&status, "status"), "ACTIVE");
}
