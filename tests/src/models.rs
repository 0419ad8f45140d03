//! Tier 0's models: the real plans and fences of the services, with everything between them as bad as it can be.
//!
//! A model owns what carries messages, what drives hosts, the users and the clock. It never decides what a service
//! decides: rows are planned and taught by the functions that the services themselves use, hosts refuse by the
//! services' own fences. Whatever is under way may be late, and as its bounds allow doubled or lost; nothing has an
//! order. A law is broken around the real code ([`Law`]): the host's memory is wiped before it is asked, a report is
//! relabelled before it is folded in, a row is changed as if a host had confirmed.
//!
//! What must never be is counted by kinds, told by the first word of [`Model::check`](updraft_harness::explore::Model):
//! *double-run*, the same thing on two hosts; *kill-live*, what a settled row has is gone; *leak*, something is left of
//! what nobody has; *false-report*, a user is told what is not so; and *stuck*, a state from which nothing leads to rest.

pub mod bag;
pub mod image;
pub mod owner;
pub mod port;
pub mod server;
pub mod table;
pub mod volume;

use updraft_runtime::{
    env::UnixMicros,
    rows::{Change, Kind},
};

/// When nothing has lasted long yet.
pub const EARLY: UnixMicros = UnixMicros(0);

/// When what is looked at anew now and then has been looked at: a minute on.
pub const SOON: UnixMicros = UnixMicros(60_000_000);

/// When everything has lasted longer than anybody waits: a day on.
pub const LATE: UnixMicros = UnixMicros(86_400_000_000);

/// How often a row is planned anew after a write before it is taken for one that never keeps still.
const PLANS_MAX: usize = 32;

/// Which law a model breaks, to show that its exploration would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// The host, its drivers included, does not keep the generation.
    Fence,
    /// Reports of any generation are folded in.
    ReportFilter,
    /// What a host has is taken for gone before it has confirmed that.
    ConfirmedGone,
}

impl Law {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fence, Self::ReportFilter, Self::ConfirmedGone];
}

/// Plans a row until it keeps still, as the engine does; what it then asks for. A row that never keeps still asks for
/// nothing, so that it is found to be stuck.
pub fn settle<K: Kind>(
    row: &mut Option<K::Row>,
    facts: impl Fn(&K::Row) -> K::Facts,
    now: UnixMicros,
) -> Vec<K::Effect> {
    for _ in 0..PLANS_MAX {
        let Some(known) = row.as_ref() else { break };
        let plan = K::plan(known, &facts(known), now);
        match plan.change {
            Change::Write(next) => *row = Some(next),
            Change::Delete => *row = None,
            Change::Keep => return plan.effects,
        }
    }
    Vec::new()
}

/// The situations that are so.
fn so<const N: usize>(situations: [(&'static str, bool); N]) -> Vec<&'static str> {
    situations.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect()
}
