//! The kinds of actors that a node can be told to run.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use updraft_transport::PeerIdentity;
use uuid::Uuid;

use crate::{
    Env,
    env::BoxFuture,
    rpc::{Fault, FaultKind, Rpc, Service, has_any},
};

/// Where an actor is made.
#[derive(Clone)]
pub struct Place {
    /// The door to its host's world.
    pub env: Env,
    /// For what it sends itself.
    pub rpc: Rpc,
    /// Its id, unique in the cloud.
    pub id: Uuid,
}

type Make = Arc<dyn Fn(Bytes, Place) -> BoxFuture<'static, Result<Service, Fault>> + Send + Sync>;

/// A kind: who may have its actors run here, and how they are made.
#[derive(Clone)]
struct Kind {
    from: &'static [&'static str],
    make: Make,
}

/// The kinds that a node knows, by name.
#[derive(Clone, Default)]
pub struct Kinds {
    kinds: BTreeMap<&'static str, Kind>,
}

impl Kinds {
    /// No kinds.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more kind, made from `A`, for owners whose certificates carry one of these roles. Its maker's error reaches
    /// whoever asked for the actor; it may take no longer than a [lease](super::LEASE).
    #[must_use]
    pub fn with<A, F, R>(
        mut self,
        name: &'static str,
        from: &'static [&'static str],
        make: F,
    ) -> Self
    where
        A: DeserializeOwned + Send + 'static,
        F: Fn(A, Place) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Service, Fault>> + Send + 'static,
    {
        let make = Arc::new(make);
        let decoded: Make = Arc::new(move |args, place| {
            let make = make.clone();
            Box::pin(async move {
                let args = postcard::from_bytes(&args).map_err(|error| {
                    let why = format!("what an actor of kind {name} is made from: {error}");
                    Fault::new(FaultKind::Invalid, "Arguments", why)
                })?;
                make(args, place).await
            })
        });
        self.kinds.insert(name, Kind { from, make: decoded });
        self
    }

    pub(super) async fn make(
        &self,
        owner: &PeerIdentity,
        kind: &str,
        args: Bytes,
        place: Place,
    ) -> Result<Service, Fault> {
        let Some(Kind { from, make }) = self.kinds.get(kind) else {
            let known: Vec<_> = self.kinds.keys().copied().collect();
            let why = format!("no actor of kind {kind} is known here; known: {}", known.join(", "));
            return Err(Fault::new(FaultKind::NotFound, "UnknownKind", why));
        };
        if !has_any(&owner.roles, from) {
            let why = format!("node {} may not have actors of kind {kind} run here", owner.node);
            return Err(Fault::new(FaultKind::Forbidden, "NotForYou", why));
        }
        make(args, place).await
    }
}
