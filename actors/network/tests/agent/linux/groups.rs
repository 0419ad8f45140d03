//! Security groups between guests on one host: what really passes.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read, Write},
    net::TcpStream,
};

use ipnet::IpNet;
use updraft_network::driver::names;
use updraft_protocol::network::{
    AllowedPair, Direction, EtherType, FilterRule, FilterWant, Peer, PortWant,
};
use uuid::Uuid;

use super::{
    super::world::*,
    guest::Guest,
    rig::{Rig, patiently},
    sandbox::*,
};

pub(super) const OTHER_PORT: Uuid = Uuid::from_u128(0xAAAA_0002_0000_4000_8000_0000_0000_0002);
const THIRD_PORT: Uuid = Uuid::from_u128(0xAAAA_0003_0000_4000_8000_0000_0000_0003);
pub(super) const OTHER_GROUP: Uuid = Uuid::from_u128(0xFFFF_0002_0000_4000_8000_0000_0000_0002);
const OTHER_NETWORK: Uuid = Uuid::from_u128(0xBBBB_0002_0000_4000_8000_0000_0000_0002);

const TCP: u8 = 6;
const ICMP: u8 = 1;
const UDP: u8 = 17;

fn mac(last: u8) -> String {
    format!("fa:16:3e:00:00:{last:02x}")
}

/// A port at 10.1.0.`last` and fd00::`last`.
pub(super) fn port(port: Uuid, last: u8, groups: &[Uuid]) -> PortWant {
    let v6 = format!("fd00::{last}").parse().unwrap();
    PortWant {
        port,
        mac_address: mac(last),
        addresses: vec![[10, 1, 0, last].into(), v6],
        groups: groups.iter().copied().collect(),
        ..port_want(1)
    }
}

fn guest(port: Uuid, last: u8) -> Guest {
    Guest::at(port, &mac(last), &[&format!("10.1.0.{last}/24"), &format!("fd00::{last}/64")])
}

/// A guest at the port, plugged.
async fn plugged(rig: &Rig, id: Uuid, last: u8, groups: &[Uuid]) -> Guest {
    plugged_as(rig, &port(id, last, groups), last).await
}

async fn plugged_as(rig: &Rig, want: &PortWant, last: u8) -> Guest {
    let guest = guest(want.port, last);
    rig.plug(want).await.unwrap();
    patiently("the guest has no link", || guest.is_linked()).await;
    guest
}

fn group(id: Uuid, generation: u64, ingress: &[FilterRule]) -> FilterWant {
    let mut want = FilterWant { group: id, ..filter_want(generation) };
    want.rules.extend_from_slice(ingress);
    want
}

fn from_anybody(protocol: u8) -> FilterRule {
    rule(Direction::Ingress, Some(protocol), Peer::Any)
}

fn to_port(port: u16) -> FilterRule {
    FilterRule { ports: (Some(port), Some(port)), ..from_anybody(TCP) }
}

/// Two guests with a group each, which let everything out and nothing in.
pub(super) async fn strangers() -> (Rig, Guest, Guest) {
    let rig = Rig::new().await;
    let one = plugged(&rig, PORT, 11, &[GROUP]).await;
    let two = plugged(&rig, OTHER_PORT, 12, &[OTHER_GROUP]).await;
    rig.filter(&group(GROUP, 1, &[])).await.unwrap();
    rig.filter(&group(OTHER_GROUP, 1, &[])).await.unwrap();
    (rig, one, two)
}

#[test]
fn nothing_passes_between_groups_until_a_rule_lets_it_and_again_when_it_goes() {
    let name = "groups::nothing_passes_between_groups_until_a_rule_lets_it_and_again_when_it_goes";
    sandboxed(name, async {
        let (rig, one, two) = strangers().await;
        let _listening = (two.listen(80), two.listen(81));
        assert!(!one.pings("10.1.0.12"), "an echo passes without a rule");
        assert!(one.connect("10.1.0.12:80").is_err(), "TCP passes without a rule");
        let rules = [from_anybody(ICMP), to_port(80)];
        rig.filter(&group(OTHER_GROUP, 2, &rules)).await.unwrap();
        assert!(one.pings("10.1.0.12"), "a rule lets no echo pass, or no reply");
        assert!(one.connect("10.1.0.12:80").is_ok(), "a rule lets no TCP pass");
        assert!(one.connect("10.1.0.12:81").is_err(), "another port than the rule's passes");
        assert!(!two.pings("10.1.0.11"), "the other group has no rule");
        rig.filter(&group(OTHER_GROUP, 3, &[])).await.unwrap();
        assert!(!one.pings("10.1.0.12"), "an echo passes after its rule went");
        assert!(one.connect("10.1.0.12:80").is_err(), "TCP passes after its rule went");
    });
}

