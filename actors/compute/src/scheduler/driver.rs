//! Ranks the hosts that can take a server, in one of the ways that the seeds' scheduler knows.

use rand::{Rng, seq::SliceRandom};

use super::{
    Filter, HostState, Refusal, Request, Weigher, default_filters, default_weighers,
    filters::ZoneFilter,
};

/// How hosts are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DriverKind {
    /// By weights; equals in random order.
    #[default]
    Filters,
    /// The host with fewest virtual processors claimed.
    Simple,
    /// Any, at random.
    Chance,
    /// Any of one zone, at random: of the zone asked for, else of the default zone.
    Zone,
}

/// A way to rank, with its filters and weighers.
pub struct Driver {
    kind: DriverKind,
    filters: Vec<Box<dyn Filter>>,
    weighers: Vec<Box<dyn Weigher>>,
}

impl Default for Driver {
    fn default() -> Self {
        Self::new(DriverKind::default())
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let filters: Vec<_> = self.filters.iter().map(|filter| filter.name()).collect();
        f.debug_struct("Driver")
            .field("kind", &self.kind)
            .field("filters", &filters)
            .finish_non_exhaustive()
    }
}

impl Driver {
    /// The default filters and weighers, ranked so.
    #[must_use]
    pub fn new(kind: DriverKind) -> Self {
        let driver = Self { kind, filters: default_filters(), weighers: default_weighers() };
        match kind {
            DriverKind::Zone => driver.with_filter(ZoneFilter),
            DriverKind::Filters | DriverKind::Simple | DriverKind::Chance => driver,
        }
    }

    /// Adds a filter.
    #[must_use]
    pub fn with_filter(mut self, filter: impl Filter) -> Self {
        self.filters.push(Box::new(filter));
        self
    }

    /// Adds a weigher; only [`DriverKind::Filters`] asks it.
    #[must_use]
    pub fn with_weigher(mut self, weigher: impl Weigher) -> Self {
        self.weighers.push(Box::new(weigher));
        self
    }

    /// Why the host cannot take it; `None` if it can.
    #[must_use]
    pub fn refusal(&self, host: &HostState, request: &Request) -> Option<Refusal> {
        self.filters.iter().find_map(|filter| {
            filter.check(host, request).err().map(|reason| Refusal {
                host: host.row.name.clone(),
                filter: filter.name(),
                reason,
            })
        })
    }

    /// The hosts that can take it, best first, and why the others cannot.
    pub fn rank(
        &self,
        hosts: Vec<HostState>,
        request: &Request,
        rng: &mut impl Rng,
    ) -> (Vec<HostState>, Vec<Refusal>) {
        let mut refusals = Vec::new();
        let mut able = Vec::new();
        for host in hosts {
            match self.refusal(&host, request) {
                Some(refusal) => refusals.push(refusal),
                None => able.push(host),
            }
        }
        able.shuffle(rng);
        match self.kind {
            DriverKind::Chance | DriverKind::Zone => {}
            DriverKind::Simple => able.sort_by_key(|host| host.used.vcpus),
            DriverKind::Filters => self.sort_by_weight(&mut able, request),
        }
        (able, refusals)
    }

    fn sort_by_weight(&self, hosts: &mut Vec<HostState>, request: &Request) {
        let mut weights = vec![0.0; hosts.len()];
        for weigher in &self.weighers {
            let figures: Vec<f64> = hosts.iter().map(|h| weigher.weigh(h, request)).collect();
            let least = figures.iter().copied().fold(f64::INFINITY, f64::min);
            let most = figures.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            if most > least {
                for (weight, figure) in weights.iter_mut().zip(&figures) {
                    *weight += weigher.multiplier() * (figure - least) / (most - least);
                }
            }
        }
        let mut weighed: Vec<_> = std::mem::take(hosts).into_iter().zip(weights).collect();
        // Stable: equals keep the random order that they were given.
        weighed.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        *hosts = weighed.into_iter().map(|(host, _)| host).collect();
    }
}

#[cfg(test)]
mod tests;
