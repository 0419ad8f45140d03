//! How the plan of networks' tunnels on hosts is carried out.

use std::time::Duration;

use updraft_edge::context::Context;
use updraft_protocol::network::{L2Agent, Overlay, SERVER};
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rows::{Change, Kind, Plan},
    rpc::{Cx, TraceContext},
    store::{StoreError, Txn},
};

use super::{SETTLES_WITHIN, later, server_on};
use crate::{ops::overlays, plan::overlay, rows::OverlayRow};

/// Networks' tunnels on hosts.
pub(crate) struct Overlays {
    pub(crate) context: Context,
}

impl Kind for Overlays {
    type Row = OverlayRow;
    type Facts = overlay::Facts;
    type Effect = overlay::Tell;
    type Learned = overlay::Served;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, txn: &Txn, row: &OverlayRow) -> Result<overlay::Facts, StoreError> {
        overlays::facts(txn, row)
    }

    fn plan(row: &OverlayRow, facts: &overlay::Facts, _: UnixMicros) -> Plan<Self> {
        match overlay::plan(row, facts) {
            overlay::Next::Write(row) => Plan::write(*row),
            overlay::Next::Delete => Plan { change: Change::Delete, ..Plan::settled() },
            overlay::Next::Act(effects) => Plan::act(effects),
        }
    }

    fn learn(row: &mut OverlayRow, learned: overlay::Served, _: UnixMicros) -> bool {
        overlay::learn(row, &learned)
    }

    /// A port works only where its network reaches other hosts, so its row is told.
    fn accompany(
        &self,
        txn: &mut Txn,
        old: &OverlayRow,
        new: Option<&OverlayRow>,
    ) -> Result<(), StoreError> {
        let Some(new) = new.filter(|new| new.in_force != old.in_force) else { return Ok(()) };
        // The ports are planned by what the store says of the tunnel.
        txn.put(new)?;
        overlays::record(txn, new, self.context.env.wall())
    }

    fn trace(row: &OverlayRow) -> TraceContext {
        row.trace
    }

    fn perform(
        &self,
        row: OverlayRow,
        effect: overlay::Tell,
    ) -> BoxFuture<'static, Option<overlay::Served>> {
        let context = self.context.clone();
        Box::pin(async move {
            let agent = server_on::<L2Agent>(&context.rpc, &row.host)?;
            let (present, want) = (row.want.tunnel.is_some(), row.want);
            let answer = agent.call(&Overlay { want }, &Cx::new(SERVER, row.trace)).await;
            match answer {
                Ok(done) if done.generation == effect.generation => {
                    Some(overlay::Served { generation: done.generation, present })
                }
                Ok(_) => None,
                Err(error) => {
                    later("overlay", &error);
                    None
                }
            }
        })
    }
}
