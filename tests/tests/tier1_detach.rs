//! A volume is let go of only once its guest can have it no longer, whatever is still under way for it, and can then be
//! attached again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use updraft_harness::{fault::DriverTrouble, world::Tier};
use updraft_runtime::store::CommitFate;
use updraft_tests::{
    census::Audit,
    cloud::{Client, Fault, Menu, Point, SimCloud, Size},
    flow,
};

const SEED: u64 = 11;

/// Longer than a node waits for its hypervisor.
const LATE: Duration = Duration::from_secs(40);

/// Nothing has happened yet.
const BEFORE: u8 = 0;
/// A disk is being plugged.
const PLUGGING: u8 = 1;
/// What came of it was not kept.
const UNHEARD: u8 = 2;

/// What goes wrong with the first disk that is plugged, and how far that is.
#[derive(Clone, Default)]
struct FirstDisk {
    stage: Arc<AtomicU8>,
    late: bool,
}

impl FirstDisk {
    fn passes(&self, from: u8, to: u8) -> bool {
        self.stage.compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    fn is_at(&self, stage: u8) -> bool {
        self.stage.load(Ordering::Relaxed) == stage
    }

    fn decide(&self, point: &Point) -> Option<Fault> {
        match point {
            Point::Driver { name, .. } if name == "hypervisor/AttachDisk" => {
                let late = self.passes(BEFORE, PLUGGING) && self.late;
                late.then_some(Fault::Driver(DriverTrouble::Late { by: LATE }))
            }
            Point::Commit { node, keys } if node == "compute-1" && !self.late => {
                let of_guest = keys.iter().any(|key| key.starts_with("node/guest/"));
                let lost = of_guest && self.passes(PLUGGING, UNHEARD);
                lost.then_some(Fault::Commit(CommitFate::Unavailable))
            }
            _ => None,
        }
    }
}

/// Attaches a volume, detaches it as soon as the trouble has come, and looks at the guest in every instant for a while.
fn a_volume_is_attached_and_detached(first: &FirstDisk, trouble: u8) {
    let decides = first.clone();
    let menu = Menu::new(move |point| decides.decide(point));
    let mut cloud =
        SimCloud::start(SEED, Tier::Memory, Size { hosts: 1, ..Size::default() }, &menu);
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let volume = flow::volume(&mut cloud, &client);
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")));
    let mut audit = Audit::begin(&cloud);

    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    client.must(&mut cloud, "POST", &path, attach);
    assert!(cloud.world.run_until(Duration::from_secs(5), |_| first.is_at(trouble)));
    client.must(&mut cloud, "DELETE", &format!("{path}/{volume}"), Value::Null);

    let until = cloud.world.now() + LATE + Duration::from_secs(10);
    while cloud.world.now() < until {
        cloud.world.step();
        assert_eq!(audit.broken(&cloud, false), []);
    }
    assert_eq!(audit.broken(&cloud, true), []);
    let shown =
        client.must(&mut cloud, "GET", &format!("/volume/v3/volumes/{volume}"), Value::Null);
    assert_eq!(shown["volume"]["status"], "available");
}

#[test]
fn though_nobody_heard_that_it_was_plugged() {
    a_volume_is_attached_and_detached(&FirstDisk::default(), UNHEARD);
}

#[test]
fn though_it_is_plugged_later_than_anybody_waits() {
    a_volume_is_attached_and_detached(&FirstDisk { late: true, ..FirstDisk::default() }, PLUGGING);
}

/// The volume service has let go of the volume, and whoever keeps the server's row cannot write that down.
#[test]
fn it_is_attached_again_before_its_server_knows_that_it_was_let_go_of() {
    let detaching = Arc::new(AtomicBool::new(false));
    let (decides, is_let_go_of) = (detaching.clone(), AtomicBool::new(false));
    let menu = Menu::new(move |point| match point {
        Point::Commit { keys, .. } if decides.load(Ordering::Relaxed) => {
            let is_of = |table: &str| keys.iter().any(|key| key.starts_with(table));
            is_let_go_of.fetch_or(is_of("volume/volume/"), Ordering::Relaxed);
            let lost = is_of("compute/server/") && is_let_go_of.load(Ordering::Relaxed);
            lost.then_some(Fault::Commit(CommitFate::Unavailable))
        }
        _ => None,
    });
    let mut cloud =
        SimCloud::start(SEED, Tier::Memory, Size { hosts: 1, ..Size::default() }, &menu);
    let client = Client::log_in(&mut cloud);
    let have = flow::prepare(&mut cloud, &client);
    let volume = flow::volume(&mut cloud, &client);
    let server = client.server(&mut cloud, &have.image, &have.flavor, Some(&have.network));
    assert!(client.wait_for(&mut cloud, &server, Some("ACTIVE")));
    let path = format!("/compute/v2.1/servers/{server}/os-volume_attachments");
    let attach = json!({"volumeAttachment": {"volumeId": volume}});
    let shown = |cloud: &mut SimCloud| {
        let path = format!("/volume/v3/volumes/{volume}");
        client.must(cloud, "GET", &path, Value::Null)["volume"].clone()
    };
    let status_becomes = |cloud: &mut SimCloud, status: &str| {
        let until = cloud.world.now() + Duration::from_secs(30);
        while shown(cloud)["status"] != status {
            assert!(cloud.world.now() < until, "{}", shown(cloud));
        }
    };
    client.must(&mut cloud, "POST", &path, attach.clone());
    status_becomes(&mut cloud, "in-use");
    client.must(&mut cloud, "DELETE", &format!("{path}/{volume}"), Value::Null);
    detaching.store(true, Ordering::Relaxed);
    status_becomes(&mut cloud, "available");
    detaching.store(false, Ordering::Relaxed);

    client.must(&mut cloud, "POST", &path, attach);
    status_becomes(&mut cloud, "in-use");
    let of_server = client.must(&mut cloud, "GET", &path, Value::Null)["volumeAttachments"].clone();
    let attached = shown(&mut cloud)["attachments"][0]["attachment_id"].clone();
    assert_eq!(of_server.as_array().map(Vec::len), Some(1), "{of_server}");
    assert!(attached.is_string());
    cloud.world.run_for(Duration::from_secs(10));
    assert_eq!(Audit::begin(&cloud).broken(&cloud, true), []);
}
