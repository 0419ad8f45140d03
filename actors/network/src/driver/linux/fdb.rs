//! The forwarding entries of tunnels, by `bridge` of iproute2: read, compared, and changed where they differ.
//!
//! A tunnel's device has an entry of all zeros for each peer, which is where frames for all go, and one for each MAC
//! address there; the bridge has an entry for each that leads to the device. What none leads to is sent nowhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
};

use serde::Deserialize;
use updraft_protocol::network::Tunnel;
use updraft_runtime::Env;

use super::{LinuxConfig, command};
use crate::driver::DriverError;

/// Stands for all that is for nobody alone.
const ALL: &str = "00:00:00:00:00:00";

/// An entry as `bridge` shows it.
#[derive(Debug, Deserialize)]
struct Shown {
    mac: String,
    /// Missing when one device alone is asked for.
    #[serde(default)]
    ifname: String,
    #[serde(default)]
    dst: Option<IpAddr>,
    #[serde(default)]
    flags: Vec<String>,
    #[serde(default)]
    master: Option<String>,
    #[serde(default)]
    state: String,
}

/// The entries of one tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entries {
    /// Where frames for all go.
    peers: BTreeSet<IpAddr>,
    /// Where frames for a MAC address go.
    macs: BTreeMap<String, IpAddr>,
    /// The MAC addresses whose frames the bridge gives to the tunnel.
    bridged: BTreeSet<String>,
}

impl Entries {
    /// As a tunnel shall have them.
    pub(super) fn of(tunnel: &Tunnel) -> Self {
        let at = |(end, macs): (&IpAddr, &BTreeSet<String>)| {
            let end = *end;
            macs.iter().map(move |mac| (mac.clone(), end)).collect::<Vec<_>>()
        };
        let macs: BTreeMap<String, IpAddr> = tunnel.peers.iter().flat_map(at).collect();
        let bridged = macs.keys().cloned().collect();
        Self { peers: tunnel.peers.keys().copied().collect(), macs, bridged }
    }

    /// The peers with the MAC addresses there; `None` if a tunnel never has such entries.
    pub(super) fn peers(&self) -> Option<BTreeMap<IpAddr, BTreeSet<String>>> {
        let mut peers: BTreeMap<IpAddr, BTreeSet<String>> =
            self.peers.iter().map(|end| (*end, BTreeSet::new())).collect();
        for (mac, end) in &self.macs {
            peers.get_mut(end)?.insert(mac.clone());
        }
        self.macs.keys().eq(&self.bridged).then_some(peers)
    }

    fn add(&mut self, shown: Shown) {
        let Shown { mac, dst, flags, master, state, .. } = shown;
        let is_own = flags.iter().any(|flag| flag == "self");
        match dst.filter(|_| is_own) {
            Some(end) if mac == ALL => drop(self.peers.insert(end)),
            Some(end) => drop(self.macs.insert(mac, end)),
            // The address of the device itself is there for as long as it is.
            None if master.is_some() && state != "permanent" => drop(self.bridged.insert(mac)),
            None => {}
        }
    }
}

/// What makes these entries of a device those: what comes first, so that nothing that stays is ever missing.
fn script(device: &str, have: &Entries, shall: &Entries) -> String {
    let mut lines = Vec::new();
    for end in shall.peers.difference(&have.peers) {
        lines.push(format!("fdb append {ALL} dev {device} dst {end} self permanent"));
    }
    for (mac, end) in shall.macs.iter().filter(|(mac, end)| have.macs.get(*mac) != Some(end)) {
        lines.push(format!("fdb replace {mac} dev {device} dst {end} self static"));
    }
    for mac in shall.bridged.difference(&have.bridged) {
        lines.push(format!("fdb replace {mac} dev {device} master static"));
    }
    for mac in have.bridged.difference(&shall.bridged) {
        lines.push(format!("fdb delete {mac} dev {device} master"));
    }
    for (mac, end) in have.macs.iter().filter(|(mac, _)| !shall.macs.contains_key(*mac)) {
        lines.push(format!("fdb delete {mac} dev {device} dst {end} self"));
    }
    for end in have.peers.difference(&shall.peers) {
        lines.push(format!("fdb delete {ALL} dev {device} dst {end} self"));
    }
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Runs `bridge`.
pub(super) struct Fdb {
    env: Env,
    program: PathBuf,
}

impl Fdb {
    pub(super) fn new(env: &Env, config: &LinuxConfig) -> Self {
        Self { env: env.clone(), program: config.bridge.clone() }
    }

    /// The device has exactly these entries.
    pub(super) async fn ensure(&self, device: &str, shall: &Entries) -> Result<(), DriverError> {
        let doing = format!("setting the forwarding entries of {device}");
        let words = ["-j", "fdb", "show", "dev", device];
        let have = self.show(&doing, &words).await?.remove("").unwrap_or_default();
        let script = script(device, &have, shall);
        if script.is_empty() {
            return Ok(());
        }
        let done = command::run(&self.env, &self.program, &["-batch", "-"], &script).await;
        done.map(drop).map_err(|error| DriverError::failed(doing, error))
    }

    /// The entries of all devices.
    pub(super) async fn all(&self) -> Result<BTreeMap<String, Entries>, DriverError> {
        self.show("listing forwarding entries", &["-j", "fdb", "show"]).await
    }

    async fn show(
        &self,
        doing: &str,
        words: &[&str],
    ) -> Result<BTreeMap<String, Entries>, DriverError> {
        let text = command::run(&self.env, &self.program, words, "").await;
        read(doing, &text.map_err(|error| DriverError::failed(doing, error))?)
    }
}

fn read(doing: &str, text: &str) -> Result<BTreeMap<String, Entries>, DriverError> {
    let shown: Vec<Shown> = match text.trim() {
        "" => Vec::new(),
        text => serde_json::from_str(text).map_err(|error| DriverError::failed(doing, error))?,
    };
    let mut found: BTreeMap<String, Entries> = BTreeMap::new();
    for entry in shown {
        found.entry(entry.ifname.clone()).or_default().add(entry);
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
