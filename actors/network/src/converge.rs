//! How the plans are carried out: facts read, effects performed, what goes along written.

use std::time::Duration;

use updraft_protocol::{
    compute::{Conductor, NetworkChanged, NetworkReady, Node, PortTaken},
    network::{DhcpAgent, L2Agent, Plug, Plugged, SERVER, ServeDhcp},
};
use updraft_runtime::{
    env::{BoxFuture, UnixMicros},
    rows::{Change, Kind, Plan},
    rpc::{CallError, Client, Cx, FaultKind, Protocol, Rpc, TraceContext},
    store::{Store, StoreError, Txn},
    trace::StepKind,
    transport::NodeId,
};
use uuid::Uuid;

use updraft_edge::context::Context;

use crate::{
    ops::{dhcp as wants, ports, servers},
    plan::{dhcp, port},
    rows::{DhcpRow, Fixed, Lease, Nic, PortRow},
};

mod filters;
mod overlays;
mod routers;

pub(crate) use filters::Filters;
pub(crate) use overlays::Overlays;
pub(crate) use routers::Routers;

/// The step by which all network settings of a port are in the database (document 000, step 20).
pub const STEP_RECORDED: &str = "network/record_port";

/// How long a host may take to do as the network wants: one that restarts is back within this time.
const SETTLES_WITHIN: Duration = Duration::from_secs(300);

/// Ports as rows that converge.
pub struct Ports {
    pub(crate) context: Context,
    pub(crate) store: Store,
}

/// Networks on hosts.
pub(crate) struct DhcpHosts {
    pub(crate) context: Context,
}

fn server_on<P: Protocol>(rpc: &Rpc, host: &str) -> Option<Client<P>> {
    match NodeId::new(host) {
        Ok(node) => Some(rpc.client().on(&node)),
        Err(error) => {
            tracing::warn!(local = %rpc.local(), %error, "a host cannot be called");
            None
        }
    }
}

fn later(what: &str, error: &CallError) {
    tracing::info!(what, %error, "asked again later");
}

impl Kind for Ports {
    type Row = PortRow;
    type Facts = port::Facts;
    type Effect = port::Effect;
    type Learned = port::Learned;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, txn: &Txn, row: &PortRow) -> Result<port::Facts, StoreError> {
        wants::port_facts(txn, row)
    }

    fn plan(row: &PortRow, facts: &port::Facts, now: UnixMicros) -> Plan<Self> {
        match port::plan(row, facts, now) {
            port::Next::Write(row) => Plan::write(*row),
            port::Next::Delete => Plan { change: Change::Delete, ..Plan::settled() },
            port::Next::Act(effects) => Plan::act(effects),
        }
    }

    fn learn(row: &mut PortRow, learned: port::Learned, _: UnixMicros) -> bool {
        port::learn(row, learned)
    }

    fn accompany(
        &self,
        txn: &mut Txn,
        old: &PortRow,
        new: Option<&PortRow>,
    ) -> Result<(), StoreError> {
        match new {
            Some(new) => ports::ensure_host_rows(txn, new),
            None => release(txn, old.id, &old.fixed_ips),
        }
    }

    fn trace(row: &PortRow) -> TraceContext {
        row.trace
    }

    fn perform(
        &self,
        row: PortRow,
        effect: port::Effect,
    ) -> BoxFuture<'static, Option<port::Learned>> {
        let hands = Hands { context: self.context.clone(), store: self.store.clone() };
        Box::pin(async move {
            match effect {
                port::Effect::Plug { host, generation } => {
                    hands.plug(&row, &host, generation).await
                }
                port::Effect::TellNode { host, generation } => {
                    hands.tell_node(&row, &host, generation).await
                }
                port::Effect::TellCompute { changes } => hands.tell_compute(&row, changes).await,
                port::Effect::TellTaken(nic) => hands.tell_taken(&row, nic).await,
            }
        })
    }
}

/// Whether the compute service knows what it was told. A server that is gone needs to know nothing.
fn knows(told: Result<(), CallError>) -> bool {
    match told {
        Ok(()) => true,
        Err(error) if error.fault().is_some_and(|fault| fault.kind == FaultKind::NotFound) => true,
        Err(error) => {
            later("tell the compute service", &error);
            false
        }
    }
}

fn release(txn: &mut Txn, port: Uuid, fixed_ips: &[Fixed]) -> Result<(), StoreError> {
    fixed_ips
        .iter()
        .try_for_each(|fixed| crate::ipam::release(txn, fixed.subnet, fixed.address, port))
}

/// What the effects of ports are done with.
struct Hands {
    context: Context,
    store: Store,
}

impl Hands {
    fn cx(&self, trace: TraceContext) -> Cx {
        Cx::new(SERVER, trace)
    }

    async fn plug(&self, row: &PortRow, host: &str, generation: u64) -> Option<port::Learned> {
        let want = row.bindings.get(host).map(|binding| binding.want.clone())?;
        let agent = server_on::<L2Agent>(&self.context.rpc, host)?;
        let answer = agent.call(&Plug { want }, &self.cx(row.trace)).await;
        match answer {
            Ok(Plugged { generation: served, device }) if served == generation => {
                Some(port::Learned::Plugged { host: host.to_owned(), generation, device })
            }
            Ok(_) => None,
            Err(error) => {
                later("plug", &error);
                None
            }
        }
    }

