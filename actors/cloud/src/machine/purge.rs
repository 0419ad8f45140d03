//! Removes what a cloud made of this machine's network, and ends what serves its volumes.

use std::collections::BTreeSet;

use updraft_network::driver::{
    linux::{LinuxConfig, LinuxDhcp, LinuxL2, LinuxL3},
    names::Tag,
};
use updraft_runtime::Env;

use super::{data_dir::DataDir, link::Failure};

/// Removes every tap, bridge, namespace, router and DHCP server that carries this cloud's mark, and ends every process that
/// serves its volumes to other hosts.
pub async fn purge(env: &Env, data: &DataDir) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        // Only root could have made something.
        return Ok(());
    }
    updraft_volume::driver::stop_serving(&data.path("volumes"))?;
    let Some(tag) = data.read("tag")? else { return Ok(()) };
    let linux = LinuxConfig::new(data.path("network"), Tag::new(tag.trim())?);
    let (l2, dhcp) = (LinuxL2::new(env, &linux), LinuxDhcp::new(env, &linux));
    let l3 = LinuxL3::new(env, &linux);
    Ok(updraft_network::driver::purge(&l2, &dhcp, &l3, &BTreeSet::new()).await?)
}
