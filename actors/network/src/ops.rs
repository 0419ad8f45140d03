//! What is done with the rows, each within a transaction of its caller.
//!
//! Owns the rules of the service: what may be made, what is in use, what goes along with what. It knows
//! neither REST nor RPC nor policy, and waits for nobody.

pub(crate) mod dhcp;
pub(crate) mod filters;
pub(crate) mod fixed;
pub(crate) mod floatingips;
pub(crate) mod interfaces;
pub(crate) mod networks;
pub(crate) mod overlays;
pub(crate) mod ports;
pub(crate) mod quotas;
pub(crate) mod routers;
pub(crate) mod routing;
pub(crate) mod rules;
pub(crate) mod security;
pub(crate) mod servers;
pub(crate) mod subnets;

/// Puts a row that changed for a client's eyes, in its next revision; one that did not is left alone.
macro_rules! save {
    ($work:expr, $old:expr, $new:expr) => {{
        let mut new = $new;
        if new != *$old {
            new.standard.touch($work.now);
            $work.txn.put(&new)?;
        }
        new
    }};
}
pub(crate) use save;
