//! What all parts of the service share, and the way a change takes to every node.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use updraft_edge::{context::Context, token::CLOCK_SKEW_MAX, verify::Verifier};
use updraft_protocol::identity::{Changed, Held, Keeper, POLL, Principal, TOPIC};
use updraft_runtime::{
    Env,
    env::UnixMicros,
    policy::Target,
    rpc::{Cx, Rpc, TraceContext},
    store::{Store, StoreError},
    trace::{Step, StepKind, Tracer},
};

use crate::{
    config::Config,
    error::Error,
    ledger::{self, Change},
    password::Hasher,
    policy,
    publish::Publisher,
};

/// The store's prefix of this service.
const PREFIX: &str = "identity/";

/// How long a request that changed something waits for the other control nodes to hold the change.
/// One that does not answer hears of it within [`POLL`].
pub const ACKNOWLEDGED_WITHIN: Duration = Duration::from_millis(500);

/// A difference of clocks that is worth a warning. NTP keeps them within milliseconds; the way of a
/// message counts in.
const LEAD_WARNED: Duration = Duration::from_secs(1);

/// The service's inside.
pub(crate) struct Core {
    pub(crate) env: Env,
    pub(crate) rpc: Rpc,
    pub(crate) tracer: Tracer,
    pub(crate) store: Store,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) publisher: Publisher,
    pub(crate) hasher: Hasher,
    pub(crate) config: Config,
    /// The version that every live control node has said to hold.
    announced: AtomicU64,
}

impl Core {
    /// Records that a token was asked for and given, under the token's audit id: the flows that it begins
    /// lead back to it.
    pub(crate) fn record_issue(&self, asked: UnixMicros, principal: &Principal) {
        let here = self.rpc.local().to_string();
        let trace_id = principal.audit_ids.first().map(|id| id.0).unwrap_or_default();
        let step = |at, kind, name: &str, from: &str, to: &str| Step {
            trace_id,
            at,
            kind,
            name: name.to_owned(),
            from: from.to_owned(),
            from_node: here.clone(),
            to: to.to_owned(),
            to_node: here.clone(),
        };
        let asked =
            step(asked, StepKind::Rest, "identity/POST /v3/auth/tokens", "client", "identity");
        let now = self.env.wall();
        let given = step(now, StepKind::Local, "identity/token_issued", "identity", "client");
        self.tracer.record(asked);
        self.tracer.record(given);
    }

    pub(crate) fn new(context: Context, config: Config) -> Self {
        let store = context.store.scoped(PREFIX);
        Self {
            publisher: Publisher::new(store.clone(), context.verifier.clone()),
            hasher: Hasher::new(context.env.clone(), config.hash_cost),
            env: context.env,
            tracer: context.tracer,
            rpc: context.rpc,
            store,
            verifier: context.verifier,
            config,
            announced: AtomicU64::new(0),
        }
    }

    /// Refuses unless the rule lets the caller act on the target.
    pub(crate) fn enforce(
        &self,
        caller: &Principal,
        rule: &'static str,
        target: &Target,
    ) -> Result<(), Error> {
        policy::enforce(&self.config.policy, caller, rule, target)
    }

    /// Makes a change, durably, and waits a moment until every live control node judges by it.
    pub(crate) async fn change<T>(
        &self,
        work: impl FnMut(&mut Change<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let value = ledger::change(&self.store, work).await?;
        self.announce().await;
        Ok(value)
    }

    /// Publishes here what is committed, if the store answers.
    pub(crate) async fn publish(&self) {
        if let Err(error) = self.publisher.catch_up().await {
            tracing::warn!(%error, "the identity snapshot is not there yet");
        }
    }

    /// Publishes here what any server commits, as soon as it does.
    pub(crate) async fn follow(&self) {
        let mut feed = self.store.watch(ledger::FEED);
        loop {
            match self.publisher.catch_up().await {
                Ok(_) => {
                    feed.changed().await;
                }
                // The node ends.
                Err(StoreError::Closed) => return,
                Err(error) => {
                    tracing::warn!(%error, "the identity snapshot is not up to date");
                    self.env.sleep(POLL).await;
                }
            }
        }
    }

    /// Publishes what is committed, here and on every live control node. It never fails: whoever does
    /// not hear of it asks by itself.
    pub(crate) async fn announce(&self) {
        let version = match self.publisher.catch_up().await {
            Ok(snapshot) => snapshot.version,
            Err(error) => {
                tracing::warn!(%error, "a change is committed and not yet published");
                return;
            }
        };
        if version <= self.announced.load(Ordering::Relaxed) {
            return;
        }
        if self
            .tell(version)
            .await
            .iter()
            .all(|held| held.is_some_and(|held| held.version >= version))
        {
            self.announced.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// Tells the keepers of all other live control nodes that there is a version, and waits a moment
    /// for what they hold then.
    async fn tell(&self, version: u64) -> Vec<Option<Held>> {
        let mut others = self.rpc.directory().servers_anywhere::<Changed>();
        others.retain(|node| node != self.rpc.local());
        let told = others.iter().map(|node| async move {
            let cx = Cx::new(TOPIC, TraceContext::default()).within(&self.env, ACKNOWLEDGED_WITHIN);
            let held = self.rpc.client::<Keeper>().on(node).call(&Changed { version }, &cx).await;
            held.inspect_err(|error| {
                tracing::warn!(%node, %error, "a control node did not acknowledge a change");
            })
            .ok()
        });
        join_all(told).await
    }

    /// How far the clock of another live control node is ahead of this one's, at most.
    ///
    /// What is revoked now is revoked as of a time that no token has which any of them has issued.
    pub(crate) async fn clock_lead(&self) -> Duration {
        let asked_at = self.env.wall();
        let held = self.tell(self.verifier.snapshot().version).await;
        let leads = held.into_iter().flatten().map(|held| held.wall.since(asked_at));
        let lead = leads.max().unwrap_or_default();
        if lead > LEAD_WARNED {
            tracing::warn!(?lead, "the clocks of control nodes differ; keep them in step");
        }
        // Further ahead, its tokens pass nowhere else.
        lead.min(CLOCK_SKEW_MAX)
    }
}
