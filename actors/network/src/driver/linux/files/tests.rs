//! What dnsmasq is given to read.

use updraft_protocol::network::{DhcpLease, DhcpSubnet};
use uuid::Uuid;

use super::*;

fn subnet(id: u128, cidr: &str, agent: &str) -> DhcpSubnet {
    DhcpSubnet {
        subnet: Uuid::from_u128(id),
        cidr: cidr.parse().unwrap(),
        gateway: None,
        agent_address: agent.parse().unwrap(),
        dns_servers: Vec::new(),
        host_routes: Vec::new(),
    }
}

fn lease(address: &str, hostname: &str) -> DhcpLease {
    DhcpLease {
        server: Uuid::nil(),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        address: address.parse().unwrap(),
        hostname: hostname.to_owned(),
    }
}

fn want(subnets: Vec<DhcpSubnet>, leases: Vec<DhcpLease>) -> DhcpWant {
    DhcpWant { network: Uuid::from_u128(1), generation: 1, mtu: 1450, subnets, leases }
}

fn options_of(subnet: DhcpSubnet) -> Vec<String> {
    options(&want(vec![subnet], Vec::new())).lines().map(str::to_owned).collect()
}

const TAG: &str = "tag:subnet-00000000-0000-0000-0000-000000000002";

#[test]
fn every_guest_is_told_the_way_to_metadata() {
    let told = options_of(subnet(2, "10.1.0.0/24", "10.1.0.2"));
    let route = "169.254.169.254/32,10.1.0.2";
    assert!(told.contains(&format!("{TAG},option:classless-static-route,{route}")), "{told:?}");
    assert!(told.contains(&format!("{TAG},249,{route}")), "{told:?}");
}

#[test]
fn a_gateway_is_both_the_router_and_the_last_classless_route() {
    let gateway = Some("10.1.0.1".parse().unwrap());
    let host_routes = vec![("10.9.0.0/16".parse().unwrap(), "10.1.0.7".parse().unwrap())];
    let told =
        options_of(DhcpSubnet { gateway, host_routes, ..subnet(2, "10.1.0.0/24", "10.1.0.2") });
    let routes = "169.254.169.254/32,10.1.0.2,10.9.0.0/16,10.1.0.7,0.0.0.0/0,10.1.0.1";
    assert!(told.contains(&format!("{TAG},option:classless-static-route,{routes}")), "{told:?}");
    assert!(told.contains(&format!("{TAG},option:router,10.1.0.1")), "{told:?}");
}

#[test]
fn a_subnet_without_gateway_and_name_servers_tells_neither() {
    let told = options_of(subnet(2, "10.1.0.0/24", "10.1.0.2"));
    assert!(told.contains(&format!("{TAG},option:router")), "{told:?}");
    assert!(told.contains(&format!("{TAG},option:dns-server")), "{told:?}");
}

fn host_named(hostname: &str) -> String {
    let subnets = vec![subnet(2, "10.1.0.0/24", "10.1.0.2")];
    hosts(&want(subnets, vec![lease("10.1.0.11", hostname)])).remove(0)
}

#[test]
fn a_host_is_answered_by_its_mac_address() {
    assert_eq!(host_named("one.example"), "fa:16:3e:00:00:01,10.1.0.11,one");
}

#[test]
fn a_name_that_dnsmasq_would_take_for_something_else_is_not_given_to_it() {
    let odd = ["", "-x", "a b", "x\ntag:y", "a,b", "ä", "ignore", "infinite", "10", "12h", "3600S"];
    for name in odd.into_iter().chain([&*"x".repeat(64)]) {
        let made = "fa:16:3e:00:00:01,10.1.0.11,host-10-1-0-11";
        assert_eq!(host_named(name), made, "{name:?}");
    }
    for plain in ["12hours", "h", "ignored", "0a"] {
        assert_eq!(host_named(plain), format!("fa:16:3e:00:00:01,10.1.0.11,{plain}"));
    }
}

#[test]
fn each_ipv4_subnet_is_a_static_range_and_an_address_and_ipv6_is_left_out() {
    let subnets = vec![
        subnet(2, "10.1.0.0/24", "10.1.0.2"),
        subnet(3, "10.2.0.0/16", "10.2.0.2"),
        subnet(4, "fd00::/64", "fd00::2"),
    ];
    let want = want(subnets, vec![lease("fd00::11", "one")]);
    let files = Files { directory: PathBuf::from("/d") };
    let ranges: Vec<String> = files
        .arguments(&want)
        .into_iter()
        .filter_map(|argument| argument.strip_prefix("--dhcp-range=").map(str::to_owned))
        .collect();
    assert_eq!(
        ranges,
        [
            "set:subnet-00000000-0000-0000-0000-000000000002,10.1.0.0,static,255.255.255.0,86400s",
            "set:subnet-00000000-0000-0000-0000-000000000003,10.2.0.0,static,255.255.0.0,86400s",
        ]
    );
    assert_eq!(addresses(&want), ["10.1.0.2/24", "10.2.0.2/16", "169.254.169.254/32"]);
    assert!(hosts(&want).is_empty());
}

#[tokio::test]
async fn a_file_is_replaced_whole_and_nothing_else_is_left() {
    let directory = tempfile::tempdir().unwrap();
    let folder = updraft_runtime::Env::real().folder(directory.path()).unwrap();
    write_atomically(&folder, "hosts", "old").unwrap();
    write_atomically(&folder, "hosts", "new").unwrap();
    assert_eq!(fs::read_to_string(directory.path().join("hosts")).unwrap(), "new");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}
