//! How devices and namespaces are named, and how an agent marks what it made.
//!
//! A device name has room for 15 characters, so it carries the beginning of an id; the device's alias
//! carries the rest: whose it is and the whole id.

use std::fmt;

use uuid::Uuid;

/// How many characters of an id fit a device name behind its prefix, as the hypervisor driver counts.
const ID_CHARACTERS: usize = 11;

/// Longest tag, in bytes: it is part of a table's name and of an alias (at most 255 bytes).
const TAG_MAX_BYTES: usize = 32;

const TAP: &str = "tap";
const BRIDGE: &str = "brq";
const OVERLAY: &str = "vxl";
const NAMESPACE: &str = "qdhcp-";
const ROUTER: &str = "qrouter-";

fn short(prefix: &str, id: Uuid) -> String {
    let id = id.hyphenated().to_string();
    format!("{prefix}{}", &id[..ID_CHARACTERS])
}

fn is_short(prefix: &str, name: &str) -> bool {
    name.strip_prefix(prefix).is_some_and(|rest| {
        let legal = |b: u8| b == b'-' || b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        rest.len() == ID_CHARACTERS && rest.bytes().all(legal)
    })
}

/// A port's tap, as the hypervisor expects it.
#[must_use]
pub fn tap(port: Uuid) -> String {
    short(TAP, port)
}

/// Whether a device is named as taps are.
#[must_use]
pub fn is_tap(name: &str) -> bool {
    is_short(TAP, name)
}

/// A network's bridge.
#[must_use]
pub fn bridge(network: Uuid) -> String {
    short(BRIDGE, network)
}

/// Whether a device is named as bridges are.
#[must_use]
pub fn is_bridge(name: &str) -> bool {
    is_short(BRIDGE, name)
}

/// A network's tunnel to other hosts.
#[must_use]
pub fn overlay(network: Uuid) -> String {
    short(OVERLAY, network)
}

/// Whether a device is named as tunnels are.
#[must_use]
pub fn is_overlay(name: &str) -> bool {
    is_short(OVERLAY, name)
}

/// The end on the bridge of what connects a network's DHCP server.
#[must_use]
pub fn dhcp_outer(network: Uuid) -> String {
    short("qdh", network)
}

/// The end in the namespace of what connects a network's DHCP server.
#[must_use]
pub fn dhcp_inner(network: Uuid) -> String {
    short("ns-", network)
}

/// The namespace of a network's DHCP server.
#[must_use]
pub fn namespace(network: Uuid) -> String {
    format!("{NAMESPACE}{network}")
}

/// The network whose DHCP server's namespace is named so.
#[must_use]
pub fn network_of_namespace(name: &str) -> Option<Uuid> {
    let id = name.strip_prefix(NAMESPACE)?;
    Uuid::try_parse(id).ok().filter(|network| network.to_string() == id)
}

/// The namespace of a router.
#[must_use]
pub fn router(router: Uuid) -> String {
    format!("{ROUTER}{router}")
}

/// The router whose namespace is named so.
#[must_use]
pub fn router_of_namespace(name: &str) -> Option<Uuid> {
    let id = name.strip_prefix(ROUTER)?;
    Uuid::try_parse(id).ok().filter(|router| router.to_string() == id)
}

/// The end on the bridge of what connects a router with the network of this port.
#[must_use]
pub fn leg_outer(port: Uuid) -> String {
    short("rtr", port)
}

/// The end in the router's namespace.
#[must_use]
pub fn leg_inner(port: Uuid) -> String {
    short("qr-", port)
}

/// The same where the port is the router's way out.
#[must_use]
pub fn outlet_inner(port: Uuid) -> String {
    short("qg-", port)
}

/// Whether a device is named as a router's ends in its namespace are.
#[must_use]
pub fn is_leg_inner(name: &str) -> bool {
    is_short("qr-", name) || is_short("qg-", name)
}

/// What a marked thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A port's tap, and the generation that made it as it is.
    Tap(Uuid, u64),
    /// A network's bridge.
    Bridge(Uuid),
    /// A network's tunnel, and the generation that made it as it is.
    Overlay(Uuid, u64),
    /// A piece of a network's DHCP server.
    Dhcp(Uuid),
    /// A piece of a router.
    Router(Uuid),
}

/// The name by which one cloud's agent on one host knows its own things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag(String);

