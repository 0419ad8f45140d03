//! The drivers for a Linux host: `ip` and `bridge` for devices and namespaces, `nft` for what may pass, dnsmasq.
//!
//! All of them are run as processes with a deadline and killed with the future that waits for them. What an
//! agent made carries its tag in the device's alias, and has a directory below the agent's own; nothing else
//! is ever removed. dnsmasq runs on its own, so that it outlives the agent, and is found again by its
//! arguments. Guests reach neither the host nor its IPv6 stack through a bridge.

use std::{collections::BTreeMap, path::PathBuf};

use super::names::Tag;

mod bridge_nf;
mod command;
mod connections;
mod dhcp;
mod dnsmasq;
mod fdb;
mod files;
mod guard;
mod ip;
mod l2;
mod metadata;
mod netns;
mod rooms;
mod router;
mod tunnel;

pub use command::CommandError;
pub use dhcp::LinuxDhcp;
pub use files::write_atomically;
pub use l2::LinuxL2;
pub use metadata::NamespaceMetadata;
pub use router::LinuxL3;

/// How the drivers of one agent work.
#[derive(Clone, Debug)]
pub struct LinuxConfig {
    /// Where the agent keeps files: those of its DHCP servers, and what it changed on the host. Its own alone.
    pub state_dir: PathBuf,
    /// Marks what the agent made. Different for two clouds on one host.
    pub tag: Tag,
    /// Physical networks by the name that the cloud has for them: each is a bridge that the operator has made.
    pub physical_networks: BTreeMap<String, String>,
    /// The `ip` program of iproute2.
    pub ip: PathBuf,
    /// The `bridge` program of iproute2.
    pub bridge: PathBuf,
    /// The `nft` program.
    pub nft: PathBuf,
    /// The `conntrack` program.
    pub conntrack: PathBuf,
    /// The `modprobe` program.
    pub modprobe: PathBuf,
    /// The `dnsmasq` program.
    pub dnsmasq: PathBuf,
}

impl LinuxConfig {
    /// The usual programs, found by the search path.
    #[must_use]
    pub fn new(state_dir: PathBuf, tag: Tag) -> Self {
        Self {
            state_dir,
            tag,
            physical_networks: BTreeMap::new(),
            ip: PathBuf::from("ip"),
            bridge: PathBuf::from("bridge"),
            nft: PathBuf::from("nft"),
            conntrack: PathBuf::from("conntrack"),
            modprobe: PathBuf::from("modprobe"),
            dnsmasq: PathBuf::from("dnsmasq"),
        }
    }
}
