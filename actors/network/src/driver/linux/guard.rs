//! Packet filter rules that hold each guest to its own addresses.
//!
//! One table of the bridge family per agent. A map leads from a tap to a chain of its own, which drops what
//! claims another MAC or IP address, answers of DHCP servers and router advertisements. Another rule drops
//! whatever a guest sends to the host itself. So the source address that the metadata service sees is the
//! guest's own. Each change is one transaction of the kernel's.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr, path::PathBuf};

use serde_json::Value;
use updraft_runtime::Env;

use super::{LinuxConfig, command};
use crate::driver::{DriverError, TapSpec, names};

/// The agent's table.
#[derive(Clone)]
pub(super) struct Guard {
    env: Env,
    program: PathBuf,
    table: String,
}

impl Guard {
    pub(super) fn new(env: &Env, config: &LinuxConfig) -> Self {
        Self { env: env.clone(), program: config.nft.clone(), table: config.tag.table() }
    }

    /// The tap's guest can use its own addresses only, from before the tap is up.
    pub(super) async fn hold(&self, tap: &TapSpec) -> Result<(), DriverError> {
        let doing = format!("guarding {}", names::tap(tap.port));
        self.load(&doing, &hold_script(&self.table, tap)).await
    }

    /// No rule speaks of the tap any longer.
    pub(super) async fn release(&self, tap: &str) -> Result<(), DriverError> {
        self.load(&format!("unguarding {tap}"), &release_script(&self.table, tap)).await
    }

    /// The table is gone.
    pub(super) async fn remove(&self) -> Result<(), DriverError> {
        let table = &self.table;
        let script = format!("add table bridge {table}\ndelete table bridge {table}\n");
        self.load("removing the guests' packet filter", &script).await
    }

    /// The taps whose guests are held.
    pub(super) async fn held(&self) -> Result<BTreeSet<String>, DriverError> {
        let doing = "listing guarded taps";
        let words = ["-j", "list", "map", "bridge", &self.table, "taps"];
        match command::run(&self.env, &self.program, &words, "").await {
            Ok(text) => held_in(&text).map_err(|error| DriverError::failed(doing, error)),
            Err(error) if error.says("No such file or directory") => Ok(BTreeSet::new()),
            Err(error) => Err(DriverError::failed(doing, error)),
        }
    }

    async fn load(&self, doing: &str, script: &str) -> Result<(), DriverError> {
        let loaded = command::run(&self.env, &self.program, &["-f", "-"], script).await;
        loaded.map(drop).map_err(|error| DriverError::failed(doing, error))
    }
}

/// The table with its chains; what there is already stays as it is.
fn frame(table: &str) -> String {
    format!(
        "add table bridge {table}\n\
         add map bridge {table} taps {{ type ifname : verdict; }}\n\
         add set bridge {table} guests {{ type ifname; }}\n\
         add chain bridge {table} from_guest {{ type filter hook prerouting priority -310; }}\n\
         add chain bridge {table} to_host {{ type filter hook input priority 0; }}\n\
         flush chain bridge {table} from_guest\n\
         flush chain bridge {table} to_host\n\
         add rule bridge {table} from_guest iifname vmap @taps\n\
         add rule bridge {table} to_host iifname @guests drop\n"
    )
}