#[test]
fn members_of_a_group_hear_each_other_until_they_leave() {
    sandboxed("groups::members_of_a_group_hear_each_other_until_they_leave", async {
        let rig = Rig::new().await;
        let one = plugged(&rig, PORT, 11, &[GROUP]).await;
        let two = plugged(&rig, OTHER_PORT, 12, &[GROUP]).await;
        let third = plugged(&rig, THIRD_PORT, 13, &[OTHER_GROUP]).await;
        rig.filter(&group(OTHER_GROUP, 1, &[])).await.unwrap();
        let with_members = |generation, members: &[&str]| {
            let nets: BTreeSet<IpNet> = members.iter().map(|text| text.parse().unwrap()).collect();
            let from_members = rule(Direction::Ingress, None, Peer::Group(GROUP));
            let peers = BTreeMap::from([(GROUP, nets)]);
            FilterWant { peers, ..group(GROUP, generation, &[from_members]) }
        };
        rig.filter(&with_members(1, &["10.1.0.11/32"])).await.unwrap();
        assert!(one.pings("10.1.0.12") && !two.pings("10.1.0.11"), "one is a member so far");
        rig.filter(&with_members(2, &["10.1.0.11/32", "10.1.0.12/32"])).await.unwrap();
        assert!(two.pings("10.1.0.11") && !third.pings("10.1.0.11"), "two are members");
        rig.filter(&with_members(3, &["10.1.0.12/32"])).await.unwrap();
        assert!(two.pings("10.1.0.11") && !one.pings("10.1.0.12"), "one has left");
    });
}

fn sends(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    from.write_all(b"x").unwrap();
    to.read_exact(&mut [0]).is_ok()
}

#[test]
fn an_open_connection_ends_with_the_rule_that_let_it_pass_and_no_other_does() {
    let name = "groups::an_open_connection_ends_with_the_rule_that_let_it_pass_and_no_other_does";
    sandboxed(name, async {
        let (rig, one, two) = strangers().await;
        rig.filter(&group(OTHER_GROUP, 2, &[to_port(80), to_port(81)])).await.unwrap();
        let open = |port: u16| {
            let listener = two.listen(port);
            let near = one.connect(&format!("10.1.0.12:{port}")).unwrap();
            let (far, _) = listener.accept().unwrap();
            far.set_read_timeout(Some(std::time::Duration::from_secs(1))).unwrap();
            (near, far)
        };
        let (mut near, mut far) = open(80);
        let (mut kept_near, mut kept_far) = open(81);
        assert!(sends(&mut near, &mut far) && sends(&mut far, &mut near));
        rig.filter(&group(OTHER_GROUP, 3, &[to_port(81)])).await.unwrap();
        assert!(!sends(&mut near, &mut far), "what the rule let pass still passes");
        assert!(!sends(&mut far, &mut near), "replies to it still pass");
        // The server speaks first: what is kept is known as a connection, not as a new one to port 81.
        assert!(sends(&mut kept_far, &mut kept_near), "a connection with a rule has ended");
        assert!(sends(&mut kept_near, &mut kept_far), "a connection with a rule has ended");
    });
}

#[test]
fn who_gets_anothers_address_does_not_get_its_connections() {
    sandboxed("groups::who_gets_anothers_address_does_not_get_its_connections", async {
        let (rig, one, two) = strangers().await;
        rig.filter(&group(OTHER_GROUP, 2, &[from_anybody(UDP)])).await.unwrap();
        assert!(one.datagram_arrives(1_000, &two, "10.1.0.12:2000"));
        assert!(two.datagram_arrives(2_000, &one, "10.1.0.11:1000"), "both ways: a connection");
        let gone = PortWant { generation: 2, present: false, ..port(OTHER_PORT, 12, &[]) };
        rig.plug(&gone).await.unwrap();
        let heir = plugged_as(&rig, &port(THIRD_PORT, 12, &[GROUP]), 12).await;
        assert!(!one.datagram_arrives(1_000, &heir, "10.1.0.12:2000"));
        rig.filter(&group(GROUP, 2, &[from_anybody(UDP)])).await.unwrap();
        assert!(one.datagram_arrives(1_000, &heir, "10.1.0.12:2000"), "it would arrive");
    });
}

