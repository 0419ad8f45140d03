//! The network service on a control node.

use std::{sync::Arc, time::Duration};

use axum::Router;
use updraft_edge::{
    context::{Context, owns},
    policy::Enforcer,
    rest,
};
use updraft_protocol::network::Allocate;
use updraft_runtime::{policy::Policy, rows::Engine, rpc::Service, store::Record};

use crate::{
    actor, agents, api,
    config::Config,
    converge::{DhcpHosts, Filters, Overlays, Ports, Routers},
    follow::{self, Engines},
    policy,
    rows::{DeviceRow, SCOPE},
    work::Core,
};

/// How long a server whose ports were released is remembered: far longer than any message is under way.
const TOMBSTONE_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// How often those that are older are looked for.
const TOMBSTONE_ROUND: Duration = Duration::from_secs(60 * 60);

/// How many are looked at in one transaction.
const TOMBSTONE_PAGE: usize = 256;

/// The pause after the store did not serve.
const PAUSE: Duration = Duration::from_millis(200);

/// The network service; cheap to clone.
#[derive(Clone)]
pub struct Network {
    inner: Arc<Inner>,
}

struct Inner {
    context: Context,
    core: Core,
    policy: Arc<Policy>,
    enforcer: Enforcer,
    engines: Engines,
}

impl Network {
    /// The service with these settings and the default rules. Nothing runs before [`Network::start`].
    #[must_use]
    pub fn new(context: Context, config: Config) -> Self {
        Self::with_policy(context, config, policy::default_policy())
    }

    /// The same with an operator's rules.
    #[must_use]
    pub fn with_policy(context: Context, config: Config, policy: Arc<Policy>) -> Self {
        let store = context.store.scoped(SCOPE);
        let core =
            Core { env: context.env.clone(), store: store.clone(), config: Arc::new(config) };
        let enforcer = Enforcer::new(rest::Service::Network, policy.clone());
        let (owns, board) = (owns::<Allocate>(&context.rpc), context.rpc.alarms().clone());
        let kind = Ports { context: context.clone(), store: store.clone() };
        let ports = Engine::new(&context.env, store.clone(), kind, owns.clone()).shown_on(&board);
        let kind = DhcpHosts { context: context.clone() };
        let dhcp = Engine::new(&context.env, store.clone(), kind, owns.clone()).shown_on(&board);
        let kind = Filters { context: context.clone() };
        let filters = Engine::new(&context.env, store.clone(), kind, owns.clone()).shown_on(&board);
        let kind = Overlays { context: context.clone() };
        let overlays =
            Engine::new(&context.env, store.clone(), kind, owns.clone()).shown_on(&board);
        let kind = Routers { context: context.clone() };
        let routers = Engine::new(&context.env, store, kind, owns).shown_on(&board);
        let engines = Engines { ports, dhcp, filters, overlays, routers };
        Self { inner: Arc::new(Inner { context, core, policy, enforcer, engines }) }
    }

    /// What answers the other services.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        vec![actor::service(self)]
    }

    /// What answers clients, without the path that it is mounted below.
    pub fn router(&self) -> Router {
        api::router(&self.inner.context, &self.inner.core, self.inner.policy.clone())
    }

    /// Starts the engines and the background tasks.
    pub fn start(&self) {
        let Inner { context, core, engines, .. } = &*self.inner;
        engines.start();
        follow::start(context, &core.store, engines);
        context
            .env
            .spawn("network.agents", agents::note_forever(core.clone(), context.rpc.clone()));
        context.env.spawn("network.tombstones", self.clone().forget_forever());
    }

    pub(crate) fn context(&self) -> &Context {
        &self.inner.context
    }

    pub(crate) fn core(&self) -> &Core {
        &self.inner.core
    }

    pub(crate) fn enforcer(&self) -> &Enforcer {
        &self.inner.enforcer
    }

    /// Forgets servers whose ports were released long ago.
    async fn forget_forever(self) {
        loop {
            self.inner.core.env.sleep(TOMBSTONE_ROUND).await;
            let mut after = None;
            loop {
                match self.forget(after.as_deref()).await {
                    Ok(Some(last)) => after = Some(last),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::warn!(%error, "released servers were not forgotten");
                        self.inner.core.env.sleep(PAUSE).await;
                    }
                }
            }
        }
    }

    /// Forgets some; returns the last that was looked at, if there may be more.
    async fn forget(&self, after: Option<&str>) -> Result<Option<String>, crate::NetworkError> {
        let forget = |work: &mut crate::work::Work<'_>| {
            let page = work.txn.scan::<DeviceRow>(after, TOMBSTONE_PAGE)?;
            for row in &page {
                if row.released_at.is_some_and(|at| work.now.since(at) > TOMBSTONE_AGE) {
                    work.txn.delete::<DeviceRow>(&row.key())?;
                }
            }
            let full = page.len() == TOMBSTONE_PAGE;
            Ok(page.last().map(Record::key).filter(|_| full))
        };
        self.inner.core.transact(Default::default(), forget).await
    }
}