    async fn tell_node(&self, row: &PortRow, host: &str, generation: u64) -> Option<port::Learned> {
        let server = row.nic.as_ref()?.server;
        let trace = row.trace;
        self.context.record(trace.trace_id, StepKind::Store, STEP_RECORDED, SERVER, "database");
        let ports = self.infos(server).await?;
        let node = server_on::<Node>(&self.context.rpc, host)?;
        match node.cast(&NetworkReady { server, ports }, &self.cx(trace)) {
            Ok(()) => Some(port::Learned::NodeTold(generation)),
            Err(error) => {
                later("tell the compute node", &error);
                None
            }
        }
    }

    async fn tell_compute(&self, row: &PortRow, changes: u64) -> Option<port::Learned> {
        let server = row.nic.as_ref()?.server;
        let ports = self.infos(server).await?;
        let message = NetworkChanged { server, ports };
        let told = self.context.rpc.client::<Conductor>().call(&message, &self.cx(row.trace)).await;
        knows(told).then_some(port::Learned::ComputeTold(changes))
    }

    async fn tell_taken(&self, row: &PortRow, nic: Nic) -> Option<port::Learned> {
        let message = PortTaken { server: nic.server, port: row.id, index: nic.index };
        let told = self.context.rpc.client::<Conductor>().call(&message, &self.cx(row.trace)).await;
        knows(told).then_some(port::Learned::TakenTold(nic))
    }

    async fn infos(&self, server: Uuid) -> Option<Vec<updraft_protocol::network::PortInfo>> {
        match self.store.read(|txn| servers::infos(txn, server)).await {
            Ok(ports) => Some(ports),
            Err(error) => {
                tracing::warn!(%server, %error, "its ports cannot be read");
                None
            }
        }
    }
}

impl Kind for DhcpHosts {
    type Row = DhcpRow;
    type Facts = dhcp::Facts;
    type Effect = dhcp::Serve;
    type Learned = dhcp::Served;

    const SETTLES_WITHIN: Option<Duration> = Some(SETTLES_WITHIN);

    fn facts(&self, txn: &Txn, row: &DhcpRow) -> Result<dhcp::Facts, StoreError> {
        wants::facts(txn, row)
    }

    fn plan(row: &DhcpRow, facts: &dhcp::Facts, _: UnixMicros) -> Plan<Self> {
        match dhcp::plan(row, facts) {
            dhcp::Next::Write(row) => Plan::write(*row),
            dhcp::Next::Delete => Plan { change: Change::Delete, ..Plan::settled() },
            dhcp::Next::Act(effects) => Plan::act(effects),
        }
    }

    fn learn(row: &mut DhcpRow, learned: dhcp::Served, _: UnixMicros) -> bool {
        dhcp::learn(row, learned)
    }

    /// What the agent serves is written to the ports that it is about, which decides whether they work.
    fn accompany(
        &self,
        txn: &mut Txn,
        old: &DhcpRow,
        new: Option<&DhcpRow>,
    ) -> Result<(), StoreError> {
        let Some(new) = new.filter(|new| new.served != old.served) else { return Ok(()) };
        let changed = new.served.symmetric_difference(&old.served);
        let mut ports: Vec<Uuid> = changed.map(|lease| lease.port).collect();
        ports.dedup();
        let now = self.context.env.wall();
        for id in ports {
            let leases = new.served.iter().filter(|lease| lease.port == id).cloned();
            record_leases(txn, id, &new.host, leases.collect(), now)?;
        }
        Ok(())
    }

    fn perform(
        &self,
        row: DhcpRow,
        effect: dhcp::Serve,
    ) -> BoxFuture<'static, Option<dhcp::Served>> {
        let context = self.context.clone();
        Box::pin(async move {
            let agent = server_on::<DhcpAgent>(&context.rpc, &row.host)?;
            let cx = Cx::new(SERVER, row.trace);
            let message = ServeDhcp { want: row.want.clone() };
            match agent.call(&message, &cx).await {
                Ok(served) if served.generation == effect.generation => {
                    Some(dhcp::Served { generation: served.generation, leases: row.leases })
                }
                Ok(_) => None,
                Err(error) => {
                    later("serve DHCP", &error);
                    None
                }
            }
        })
    }
}

/// Notes which of a port's addresses the DHCP agent of a host answers for, and what that means.
fn record_leases(
    txn: &mut Txn,
    port: Uuid,
    host: &str,
    leases: std::collections::BTreeSet<Lease>,
    now: UnixMicros,
) -> Result<(), StoreError> {
    let Some(mut row) = txn.get::<PortRow>(&port.to_string())? else { return Ok(()) };
    let Some(binding) = row.bindings.get_mut(host) else { return Ok(()) };
    binding.leases = leases;
    let facts = wants::port_facts(txn, &row)?;
    txn.put(&port::converge(&row, &facts, now))
}