#[test]
fn a_port_that_changes_its_groups_changes_what_passes() {
    sandboxed("groups::a_port_that_changes_its_groups_changes_what_passes", async {
        let (rig, one, two) = strangers().await;
        rig.filter(&group(GROUP, 2, &[to_port(80)])).await.unwrap();
        let listener = two.listen(80);
        assert!(one.connect("10.1.0.12:80").is_err());
        let both = port(OTHER_PORT, 12, &[GROUP, OTHER_GROUP]);
        rig.plug(&PortWant { generation: 2, ..both }).await.unwrap();
        let mut near = one.connect("10.1.0.12:80").unwrap();
        let (mut far, _) = listener.accept().unwrap();
        let left = port(OTHER_PORT, 12, &[OTHER_GROUP]);
        rig.plug(&PortWant { generation: 3, ..left }).await.unwrap();
        assert!(!sends(&mut far, &mut near), "the group's connection outlives the group");
        assert!(one.connect("10.1.0.12:80").is_err(), "a group that was left still lets pass");
    });
}

#[test]
fn a_guest_whose_groups_let_nothing_pass_gets_its_address_and_metadata_and_nothing_else() {
    let name = "groups::a_guest_whose_groups_let_nothing_pass_gets_its_address_and_metadata_and_nothing_else";
    sandboxed(name, async {
        let rig = Rig::new().await;
        let guest = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        rig.filter(&FilterWant { rules: Vec::new(), ..filter_want(1) }).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        patiently("the guest has no link", || guest.is_linked()).await;
        assert_eq!(guest.ask_dhcp()["ip"], "10.1.0.11");
        assert_eq!(guest.get("/latest/meta-data/instance-id"), Ok(SERVER.to_string()));
        assert!(!guest.pings("10.1.0.2"), "it may say what no rule allows");
        rig.filter(&filter_want(2)).await.unwrap();
        assert!(guest.pings("10.1.0.2"), "the agent's address answers whoever may ask");
    });
}

#[test]
fn networks_with_the_same_addresses_are_kept_apart() {
    sandboxed("groups::networks_with_the_same_addresses_are_kept_apart", async {
        let (rig, one, two) = strangers().await;
        rig.filter(&group(OTHER_GROUP, 2, &[from_anybody(UDP)])).await.unwrap();
        let (twin, twin_two) = (Uuid::from_u128(1 << 96), Uuid::from_u128(2 << 96));
        let elsewhere = |id, last, groups: &[Uuid]| PortWant {
            network: OTHER_NETWORK,
            ..port(id, last, groups)
        };
        let same_one = plugged_as(&rig, &elsewhere(twin, 11, &[GROUP]), 11).await;
        let same_two = plugged_as(&rig, &elsewhere(twin_two, 12, &[GROUP]), 12).await;
        assert!(one.datagram_arrives(1000, &two, "10.1.0.12:2000"), "a rule lets it pass");
        // Elsewhere the same would be a reply, if connections were not told apart by network.
        assert!(!same_two.datagram_arrives(2000, &same_one, "10.1.0.11:1000"));
        assert!(two.datagram_arrives(2000, &one, "10.1.0.11:1000"), "the reply itself passes");
    });
}

