//! What a request for servers says.

use std::{collections::BTreeMap, fmt, net::IpAddr};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, SeqAccess, Visitor, value::SeqAccessDeserializer},
};
use serde_json::Value;
use uuid::Uuid;

use super::super::body::{Count, Flag, Int, Metadata, NUMBER_MAX, Name, Ref, Text};
use crate::error::{Outcome, bad_field};

/// Longest user data, in characters of base64, as nova's database holds it.
const USER_DATA_MAX_CHARS: usize = 65_535;

/// The whole body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    pub(crate) server: Server,
    #[serde(rename = "os:scheduler_hints", alias = "OS-SCH-HNT:scheduler_hints")]
    pub(crate) hints: Option<BTreeMap<String, Value>>,
}

/// What the servers shall be.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: Name,
    #[serde(rename = "flavorRef")]
    pub(crate) flavor: Ref,
    #[serde(rename = "imageRef")]
    pub(crate) image: Option<String>,
    pub(crate) networks: Option<Networks>,
    #[serde(default)]
    pub(crate) security_groups: Vec<Named>,
    pub(crate) key_name: Option<Name>,
    #[serde(default)]
    pub(crate) metadata: Metadata,
    pub(crate) user_data: Option<Text<0, USER_DATA_MAX_CHARS>>,
    pub(crate) min_count: Option<Int<1, NUMBER_MAX>>,
    pub(crate) max_count: Option<Int<1, NUMBER_MAX>>,
    pub(crate) availability_zone: Option<Name>,
    pub(crate) config_drive: Option<Flag>,
    #[serde(default, alias = "block_device_mapping")]
    pub(crate) block_device_mapping_v2: Vec<BlockDevice>,
    #[serde(rename = "adminPass")]
    pub(crate) admin_pass: Option<Text<0, 255>>,
    #[serde(default)]
    pub(crate) return_reservation_id: Option<Flag>,
    #[serde(rename = "OS-DCF:diskConfig")]
    pub(crate) disk_config: Option<DiskConfig>,
    #[serde(rename = "accessIPv4")]
    pub(crate) access_ip_v4: Option<Address<4>>,
    #[serde(rename = "accessIPv6")]
    pub(crate) access_ip_v6: Option<Address<6>>,
    pub(crate) description: Option<Text<0, 255>>,
    pub(crate) tags: Option<Vec<Tag>>,
    pub(crate) trusted_image_certificates: Option<Vec<String>>,
    pub(crate) host: Option<Name>,
    pub(crate) hypervisor_hostname: Option<Name>,
    pub(crate) hostname: Option<Hostname>,
    /// Files to write into the guest: gone from the API with 2.57.
    pub(crate) personality: Option<Vec<Value>>,
}

/// Something named.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Named {
    pub(crate) name: Name,
}

/// How the disk shall be parted.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum DiskConfig {
    Auto,
    Manual,
}

impl DiskConfig {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "AUTO",
            Self::Manual => "MANUAL",
        }
    }
}

/// An address of this version of IP, or none if it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address<const VERSION: u8>(pub(crate) Option<IpAddr>);

impl<'de, const VERSION: u8> Deserialize<'de> for Address<VERSION> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self(None));
        }
        let address = text.parse::<IpAddr>().ok();
        let address = address.filter(|address| address.is_ipv4() == (VERSION == 4));
        let wrong = || D::Error::custom(format_args!("'{text}' is not a 'ipv{VERSION}'"));
        address.map(|address| Self(Some(address))).ok_or_else(wrong)
    }
}

/// A tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tag(pub(crate) String);

impl<'de> Deserialize<'de> for Tag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Text::<1, 60>::deserialize(deserializer)?;
        if text.contains(['/', ',']) {
            return Err(D::Error::custom(format_args!("'{text}' does not match '^[^,/]*$'")));
        }
        Ok(Self(text))
    }
}

/// A host name or a fully qualified one.
#[derive(Clone, Debug)]
pub(crate) struct Hostname(pub(crate) String);

impl<'de> Deserialize<'de> for Hostname {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(text) = Name::deserialize(deserializer)?;
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        if !text.chars().all(legal) || text.starts_with(['-', '.']) || text.ends_with(['-', '.']) {
            return Err(D::Error::custom(format_args!("'{text}' is not a host name")));
        }
        Ok(Self(text))
    }
}

/// The networks asked for.
#[derive(Debug)]
pub(crate) enum Networks {
    Auto,
    None,
    These(Vec<Network>),
}

/// One interface asked for.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Network {
    pub(crate) uuid: Option<Uuid>,
    pub(crate) port: Option<Uuid>,
    pub(crate) fixed_ip: Option<IpAddr>,
    /// A name for the device inside the guest, which nothing there reads yet.
    #[serde(rename = "tag")]
    _tag: Option<Tag>,
}

impl<'de> Deserialize<'de> for Networks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NetworksVisitor)
    }
}

struct NetworksVisitor;

impl<'de> Visitor<'de> for NetworksVisitor {
    type Value = Networks;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'auto', 'none' or an array of networks")
    }
    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Networks, E> {
        match text {
            "auto" => Ok(Networks::Auto),
            "none" => Ok(Networks::None),
            _ => Err(E::custom(format_args!("'{text}' is not one of ['auto', 'none']"))),
        }
    }
    fn visit_seq<A: SeqAccess<'de>>(self, networks: A) -> Result<Networks, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(networks)).map(Networks::These)
    }
}

/// One block device asked for.
#[derive(Debug, Deserialize)]
pub(crate) struct BlockDevice {
    pub(crate) source_type: Option<SourceType>,
    pub(crate) destination_type: Option<DestinationType>,
    pub(crate) uuid: Option<Uuid>,
    pub(crate) volume_id: Option<Uuid>,
    pub(crate) boot_index: Option<Int<-1, NUMBER_MAX>>,
    pub(crate) delete_on_termination: Option<Flag>,
    /// Checked, and of no consequence: a volume has its own size.
    #[serde(rename = "volume_size")]
    _volume_size: Option<Count>,
}

/// What a block device starts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SourceType {
    Image,
    Volume,
    Snapshot,
    Blank,
}

/// What a block device becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DestinationType {
    Local,
    Volume,
}

impl Server {
    /// Refuses what the version does not know yet, or no longer.
    pub(crate) fn check_version(&self, version: u32) -> Outcome<()> {
        let since = [
            ("description", 19, self.description.is_some()),
            ("tags", 52, self.tags.is_some()),
            ("trusted_image_certificates", 63, self.trusted_image_certificates.is_some()),
            ("host", 74, self.host.is_some()),
            ("hypervisor_hostname", 74, self.hypervisor_hostname.is_some()),
            ("hostname", 90, self.hostname.is_some()),
        ];
        let early = since.iter().find(|(_, first, given)| *given && version < *first);
        let late = (self.personality.is_some() && version >= 57).then_some("personality");
        match early.map(|(name, ..)| *name).or(late) {
            Some(name) => Err(unexpected(name)),
            None if version >= 37 && self.networks.is_none() => {
                Err(bad_field("server", "an object", "'networks' is a required property"))
            }
            None => Ok(()),
        }
    }
}

fn unexpected(name: &str) -> crate::error::Error {
    let reason = format!("Additional properties are not allowed ('{name}' was unexpected)");
    bad_field("server", "an object", &reason)
}
