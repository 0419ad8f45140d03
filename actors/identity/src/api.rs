//! The REST API: one file per resource.
//!
//! Handlers judge, read or change rows in one transaction, and answer in Keystone's forms.

mod assignments;
mod auth;
mod domains;
mod endpoints;
mod fields;
mod grants;
mod groups;
mod list;
mod options;
mod passwords;
mod places;
mod projects;
mod regions;
mod roles;
mod services;
mod tags;
#[cfg(test)]
mod tests;
mod tree;
mod users;

use std::sync::Arc;

use axum::Router;
use serde_json::{Map, Value};
use updraft_edge::rest::{Auth, Edge, EdgeConfig, Microversion, Service, VersionRange};
use updraft_protocol::identity::Scope;
use updraft_runtime::policy::{Attribute, Target};

use crate::{core::Core, rows::DEFAULT_DOMAIN_ID};

/// The version of the API, of which there is one.
const VERSION: Microversion = Microversion::new(3, 14);

/// What a handler is given.
pub(crate) type Shared = Arc<Core>;

/// The whole service.
pub(crate) fn router(core: &Arc<Core>) -> Router {
    let config = EdgeConfig {
        identity_url: core.config.identity_url.clone(),
        public_url: core.config.public_url.clone(),
        ..EdgeConfig::new(
            Service::Identity,
            core.env.clone(),
            core.verifier.clone(),
            core.config.policy.clone(),
            VersionRange::new(VERSION, VERSION),
        )
    };
    let public = auth::public().merge(passwords::routes());
    let protected = auth::protected()
        .merge(assignments::routes())
        .merge(domains::routes())
        .merge(endpoints::routes())
        .merge(grants::routes())
        .merge(groups::routes())
        .merge(projects::routes())
        .merge(regions::routes())
        .merge(roles::routes())
        .merge(services::routes())
        .merge(tags::routes())
        .merge(users::routes());
    Edge::new(config).mount(public.with_state(core.clone()), protected.with_state(core.clone()))
}

/// A target with the attributes of what a rule asks about: `target.user.domain_id` and its like.
fn about(target: Target, what: &str, attributes: &[(&str, Option<&str>)]) -> Target {
    attributes.iter().fold(target, |target, (name, value)| {
        let value = value.map_or(Attribute::Null, Attribute::from);
        target.with(format!("target.{what}.{name}"), value)
    })
}

/// The domain of something new: the given one, or that of the token, or the default one.
fn domain_of_new(given: Option<fields::Id>, auth: &Auth) -> String {
    match (given, &auth.principal.scope) {
        (Some(id), _) => id.0,
        (None, Scope::Domain(domain)) => domain.id.clone(),
        (None, _) => DEFAULT_DOMAIN_ID.to_owned(),
    }
}

/// Attributes that a request gives beside the known ones; names as Keystone stores them.
fn normalized(extra: Map<String, Value>) -> Map<String, Value> {
    extra.into_iter().map(|(name, value)| (name.replace([':', '-'], "_"), value)).collect()
}
