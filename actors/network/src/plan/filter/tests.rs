//! The plan of a security group on a host, case by case.

use updraft_protocol::network::{Direction, EtherType, Peer};
use updraft_runtime::rpc::TraceContext;

use super::*;

const GROUP: Uuid = Uuid::from_u128(1);
const PEER: Uuid = Uuid::from_u128(2);

fn rule(direction: Direction) -> FilterRule {
    let (ethertype, peer) = (EtherType::V4, Peer::Group(PEER));
    FilterRule { direction, ethertype, protocol: Some(6), ports: (Some(22), Some(22)), peer }
}

fn facts(rules: &[Direction], members: &[&str]) -> Facts {
    let nets = members.iter().map(|text| text.parse().unwrap()).collect();
    let group = Group {
        stateful: true,
        rules: rules.iter().map(|direction| rule(*direction)).collect(),
        peers: BTreeMap::from([(PEER, nets)]),
    };
    Facts { group: Some(group), needed: true }
}

fn usual() -> Facts {
    facts(&[Direction::Ingress], &["10.0.0.5/32"])
}

fn unneeded() -> Facts {
    Facts { needed: false, ..usual() }
}

fn fresh() -> FilterRow {
    FilterRow::new(GROUP, "a", TraceContext::default())
}

/// The row when its plan keeps it, and what the plan then asks for; `None` when the row is gone.
fn settle(row: FilterRow, facts: &Facts) -> Option<(FilterRow, Vec<Tell>)> {
    let mut row = row;
    for _ in 0..4 {
        match plan(&row, facts) {
            Next::Write(next) => row = *next,
            Next::Delete => return None,
            Next::Act(effects) => return Some((row, effects)),
        }
    }
    panic!("its plan never settles: {row:?}");
}

/// The row once its host serves what is wanted.
fn served(facts: &Facts, row: FilterRow) -> FilterRow {
    let (mut row, _) = settle(row, facts).unwrap();
    let Served { generation, present } =
        Served { generation: row.want.generation, present: row.want.present };
    assert!(learn(&mut row, &Served { generation, present }));
    row
}

fn tell(generation: u64) -> Vec<Tell> {
    vec![Tell { generation }]
}

#[test]
fn a_needed_group_is_told_with_its_rules_and_members() {
    let (row, effects) = settle(fresh(), &usual()).unwrap();
    assert_eq!(effects, tell(1));
    assert_eq!(row.want.rules, [rule(Direction::Ingress)]);
    assert_eq!(row.want.peers, usual().group.unwrap().peers);
    assert!(!row.in_force);
}

#[test]
fn a_served_group_is_in_force_and_asks_for_nothing() {
    let row = served(&usual(), fresh());
    assert!(row.in_force);
    assert_eq!(settle(row.clone(), &usual()), Some((row, vec![])));
}

#[test]
fn a_rule_or_a_member_more_or_less_is_told_in_a_new_generation() {
    let row = served(&usual(), fresh());
    let changes = [
        facts(&[Direction::Ingress, Direction::Egress], &["10.0.0.5/32"]),
        facts(&[], &["10.0.0.5/32"]),
        facts(&[Direction::Ingress], &["10.0.0.5/32", "10.0.0.6/32"]),
        facts(&[Direction::Ingress], &[]),
    ];
    for facts in changes {
        let (row, effects) = settle(row.clone(), &facts).unwrap();
        assert_eq!(effects, tell(2), "{facts:?}");
        assert!(row.in_force, "the old rules hold until the new ones do");
    }
}

#[test]
fn the_order_of_rules_is_no_change() {
    let row = served(&facts(&[Direction::Ingress, Direction::Egress], &[]), fresh());
    let turned = facts(&[Direction::Egress, Direction::Ingress], &[]);
    assert_eq!(settle(row.clone(), &turned), Some((row, vec![])));
}

#[test]
fn a_group_that_nobody_needs_any_longer_is_told_to_go_and_remembered() {
    let row = served(&usual(), fresh());
    let (row, effects) = settle(row, &unneeded()).unwrap();
    assert_eq!((row.want.clone(), effects), (FilterWant::absent(GROUP, 2), tell(2)));
    let row = served(&unneeded(), row);
    assert!(!row.in_force);
    assert_eq!(settle(row, &unneeded()).unwrap().1, vec![]);
}

#[test]
fn a_group_that_was_never_needed_is_never_told() {
    assert_eq!(settle(fresh(), &unneeded()), Some((fresh(), vec![])));
}

#[test]
fn the_row_goes_with_the_group_once_the_host_has_nothing_of_it() {
    let row = served(&usual(), fresh());
    let gone = Facts::default();
    let (row, effects) = settle(row, &gone).unwrap();
    assert_eq!(effects, tell(2));
    assert_eq!(settle(served(&gone, row), &gone), None);
}

#[test]
fn news_of_an_older_generation_count_until_a_newer_one_is_served() {
    let row = served(&usual(), fresh());
    let (mut row, _) = settle(row, &facts(&[], &[])).unwrap();
    for generation in [0, 1, 3] {
        assert!(!learn(&mut row, &Served { generation, present: false }), "{generation}");
    }
    assert!(row.in_force);
    let (mut late, _) = settle(fresh(), &usual()).unwrap();
    (late, _) = settle(late, &facts(&[], &[])).unwrap();
    assert!(learn(&mut late, &Served { generation: 1, present: true }), "one behind is something");
    assert!(late.in_force && !late.is_served());
}

#[test]
fn a_peer_that_does_not_fit_is_let_pass_nothing_and_others_are() {
    let nets = |count: usize| -> BTreeSet<IpNet> {
        let address = |number: usize| std::net::Ipv4Addr::from(u32::try_from(number).unwrap());
        (0..count).map(|number| IpNet::from(std::net::IpAddr::from(address(number)))).collect()
    };
    let large = Uuid::from_u128(1);
    let mut facts = facts(&[Direction::Ingress], &["10.0.0.5/32"]);
    let group = facts.group.as_mut().unwrap();
    group.rules.push(FilterRule { peer: Peer::Group(large), ..rule(Direction::Egress) });
    group.peers.insert(large, nets(NETS_MAX + 1));
    let (row, _) = settle(fresh(), &facts).unwrap();
    assert_eq!(row.want.peers.keys().collect::<Vec<_>>(), [&PEER]);
    facts.group.as_mut().unwrap().peers.insert(large, nets(NETS_MAX - 1));
    let (row, _) = settle(fresh(), &facts).unwrap();
    assert_eq!(row.want.peers.len(), 2, "as many as fit exactly");
}

#[test]
fn no_more_rules_are_told_than_hosts_take() {
    let mut facts = usual();
    let with_port =
        |port| FilterRule { ports: (Some(port), Some(port)), ..rule(Direction::Egress) };
    let many = u16::try_from(RULES_MAX + 1).unwrap();
    facts.group.as_mut().unwrap().rules = (0..many).map(with_port).collect();
    assert_eq!(settle(fresh(), &facts).unwrap().0.want.rules.len(), RULES_MAX);
}
