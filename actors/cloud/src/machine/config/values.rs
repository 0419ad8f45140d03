//! The types of single settings: what each allows is checked where it is read, so that a file's error names
//! the line and a command line's the option.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use updraft_compute::scheduler::DriverKind;
use updraft_runtime::store::PostgresSettings;

/// What runs guests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum HypervisorKind {
    /// QEMU by way of libvirt: real guests. Needs root, and what `scripts/host-packages.sh` installs
    #[default]
    Libvirt,
    /// Guests in memory only: the identical flow, on any machine, by any user
    Simulated,
}

/// How guest code is run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum VirtType {
    /// Whatever a trial guest shows to work
    #[default]
    Auto,
    /// Translated; slow, and works everywhere
    Qemu,
    /// By the processor
    Kvm,
}

impl VirtType {
    /// As the driver's argument has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Qemu => "qemu",
            Self::Kvm => "kvm",
        }
    }
}

/// How a scheduler chooses a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum SchedulerDriver {
    /// The best by weights: most memory and most processors free
    #[default]
    Filters,
    /// The host with fewest virtual processors promised
    Simple,
    /// Any that has room
    Chance,
    /// Any that has room in the zone asked for, or in nova if none was
    Zone,
}

impl From<SchedulerDriver> for DriverKind {
    fn from(driver: SchedulerDriver) -> Self {
        match driver {
            SchedulerDriver::Filters => Self::Filters,
            SchedulerDriver::Simple => Self::Simple,
            SchedulerDriver::Chance => Self::Chance,
            SchedulerDriver::Zone => Self::Zone,
        }
    }
}

/// A value that is out of its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{value} is not {allowed}")]
pub struct OutOfRange {
    value: String,
    allowed: &'static str,
}

fn out_of_range(value: &(impl ToString + ?Sized), allowed: &'static str) -> OutOfRange {
    OutOfRange { value: value.to_string(), allowed }
}

/// A database that holds the store of the control services; none is a file in the data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// What is said of a text that is not one. It is not repeated, since it may have a password.
    pub const ALLOWED: &'static str =
        "empty, or a URL without a password, such as postgresql://updraft@db.example/updraft";

    /// The database, if there is one.
    #[must_use]
    pub fn named(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&*self.0)
    }

    fn is_allowed(text: &str) -> bool {
        let url = text.starts_with("postgresql://") || text.starts_with("postgres://");
        let parsed = PostgresSettings::parse(text);
        text.is_empty() || (url && parsed.is_ok_and(|settings| !settings.has_password()))
    }
}

impl TryFrom<String> for DatabaseUrl {
    type Error = OutOfRange;

    fn try_from(text: String) -> Result<Self, OutOfRange> {
        let refused = || out_of_range("the text given", Self::ALLOWED);
        Self::is_allowed(&text).then_some(Self(text)).ok_or_else(refused)
    }
}

impl From<DatabaseUrl> for String {
    fn from(url: DatabaseUrl) -> Self {
        url.0
    }
}

/// Where clients reach the APIs; none is where they listen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ApiUrl(String);

impl ApiUrl {
    /// Longest URL: what fits into a column of Keystone with the longest path behind it.
    const MAX_BYTES: usize = 200;
    /// What is said of a text that is not one.
    pub const ALLOWED: &'static str = "empty, or a URL of http or https with a host, a port if need be, and nothing else, such as https://cloud.example";

    /// The URL, if there is one; it has no slash at its end.
    #[must_use]
    pub fn named(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&*self.0)
    }

    fn is_allowed(text: &str) -> bool {
        let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        // A password would be shown to everybody who reads the catalog.
        let legal = |b: u8| b.is_ascii_alphanumeric() || b".-:[]".contains(&b);
        let host = |rest: &str| {
            let parsed = rest.parse::<axum::http::uri::Authority>();
            !rest.is_empty()
                && rest.bytes().all(legal)
                && parsed.is_ok_and(|a| !a.host().is_empty())
        };
        text.is_empty() || (text.len() <= Self::MAX_BYTES && rest.is_some_and(host))
    }
}