#[test]
fn ipv6_passes_by_rules_of_its_own() {
    sandboxed("groups::ipv6_passes_by_rules_of_its_own", async {
        let (rig, one, two) = strangers().await;
        let _listening = two.listen(80);
        let v6 = |rule: FilterRule| FilterRule { ethertype: EtherType::V6, ..rule };
        let out = v6(rule(Direction::Egress, None, Peer::Any));
        let mut from = group(GROUP, 2, &[]);
        from.rules.push(out);
        rig.filter(&from).await.unwrap();
        rig.filter(&group(OTHER_GROUP, 2, &[to_port(80), from_anybody(ICMP)])).await.unwrap();
        assert!(one.connect("[fd00::12]:80").is_err(), "a rule for IPv4 lets IPv6 pass");
        let echo = FilterRule { ports: (Some(128), Some(0)), ..v6(from_anybody(58)) };
        let near = v6(FilterRule { peer: Peer::Net("fd00::/64".parse().unwrap()), ..to_port(80) });
        rig.filter(&group(OTHER_GROUP, 3, &[echo, near])).await.unwrap();
        assert!(one.connect("[fd00::12]:80").is_ok(), "a rule for IPv6 lets nothing pass");
        assert!(one.pings("fd00::12"), "a rule for an echo lets none pass");
    });
}

#[test]
fn a_port_without_port_security_is_not_filtered_and_may_use_any_address() {
    let name = "groups::a_port_without_port_security_is_not_filtered_and_may_use_any_address";
    sandboxed(name, async {
        let (rig, one, two) = strangers().await;
        rig.filter(&group(GROUP, 2, &[from_anybody(ICMP)])).await.unwrap();
        let open = PortWant { generation: 2, secured: false, ..port(OTHER_PORT, 12, &[]) };
        rig.plug(&open).await.unwrap();
        assert!(one.pings("10.1.0.12"), "an unfiltered port is filtered");
        two.take_address("10.1.0.99/24");
        assert!(two.pings("10.1.0.11"), "an unfiltered port may not use an address");
        let closed = PortWant { generation: 3, ..port(OTHER_PORT, 12, &[OTHER_GROUP]) };
        rig.plug(&closed).await.unwrap();
        assert!(!two.pings("10.1.0.11"), "a port that is filtered again uses any address");
    });
}

#[test]
fn a_port_may_use_the_addresses_that_it_is_allowed() {
    sandboxed("groups::a_port_may_use_the_addresses_that_it_is_allowed", async {
        let (rig, _one, two) = strangers().await;
        rig.filter(&group(GROUP, 2, &[from_anybody(ICMP)])).await.unwrap();
        two.take_address("10.1.0.99/24");
        assert!(!two.pings("10.1.0.11"), "a foreign address is used");
        let pair = |net: &str| AllowedPair { mac_address: mac(12), net: net.parse().unwrap() };
        let pairs = BTreeSet::from([pair("10.1.0.96/29"), pair("10.1.0.12/32")]);
        let allowed = PortWant { generation: 2, pairs, ..port(OTHER_PORT, 12, &[OTHER_GROUP]) };
        rig.plug(&allowed).await.unwrap();
        assert!(two.pings("10.1.0.11"), "an allowed address is not");
    });
}

#[test]
fn a_restart_leaves_the_filter_as_it_was_and_a_flush_is_mended() {
    sandboxed("groups::a_restart_leaves_the_filter_as_it_was_and_a_flush_is_mended", async {
        let (mut rig, one, two) = strangers().await;
        let _listening = two.listen(80);
        rig.filter(&group(OTHER_GROUP, 2, &[to_port(80)])).await.unwrap();
        let rules = || {
            let listed = output_of("nft", &["list", "ruleset"]);
            let mut lines: Vec<String> = listed.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        };
        let before = rules();
        rig.restart().await;
        rig.filter(&group(OTHER_GROUP, 2, &[to_port(80)])).await.unwrap();
        rig.plug(&port(PORT, 11, &[GROUP])).await.unwrap();
        assert_eq!(rules(), before);
        assert!(one.connect("10.1.0.12:80").is_ok());
        output_of("nft", &["flush", "ruleset"]);
        let report = rig.agent.reconcile().await.unwrap();
        assert_eq!(report.lost_filters, BTreeSet::from([GROUP, OTHER_GROUP]));
        assert_eq!(report.lost_ports, BTreeSet::from([PORT, OTHER_PORT]));
        patiently("the filter never came back", || rules() == before).await;
    });
}

