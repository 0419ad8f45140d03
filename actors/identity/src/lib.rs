//! The identity service: who is who, who may be what where, and the tokens that say so.
//!
//! Owns domains, projects, users, groups, roles, their assignments, the catalog, and the keys of
//! tokens. What it knows it publishes as a snapshot by which every control node judges tokens
//! without asking ([`SnapshotKeeper`]); a request that takes something away is answered once every
//! live control node holds the change, or after a bounded wait. Passwords never leave this crate and
//! are hashed off the network's threads. It calls no other service.

mod actor;
mod api;
mod authenticate;
mod bootstrap;
mod config;
mod core;
mod error;
mod issue;
mod keeper;
mod keys;
mod ledger;
mod password;
mod policy;
mod publish;
mod rotation;
mod rows;

use std::sync::Arc;

use axum::Router;
use updraft_edge::context::Context;
use updraft_runtime::{rpc::Service, store::Shape};

pub use bootstrap::{BootstrapConfig, CatalogEntry, catalog_at};
pub use config::Config;
pub use core::ACKNOWLEDGED_WITHIN;
pub use error::Error;
pub use keeper::SnapshotKeeper;
pub use keys::{KEYS_MAX, ROTATION_PAUSE_MIN};
pub use password::{HASHES_WAITING_MAX, HashCost, PASSWORD_MAX_BYTES};
pub use policy::default_policy;
pub use updraft_protocol::identity::Rotated;

use crate::core::Core;

/// The identity service on one control node, cheap to clone.
#[derive(Clone)]
pub struct Identity {
    core: Arc<Core>,
}

impl Identity {
    /// A service on what a control node offers.
    #[must_use]
    pub fn new(context: Context, config: Config) -> Self {
        Self { core: Arc::new(Core::new(context, config)) }
    }

    /// What the node has to serve.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        actor::services(&self.core)
    }

    /// The REST API: `/` and `/v3`.
    pub fn router(&self) -> Router {
        api::router(&self.core)
    }

    /// Tells this node's verifier what is committed. Done before the node serves, its first caller is judged like
    /// any other; if the store does not answer, it is done later by what [`Identity::start`] starts.
    pub async fn publish(&self) {
        self.core.publish().await;
    }

    /// Follows what other servers commit, and keeps house. Call it once the node runs.
    pub fn start(&self) {
        let core = self.core.clone();
        self.core.env.spawn("identity-follower", async move { core.follow().await });
        let core = self.core.clone();
        self.core.env.spawn("identity-house", rotation::keep_house(core));
    }

    /// Makes what a cloud begins with, as far as it is missing; may be called at every start.
    ///
    /// An administrator's password that is not the given one is changed to it, and addresses of the
    /// catalog that are not the given ones are changed to these.
    pub async fn bootstrap(&self, config: &BootstrapConfig) -> Result<(), Error> {
        bootstrap::bootstrap(&self.core, config).await
    }

    /// Makes the staged key of tokens the primary one and stages a new one.
    pub async fn rotate_keys(&self) -> Result<Rotated, Error> {
        rotation::rotate(&self.core).await.map(|row| row.rotated())
    }
}

/// Every kind of row that this crate stores.
#[must_use]
pub fn stored() -> Vec<Shape> {
    vec![
        Shape::of::<rows::DomainRow>(),
        Shape::of::<rows::ProjectRow>(),
        Shape::of::<rows::UserRow>(),
        Shape::of::<rows::GroupRow>(),
        Shape::of::<rows::MemberRow>(),
        Shape::of::<rows::RoleRow>(),
        Shape::of::<rows::GrantRow>(),
        Shape::of::<rows::RegionRow>(),
        Shape::of::<rows::ServiceRow>(),
        Shape::of::<rows::EndpointRow>(),
        Shape::of::<rows::KeysRow>(),
        Shape::of::<rows::RevokedRow>(),
        Shape::of::<ledger::FeedRow>(),
        Shape::of_log::<std::collections::BTreeSet<ledger::Touched>>(ledger::FEED),
    ]
}
