//! What stands in front of every service's routes.
//!
//! [`Edge::mount`] puts it there. A handler asks for what it needs by its arguments: [`Auth`],
//! [`JsonBody`], [`Query`], [`Microversion`], [`Links`], [`RequestId`]; and fails with a
//! [`ServiceError`], made by [`Service`]'s methods, which is told in that service's own format. A
//! handler that panics is that service's 500, without detail, and is counted.

pub mod time;

mod auth;
mod body;
mod edge;
mod error;
mod fault;
mod html;
mod links;
mod microversion;
mod page;
mod query;
mod request_id;
mod service;
mod strict;
mod versions;

pub use auth::Auth;
pub use body::{JSON_BODY_MAX_BYTES, JSON_BODY_TIMEOUT, JsonBody, from_value, parse};
pub use edge::{Edge, EdgeConfig};
pub use error::ServiceError;
pub use links::{Links, Scheme};
pub use microversion::{Microversion, VersionRange};
pub use page::{IMAGE_PAGE_DEFAULT, PAGE_MAX, Page};
pub use query::Query;
pub use request_id::RequestId;
pub use service::Service;
