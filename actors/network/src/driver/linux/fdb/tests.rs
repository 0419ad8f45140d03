use super::*;

const SHOWN: &str = r#"[
    {"mac":"fa:16:3e:00:00:01","ifname":"vxl0","flags":[],"master":"brq0","state":"static"},
    {"mac":"36:b5:46:33:ba:24","ifname":"vxl0","flags":[],"master":"brq0","state":"permanent"},
    {"mac":"fa:16:3e:00:00:01","ifname":"vxl0","dst":"192.0.2.2","flags":["self"],"state":"static"},
    {"mac":"00:00:00:00:00:00","ifname":"vxl0","dst":"192.0.2.2","flags":["self"],"state":"permanent"},
    {"mac":"33:33:00:00:00:01","ifname":"eth0","flags":["self"],"state":"permanent"}]"#;

fn end(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

fn tunnel(peers: &[(u8, &[&str])]) -> Tunnel {
    let macs = |macs: &[&str]| macs.iter().map(|mac| (*mac).to_owned()).collect();
    let peers = peers.iter().map(|(last, of)| (end(*last), macs(of))).collect();
    Tunnel { vni: 7, mtu: 1450, local: end(1), peers }
}

#[test]
fn what_is_shown_is_read_as_what_was_made() {
    let found = read("", SHOWN).unwrap();
    let made = tunnel(&[(2, &["fa:16:3e:00:00:01"])]);
    assert_eq!(found["vxl0"], Entries::of(&made));
    assert_eq!(found["vxl0"].peers(), Some(made.peers));
}

#[test]
fn what_is_as_it_shall_be_is_left_alone() {
    let found = read("", SHOWN).unwrap();
    let shall = Entries::of(&tunnel(&[(2, &["fa:16:3e:00:00:01"])]));
    assert_eq!(script("vxl0", &found["vxl0"], &shall), "");
}

#[test]
fn only_what_differs_is_changed_and_what_stays_is_never_missing() {
    let have = Entries::of(&tunnel(&[(2, &["aa", "bb"]), (3, &["cc"])]));
    let shall = Entries::of(&tunnel(&[(2, &["aa"]), (4, &["cc", "dd"])]));
    let lines = "fdb append 00:00:00:00:00:00 dev vxl0 dst 192.0.2.4 self permanent\n\
        fdb replace cc dev vxl0 dst 192.0.2.4 self static\n\
        fdb replace dd dev vxl0 dst 192.0.2.4 self static\n\
        fdb replace dd dev vxl0 master static\n\
        fdb delete bb dev vxl0 master\n\
        fdb delete bb dev vxl0 dst 192.0.2.2 self\n\
        fdb delete 00:00:00:00:00:00 dev vxl0 dst 192.0.2.3 self\n";
    assert_eq!(script("vxl0", &have, &shall), lines);
}

#[test]
fn entries_that_no_tunnel_has_are_known_for_that() {
    let whole = Entries::of(&tunnel(&[(2, &["aa"])]));
    assert!(whole.peers().is_some());
    let without_bridge = Entries { bridged: BTreeSet::new(), ..whole.clone() };
    assert_eq!(without_bridge.peers(), None);
    let without_peer = Entries { peers: BTreeSet::new(), ..whole };
    assert_eq!(without_peer.peers(), None);
}