/// A text that cannot be a tag.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no tag: 1 to {TAG_MAX_BYTES} of a-z 0-9 -")]
pub struct InvalidTag(String);

impl Tag {
    /// Checks and wraps a name.
    pub fn new(name: &str) -> Result<Self, InvalidTag> {
        let legal = |b: u8| b == b'-' || b.is_ascii_digit() || b.is_ascii_lowercase();
        if (1..=TAG_MAX_BYTES).contains(&name.len()) && name.bytes().all(legal) {
            Ok(Self(name.to_owned()))
        } else {
            Err(InvalidTag(name.chars().take(TAG_MAX_BYTES).collect()))
        }
    }

    /// The alias of a device of this agent's.
    #[must_use]
    pub fn alias(&self, made: Made) -> String {
        let what = match made {
            Made::Tap(port, generation) => format!("tap:{port}:{generation}"),
            Made::Bridge(network) => format!("bridge:{network}"),
            Made::Overlay(network, generation) => format!("overlay:{network}:{generation}"),
            Made::Dhcp(network) => format!("dhcp:{network}"),
            Made::Router(router) => format!("router:{router}"),
        };
        format!("updraft:{}:{what}", self.0)
    }

    /// What a device with this alias is, if it is this agent's.
    #[must_use]
    pub fn read(&self, alias: &str) -> Option<Made> {
        let rest = alias.strip_prefix("updraft:")?.strip_prefix(self.0.as_str())?;
        let mut parts = rest.strip_prefix(':')?.split(':');
        let (kind, id) = (parts.next()?, Uuid::try_parse(parts.next()?).ok()?);
        match (kind, parts.next(), parts.next()) {
            ("tap", Some(generation), None) => Some(Made::Tap(id, generation.parse().ok()?)),
            ("overlay", Some(generation), None) => {
                Some(Made::Overlay(id, generation.parse().ok()?))
            }
            ("bridge", None, None) => Some(Made::Bridge(id)),
            ("dhcp", None, None) => Some(Made::Dhcp(id)),
            ("router", None, None) => Some(Made::Router(id)),
            _ => None,
        }
    }

    /// The agent's table of packet filter rules.
    #[must_use]
    pub fn table(&self) -> String {
        format!("updraft_{}", self.0.replace('-', "_"))
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(0xDEAD_BEEF_CAFE_4000_8000_0000_0000_0001);

    #[test]
    fn a_tap_is_named_by_the_first_eleven_characters_of_its_port() {
        assert_eq!(tap(ID), "tapdeadbeef-ca");
        assert!(is_tap("tapdeadbeef-ca"));
        for other in ["tap0", "tapdeadbeef-caf", "tapDEADBEEF-CA", "vnetdeadbeef-ca"] {
            assert!(!is_tap(other), "{other}");
        }
    }

    #[test]
    fn every_device_name_fits_the_kernel() {
        for name in [tap(ID), bridge(ID), overlay(ID), dhcp_outer(ID), dhcp_inner(ID)] {
            assert!(name.len() <= 15, "{name}");
        }
    }

    #[test]
    fn a_namespace_names_its_network() {
        assert_eq!(network_of_namespace(&namespace(ID)), Some(ID));
        assert_eq!(network_of_namespace("qdhcp-other"), None);
        assert_eq!(network_of_namespace(&format!("qdhcp-{}", ID.simple())), None);
    }

    #[test]
    fn an_agent_knows_its_own_marks_and_no_others() {
        let (mine, other) = (Tag::new("a").unwrap(), Tag::new("a-b").unwrap());
        let alias = mine.alias(Made::Tap(ID, 7));
        assert_eq!(mine.read(&alias), Some(Made::Tap(ID, 7)));
        let alias = mine.alias(Made::Overlay(ID, 8));
        assert_eq!(mine.read(&alias), Some(Made::Overlay(ID, 8)));
        assert_eq!(other.read(&alias), None);
        assert_eq!(mine.read(&other.alias(Made::Bridge(ID))), None);
        assert_eq!(mine.read("uplink"), None);
    }

    #[test]
    fn a_tag_that_could_be_mistaken_is_refused() {
        for wrong in ["", "a:b", "A", "a b", &"x".repeat(TAG_MAX_BYTES + 1)] {
            assert!(Tag::new(wrong).is_err(), "{wrong:?}");
        }
    }
}
