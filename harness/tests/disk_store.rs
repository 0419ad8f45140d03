//! The embedded store on a disk that fails: what a store says stays so.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use updraft_harness::{
    fault::{DiskTrouble, Fault, FaultPlan, Target},
    world::World,
};
use updraft_runtime::store::{Store, StoreError};
use updraft_transport::NodeId;

const PATIENCE: Duration = Duration::from_secs(30);
const FROM: Duration = Duration::from_secs(2);
const UNTIL: Duration = Duration::from_secs(4);

struct One {
    world: World,
    node: NodeId,
}

impl One {
    fn new(seed: u64, troubles: &[(u8, DiskTrouble)]) -> Self {
        let mut world = World::new(seed);
        let node = world.node("one", &["peer"], |context| async move {
            let file = context.drive.file("store.redb");
            let store = Store::redb_on(context.env.clone(), file).await.unwrap();
            context.handles().keep(|| store);
        });
        let mut plan = FaultPlan::new(seed);
        for (percent, trouble) in troubles {
            let fault = Fault::Disk { nodes: Target::All, percent: *percent, trouble: *trouble };
            plan = plan.with(FROM, UNTIL, fault);
        }
        world.follow(plan);
        world.run_for(Duration::from_secs(1));
        Self { world, node }
    }

    fn put(&mut self, key: &str, value: &str) -> Result<(), StoreError> {
        let store: Store = self.world.handle(&self.node).unwrap();
        let (key, value) = (key.to_owned(), value.to_owned());
        let put =
            async move { store.transact(|txn| txn.put_raw(&key, value.clone().into())).await };
        self.world.on(&self.node, PATIENCE, put).unwrap()
    }

    fn get(&mut self, key: &str) -> Option<String> {
        let store: Store = self.world.handle(&self.node).unwrap();
        let key = key.to_owned();
        let get = async move { store.read(|txn| txn.get_raw(&key)).await.unwrap() };
        let entry = self.world.on(&self.node, PATIENCE, get).unwrap();
        entry.map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
    }

    fn go_to(&mut self, at: Duration) {
        self.world.run_for(at.saturating_sub(self.world.now()));
    }

    fn crash(&mut self) {
        self.world.crash(&self.node);
        self.world.start(&self.node);
        let node = self.node.clone();
        let is_open = move |world: &mut World| world.handle::<Store>(&node).is_some();
        assert!(self.world.run_until(PATIENCE, is_open), "the store does not open");
    }
}

/// Rows, each too large to share a page with another, so that a commit leaves most pages as they are.
const ROWS: usize = 20;

fn row(number: usize) -> String {
    format!("t/{number:02}")
}

#[test]
fn what_is_served_after_a_sync_that_failed_outlives_a_crash() {
    let [old, new] = ["o", "n"].map(|letter| letter.repeat(3_000));
    for seed in 0..20 {
        let mut one = One::new(seed, &[(100, DiskTrouble::SyncsFail)]);
        (0..ROWS).for_each(|number| one.put(&row(number), &old).unwrap());
        one.go_to(FROM + Duration::from_millis(100));
        assert_eq!(one.put(&row(ROWS / 2), &new), Err(StoreError::Unknown));
        assert!(matches!(one.put(&row(0), "1"), Err(StoreError::Unavailable(_))));
        one.go_to(UNTIL + Duration::from_secs(3));
        let served = one.get(&row(ROWS / 2));
        // Of the pages that the failed sync was for, this needs few.
        one.put(&row(0), "1").unwrap();
        one.crash();
        assert_eq!(one.get(&row(0)).as_deref(), Some("1"), "seed {seed}");
        assert_eq!(one.get(&row(ROWS / 2)), served, "what was read stays so, seed {seed}");
        for number in (1..ROWS).filter(|number| *number != ROWS / 2) {
            assert_eq!(one.get(&row(number)).as_ref(), Some(&old), "row {number}, seed {seed}");
        }
    }
}

#[test]
fn a_full_disk_is_told_of_and_the_store_serves_again_when_there_is_space() {
    let mut one = One::new(1, &[(100, DiskTrouble::Full)]);
    one.put("t/before", "1").unwrap();
    one.go_to(FROM + Duration::from_millis(100));
    assert_eq!(one.put("t/a", "1"), Err(StoreError::Unknown));
    let refused = one.put("t/a", "1").unwrap_err();
    assert!(matches!(&refused, StoreError::NoSpace(why) if why.contains("free some")), "{refused}");
    one.go_to(UNTIL + Duration::from_secs(3));
    one.put("t/a", "2").unwrap();
    one.crash();
    assert_eq!((one.get("t/before").unwrap(), one.get("t/a").unwrap()), ("1".into(), "2".into()));
}

#[test]
fn a_commit_waits_for_a_slow_sync_and_is_there_when_it_is_acknowledged() {
    let longest = Duration::from_millis(1_500);
    let mut one =
        One::new(3, &[(100, DiskTrouble::SlowSync { longest }), (100, DiskTrouble::LostWrites)]);
    one.go_to(FROM + Duration::from_millis(100));
    let began = one.world.now();
    one.put("t/a", "1").unwrap();
    assert!(one.world.now() - began > Duration::from_millis(100));
    one.crash();
    assert_eq!(one.get("t/a").as_deref(), Some("1"));
}
