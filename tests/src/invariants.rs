//! What is true of a cloud at every moment, and what is true once nothing is going on.
//!
//! Each invariant is a pure function of a [`Census`] that says, in a sentence each, where it is broken. So each
//! can be shown to fail: `tests/tests/tier1_sabotage.rs` feeds every one a world that breaks it.

mod compute;
mod network;
mod routers;
mod storage;

use std::fmt;

use crate::census::Census;

/// When an invariant holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// At every moment, whatever is going on or has failed.
    Always,
    /// Once nothing is going on and all nodes run.
    AtRest,
}

/// Something that is true.
pub struct Invariant {
    /// What, in a sentence.
    pub name: &'static str,
    /// When.
    pub when: When,
    check: fn(&Census) -> Vec<String>,
}

impl Invariant {
    /// Where it is broken, in a sentence each.
    #[must_use]
    pub fn broken(&self, census: &Census) -> Vec<String> {
        (self.check)(census)
    }
}

const fn always(name: &'static str, check: fn(&Census) -> Vec<String>) -> Invariant {
    Invariant { name, when: When::Always, check }
}

const fn at_rest(name: &'static str, check: fn(&Census) -> Vec<String>) -> Invariant {
    Invariant { name, when: When::AtRest, check }
}

/// So many of the first of [`ALL`] can be told from the guests alone.
const OF_GUESTS: usize = 2;

/// All of them.
pub const ALL: [Invariant; 34] = [
    always("a server has at most one guest", compute::one_guest),
    always("a volume is in at most one guest", storage::one_guest_per_volume),
    always("a volume belongs to at most one server", storage::one_server_per_volume),
    always("a placement has its claim, and a claim its placement", compute::claims),
    always("a host has what is claimed of it", compute::room),
    always("a project uses what its servers take", compute::quota),
    always("an address is given once", network::one_address),
    always("a MAC address is given once", network::one_mac),
    always("an interface has at most one port", network::one_port),
    always("a port that is up has its lease", network::leased),
    always("an address that is taken has its port", network::allocations),
    always("a router is on at most one host", routers::one_host),
    always("an address outside is answered for once", routers::one_answer),
    always("what is copied from is there", storage::sources),
    always("a volume that a guest has is its server's", storage::held),
    always("a volume is served to its attachment alone", storage::served),
    always("an image that is active has its bytes", storage::stored),
    at_rest("a server rests in a state that is told", compute::outcome),
    at_rest("a guest is where its server is, and does what it should", compute::guests),
    at_rest("a host has files of its own servers only", compute::disks),
    at_rest("a host remembers its own servers only", compute::remembered),
    at_rest("a server has its ports, and a port its server", network::ports),
    at_rest("a tap has its port, and a server's port its tap", network::taps),
    at_rest("DHCP serves the ports that are there", network::leases),
    at_rest("a host filters for the groups of its ports", network::filters),
    at_rest("ports of one network that are up reach each other", network::reach),
    at_rest("a tunnel leads to the ports that are there", network::tunnels),
    at_rest("a router is where its row says, and leads where floating IPs say", routers::as_rows),
    at_rest("an attachment is known to both sides", storage::attachments),
    at_rest("a guest's remote disk is served to it", storage::remote_disks),
    at_rest("no volume is kept for nobody", storage::reservations),
    at_rest("a file has its volume, and a volume its file", storage::files),
    at_rest("a host makes files of volumes that are there", storage::ledgers),
    at_rest("image bytes have their image, and an image its bytes", storage::images),
];

/// An invariant that is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub name: &'static str,
    /// Where, in a sentence.
    pub words: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.words)
    }
}

fn all_broken<'a>(held: impl Iterator<Item = &'a Invariant>, census: &Census) -> Vec<Broken> {
    held.flat_map(|invariant| {
        let broken = invariant.broken(census).into_iter();
        broken.map(|words| Broken { name: invariant.name, words })
    })
    .collect()
}

/// Everything that is broken among what holds at this time.
#[must_use]
pub fn broken(census: &Census, at_rest: bool) -> Vec<Broken> {
    all_broken(ALL.iter().filter(|one| at_rest || one.when == When::Always), census)
}

/// Everything that is broken among what guests alone show, which is what holds in every instant.
#[must_use]
pub fn broken_by_guests(census: &Census) -> Vec<Broken> {
    all_broken(ALL[..OF_GUESTS].iter(), census)
}