impl TryFrom<String> for ApiUrl {
    type Error = OutOfRange;

    fn try_from(text: String) -> Result<Self, OutOfRange> {
        let url = text.trim_end_matches('/');
        if Self::is_allowed(url) {
            return Ok(Self(url.to_owned()));
        }
        Err(out_of_range("the text given", Self::ALLOWED))
    }
}

impl From<ApiUrl> for String {
    fn from(url: ApiUrl) -> Self {
        url.0
    }
}

impl FromStr for ApiUrl {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        text.to_owned().try_into()
    }
}

/// An address that only this machine reaches: where REST may listen while it does not speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "SocketAddr", into = "SocketAddr")]
pub struct Loopback(SocketAddr);

impl Loopback {
    /// What is said of an address that is not one.
    pub const ALLOWED: &'static str = "a loopback address with a port, such as 127.0.0.1:8774 or [::1]:8774 (REST does not speak TLS yet)";

    /// This port of 127.0.0.1.
    pub(super) fn port(port: u16) -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], port)))
    }

    /// The address.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

impl TryFrom<SocketAddr> for Loopback {
    type Error = OutOfRange;

    fn try_from(address: SocketAddr) -> Result<Self, OutOfRange> {
        let allowed = address.ip().is_loopback();
        allowed.then_some(Self(address)).ok_or_else(|| out_of_range(&address, Self::ALLOWED))
    }
}

impl From<Loopback> for SocketAddr {
    fn from(loopback: Loopback) -> Self {
        loopback.0
    }
}

impl FromStr for Loopback {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let address = text.parse::<SocketAddr>();
        address.map_err(|_| out_of_range(text, Self::ALLOWED))?.try_into()
    }
}

/// What is said of a text that is no address.
pub(super) const ADDRESS: &str =
    "an address with a port, such as 192.0.2.7:8775 or [2001:db8::7]:8775";

/// An address, as an option has it.
pub fn address(text: &str) -> Result<SocketAddr, OutOfRange> {
    text.parse().map_err(|_| out_of_range(text, ADDRESS))
}

/// Whether an address stands for "not said": `0.0.0.0` or `::`.
#[must_use]
pub fn is_open(address: &SocketAddr) -> bool {
    match address.ip() {
        IpAddr::V4(ip) => ip.is_unspecified(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    }
}

/// A region's name: it stands in the catalog and in `clouds.yaml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

impl Region {
    /// Longest name: what Keystone's column holds.
    const MAX_BYTES: usize = 255;
    /// What is said of a name that is not one.
    pub const ALLOWED: &'static str = "1 to 255 of A-Z a-z 0-9 . _ -, beginning with a letter";

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Region {
    /// The name that DevStack gives.
    fn default() -> Self {
        Self("RegionOne".to_owned())
    }
}

impl TryFrom<String> for Region {
    type Error = OutOfRange;

    fn try_from(name: String) -> Result<Self, OutOfRange> {
        let legal = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        let begins = name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic);
        if begins && name.len() <= Self::MAX_BYTES && name.bytes().all(legal) {
            return Ok(Self(name));
        }
        let shown: String = name.chars().take(Self::MAX_BYTES).collect();
        Err(out_of_range(&format!("{shown:?}"), Self::ALLOWED))
    }
}

impl From<Region> for String {
    fn from(region: Region) -> Self {
        region.0
    }
}

impl FromStr for Region {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        text.to_owned().try_into()
    }
}

/// How long a token lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct TokenLifetime(u64);

impl TokenLifetime {
    /// Longest, in seconds: a month. The keys of tokens are kept as long, and what was revoked is remembered.
    const MAX_SECS: u64 = 30 * 24 * 60 * 60;
    /// What is said of a number that is not one.
    pub const ALLOWED: &'static str = "a whole number of seconds from 1 to 2592000";

