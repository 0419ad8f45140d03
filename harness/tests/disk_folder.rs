//! Files that are replaced whole on a disk that fails, and the count of a node's starts in one.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{io, path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;
use updraft_harness::{
    fault::{DiskTrouble, Fault, FaultPlan, Target},
    world::{NodeContext, Tier, World},
};
use updraft_runtime::{
    env::UnixMicros,
    folder::{Files, Folder},
};
use updraft_transport::NodeId;

const LIVES: u32 = 20;

/// How long each of them is: some are ended while the disk is at work.
const LIFE: Duration = Duration::from_millis(37);

/// So often a file says its number: a torn one cannot say it everywhere.
const TIMES: usize = 300;

/// What a service does not do that should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeftOut {
    Nothing,
    Sync,
    SyncOfNames,
}

#[derive(Debug)]
struct Careless {
    files: Arc<dyn Files>,
    leaves_out: LeftOut,
}

impl Files for Careless {
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files.read(name)
    }
    fn write(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.files.write(name, content)
    }
    fn sync(&self, name: &str) -> io::Result<()> {
        if self.leaves_out == LeftOut::Sync { Ok(()) } else { self.files.sync(name) }
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.files.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.files.remove(name)
    }
    fn sync_names(&self) -> io::Result<()> {
        if self.leaves_out == LeftOut::SyncOfNames { Ok(()) } else { self.files.sync_names() }
    }
    fn names(&self) -> io::Result<Vec<String>> {
        self.files.names()
    }
    fn written_at(&self, name: &str) -> io::Result<UnixMicros> {
        self.files.written_at(name)
    }
}

/// What was told, and what is not as it should be.
#[derive(Clone, Default)]
struct Told {
    number: Arc<Mutex<u64>>,
    broken: Arc<Mutex<Option<String>>>,
}

/// The number that a file says, if it says one.
fn number(content: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(content).ok()?;
    let mut lines = text.lines();
    let first = lines.next()?;
    let whole = lines.clone().count() == TIMES - 1 && lines.all(|line| line == first);
    first.parse().ok().filter(|_| whole)
}

/// Counts in a file for as long as it lives, and looks first how far it had come.
async fn count(context: NodeContext, told: Told, leaves_out: LeftOut) {
    let files = Arc::new(Careless { files: context.drive.folder("kept"), leaves_out });
    let folder = Folder::on(Path::new("kept"), files);
    let found = folder.read("count").unwrap();
    let Some(mut at) = found.as_deref().map_or(Some(0), number) else {
        let words = format!("{} bytes say no number", found.unwrap_or_default().len());
        return *told.broken.lock() = Some(words);
    };
    let last_told = *told.number.lock();
    if at < last_told {
        *told.broken.lock() = Some(format!("{last_told} was told, and {at} is there"));
    }
    loop {
        at += 1;
        let (folder, content) = (folder.clone(), format!("{at}\n").repeat(TIMES));
        let replaced =
            context.env.blocking(move || folder.replace("count", content.as_bytes())).await;
        if replaced.unwrap().is_ok() {
            *told.number.lock() = at;
        }
        context.env.sleep(Duration::from_millis(1)).await;
    }
}

fn plan(seed: u64, troubles: &[DiskTrouble]) -> FaultPlan {
    let until = LIFE * LIVES;
    troubles.iter().fold(FaultPlan::new(seed), |plan, trouble| {
        let fault = Fault::Disk { nodes: Target::All, percent: 50, trouble: *trouble };
        plan.with(Duration::ZERO, until, fault)
    })
}

/// What a node finds in one of its lives that should not be so.
fn found(seed: u64, troubles: &[DiskTrouble], leaves_out: LeftOut) -> Option<String> {
    let told = Told::default();
    let (mut world, theirs) = (World::new(seed), told.clone());
    world.follow(plan(seed, troubles));
    let node = world.node("one", &["peer"], move |context| {
        let told = theirs.clone();
        async move { count(context, told, leaves_out).await }
    });
    for _ in 0..LIVES {
        world.run_for(LIFE);
        world.crash(&node);
        world.start(&node);
    }
    world.run_for(LIFE);
    assert!(*told.number.lock() > 0, "nothing was ever told");
    told.broken.lock().clone()
}

