//! What the compute service and the agents of hosts ask of the network service: `network.server`.
//!
//! Promises that a host hears of nothing but what is wanted of it.

use updraft_edge::seal::Placement;
use updraft_protocol::{
    identity::Principal,
    network::{
        Allocate, Announce, DhcpWant, FilterWant, GetDhcp, GetFilter, GetOverlay, GetPort,
        GetRouter, LeaveHost, NetworkInfo, OverlayWant, PortWant, Release, RouterWant, SERVER,
        Server, Validate, Validated,
    },
};
use updraft_runtime::{
    policy::Target,
    rpc::{Ctx, Fault, FaultKind, Service},
    store::{Record, StoreError},
    trace::StepKind,
};
use uuid::Uuid;

use crate::{
    ops::{overlays, servers, servers::Asker},
    rows::{DhcpRow, FilterRow, OverlayRow, PortRow, RouterRow, TunnelRow},
    service::Network,
};

/// The step by which a server's ports and addresses are in the database.
pub const STEP_ALLOCATED: &str = "network/allocate_ports";

/// The service of the topic.
pub(crate) fn service(network: &Network) -> Service {
    let (validating, allocating, releasing) = (network.clone(), network.clone(), network.clone());
    let leaving = network.clone();
    let (ports, networks, groups) = (network.clone(), network.clone(), network.clone());
    let (tunnels, routers, ends) = (network.clone(), network.clone(), network.clone());
    Service::of::<Server>()
        .call(move |ctx, request: Validate| {
            let network = validating.clone();
            async move { network.validate(&ctx, request).await }
        })
        .call(move |ctx, request: Allocate| {
            let network = allocating.clone();
            async move { network.allocate(&ctx, request).await }
        })
        .call(move |ctx, request: Release| {
            let network = releasing.clone();
            async move { network.release(&ctx, request).await }
        })
        .call(move |ctx, request: LeaveHost| {
            let network = leaving.clone();
            async move { network.leave_host(&ctx, request).await }
        })
        .call(move |ctx, GetPort { port }: GetPort| {
            let network = ports.clone();
            async move { network.port_on(&ctx, port).await }
        })
        .call(move |ctx, GetDhcp { network: id }: GetDhcp| {
            let network = networks.clone();
            async move { network.dhcp_on(&ctx, id).await }
        })
        .call(move |ctx, GetFilter { group }: GetFilter| {
            let network = groups.clone();
            async move { network.filter_on(&ctx, group).await }
        })
        .call(move |ctx, GetOverlay { network: id }: GetOverlay| {
            let network = tunnels.clone();
            async move { network.overlay_on(&ctx, id).await }
        })
        .call(move |ctx, GetRouter { router }: GetRouter| {
            let network = routers.clone();
            async move { network.router_on(&ctx, router).await }
        })
        .call(move |ctx, said: Announce| {
            let network = ends.clone();
            async move { network.announced(&ctx, said).await }
        })
        .into()
}

impl Network {
    /// For whom a call is made, if they may have ports at all.
    fn asker(&self, principal: &Principal, project_id: &str) -> Result<Asker, Fault> {
        let caller = self.enforcer().principal(principal, None);
        let target = Target::new()
            .with("project_id", project_id)
            .with("network:project_id", project_id)
            .with("network:shared", false);
        let is_admin = caller.may("context_is_admin", &Target::new());
        let own = principal.project_id() == Some(project_id);
        if !caller.may("create_port", &target) || !(own || is_admin) {
            return Err(Fault::new(
                FaultKind::Forbidden,
                "PolicyNotAuthorized",
                "rule:create_port is disallowed by policy",
            ));
        }
        Ok(Asker { project_id: project_id.to_owned(), is_admin })
    }

    async fn validate(&self, ctx: &Ctx, request: Validate) -> Result<Validated, Fault> {
        let (_, principal) = self.context().principal(ctx)?;
        let asker = self.asker(&principal, principal.project_id().unwrap_or_default())?;
        let validated =
            self.core().transact(ctx.trace, |work| servers::validate(work, &asker, &request)).await;
        validated.map_err(crate::error::NetworkError::fault)
    }

    async fn allocate(&self, ctx: &Ctx, request: Allocate) -> Result<NetworkInfo, Fault> {
        let (_, principal) = self.context().principal(ctx)?;
        let Allocate { server, host, generation, seal, .. } = &request;
        let placement = Placement { server: *server, host, generation: *generation };
        self.context().placed(ctx, &placement, seal)?;
        let asker = self.asker(&principal, &request.project_id)?;
        let ports = self
            .core()
            .transact(ctx.trace, |work| servers::allocate(work, &asker, &request))
            .await
            .map_err(crate::error::NetworkError::fault)?;
        let trace_id = ctx.trace.trace_id;
        self.context().record(trace_id, StepKind::Store, STEP_ALLOCATED, SERVER, "database");
        Ok(NetworkInfo { ports })
    }

    async fn port_on(&self, ctx: &Ctx, port: Uuid) -> Result<Option<PortWant>, Fault> {
        let row = self.row::<PortRow>(&port.to_string()).await?;
        let host = ctx.peer.node.as_str();
        Ok(row.and_then(|row| row.bindings.get(host).map(|binding| binding.want.clone())))
    }

    async fn dhcp_on(&self, ctx: &Ctx, network: Uuid) -> Result<Option<DhcpWant>, Fault> {
        let key = DhcpRow::key_of(network, ctx.peer.node.as_str());
        Ok(self.row::<DhcpRow>(&key).await?.map(|row| row.want))
    }

    async fn filter_on(&self, ctx: &Ctx, group: Uuid) -> Result<Option<FilterWant>, Fault> {
        let key = FilterRow::key_of(group, ctx.peer.node.as_str());
        Ok(self.row::<FilterRow>(&key).await?.map(|row| row.want))
    }

    async fn overlay_on(&self, ctx: &Ctx, network: Uuid) -> Result<Option<OverlayWant>, Fault> {
        let key = OverlayRow::key_of(network, ctx.peer.node.as_str());
        Ok(self.row::<OverlayRow>(&key).await?.map(|row| row.want))
    }

    async fn router_on(&self, ctx: &Ctx, router: Uuid) -> Result<Option<RouterWant>, Fault> {
        let row = self.row::<RouterRow>(&router.to_string()).await?;
        Ok(row.and_then(|row| row.told_of(ctx.peer.node.as_str()).cloned()))
    }

    async fn announced(&self, ctx: &Ctx, said: Announce) -> Result<(), Fault> {
        let Announce { address, incarnation, physical_networks } = said;
        let host = ctx.peer.node.to_string();
        let row = TunnelRow { host, address, incarnation, physical_networks };
        let noted =
            self.core().transact(ctx.trace, |work| Ok(overlays::announced(work.txn, &row)?)).await;
        noted.map_err(crate::error::NetworkError::fault)
    }

    async fn row<R: Record>(&self, key: &str) -> Result<Option<R>, StoreError> {
        self.core().store.read(|txn| txn.get::<R>(key)).await
    }

    async fn leave_host(&self, ctx: &Ctx, request: LeaveHost) -> Result<bool, Fault> {
        let left = self.core().transact(ctx.trace, |work| servers::leave(work, &request)).await;
        left.map_err(crate::error::NetworkError::fault)
    }

    async fn release(&self, ctx: &Ctx, request: Release) -> Result<bool, Fault> {
        let released =
            self.core().transact(ctx.trace, |work| servers::release(work, &request)).await;
        released.map_err(crate::error::NetworkError::fault)
    }
}