    /// A lifetime that is known to be one.
    pub(super) const fn of(time: Duration) -> Self {
        Self(time.as_secs())
    }

    /// The time.
    #[must_use]
    pub fn duration(self) -> Duration {
        Duration::from_secs(self.0)
    }
}

impl Default for TokenLifetime {
    /// Keystone's.
    fn default() -> Self {
        Self(60 * 60)
    }
}

impl TryFrom<u64> for TokenLifetime {
    type Error = OutOfRange;

    fn try_from(secs: u64) -> Result<Self, OutOfRange> {
        let allowed = (1..=Self::MAX_SECS).contains(&secs);
        allowed.then_some(Self(secs)).ok_or_else(|| out_of_range(&secs, Self::ALLOWED))
    }
}

impl From<TokenLifetime> for u64 {
    fn from(lifetime: TokenLifetime) -> Self {
        lifetime.0
    }
}

impl FromStr for TokenLifetime {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        text.parse::<u64>().map_err(|_| out_of_range(text, Self::ALLOWED))?.try_into()
    }
}

/// The largest packet of the physical networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct PhysicalMtu(u32);

impl PhysicalMtu {
    /// Smallest, in bytes: what IPv6 needs (RFC 8200), and 50 for a tunnel.
    const MIN_BYTES: u32 = 1_330;
    /// Largest, in bytes: that of the usual jumbo frames.
    const MAX_BYTES: u32 = 9_216;
    /// What is said of a number that is not one.
    pub const ALLOWED: &'static str = "a whole number of bytes from 1330 to 9216";

    /// The number of bytes.
    #[must_use]
    pub fn bytes(self) -> u32 {
        self.0
    }
}

impl Default for PhysicalMtu {
    /// Ethernet's.
    fn default() -> Self {
        Self(1_500)
    }
}

impl TryFrom<u32> for PhysicalMtu {
    type Error = OutOfRange;

    fn try_from(bytes: u32) -> Result<Self, OutOfRange> {
        let allowed = (Self::MIN_BYTES..=Self::MAX_BYTES).contains(&bytes);
        allowed.then_some(Self(bytes)).ok_or_else(|| out_of_range(&bytes, Self::ALLOWED))
    }
}

impl From<PhysicalMtu> for u32 {
    fn from(mtu: PhysicalMtu) -> Self {
        mtu.0
    }
}

impl FromStr for PhysicalMtu {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        text.parse::<u32>().map_err(|_| out_of_range(text, Self::ALLOWED))?.try_into()
    }
}

/// The host's ways to physical networks: for each of them the bridge that leads there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PhysicalNetworks(BTreeMap<String, String>);

impl PhysicalNetworks {
    /// Longest name of a device, in bytes: Linux's.
    const DEVICE_MAX_BYTES: usize = 15;
    /// Longest name of a physical network, in bytes: neutron's.
    const NAME_MAX_BYTES: usize = 64;
    /// What is said of a text that names none.
    pub const ALLOWED: &'static str =
        "name:bridge, several with commas, such as public:br-ex; or nothing";

    /// Their names.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }

    /// The bridge of each.
    #[must_use]
    pub fn bridges(&self) -> BTreeMap<String, String> {
        self.0.clone()
    }

    fn pair(text: &str) -> Option<(String, String)> {
        let (name, bridge) = text.trim().split_once(':')?;
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let is_legal =
            |text: &str, max: usize| (1..=max).contains(&text.len()) && text.bytes().all(legal);
        let are_legal = is_legal(name, Self::NAME_MAX_BYTES)
            && is_legal(bridge, Self::DEVICE_MAX_BYTES)
            && !bridge.starts_with(['-', '.']);
        are_legal.then(|| (name.to_owned(), bridge.to_owned()))
    }
}

