//! Services that come and go while their node runs.

use std::sync::{Arc, Weak};

use parking_lot::RwLock;

use super::{super::message::actor_key, Running, Service, Topic};
use crate::{Env, supervise::Child, vitals::Vitals};

pub(super) type Services = RwLock<std::collections::BTreeMap<Topic, Arc<Running>>>;

/// Opens services on a node, and does not keep it.
#[derive(Clone)]
pub(crate) struct Opener {
    pub(super) env: Env,
    pub(super) vitals: Vitals,
    pub(super) services: Weak<Services>,
}

/// A service that is open until this is dropped.
pub(crate) struct Opened {
    services: Weak<Services>,
    running: Arc<Running>,
}

impl Opener {
    /// Opens a service of this name beside the others of its topic; `None` if the node is ending.
    pub(crate) fn open(&self, service: Service, name: &str) -> Option<Opened> {
        let key = Topic::new(&actor_key(service.topic().as_str(), name));
        let running = Running::new(&self.env, &self.vitals, key.clone(), service);
        self.services.upgrade()?.write().insert(key, running.clone());
        Some(Opened { services: self.services.clone(), running })
    }
}

impl Opened {
    /// What a supervisor starts.
    pub(crate) fn child(&self) -> Child {
        self.running.child()
    }

    /// What it is called among the children.
    pub(crate) fn name(&self) -> &str {
        self.running.topic().as_str()
    }

    /// Waits until its actor has ended.
    pub(crate) async fn ended(&self) {
        self.running.ended().await;
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(services) = self.services.upgrade() {
            services.write().remove(self.running.topic());
        }
    }
}
