//! What every service's REST edge shares: tokens, policy, errors, versions.
