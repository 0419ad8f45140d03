//! What everybody waits for, when nothing goes on.
//!
//! Owns a look at the calls of all nodes at one moment, and how they hang together: a handler that calls on behalf of a
//! request is waited for by whoever sent it that request. Promises to name a circle where there is one. It knows of
//! calls alone: who waits for a channel or a lock of its own is seen only by those who wait for it.

use std::{collections::BTreeMap, fmt, time::Duration};

use updraft_runtime::rpc::{Rpc, Wait};
use updraft_transport::NodeId;

/// So many calls are told in words.
const TOLD_MAX: usize = 20;

/// A call that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Who calls.
    pub from: NodeId,
    /// Whom.
    pub to: NodeId,
    /// `topic/method`.
    pub method: &'static str,
    /// For how long it has waited since it was last sent.
    pub waited: Duration,
    /// How much longer it will.
    pub left: Duration,
    /// Whether it has come to where it goes.
    pub has_come: bool,
    trace_id: [u8; 16],
}

/// All calls that wait at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Waiting(Vec<Link>);

impl Waiting {
    /// The calls of these nodes, each with how long it has run.
    pub(super) fn of(nodes: &BTreeMap<NodeId, (Rpc, Duration)>) -> Self {
        let of_node = |(from, (rpc, now)): (&NodeId, &(Rpc, Duration))| {
            let link = |(to, wait): (NodeId, Wait)| Link {
                has_come: nodes.get(&to).is_some_and(|(to, _)| to.is_under_way(from, wait.id)),
                from: from.clone(),
                to,
                method: wait.method,
                waited: now.saturating_sub(wait.since),
                left: wait.expires.saturating_sub(*now),
                trace_id: wait.trace_id,
            };
            rpc.waits().into_iter().map(link).collect::<Vec<_>>()
        };
        let mut links: Vec<Link> = nodes.iter().flat_map(of_node).collect();
        links.sort_by_key(|link| std::cmp::Reverse(link.waited));
        Self(links)
    }

    /// The calls, those that have waited longest first.
    #[must_use]
    pub fn links(&self) -> &[Link] {
        &self.0
    }

    /// The calls that a call waits for: those that its receiver has made for the same request.
    fn behind<'a>(&'a self, link: &'a Link) -> impl Iterator<Item = &'a Link> {
        let same = move |other: &&Link| {
            link.has_come && other.from == link.to && other.trace_id == link.trace_id
        };
        self.0.iter().filter(move |other| link.trace_id != [0; 16] && same(other))
    }

    /// Calls each of which waits for the next, and the last for the first, if there are any.
    #[must_use]
    pub fn circle(&self) -> Option<Vec<&Link>> {
        self.0.iter().find_map(|link| self.circle_from(&[link]))
    }

    /// Only the first moment of a circle goes around it: a request that came by a topic again has made a second call.
    fn circle_from<'a>(&'a self, path: &[&'a Link]) -> Option<Vec<&'a Link>> {
        let last = path.last()?;
        self.behind(last).find_map(|next| {
            let again = path.iter().position(|link| asks_the_same(link, next));
            match again {
                Some(first) => Some(path[first..].to_vec()),
                None => self.circle_from(&[path, &[next]].concat()),
            }
        })
    }
}

/// Whether two calls are for the same method of the same node: then the second waits behind the first.
fn asks_the_same(one: &Link, other: &Link) -> bool {
    one.to == other.to && one.method == other.method
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, method, waited, left, has_come, .. } = self;
        let (waited, left) = (waited.as_secs_f64(), left.as_secs_f64());
        let there = if *has_come { "which has it" } else { "where it has not come" };
        write!(
            f,
            "{from} waits for {method} of {to}, {there}, for {waited:.3} s now and {left:.3} s more"
        )
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str(
                "no call waits for anything; what does not go on waits for something else",
            );
        }
        f.write_str("these calls wait:")?;
        self.0.iter().take(TOLD_MAX).try_for_each(|link| write!(f, "\n  {link}"))?;
        if self.0.len() > TOLD_MAX {
            write!(f, "\n  and {} more", self.0.len() - TOLD_MAX)?;
        }
        let Some(circle) = self.circle() else { return Ok(()) };
        f.write_str("\nand these for one another, in a circle:")?;
        circle.iter().try_for_each(|link| write!(f, "\n  {} of {}", link.method, link.to))
    }
}
