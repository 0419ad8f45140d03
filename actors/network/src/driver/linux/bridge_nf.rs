//! Sees to it that the kernel can show bridged packets to its connection tracking.
//!
//! That is `br_netfilter`. It is asked for on the agent's own bridges alone, as an option of each; the settings of
//! the host, which would be for all bridges of everybody, stay as they are.

use std::path::Path;

use updraft_runtime::Env;

use super::command;
use crate::driver::DriverError;

/// Is there when `br_netfilter` is.
const SETTINGS: &str = "/proc/sys/net/bridge";

/// The options of a bridge by which its packets are shown to the rules of both internet protocols.
pub(super) const OPTIONS: [&str; 4] = ["nf_call_iptables", "1", "nf_call_ip6tables", "1"];

/// Loads it where it is a module.
pub(super) async fn ensure(env: &Env, modprobe: &Path) -> Result<(), DriverError> {
    if is_there() {
        return Ok(());
    }
    let doing = "loading br_netfilter, without which no security group can be enforced";
    let loaded = command::run(env, modprobe, &["br_netfilter"], "").await;
    loaded.map_err(|error| DriverError::failed(doing, error))?;
    if is_there() { Ok(()) } else { Err(DriverError::failed(doing, "the kernel has it not")) }
}

fn is_there() -> bool {
    Path::new(SETTINGS).exists()
}