impl FromStr for PhysicalNetworks {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let refused = || out_of_range(text, Self::ALLOWED);
        let mut networks = BTreeMap::new();
        let pairs = text.split(',').filter(|_| !text.trim().is_empty());
        for pair in pairs {
            let (name, bridge) = Self::pair(pair).ok_or_else(refused)?;
            if networks.insert(name, bridge).is_some() {
                return Err(refused());
            }
        }
        Ok(Self(networks))
    }
}

impl TryFrom<String> for PhysicalNetworks {
    type Error = OutOfRange;

    fn try_from(text: String) -> Result<Self, OutOfRange> {
        text.parse()
    }
}

impl From<PhysicalNetworks> for String {
    fn from(networks: PhysicalNetworks) -> Self {
        let pairs = networks.0.iter().map(|(name, bridge)| format!("{name}:{bridge}"));
        pairs.collect::<Vec<_>>().join(",")
    }
}

/// How much may be promised of what there is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Ratio(f64);

impl Ratio {
    /// Most that may be promised: beyond it a typing error is likelier than a wish.
    const MAX: f64 = 1_000.0;
    /// What is said of a number that is not one.
    pub const ALLOWED: &'static str = "a number above 0, at most 1000";

    /// A ratio that is known to be one.
    pub(super) const fn of(value: f64) -> Self {
        Self(value)
    }

    /// The number.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Ratio {
    type Error = OutOfRange;

    fn try_from(value: f64) -> Result<Self, OutOfRange> {
        let allowed = value > 0.0 && value <= Self::MAX;
        allowed.then_some(Self(value)).ok_or_else(|| out_of_range(&value, Self::ALLOWED))
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

impl FromStr for Ratio {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        text.parse::<f64>().map_err(|_| out_of_range(text, Self::ALLOWED))?.try_into()
    }
}

/// What a simulated host has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(u32, u64, u64)", into = "(u32, u64, u64)")]
pub struct HostSize {
    /// Processors.
    pub vcpus: u32,
    /// Memory.
    pub memory_mib: u64,
    /// Disk.
    pub disk_gib: u64,
}

impl HostSize {
    /// Most of each: far beyond any machine, and far from where sums overflow.
    const MAX: u64 = 1 << 40;
    /// What is said of what is not one.
    pub const ALLOWED: &'static str =
        "three whole numbers above 0: processors, MiB of memory, GiB of disk";
}

impl TryFrom<(u32, u64, u64)> for HostSize {
    type Error = OutOfRange;

    fn try_from((vcpus, memory_mib, disk_gib): (u32, u64, u64)) -> Result<Self, OutOfRange> {
        let all = [u64::from(vcpus), memory_mib, disk_gib];
        if all.iter().all(|amount| (1..=Self::MAX).contains(amount)) {
            return Ok(Self { vcpus, memory_mib, disk_gib });
        }
        Err(out_of_range(&format!("{all:?}"), Self::ALLOWED))
    }
}

impl From<HostSize> for (u32, u64, u64) {
    fn from(size: HostSize) -> Self {
        (size.vcpus, size.memory_mib, size.disk_gib)
    }
}

impl FromStr for HostSize {
    type Err = OutOfRange;

    fn from_str(text: &str) -> Result<Self, OutOfRange> {
        let wrong = || out_of_range(text, Self::ALLOWED);
        let parts: Vec<_> = text.split(',').map(|part| part.trim().parse::<u64>()).collect();
        let [Ok(vcpus), Ok(memory_mib), Ok(disk_gib)] = parts.as_slice() else {
            return Err(wrong());
        };
        let vcpus = u32::try_from(*vcpus).map_err(|_| wrong())?;
        (vcpus, *memory_mib, *disk_gib).try_into()
    }
}

impl fmt::Display for HostSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{},{}", self.vcpus, self.memory_mib, self.disk_gib)
    }
}
