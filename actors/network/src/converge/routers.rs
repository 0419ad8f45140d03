//! How the plan of routers is carried out.

use std::time::Duration;

use updraft_edge::context::Context;
use updraft_protocol::network::{L2Agent, SERVER, ServeRouter};
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rows::{Kind, Plan},
    rpc::{Cx, FaultKind, TraceContext},
    store::{StoreError, Txn},
};

use super::{SETTLES_WITHIN, later, server_on};
use crate::{
    agents::pulse,
    ops::routing,
    plan::router::{self, Learned, Tell},
    rows::RouterRow,
};

/// Routers on hosts.
pub(crate) struct Routers {
    pub(crate) context: Context,
}

impl Kind for Routers {
    type Row = RouterRow;
    type Facts = router::Facts;
    type Effect = Tell;
    type Learned = Learned;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, txn: &Txn, row: &RouterRow) -> Result<router::Facts, StoreError> {
        let Context { rpc, env, .. } = &self.context;
        routing::facts(txn, row, |agent| pulse(rpc, env, agent).alive)
    }

    fn plan(row: &RouterRow, facts: &router::Facts, _: UnixMicros) -> Plan<Self> {
        match router::plan(row, facts) {
            router::Next::Write(row) => Plan::write(*row),
            router::Next::Delete => Plan::delete(),
            router::Next::Act(effects) => Plan::act(effects),
            router::Next::Homeless => {
                Plan::wait("a host that is alive and has a way to its external network")
            }
        }
    }

    fn learn(row: &mut RouterRow, learned: Learned, _: UnixMicros) -> bool {
        router::learn(row, learned)
    }

    /// The ports of a router are where it is, and work as far as it does.
    fn accompany(
        &self,
        txn: &mut Txn,
        old: &RouterRow,
        new: Option<&RouterRow>,
    ) -> Result<(), StoreError> {
        let moved = |new: &&RouterRow| new.host != old.host || new.served() != old.served();
        let Some(new) = new.filter(moved) else { return Ok(()) };
        // The ports are planned by what the store says of the router.
        txn.put(new)?;
        routing::record(txn, new, self.context.env.wall())
    }

    fn trace(row: &RouterRow) -> TraceContext {
        row.trace
    }

    fn perform(&self, row: RouterRow, effect: Tell) -> BoxFuture<'static, Option<Learned>> {
        let context = self.context.clone();
        Box::pin(async move {
            let Tell { host, generation } = effect;
            let want = row.told_of(&host).cloned()?;
            let agent = server_on::<L2Agent>(&context.rpc, &host)?;
            let answer = agent.call(&ServeRouter { want }, &Cx::new(SERVER, row.trace)).await;
            let error = match answer {
                Ok(done) if done.generation == generation => {
                    return Some(Learned::Served { host, generation });
                }
                Ok(_) => return None,
                Err(error) => error,
            };
            later("route", &error);
            let says = |kind| matches!(kind, FaultKind::Invalid | FaultKind::Unavailable);
            let fault = error.fault().filter(|fault| says(fault.kind))?;
            Some(Learned::Refused { host, generation, reason: fault.message.clone() })
        })
    }
}