fn hold_script(table: &str, spec: &TapSpec) -> String {
    let (tap, mac) = (names::tap(spec.port), &spec.mac_address);
    let (ipv4, ipv6): (Vec<&IpAddr>, Vec<&IpAddr>) =
        spec.addresses.iter().partition(|address| address.is_ipv4());
    let ip = match ipv4.as_slice() {
        [] => "ether type ip drop".to_owned(),
        own => format!("ip saddr != {{ {} }} drop", list(own, &[])),
    };
    let rules = [
        format!("ether saddr != {mac} drop"),
        format!("arp saddr ether != {mac} drop"),
        // Before it uses an address, a guest asks from 0.0.0.0 whether somebody has it.
        format!("arp saddr ip != {{ {} }} drop", list(&ipv4, &["0.0.0.0"])),
        "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept".to_owned(),
        ip,
        format!("ip6 saddr != {{ {} }} drop", list(&ipv6, &["::", "fe80::/10"])),
        "udp sport { 67, 547 } drop".to_owned(),
        "icmpv6 type nd-router-advert drop".to_owned(),
    ];
    let mut script = frame(table);
    // Writing to a string cannot fail.
    let _ = writeln!(script, "add chain bridge {table} {tap}\nflush chain bridge {table} {tap}");
    for rule in rules {
        let _ = writeln!(script, "add rule bridge {table} {tap} {rule}");
    }
    let _ = write!(
        script,
        "add element bridge {table} guests {{ \"{tap}\" }}\n\
         add element bridge {table} taps {{ \"{tap}\" : jump {tap} }}\n"
    );
    script
}

fn list(own: &[&IpAddr], always: &[&str]) -> String {
    let own = own.iter().map(ToString::to_string);
    own.chain(always.iter().map(|&text| text.to_owned())).collect::<Vec<_>>().join(", ")
}

/// Adds what may be missing first: deleting what is not there would fail.
fn release_script(table: &str, tap: &str) -> String {
    let frame = frame(table);
    format!(
        "{frame}add chain bridge {table} {tap}\n\
         add element bridge {table} guests {{ \"{tap}\" }}\n\
         add element bridge {table} taps {{ \"{tap}\" : jump {tap} }}\n\
         delete element bridge {table} guests {{ \"{tap}\" }}\n\
         delete element bridge {table} taps {{ \"{tap}\" : jump {tap} }}\n\
         delete chain bridge {table} {tap}\n"
    )
}

/// The taps that nft's listing of the map names.
fn held_in(listing: &str) -> Result<BTreeSet<String>, serde_json::Error> {
    let listing: Value = serde_json::from_str(listing)?;
    let objects = listing["nftables"].as_array().into_iter().flatten();
    let pairs = objects.filter_map(|object| object["map"]["elem"].as_array()).flatten();
    Ok(pairs.filter_map(|pair| pair[0].as_str()).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn spec(addresses: &[&str]) -> TapSpec {
        TapSpec {
            port: Uuid::from_u128(0xDEAD_BEEF_CAFE_4000_8000_0000_0000_0001),
            generation: 1,
            network: Uuid::nil(),
            mac_address: "fa:16:3e:00:00:01".to_owned(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            mtu: 1450,
        }
    }

    #[test]
    fn a_guest_is_held_to_its_own_addresses_of_each_version() {
        let script = hold_script("updraft_t", &spec(&["10.1.0.11", "fd00::11"]));
        assert!(script.contains("ether saddr != fa:16:3e:00:00:01 drop"));
        assert!(script.contains("ip saddr != { 10.1.0.11 } drop"));
        assert!(script.contains("arp saddr ip != { 10.1.0.11, 0.0.0.0 } drop"));
        assert!(script.contains("ip6 saddr != { fd00::11, ::, fe80::/10 } drop"));
    }

    #[test]
    fn a_guest_without_addresses_may_ask_for_one_and_send_nothing_else() {
        let script = hold_script("updraft_t", &spec(&[]));
        assert!(script.contains("udp dport 67 accept"));
        assert!(script.contains("ether type ip drop"));
        assert!(script.contains("arp saddr ip != { 0.0.0.0 } drop"));
    }

    #[test]
    fn the_listing_of_held_taps_is_read() {
        let listing = r#"{"nftables": [{"metainfo": {}}, {"map": {"name": "taps",
            "elem": [["tap1", {"jump": {"target": "tap1"}}], ["tap2", {"jump": {}}]]}}]}"#;
        assert_eq!(held_in(listing).unwrap(), BTreeSet::from(["tap1".into(), "tap2".into()]));
        assert!(held_in(r#"{"nftables": [{"map": {"name": "taps"}}]}"#).unwrap().is_empty());
    }
}
