//! The network service's hands on one host: plugs ports, answers DHCP, routes, serves metadata.
//!
//! Owns the host's wants in the node-local store and everything that the drivers made from them. A want is
//! durable before it is begun; an older one is refused, also after a restart; each start applies every want
//! again. What the host has and no row knows is told of and left alone. Stopping the agent leaves taps and
//! DHCP servers at work; [`NetworkAgent::purge`] removes them.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc, time::Duration};

use futures_util::{StreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::watch;
use updraft_protocol::network::{
    DhcpAgent, DhcpServed, DhcpWant, Filter, FilterWant, Filtered, L2Agent, Overlaid, Overlay,
    OverlayWant, Plug, Plugged, PortWant, RouterServed, RouterWant, ServeDhcp, ServeRouter,
};
use updraft_runtime::{
    Env,
    rpc::{Ctx, Fault, Rpc, Service},
    store::{Shape, Store, StoreError},
    trace::Tracer,
    transport::NodeId,
    turns::Turns,
};
use uuid::Uuid;

use crate::driver::{self, DhcpDriver, DriverError, Health, L2Driver, L3Driver, names};

mod announce;
mod desk;
mod hands;
mod metadata;
mod plan;
mod reconcile;
mod rows;
mod want;

pub use metadata::{
    Connection, METADATA_ADDRESS, METADATA_PORT, MemoryMetadata, MetadataConfig, MetadataListener,
    MetadataTransport,
};
pub use plan::{Effect, Keeping, Learned};
pub use reconcile::Report;
pub use rows::{Applied, Fence, Row, fence};
pub use want::Want;

use desk::Desk;
use hands::{
    DHCP_DEADLINE, DhcpHands, FilterHands, L2_DEADLINE, L2Hands, L3_DEADLINE, OverlayHands,
    RouterHands, within,
};
use metadata::{Leases, Metadata};
use plan::{Hands, Slots};
use reconcile::{Compared, Findings};

/// How often each DHCP server is looked at: the longest that a dead one goes unnoticed. Clients ask again
/// after a few seconds, so that none fails for it.
const HEALTH_EVERY: Duration = Duration::from_secs(1);

/// How many health checks pass between two looks at the whole host, which cost a few processes.
const HEALTH_CHECKS_PER_RECONCILE: u32 = 30;

/// How many DHCP servers are looked at together.
const HEALTH_AT_ONCE_MAX: usize = 8;

/// The pause after the store could not be read.
const STORE_PAUSE: Duration = Duration::from_millis(200);

/// How long removing everything may take: a second for each of a host's networks, at their usual number.
const PURGE_DEADLINE: Duration = Duration::from_secs(120);

/// What the agent is given.
#[derive(Clone)]
pub struct AgentContext {
    /// The door to the world.
    pub env: Env,
    /// For asking a conductor.
    pub rpc: Rpc,
    /// The node's own store: what is wanted of this host, kept across restarts.
    pub store: Store,
    /// Where steps are recorded.
    pub tracer: Tracer,
    /// This host.
    pub host: NodeId,
    /// Where other hosts reach the tunnels of this one.
    pub tunnel_address: IpAddr,
    /// The physical networks that it has a way to.
    pub physical_networks: BTreeSet<String>,
}

/// Why the host could not be looked at.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The rows could not be read.
    #[error("the agent's rows cannot be read")]
    Store(#[from] StoreError),
    /// The host gave no answer.
    #[error("the host cannot be looked at or changed")]
    Driver(#[from] DriverError),
}

struct Shared {
    context: AgentContext,
    l2: Arc<dyn L2Driver>,
    dhcp: Arc<dyn DhcpDriver>,
    l3: Arc<dyn L3Driver>,
    ports: Desk<PortWant>,
    networks: Desk<DhcpWant>,
    filters: Desk<FilterWant>,
    overlays: Desk<OverlayWant>,
    routers: Desk<RouterWant>,
    life: Uuid,
    turns: Turns<Uuid>,
    slots: Slots,
    leases: Leases,
    metadata: Metadata,
    stopped: watch::Sender<bool>,
    told: Mutex<BTreeSet<String>>,
}

/// The L2 agent, DHCP agent and metadata service of one host; clones are the same one.
#[derive(Clone)]
pub struct NetworkAgent {
    shared: Arc<Shared>,
}

impl NetworkAgent {
    /// An agent that does nothing yet.
    #[must_use]
    pub fn new(
        context: AgentContext,
        l2: Arc<dyn L2Driver>,
        dhcp: Arc<dyn DhcpDriver>,
        l3: Arc<dyn L3Driver>,
        config: MetadataConfig,
    ) -> Self {
        let env = context.env.clone();
        let leases = Leases::default();
        let metadata = Metadata::new(&env, &context.rpc, config, leases.clone());
        let (turns, slots, life) = (Turns::default(), Slots::default(), env.uuid());
        let l2_hands = L2Hands { env: env.clone(), l2: l2.clone() };
        let filter_hands = FilterHands { env: env.clone(), l2: l2.clone() };
        let overlay_hands = OverlayHands { env: env.clone(), l2: l2.clone() };
        let router_hands = RouterHands { env: env.clone(), l2: l2.clone(), l3: l3.clone() };
        let dhcp_hands = DhcpHands {
            env,
            l2: l2.clone(),
            dhcp: dhcp.clone(),
            metadata: metadata.clone(),
            leases: leases.clone(),
        };
        let ports = desk(&context, life, &turns, &slots, Arc::new(l2_hands));
        let networks = desk(&context, life, &turns, &slots, Arc::new(dhcp_hands));
        let filters = desk(&context, life, &turns, &slots, Arc::new(filter_hands));
        let overlays = desk(&context, life, &turns, &slots, Arc::new(overlay_hands));
        let routers = desk(&context, life, &turns, &slots, Arc::new(router_hands));
        let (stopped, told) = (watch::Sender::new(false), Mutex::default());
        let shared = Shared {
            context,
            l2,
            dhcp,
            l3,
            ports,
            networks,
            filters,
            overlays,
            routers,
            life,
            turns,
            slots,
            leases,
            metadata,
            stopped,
            told,
        };
        Self { shared: Arc::new(shared) }
    }

    /// The topics it serves.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        let (l2, filters, overlays, dhcp) =
            (self.clone(), self.clone(), self.clone(), self.clone());
        let routers = self.clone();
        let plug = move |ctx, Plug { want }: Plug| {
            let agent = l2.clone();
            async move { agent.plug(ctx, want).await }
        };
        let filter = move |ctx, Filter { want }: Filter| {
            let agent = filters.clone();
            async move { agent.filter(ctx, want).await }
        };
        let overlay = move |ctx, Overlay { want }: Overlay| {
            let agent = overlays.clone();
            async move { agent.overlay(ctx, want).await }
        };
        let serve = move |ctx, ServeDhcp { want }: ServeDhcp| {
            let agent = dhcp.clone();
            async move { agent.serve(ctx, want).await }
        };
        let route = move |ctx, ServeRouter { want }: ServeRouter| {
            let agent = routers.clone();
            async move { agent.route(ctx, want).await }
        };
        vec![
            Service::of::<L2Agent>().call(plug).call(filter).call(overlay).call(route).into(),
            Service::of::<DhcpAgent>().call(serve).into(),
        ]
    }

    /// Applies every want that is remembered, and goes on looking after the host.
    pub fn start(&self) {
        let agent = self.clone();
        let (env, stopped) = (&self.shared.context.env, self.shared.stopped.subscribe());
        env.spawn("network agent", async move { agent.run().await });
        let saying = announce::forever(self.shared.context.clone(), stopped);
        env.spawn("network agent.announce", saying);
    }

    /// Ends what it is doing. Taps and DHCP servers stay at work; metadata is no longer served.
    pub async fn stop(&self) {
        self.shared.stopped.send_replace(true);
        self.shared.slots.close().await;
        self.shared.metadata.close_all().await;
    }

    /// Stops, and removes everything that it has ever made on this host. What is wanted stays remembered: the
    /// next start makes it again.
    pub async fn purge(&self) -> Result<(), AgentError> {
        self.stop().await;
        let ports = self.shared.ports.rows().await?.iter().map(|row| row.want.port).collect();
        let (l2, dhcp, l3) = (&*self.shared.l2, &*self.shared.dhcp, &*self.shared.l3);
        let purge = driver::purge(l2, dhcp, l3, &ports);
        Ok(within(&self.shared.context.env, PURGE_DEADLINE, purge).await?)
    }

    /// Looks at the whole host, mends what is not as applied, and tells what differs.
    pub async fn reconcile(&self) -> Result<Report, AgentError> {
        let shared = &self.shared;
        let env = &shared.context.env;
        // The host first: whatever it shows then was wanted by a row that can be read now.
        let devices = within(env, L2_DEADLINE, shared.l2.inventory()).await?;
        let namespaces = within(env, DHCP_DEADLINE, shared.dhcp.inventory()).await?;
        let found_routers = within(env, L3_DEADLINE, shared.l3.inventory()).await?;
        let ports = shared.ports.rows().await?;
        let networks = shared.networks.rows().await?;
        let filters = shared.filters.rows().await?;
        let overlays = shared.overlays.rows().await?;
        let routers = shared.routers.rows().await?;
        shared.leases.forget(|want| {
            !want.present() && !networks.iter().any(|row| row.want.network == want.network)
        });
        let compared = Compared {
            life: shared.life,
            devices: &devices,
            namespaces: &namespaces,
            found_routers: &found_routers,
            ports: &ports,
            networks: &networks,
            filters: &filters,
            overlays: &overlays,
            routers: &routers,
        };
        self.mend(compared.findings()).await
    }

    async fn mend(&self, findings: Findings) -> Result<Report, AgentError> {
        let shared = &self.shared;
        for (port, generation) in &findings.lost_ports {
            tracing::warn!(%port, "the port's tap is not as it was made");
            shared.ports.lost(*port, *generation).await;
        }
        for (network, generation) in &findings.lost_networks {
            tracing::warn!(%network, "the network's DHCP server is not as it was made");
            shared.networks.lost(*network, *generation).await;
        }
        for (group, generation) in &findings.lost_filters {
            tracing::warn!(%group, "the security group is not as it was made");
            shared.filters.lost(*group, *generation).await;
        }
        for (network, generation) in &findings.lost_overlays {
            tracing::warn!(%network, "the network's tunnel is not as it was made");
            shared.overlays.lost(*network, *generation).await;
        }
        for (router, generation) in &findings.lost_routers {
            tracing::warn!(%router, "the router is not as it was made");
            shared.routers.lost(*router, *generation).await;
        }
        for network in &findings.empty_bridges {
            let _turn = shared.turns.take(*network).await;
            let removed = shared.l2.remove_bridge_if_empty(*network);
            within(&shared.context.env, L2_DEADLINE, removed).await?;
        }
        self.tell(&findings.orphans);
        Ok(Report {
            lost_ports: findings.lost_ports.into_keys().collect(),
            lost_networks: findings.lost_networks.into_keys().collect(),
            lost_filters: findings.lost_filters.into_keys().collect(),
            lost_overlays: findings.lost_overlays.into_keys().collect(),
            lost_routers: findings.lost_routers.into_keys().collect(),
            orphans: findings.orphans,
        })
    }

    /// Says once of each thing that nobody wants it.
    fn tell(&self, orphans: &BTreeSet<String>) {
        let mut told = self.shared.told.lock();
        for name in orphans.difference(&told) {
            tracing::warn!(name, "nobody wants this; it is left alone");
        }
        told.clone_from(orphans);
    }

    async fn plug(&self, ctx: Ctx, want: PortWant) -> Result<Plugged, Fault> {
        let row = self.shared.ports.take(&ctx, want).await?;
        let want = self.shared.ports.settled(&ctx, row).await?.want;
        let device = want.present.then(|| names::tap(want.port));
        Ok(Plugged { generation: want.generation, device })
    }

    async fn filter(&self, ctx: Ctx, want: FilterWant) -> Result<Filtered, Fault> {
        let row = self.shared.filters.take(&ctx, want).await?;
        let row = self.shared.filters.settled(&ctx, row).await?;
        Ok(Filtered { generation: row.want.generation })
    }

    async fn overlay(&self, ctx: Ctx, want: OverlayWant) -> Result<Overlaid, Fault> {
        let row = self.shared.overlays.take(&ctx, want).await?;
        let row = self.shared.overlays.settled(&ctx, row).await?;
        Ok(Overlaid { generation: row.want.generation })
    }

    async fn route(&self, ctx: Ctx, want: RouterWant) -> Result<RouterServed, Fault> {
        let row = self.shared.routers.take(&ctx, want).await?;
        let row = self.shared.routers.settled(&ctx, row).await?;
        Ok(RouterServed { generation: row.want.generation })
    }

    async fn serve(&self, ctx: Ctx, want: DhcpWant) -> Result<DhcpServed, Fault> {
        let row = self.shared.networks.take(&ctx, want).await?;
        let row = self.shared.networks.settled(&ctx, row).await?;
        Ok(DhcpServed { generation: row.want.generation })
    }

    async fn run(self) {
        self.load_leases().await;
        self.shared.ports.start();
        self.shared.networks.start();
        self.shared.filters.start();
        self.shared.overlays.start();
        self.shared.routers.start();
        let mut stopped = self.shared.stopped.subscribe();
        let mut checks = 0;
        loop {
            if checks % HEALTH_CHECKS_PER_RECONCILE == 0
                && let Err(error) = self.reconcile().await
            {
                tracing::warn!(%error, "the host was not compared with what is wanted");
            }
            checks += 1;
            let stop = stopped.wait_for(|stopped| *stopped);
            if self.shared.context.env.timeout(HEALTH_EVERY, stop).await.is_some() {
                return;
            }
            self.check_health().await;
        }
    }

    /// Who has which address, from the rows; metadata is not served before it is known.
    async fn load_leases(&self) {
        loop {
            match self.shared.networks.rows().await {
                Ok(rows) => {
                    let begun = rows.iter().filter(|row| row.asked.is_begun());
                    return begun.for_each(|row| self.shared.leases.learn(&row.want));
                }
                Err(error) => tracing::warn!(%error, "the agent's rows cannot be read"),
            }
            self.shared.context.env.sleep(STORE_PAUSE).await;
        }
    }

    async fn check_health(&self) {
        let mut wants = self.shared.leases.wants();
        wants.retain(|want| want.present());
        let check = |want: Arc<DhcpWant>| {
            let agent = self.clone();
            async move { agent.check_one(&want).await }
        };
        stream::iter(wants.into_iter().map(check))
            .buffer_unordered(HEALTH_AT_ONCE_MAX)
            .collect::<()>()
            .await;
    }

    async fn check_one(&self, want: &DhcpWant) {
        let (shared, network) = (&self.shared, want.network);
        let health = within(&shared.context.env, DHCP_DEADLINE, shared.dhcp.health(network)).await;
        let reason = match health {
            Ok(Health::Answering) if shared.metadata.listens(network) => return,
            Ok(Health::Answering) => "metadata is not served".to_owned(),
            Ok(Health::Down(reason)) => reason,
            Err(error) => {
                return tracing::warn!(%network, error = error.chain(), "its health is unknown");
            }
        };
        tracing::debug!(%network, reason, "DHCP is down");
        shared.networks.lost(network, want.generation).await;
    }
}

fn desk<W: Want>(
    context: &AgentContext,
    life: Uuid,
    turns: &Turns<Uuid>,
    slots: &Slots,
    hands: Arc<dyn Hands<W>>,
) -> Desk<W> {
    Desk::new(Keeping {
        env: context.env.clone(),
        rpc: context.rpc.clone(),
        store: context.store.clone(),
        tracer: context.tracer.clone(),
        host: context.host.to_string(),
        life,
        turns: turns.clone(),
        slots: slots.clone(),
        hands,
    })
}

/// Every kind of row that an agent stores.
pub(crate) fn stored() -> [Shape; 5] {
    [
        Shape::of::<Row<PortWant>>(),
        Shape::of::<Row<FilterWant>>(),
        Shape::of::<Row<OverlayWant>>(),
        Shape::of::<Row<RouterWant>>(),
        Shape::of::<Row<DhcpWant>>(),
    ]
}
