//! The provisioning flow on a simulated cloud over in-memory links.

use updraft_harness::world::Tier;
use updraft_tests::{
    cloud::{Menu, SimCloud, Size},
    flow,
};

#[test]
fn a_server_with_a_port_is_built_and_leaves_nothing_behind() {
    let mut cloud = SimCloud::start(1, Tier::Memory, Size::default(), &Menu::default());
    flow::build_and_delete(&mut cloud);
}
