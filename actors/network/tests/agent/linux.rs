//! The agent on a real host: bridges, taps, dnsmasq and metadata, each test in namespaces of its own.

use std::collections::BTreeSet;

use updraft_network::driver::names;
use updraft_protocol::network::DhcpLease;

use super::world::*;

mod groups;
mod guest;
mod hosts;
mod random;
mod rig;
mod routers;
mod sandbox;
mod tunnels;

use guest::Guest;
use rig::{Rig, patiently};
use sandbox::{output_of, sandboxed};

fn instance_id(guest: &Guest) -> Result<String, String> {
    guest.get("/latest/meta-data/instance-id")
}

#[test]
fn a_guest_gets_its_address_and_reads_its_metadata() {
    sandboxed("a_guest_gets_its_address_and_reads_its_metadata", async {
        let rig = Rig::new().await;
        let guest = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        let told = guest.ask_dhcp();
        assert_eq!(told["ip"], "10.1.0.11");
        assert_eq!(told["mask"], "24");
        assert_eq!(told["mtu"], "1450");
        assert_eq!(told["router"], "10.1.0.1");
        assert_eq!(told["dns"], "9.9.9.9");
        assert_eq!(told["hostname"], "guest-11");
        assert_eq!(told["serverid"], "10.1.0.2");
        assert_eq!(told["staticroutes"], "169.254.169.254/32 10.1.0.2 0.0.0.0/0 10.1.0.1");
        assert_eq!(instance_id(&guest), Ok(SERVER.to_string()));
        let document = guest.get("/openstack/latest/meta_data.json").unwrap();
        assert!(document.contains(&format!("secret-{SERVER}")), "{document}");
        assert_eq!(guest.get("/latest/user-data"), Ok(format!("data-{SERVER}")));
    });
}

#[test]
fn a_tap_is_made_for_a_port_and_removed_with_its_bridge() {
    sandboxed("a_tap_is_made_for_a_port_and_removed_with_its_bridge", async {
        let rig = Rig::new().await;
        let plugged = rig.plug(&port_want(1)).await.unwrap();
        let tap = plugged.device.unwrap();
        let shown = output_of("ip", &["-d", "link", "show", "dev", &tap]);
        for expected in ["tun type tap", "persist on", "mtu 1450", &names::bridge(NETWORK)] {
            assert!(shown.contains(expected), "{expected} is not in {shown}");
        }
        rig.plug(&unplug_want(2)).await.unwrap();
        let devices = output_of("ip", &["-br", "link", "show"]);
        assert_eq!(devices.lines().count(), 1, "only lo shall be left: {devices}");
    });
}

#[test]
fn a_dhcp_server_that_is_killed_comes_back() {
    sandboxed("a_dhcp_server_that_is_killed_comes_back", async {
        let rig = Rig::new().await;
        let guest = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        let first = rig.dnsmasq_pid().unwrap();
        sandbox::kill(first);
        patiently("dnsmasq never came back", || {
            rig.dnsmasq_pid().is_some_and(|pid| pid != first && sandbox::lives(pid))
        })
        .await;
        assert_eq!(guest.ask_dhcp()["ip"], "10.1.0.11");
    });
}

#[test]
fn a_namespace_that_somebody_removed_comes_back_with_dhcp_and_metadata() {
    sandboxed("a_namespace_that_somebody_removed_comes_back_with_dhcp_and_metadata", async {
        let rig = Rig::new().await;
        let guest = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        output_of("ip", &["netns", "delete", &names::namespace(NETWORK)]);
        let namespace = format!("/run/netns/{}", names::namespace(NETWORK));
        patiently("the namespace never came back", || std::path::Path::new(&namespace).exists())
            .await;
        patiently("DHCP never came back", || guest.try_dhcp().is_some()).await;
        patiently("metadata never came back", || instance_id(&guest).is_ok()).await;
    });
}

#[test]
fn a_guest_cannot_pass_for_another() {
    sandboxed("a_guest_cannot_pass_for_another", async {
        let rig = Rig::new().await;
        let thief = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        let mut want = dhcp_want(1);
        want.leases.push(lease(OTHER_SERVER, 12));
        rig.serve(&want).await.unwrap();
        thief.ask_dhcp();
        assert_eq!(instance_id(&thief), Ok(SERVER.to_string()));
        thief.take_address("10.1.0.12/24");
        assert!(instance_id(&thief).is_err(), "another's IP address got an answer");
        thief.take_mac("fa:16:3e:00:00:02");
        assert!(instance_id(&thief).is_err(), "another's MAC and IP address got an answer");
    });
}

#[test]
fn the_guard_is_what_keeps_a_thief_from_anothers_metadata() {
    sandboxed("the_guard_is_what_keeps_a_thief_from_anothers_metadata", async {
        let rig = Rig::new().await;
        let thief = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        let mut want = dhcp_want(1);
        want.leases.push(lease(OTHER_SERVER, 12));
        rig.serve(&want).await.unwrap();
        thief.ask_dhcp();
        thief.take_address("10.1.0.12/24");
        output_of("nft", &["flush", "ruleset"]);
        assert_eq!(instance_id(&thief), Ok(OTHER_SERVER.to_string()), "the theft is no theft");
        assert_eq!(rig.agent.reconcile().await.unwrap().lost_ports, BTreeSet::from([PORT]));
        patiently("the guard never came back", || instance_id(&thief).is_err()).await;
    });
}

