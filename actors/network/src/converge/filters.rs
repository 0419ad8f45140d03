//! How the plan of security groups on hosts is carried out.

use std::time::Duration;

use updraft_edge::context::Context;
use updraft_protocol::network::{Filter, L2Agent, SERVER};
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rows::{Change, Kind, Plan},
    rpc::{Cx, TraceContext},
    store::{StoreError, Txn},
};

use super::{SETTLES_WITHIN, later, server_on};
use crate::{ops::filters, plan::filter, rows::FilterRow};

/// Security groups on hosts.
pub(crate) struct Filters {
    pub(crate) context: Context,
}

impl Kind for Filters {
    type Row = FilterRow;
    type Facts = filter::Facts;
    type Effect = filter::Tell;
    type Learned = filter::Served;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, txn: &Txn, row: &FilterRow) -> Result<filter::Facts, StoreError> {
        filters::facts(txn, row)
    }

    fn plan(row: &FilterRow, facts: &filter::Facts, _: UnixMicros) -> Plan<Self> {
        match filter::plan(row, facts) {
            filter::Next::Write(row) => Plan::write(*row),
            filter::Next::Delete => Plan { change: Change::Delete, ..Plan::settled() },
            filter::Next::Act(effects) => Plan::act(effects),
        }
    }

    fn learn(row: &mut FilterRow, learned: filter::Served, _: UnixMicros) -> bool {
        filter::learn(row, &learned)
    }

    /// A port works only where its groups are in force, so its row is told.
    fn accompany(
        &self,
        txn: &mut Txn,
        old: &FilterRow,
        new: Option<&FilterRow>,
    ) -> Result<(), StoreError> {
        let Some(new) = new.filter(|new| new.in_force != old.in_force) else { return Ok(()) };
        // The ports are planned by what the store says of the group.
        txn.put(new)?;
        filters::record(txn, new, self.context.env.wall())
    }

    fn trace(row: &FilterRow) -> TraceContext {
        row.trace
    }

    fn perform(
        &self,
        row: FilterRow,
        effect: filter::Tell,
    ) -> BoxFuture<'static, Option<filter::Served>> {
        let context = self.context.clone();
        Box::pin(async move {
            let agent = server_on::<L2Agent>(&context.rpc, &row.host)?;
            let (present, want) = (row.want.present, row.want);
            let answer = agent.call(&Filter { want }, &Cx::new(SERVER, row.trace)).await;
            match answer {
                Ok(done) if done.generation == effect.generation => {
                    Some(filter::Served { generation: done.generation, present })
                }
                Ok(_) => None,
                Err(error) => {
                    later("filter", &error);
                    None
                }
            }
        })
    }
}
