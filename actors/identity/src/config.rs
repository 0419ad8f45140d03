//! Settings of the identity service.

use std::{sync::Arc, time::Duration};

use updraft_runtime::policy::Policy;

use crate::{password::HashCost, policy};

/// Settings; the defaults are those of Keystone.
#[derive(Clone, Debug)]
pub struct Config {
    /// How long a token lives.
    pub token_lifetime: Duration,
    /// How often the keys of tokens are rotated.
    pub key_rotation: Duration,
    /// What hashing a password costs.
    pub hash_cost: HashCost,
    /// The rules: [`crate::default_policy`], or that with an operator's changes.
    pub policy: Arc<Policy>,
    /// The address of this service's root as clients shall see it; without one, what the client
    /// itself used.
    pub public_url: Option<String>,
    /// Where a client without a token finds this service: an address, or a path on the same host.
    pub identity_url: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token_lifetime: Duration::from_secs(60 * 60),
            key_rotation: Duration::from_secs(24 * 60 * 60),
            hash_cost: HashCost::default(),
            policy: policy::default_policy(),
            public_url: None,
            identity_url: "/identity".to_owned(),
        }
    }
}