const AT_CRASH: [DiskTrouble; 2] = [DiskTrouble::LostWrites, DiskTrouble::TornWrites];

#[test]
fn what_was_told_to_be_replaced_is_there_whole_whatever_is_lost_or_fails() {
    let fails = [DiskTrouble::SyncsFail, DiskTrouble::WritesFail, DiskTrouble::Full];
    for seed in 0..20 {
        for trouble in AT_CRASH {
            assert_eq!(found(seed, &[trouble], LeftOut::Nothing), None, "{trouble}, seed {seed}");
            for fails in fails {
                let troubles = [trouble, fails];
                let broken = found(seed, &troubles, LeftOut::Nothing);
                assert_eq!(broken, None, "{troubles:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_sync_that_is_left_out_is_found_out() {
    for leaves_out in [LeftOut::Sync, LeftOut::SyncOfNames] {
        for trouble in AT_CRASH {
            let broken = (0..20).filter_map(|seed| found(seed, &[trouble], leaves_out)).count();
            assert!(broken > 10, "{leaves_out:?} with {trouble} shows in {broken} of 20 runs");
        }
    }
}

type Begun = Arc<Mutex<Vec<u64>>>;

/// What a node leaves that lives.
#[derive(Clone)]
struct Lives;

/// A node that says which lives it has begun.
fn living(seed: u64, plan: FaultPlan) -> (World, NodeId, Begun) {
    let begun = Begun::default();
    let (mut world, theirs) = (World::on_tier(seed, Tier::Disks), begun.clone());
    world.follow(plan);
    let node = world.node("one", &["peer"], move |context| {
        theirs.lock().push(context.incarnation.0);
        context.handles().keep(|| Lives);
        async {}
    });
    (world, node, begun)
}

#[test]
fn no_two_lives_have_the_same_incarnation_whatever_is_lost_or_fails() {
    let troubles = [
        DiskTrouble::LostWrites,
        DiskTrouble::TornWrites,
        DiskTrouble::SlowSync { longest: Duration::from_millis(20) },
        DiskTrouble::SyncsFail,
        DiskTrouble::ReadsFail,
    ];
    for seed in 0..20 {
        for until in 1..=troubles.len() {
            let (mut world, node, begun) = living(seed, plan(seed, &troubles[..until]));
            for _ in 0..LIVES {
                world.run_for(LIFE);
                world.crash(&node);
                world.start(&node);
            }
            world.run_for(Duration::from_secs(3));
            let lives = world.handle::<Lives>(&node).is_some();
            assert!(lives, "it does not start although its disk works, seed {seed}");
            let begun = begun.lock();
            let last = begun.last().copied().unwrap();
            assert!(begun.windows(2).all(|two| two[0] < two[1]), "{begun:?}, seed {seed}");
            assert!(last <= 2 * u64::from(LIVES), "{last} starts were counted, seed {seed}");
        }
    }
}

#[test]
fn a_node_that_cannot_count_its_start_starts_when_it_can() {
    let (from, until) = (Duration::from_secs(1), Duration::from_secs(4));
    let fault = Fault::Disk { nodes: Target::All, percent: 100, trouble: DiskTrouble::SyncsFail };
    let (mut world, node, begun) = living(1, FaultPlan::new(1).with(from, until, fault));
    world.run_for(from + LIFE);
    world.crash(&node);
    world.start(&node);
    world.run_for(Duration::from_millis(2_900));
    assert_eq!(*begun.lock(), [1], "it is heard of before its start is counted");
    world.run_for(Duration::from_secs(2));
    assert_eq!(begun.lock().len(), 2);
    assert!(world.is_up(&node) && begun.lock()[1] > 1);
}