#[test]
fn a_guest_reaches_nothing_of_the_host() {
    sandboxed("a_guest_reaches_nothing_of_the_host", async {
        let rig = Rig::new().await;
        // A host as open as can be: it has an address in the guests' network, and the way back to them.
        output_of("ip", &["address", "add", "10.1.0.200/32", "dev", "lo"]);
        let guest = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        rig.filter(&filter_want(1)).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        let bridge = names::bridge(NETWORK);
        output_of("ip", &["route", "add", "10.1.0.0/24", "dev", &bridge, "src", "10.1.0.200"]);
        guest.ask_dhcp();
        assert!(guest.pings("10.1.0.2"), "the agent's own address answers");
        assert!(!guest.pings("10.1.0.200"), "the host answers a guest");
        let addresses = output_of("ip", &["-6", "address", "show", "dev", &bridge]);
        assert_eq!(addresses, "", "the host speaks IPv6 on a guests' bridge");
    });
}

#[test]
fn an_address_goes_to_its_next_owner_at_once() {
    sandboxed("an_address_goes_to_its_next_owner_at_once", async {
        let rig = Rig::new().await;
        let first = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        first.ask_dhcp();
        let next = Guest::behind(OTHER_SERVER, "fa:16:3e:00:00:02");
        let mut port = port_want(1);
        (port.port, port.mac_address) = (OTHER_SERVER, "fa:16:3e:00:00:02".to_owned());
        rig.plug(&port).await.unwrap();
        rig.plug(&unplug_want(2)).await.unwrap();
        let mut want = dhcp_want(2);
        want.leases = vec![DhcpLease {
            mac_address: "fa:16:3e:00:00:02".to_owned(),
            ..lease(OTHER_SERVER, 11)
        }];
        rig.serve(&want).await.unwrap();
        assert_eq!(next.ask_dhcp()["ip"], "10.1.0.11");
        assert_eq!(instance_id(&next), Ok(OTHER_SERVER.to_string()));
    });
}

#[test]
fn a_new_lease_is_served_by_the_same_process_and_odd_names_do_no_harm() {
    sandboxed("a_new_lease_is_served_by_the_same_process_and_odd_names_do_no_harm", async {
        let rig = Rig::new().await;
        let first = Guest::behind(PORT, "fa:16:3e:00:00:01");
        rig.plug(&port_want(1)).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        first.ask_dhcp();
        let before = rig.dnsmasq_pid();
        let mut want = dhcp_want(2);
        for (last, name) in [(12, "ignore"), (13, "10"), (14, "guest-11"), (15, "web.one")] {
            let named = DhcpLease { hostname: name.to_owned(), ..lease(OTHER_SERVER, last) };
            want.leases.push(named);
        }
        rig.serve(&want).await.unwrap();
        let told = ["host-10-1-0-12", "host-10-1-0-13", "guest-11", "web"];
        for (lease, name) in want.leases.iter().skip(1).zip(told) {
            let port = uuid::Uuid::from_u128(u128::from(lease.mac_address.as_bytes()[16]) << 96);
            let guest = Guest::behind(port, &lease.mac_address);
            let mut plug = port_want(1);
            (plug.port, plug.mac_address) = (port, lease.mac_address.clone());
            plug.addresses = vec![lease.address];
            rig.plug(&plug).await.unwrap();
            let told = guest.ask_dhcp();
            assert_eq!(told["ip"], lease.address.to_string());
            assert_eq!(told["hostname"], name);
        }
        assert_eq!(rig.dnsmasq_pid(), before);
    });
}

#[test]
fn a_restart_of_the_agent_leaves_guests_their_server_and_purging_leaves_nothing() {
    let name = "a_restart_of_the_agent_leaves_guests_their_server_and_purging_leaves_nothing";
    sandboxed(name, async {
        output_of("ip", &["link", "add", "name", "brq00000000-00", "type", "bridge"]);
        output_of("ip", &["netns", "add", "qdhcp-of-somebody-else"]);
        let before = sandbox::snapshot();
        let mut rig = Rig::new().await;
        rig.plug(&port_want(1)).await.unwrap();
        rig.filter(&filter_want(1)).await.unwrap();
        rig.serve(&dhcp_want(1)).await.unwrap();
        let server = rig.dnsmasq_pid().unwrap();
        rig.restart().await;
        rig.serve(&dhcp_want(1)).await.unwrap();
        assert_eq!(rig.dnsmasq_pid(), Some(server));
        assert_ne!(sandbox::snapshot(), before);
        rig.agent.purge().await.unwrap();
        assert!(!sandbox::lives(server));
        assert_eq!(rig.files_left(), BTreeSet::new());
        // The kernel removes a namespace's devices in its own time.
        patiently("something is left", || sandbox::snapshot() == before).await;
    });
}

#[test]
fn a_device_of_somebody_else_is_never_taken() {
    sandboxed("a_device_of_somebody_else_is_never_taken", async {
        let rig = Rig::new().await;
        let bridge = names::bridge(NETWORK);
        output_of("ip", &["link", "add", "name", &bridge, "type", "bridge"]);
        output_of("ip", &["link", "set", "dev", &bridge, "alias", "updraft:other:bridge:x"]);
        let error = rig.plug(&port_want(1)).await.unwrap_err();
        assert!(error.to_string().contains("was not made by this agent"), "{error}");
        rig.agent.purge().await.unwrap();
        let left = output_of("ip", &["link", "show", "dev", &bridge]);
        assert!(left.contains("updraft:other"), "{left}");
    });
}
