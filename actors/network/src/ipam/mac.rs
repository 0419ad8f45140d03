//! MAC addresses: how they are written, made, and made into IPv6 addresses.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use ipnet::IpNet;
use rand::Rng;

/// The first half of every address made here, as in OpenStack: it tells guests of the cloud from others.
const PREFIX: [u8; 3] = [0xfa, 0x16, 0x3e];

/// A MAC address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MacAddress([u8; 6]);

impl MacAddress {
    /// An address as clients write it: six pairs of hexadecimal digits with colons or dashes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| (1..=2).contains(&part.len()))?;
            *byte = u8::from_str_radix(part, 16).ok()?;
        }
        let nobody = bytes == [0; 6] || bytes == [0xff; 6];
        (parts.next().is_none() && !nobody).then_some(Self(bytes))
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An address of this cloud, at random.
pub(crate) fn random_mac(rng: &mut impl Rng) -> MacAddress {
    let mut bytes = [0; 6];
    rng.fill(&mut bytes[3..]);
    bytes[..3].copy_from_slice(&PREFIX);
    MacAddress(bytes)
}

/// The address that a guest with this MAC address makes itself in a prefix of 64 bits (modified EUI-64).
pub(crate) fn interface_id(cidr: IpNet, mac_address: &str) -> Option<IpAddr> {
    let IpNet::V6(prefix) = cidr else { return None };
    let MacAddress([a, b, c, d, e, g]) = MacAddress::parse(mac_address)?;
    let id = u64::from_be_bytes([a ^ 0x02, b, c, 0xff, 0xfe, d, e, g]);
    Some(IpAddr::V6(Ipv6Addr::from(u128::from(prefix.network()) | u128::from(id))))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn addresses_are_read_in_both_forms_and_written_in_one() {
        for text in ["fa:16:3e:00:0A:ff", "FA-16-3E-00-0a-FF", "fa:16:3e:0:a:ff"] {
            assert_eq!(MacAddress::parse(text).unwrap().to_string(), "fa:16:3e:00:0a:ff");
        }
        for text in
            ["", "fa:16:3e:00:00", "fa:16:3e:00:00:00:00", "00:00:00:00:00:00", "gg:0:0:0:0:1"]
        {
            assert_eq!(MacAddress::parse(text), None, "{text}");
        }
    }

    #[test]
    fn made_addresses_are_of_this_cloud() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let mac = random_mac(&mut rng).to_string();
        assert!(mac.starts_with("fa:16:3e:"), "{mac}");
    }

    #[test]
    fn a_guest_makes_its_address_of_prefix_and_mac() {
        let address = interface_id("fd00:1::/64".parse().unwrap(), "fa:16:3e:12:34:56");
        assert_eq!(address, Some("fd00:1::f816:3eff:fe12:3456".parse().unwrap()));
    }
}
