//! The image service: what guests boot from, and what it is.
//!
//! Owns the rows of images and their bytes. Promises that an image is active only when its bytes are whole,
//! durable and what they are said to be; that a location or a byte is told only to who may have it; and that
//! no byte outlives its row. Holds no image in memory: bytes pass in bounded pieces, both ways.
//!
//! Never reads a URL, follows a backing file, or trusts what a caller says of its own rights.

use std::sync::Arc;

use axum::Router;
use tokio::sync::Semaphore;
use updraft_edge::context::{Context, owns};
use updraft_protocol::image::Locate;
use updraft_runtime::{policy::Policy, rows::Engine, rpc::Service, store::Shape};

mod actor;
mod api;
mod asker;
mod attributes;
mod blobs;
pub mod decisions;
mod digest;
mod error;
mod inspect;
mod plan;
mod policy;
mod repository;
mod rows;
mod sweep;
mod upload;

pub use blobs::{ByteStore, ByteStoreError};
pub use sweep::{Leak, Usage, UsageError};

use blobs::Blobs;
use plan::Images;
use repository::Repository;

/// Prefix of this service's rows in the store.
const PREFIX: &str = "image/";

/// What an operator can set.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where bytes are kept.
    pub bytes: ByteStore,
    /// Largest image that may be uploaded, in bytes.
    pub size_max_bytes: u64,
    /// Rules that replace the defaults.
    pub policy: Arc<Policy>,
}

/// Largest image unless a setting says otherwise, in bytes: 1 TiB, as in the real service.
const SIZE_MAX_BYTES: u64 = 1 << 40;

impl Default for Config {
    fn default() -> Self {
        Self {
            bytes: ByteStore::memory(),
            size_max_bytes: SIZE_MAX_BYTES,
            policy: policy::default_policy(),
        }
    }
}

/// The image service on one node; clones share it.
#[derive(Clone)]
pub struct Image {
    shared: Arc<Shared>,
}

/// What every part of the service can see.
pub(crate) struct Shared {
    context: Context,
    config: Config,
    policy: Arc<Policy>,
    repository: Repository,
    blobs: Blobs,
    engine: Engine<Images>,
    uploads: Arc<Semaphore>,
}

impl Image {
    /// The service; it does nothing by itself before [`Image::start`].
    #[must_use]
    pub fn new(context: Context, config: Config) -> Self {
        let context = Context { store: context.store.scoped(PREFIX), ..context };
        let blobs = Blobs::new(&context.env, config.bytes.clone());
        let engine = Engine::new(
            &context.env,
            context.store.clone(),
            Images { blobs: blobs.clone() },
            owns::<Locate>(&context.rpc),
        )
        .shown_on(context.rpc.alarms());
        let shared = Shared {
            repository: Repository::new(&context.env, context.store.clone()),
            policy: config.policy.clone(),
            uploads: Arc::new(Semaphore::new(upload::UPLOADS_MAX)),
            context,
            config,
            blobs,
            engine,
        };
        Self { shared: Arc::new(shared) }
    }

    /// What answers other services.
    #[must_use]
    pub fn services(&self) -> Vec<Service> {
        vec![actor::service(&self.shared)]
    }

    /// What answers users.
    pub fn router(&self) -> Router {
        api::router(&self.shared)
    }

    /// Starts what goes on by itself: rows converge, and leftovers are swept.
    pub fn start(&self) {
        self.shared.engine.start();
        sweep::start(&self.shared);
    }
}

/// Every kind of row that this crate stores.
#[must_use]
pub fn stored() -> Vec<Shape> {
    vec![Shape::of::<rows::ImageRow>()]
}
