//! An image is brought to a host once, whatever happens to the host on the way.

use std::time::Duration;

use updraft_harness::world::Tier;
use updraft_tests::{
    cloud::{Client, Menu, SimCloud, Size},
    flow,
};

/// A body of many pieces.
const IMAGE_BYTES: usize = 8 << 20;

/// What may be under way when a host dies, and come again: the window of a stream and the piece that is written.
const UNDER_WAY_BYTES: usize = 2 << 20;

/// Long enough for an image, if nothing holds it up.
const PATIENCE: Duration = Duration::from_secs(60);

/// The bytes of bodies that went to hosts.
fn carried_bytes(cloud: &SimCloud) -> usize {
    let of_a_body = |line: String| {
        let (_, carried) = line.split_once(">compute-1 Bulk ")?;
        carried.split(' ').next()?.parse::<usize>().ok()
    };
    cloud.world.events().into_iter().filter_map(of_a_body).sum()
}

#[test]
fn a_host_that_restarts_while_an_image_comes_goes_on_where_it_was() {
    let size = Size { controls: 1, hosts: 1, ..Size::default() };
    let mut cloud = SimCloud::start(41, Tier::Memory, size, &Menu::default());
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let bytes: Vec<u8> = (0..IMAGE_BYTES).map(|at| (at / 1000 * 7 + at) as u8).collect();
    let image = client.image(&mut cloud, &bytes);
    let server = client.server(&mut cloud, &image, &have.flavor, Some(&have.network));
    let host = cloud.hosts()[0].clone();
    for mark in [IMAGE_BYTES / 4, IMAGE_BYTES / 2, IMAGE_BYTES * 3 / 4] {
        let machine = cloud.machine(&host).expect("a machine");
        let came = cloud.world.run_until(PATIENCE, |_| machine.disks.arriving_bytes() >= mark);
        assert!(came, "{} of {mark} bytes have come", machine.disks.arriving_bytes());
        cloud.world.crash(&host);
        cloud.world.run_for(Duration::from_secs(1));
        cloud.world.start(&host);
    }
    assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")), "the server is not built");
    let carried = carried_bytes(&cloud);
    assert!(carried >= IMAGE_BYTES, "{carried} bytes were seen");
    assert!(carried <= IMAGE_BYTES + 3 * UNDER_WAY_BYTES, "{carried} bytes went to the host");
}
