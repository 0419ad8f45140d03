//! What every service on a control node is made from.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use updraft_protocol::{
    compute::{NOT_SEALED, Seal},
    identity::{AuthContext, Principal},
};
use updraft_runtime::{
    Env,
    rows::Owns,
    rpc::{Ctx, Fault, FaultKind, Message, Rpc},
    store::Store,
    trace::{Step, StepKind, Tracer},
};

use crate::{
    seal::Placement,
    verify::{TokenError, Verifier},
};

/// What a service is given.
#[derive(Clone)]
pub struct Context {
    /// The door to the world.
    pub env: Env,
    /// For sending.
    pub rpc: Rpc,
    /// The shared store; a service takes its own prefix of it.
    pub store: Store,
    /// Where steps are recorded.
    pub tracer: Tracer,
    /// Judges tokens.
    pub verifier: Arc<Verifier>,
    /// The region's name in the catalog.
    pub region: String,
}

impl Context {
    /// Who an inner call is made for. The token that it carries is verified here, as document 000 has every
    /// service do; one that has ended passes only from a node of the cloud, within a bound. Before this node knows
    /// anybody it refuses nobody for ever: the call may be made again.
    pub fn principal(&self, ctx: &Ctx) -> Result<(AuthContext, Principal), Fault> {
        let denied =
            || Fault::new(FaultKind::Unauthenticated, "Unauthorized", "The token does not pass.");
        let context = AuthContext::decode(&ctx.context).map_err(|_| denied())?;
        let of_the_cloud = ctx.peer.has_role("control") || ctx.peer.has_role("compute");
        let verified = self.verifier.verify_context(&context, self.env.wall(), of_the_cloud);
        let principal = verified.map_err(|error| {
            tracing::info!(peer = %ctx.peer.node, %error, "an inner call's token does not pass");
            match error {
                // No verdict on the token: whoever asks again may hear one.
                TokenError::NotReady => unready(),
                _ => denied(),
            }
        })?;
        self.record(
            ctx.trace.trace_id,
            StepKind::Local,
            "identity/verify",
            ctx.topic.as_str(),
            "identity",
        );
        Ok((context, principal))
    }

    /// Refuses a host that acts for another one, or cannot show that the server is placed on it.
    pub fn placed(&self, ctx: &Ctx, placement: &Placement<'_>, seal: &Seal) -> Result<(), Fault> {
        let (node, Placement { server, host, generation }) = (&ctx.peer.node, placement);
        if node.as_str() != *host {
            let words = format!("node {node} may not act for host {host}");
            return Err(Fault::new(FaultKind::Forbidden, "NotYourself", words));
        }
        if !self.verifier.is_sealed(placement, seal).map_err(|_| unready())? {
            let words = format!(
                "no control node placed generation {generation} of server {server} on {host}"
            );
            return Err(Fault::new(FaultKind::Forbidden, NOT_SEALED, words));
        }
        Ok(())
    }

    /// What a host shows for [`Context::placed`].
    pub fn seal(&self, placement: &Placement<'_>) -> Result<Seal, Fault> {
        self.verifier.seal(placement).map_err(|_| unready())
    }

    /// Records a step between two actors of this node.
    pub fn record(&self, trace_id: [u8; 16], kind: StepKind, name: &str, from: &str, to: &str) {
        let here = self.rpc.local().to_string();
        self.tracer.record(Step {
            trace_id,
            at: self.env.wall(),
            kind,
            name: name.to_owned(),
            from: from.to_owned(),
            from_node: here.clone(),
            to: to.to_owned(),
            to_node: here,
        });
    }
}

fn unready() -> Fault {
    Fault::new(
        FaultKind::Unavailable,
        "NotReady",
        "Nothing is known of users and keys yet; try again.",
    )
}

/// Which of the live servers of a message acts for a row: the one with the highest hash of both (rendezvous
/// hashing). All nodes that see the same members agree; when they do not, a message is sent twice.
#[must_use]
pub fn owns<M: Message>(rpc: &Rpc) -> Owns {
    let rpc = rpc.clone();
    Arc::new(move |key| {
        let servers = rpc.directory().servers_of::<M>();
        let best = servers.iter().max_by_key(|node| score(node.as_str(), key));
        best.is_none_or(|node| node == rpc.local())
    })
}

fn score(node: &str, key: &str) -> u64 {
    // Keyed with constants, so that every node and every run computes the same.
    #[allow(deprecated, reason = "its keys are fixed, which is what is needed here")]
    let mut hasher = std::hash::SipHasher::new_with_keys(0, 0);
    (node, key).hash(&mut hasher);
    hasher.finish()
}
