//! Random security groups: a kernel takes every one of them, and lets pass what the judge says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use updraft_network::driver::{
    L2Driver, TapSpec,
    judge::{self, Connection},
    linux::{LinuxConfig, LinuxL2},
    names::Tag,
};
use updraft_protocol::network::{
    AllowedPair, Direction, EtherType, FilterRule, FilterWant, Peer, PortWant, protocol_number::UDP,
};
use updraft_runtime::Env;
use uuid::Uuid;

use super::{
    super::world::*,
    groups::{OTHER_GROUP, OTHER_PORT, port, strangers},
    sandbox::sandboxed,
};

/// Groups that a kernel is shown; each takes it some milliseconds.
const SHOWN: usize = 60;

/// Pairs of groups between which a packet is sent; one that is dropped costs a fifth of a second.
const SENT: usize = 40;

fn any_net() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<[u8; 4]>(), 0_u8..=32).prop_map(|(ip, length)| (IpAddr::from(ip), length));
    let v6 = (any::<[u8; 16]>(), 0_u8..=128).prop_map(|(ip, length)| (IpAddr::from(ip), length));
    prop_oneof![v4, v6].prop_map(|(ip, length)| IpNet::new(ip, length).unwrap().trunc())
}

fn rule_with(
    protocol: impl Strategy<Value = Option<u8>>,
    port: impl Strategy<Value = u16>,
    peer: impl Strategy<Value = Peer>,
) -> impl Strategy<Value = FilterRule> {
    let ports = proptest::option::of((port, 0_u16..3));
    (any::<bool>(), any::<bool>(), protocol, ports, peer).prop_map(
        |(ingress, v4, protocol, ports, peer)| FilterRule {
            direction: if ingress { Direction::Ingress } else { Direction::Egress },
            ethertype: if v4 { EtherType::V4 } else { EtherType::V6 },
            protocol,
            ports: (ports.map(|(first, _)| first), ports.map(|(first, more)| first + more)),
            peer,
        },
    )
}

fn any_group(
    id: Uuid,
    rule: impl Strategy<Value = FilterRule>,
    net: impl Strategy<Value = IpNet>,
) -> impl Strategy<Value = FilterWant> {
    let rules = proptest::collection::vec(rule, 0..8);
    (rules, proptest::collection::btree_set(net, 0..5), any::<bool>()).prop_map(
        move |(rules, nets, stateful)| FilterWant {
            present: true,
            stateful,
            rules,
            peers: BTreeMap::from([(GROUP, nets)]),
            ..FilterWant::absent(id, 1)
        },
    )
}

/// Values that are the same in every run.
struct Draws(TestRunner);

impl Draws {
    fn new() -> Self {
        Self(TestRunner::new_with_rng(
            Config::default(),
            proptest::test_runner::TestRng::deterministic_rng(
                proptest::test_runner::RngAlgorithm::ChaCha,
            ),
        ))
    }

    fn draw<S: Strategy>(&mut self, strategy: &S) -> S::Value {
        strategy.new_tree(&mut self.0).unwrap().current()
    }
}

#[test]
fn a_kernel_takes_every_group_and_every_port() {
    sandboxed("random::a_kernel_takes_every_group_and_every_port", async {
        let state = tempfile::tempdir().unwrap();
        let config = LinuxConfig::new(state.path().to_owned(), Tag::new("random").unwrap());
        let l2: Arc<dyn L2Driver> = Arc::new(LinuxL2::new(&Env::real(), &config));
        let peer = prop_oneof![
            Just(Peer::Any),
            Just(Peer::Group(GROUP)),
            Just(Peer::Group(OTHER_GROUP)),
            any_net().prop_map(Peer::Net)
        ];
        let rule = rule_with(any::<Option<u8>>(), 0_u16..65_533, peer);
        let groups = any_group(GROUP, rule, any_net());
        let pair = (0_u8..3, any_net()).prop_map(|(mac, net)| AllowedPair {
            mac_address: format!("fa:16:3e:00:00:{mac:02x}"),
            net,
        });
        let pairs = proptest::collection::btree_set(pair, 0..6);
        let mut draws = Draws::new();
        l2.ensure_bridge(NETWORK, 1450).await.unwrap();
        for _ in 0..SHOWN {
            let (want, pairs) = (draws.draw(&groups), draws.draw(&pairs));
            let shown = format!("{want:?}, {pairs:?}");
            let tap = TapSpec { pairs, ..tap(&port(PORT, 1, &[GROUP])) };
            l2.ensure_filter(&want)
                .await
                .unwrap_or_else(|error| panic!("{}: {shown}", error.chain()));
            l2.ensure_tap(&tap).await.unwrap_or_else(|error| panic!("{}: {shown}", error.chain()));
        }
        l2.purge().await.unwrap();
    });
}

fn tap(want: &PortWant) -> TapSpec {
    TapSpec {
        port: want.port,
        generation: want.generation,
        network: want.network,
        mac_address: want.mac_address.clone(),
        addresses: want.addresses.clone(),
        mtu: want.mtu,
        secured: want.secured,
        groups: want.groups.clone(),
        pairs: want.pairs.clone(),
    }
}

#[test]
fn a_packet_passes_if_and_only_if_the_judge_says_so() {
    sandboxed("random::a_packet_passes_if_and_only_if_the_judge_says_so", async {
        let (rig, one, two) = strangers().await;
        let taps = [tap(&port(PORT, 11, &[GROUP])), tap(&port(OTHER_PORT, 12, &[OTHER_GROUP]))];
        // Close to what is sent, so that about half of it passes.
        let net = || {
            (8_u8..16, 30_u8..=32).prop_map(|(last, length)| {
                IpNet::new(IpAddr::from([10, 1, 0, last]), length).unwrap().trunc()
            })
        };
        let rule = || {
            let peer =
                prop_oneof![Just(Peer::Any), Just(Peer::Group(GROUP)), net().prop_map(Peer::Net)];
            rule_with(
                prop_oneof![Just(None), Just(Some(UDP)), Just(Some(6))],
                1_999_u16..2_003,
                peer,
            )
        };
        let (from, to) = (any_group(GROUP, rule(), net()), any_group(OTHER_GROUP, rule(), net()));
        let (mut draws, mut seen) = (Draws::new(), BTreeSet::new());
        for number in 0..SENT {
            let generation = u64::try_from(number).unwrap() + 2;
            let groups = [draws.draw(&from), draws.draw(&to)]
                .map(|group| FilterWant { generation, ..group });
            for group in &groups {
                rig.filter(group).await.unwrap();
            }
            let sent_to = draws.draw(&(2_000_u16..2_003));
            let connection = Connection {
                source: IpAddr::from([10, 1, 0, 11]),
                destination: IpAddr::from([10, 1, 0, 12]),
                protocol: UDP,
                numbers: (1_000, sent_to),
            };
            let groups = groups.map(|group| (group.group, group));
            let may =
                judge::may_open(&taps.each_ref(), &groups.clone().into(), &connection).unwrap();
            let address = format!("10.1.0.12:{sent_to}");
            let arrives = one.datagram_arrives_or_not(1_000, &two, &address, may);
            assert_eq!(arrives, may, "{sent_to}: {groups:#?}");
            seen.insert(may);
        }
        assert_eq!(seen.len(), 2, "everything passed, or nothing");
    });
}