#[test]
fn nothing_is_left_of_ports_and_groups_that_went() {
    sandboxed("groups::nothing_is_left_of_ports_and_groups_that_went", async {
        let (rig, _one, _two) = strangers().await;
        for (id, last) in [(PORT, 11), (OTHER_PORT, 12)] {
            let gone = PortWant { generation: 2, present: false, ..port(id, last, &[GROUP]) };
            rig.plug(&gone).await.unwrap();
        }
        for id in [GROUP, OTHER_GROUP] {
            rig.filter(&FilterWant::absent(id, 2)).await.unwrap();
        }
        let left = output_of("nft", &["list", "ruleset"]);
        let names = [names::tap(PORT), names::tap(OTHER_PORT), names::bridge(NETWORK)];
        for name in names.into_iter().chain([GROUP.to_string(), OTHER_GROUP.to_string()]) {
            assert!(!left.contains(&name), "{name} is left in {left}");
        }
        assert!(output_of("conntrack", &["-L"]).is_empty(), "connections are left");
        rig.agent.purge().await.unwrap();
        assert_eq!(output_of("nft", &["list", "ruleset"]), "");
    });
}

#[test]
fn a_group_that_a_tap_has_is_not_removed() {
    sandboxed("groups::a_group_that_a_tap_has_is_not_removed", async {
        let (rig, one, two) = strangers().await;
        rig.filter(&group(OTHER_GROUP, 2, &[from_anybody(ICMP)])).await.unwrap();
        let error = rig.filter(&FilterWant::absent(OTHER_GROUP, 3)).await.unwrap_err();
        assert!(error.to_string().contains("removing security group"), "{error}");
        assert!(one.pings("10.1.0.12"), "the tap's own want has not changed");
        drop(two);
    });
}

#[test]
fn a_group_without_state_lets_no_reply_pass_by_itself() {
    sandboxed("groups::a_group_without_state_lets_no_reply_pass_by_itself", async {
        let (rig, one, two) = strangers().await;
        let stateless = |id, generation, rules: &[FilterRule]| FilterWant {
            stateful: false,
            ..group(id, generation, rules)
        };
        rig.filter(&stateless(GROUP, 2, &[])).await.unwrap();
        rig.filter(&stateless(OTHER_GROUP, 2, &[from_anybody(ICMP)])).await.unwrap();
        assert!(!one.pings("10.1.0.12"), "a reply passes without a rule");
        let reply = FilterRule { ports: (Some(0), None), ..from_anybody(ICMP) };
        rig.filter(&stateless(GROUP, 3, &[reply])).await.unwrap();
        assert!(one.pings("10.1.0.12"), "a rule for the reply lets it not pass");
        drop(two);
    });
}

#[test]
fn without_connection_tracking_on_its_bridge_a_guest_is_cut_off_until_that_is_mended() {
    let name =
        "groups::without_connection_tracking_on_its_bridge_a_guest_is_cut_off_until_that_is_mended";
    sandboxed(name, async {
        let (rig, one, two) = strangers().await;
        rig.filter(&group(OTHER_GROUP, 2, &[from_anybody(UDP)])).await.unwrap();
        let arrives = || one.datagram_arrives(1_000, &two, "10.1.0.12:2000");
        assert!(arrives());
        let bridge = names::bridge(NETWORK);
        for setting in ["iptables", "ip6tables"] {
            let path = format!("/proc/sys/net/bridge/bridge-nf-call-{setting}");
            std::fs::write(path, "0").unwrap();
        }
        output_of(
            "ip",
            &["link", "set", "dev", &bridge, "type", "bridge", "nf_call_iptables", "0"],
        );
        assert!(!arrives(), "what nobody tracks passes");
        assert_eq!(
            rig.agent.reconcile().await.unwrap().lost_ports,
            BTreeSet::from([PORT, OTHER_PORT])
        );
        patiently("it was never mended", arrives).await;
    });
}

#[test]
fn the_hosts_own_settings_for_bridges_stay_as_they_are() {
    sandboxed("groups::the_hosts_own_settings_for_bridges_stay_as_they_are", async {
        let path = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        for setting in ["0", "1"] {
            std::fs::write(path, setting).unwrap();
            let (rig, one, _two) = strangers().await;
            rig.filter(&group(OTHER_GROUP, 2, &[from_anybody(ICMP)])).await.unwrap();
            assert!(one.pings("10.1.0.12"));
            assert_eq!(std::fs::read_to_string(path).unwrap().trim(), setting);
            rig.agent.purge().await.unwrap();
            for id in [PORT, OTHER_PORT] {
                output_of("ip", &["netns", "delete", &format!("guest-{id}")]);
            }
        }
    });
}
