//! Each fault of a disk does what it says, to the disk that it is said of, while it lasts.

use std::{io, time::Duration};

use updraft_harness::{
    disk::{Drive, SECTOR_BYTES},
    fault::{DiskTrouble, Fault, FaultKind, FaultPlan, Target},
    world::{Tier, World},
};
use updraft_runtime::{Env, store::StorageBackend};
use updraft_transport::NodeId;

/// The kinds that are shown here.
pub(super) const KINDS: [FaultKind; 7] = [
    FaultKind::DiskFull,
    FaultKind::ReadsFail,
    FaultKind::WritesFail,
    FaultKind::SyncsFail,
    FaultKind::SlowSync,
    FaultKind::LostWrites,
    FaultKind::TornWrites,
];

const TIERS: [Tier; 3] = [Tier::Memory, Tier::Quic, Tier::Disks];
const FROM: Duration = Duration::from_secs(1);
const UNTIL: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_millis(400);

/// Sectors of the file.
const SECTORS: usize = 64;

fn of_a(percent: u8, trouble: DiskTrouble) -> FaultPlan {
    let fault = Fault::Disk { nodes: Target::node("a"), percent, trouble };
    FaultPlan::new(5).with(FROM, UNTIL, fault)
}

/// Two nodes with a disk each.
struct Two {
    world: World,
}

impl Two {
    fn on(tier: Tier, plan: FaultPlan) -> Self {
        let mut world = World::on_tier(1, tier);
        for name in ["a", "b"] {
            world.node(name, &["peer"], |context| {
                let (env, drive, handles) =
                    (context.env.clone(), context.drive.clone(), context.handles());
                async move {
                    handles.keep(|| env);
                    handles.keep(|| drive);
                }
            });
        }
        world.run_for(Duration::from_millis(100));
        let mut two = Self { world };
        for node in ["a", "b"] {
            two.work(node, |file| {
                file.set_len((SECTORS * SECTOR_BYTES) as u64)?;
                file.sync_data()
            })
            .0
            .unwrap();
        }
        two.world.follow(plan);
        two
    }

    /// What a node does with its file, and how long it takes.
    fn work<T: Send + 'static>(
        &mut self,
        node: &str,
        work: impl FnOnce(&dyn StorageBackend) -> io::Result<T> + Send + 'static,
    ) -> (io::Result<T>, Duration) {
        let node = NodeId::new(node).unwrap();
        let (env, drive): (Env, Drive) =
            (self.world.handle(&node).unwrap(), self.world.handle(&node).unwrap());
        let since = self.world.now();
        let file = drive.file("f");
        let doing = async move { env.blocking(move || work(&file)).await.unwrap() };
        let done = self.world.on(&node, Duration::from_secs(5), doing).unwrap();
        (done, self.world.now() - since)
    }

    fn go_to(&mut self, at: Duration) {
        self.world.run_for(at - self.world.now());
    }

    fn content(&mut self, node: &str) -> Vec<u8> {
        let read = |file: &dyn StorageBackend| {
            let mut content = vec![0; SECTORS * SECTOR_BYTES];
            file.read(0, &mut content).map(|()| content)
        };
        self.work(node, read).0.unwrap()
    }

    fn crash(&mut self, node: &str) {
        let node = NodeId::new(node).unwrap();
        self.world.crash(&node);
        self.world.start(&node);
        self.world.run_for(Duration::from_millis(100));
    }

    fn struck(&self) -> Vec<FaultKind> {
        self.world.struck().into_keys().collect()
    }
}

fn write(file: &dyn StorageBackend) -> io::Result<()> {
    file.write(0, &[1; SECTORS * SECTOR_BYTES])
}

fn read(file: &dyn StorageBackend) -> io::Result<()> {
    file.read(0, &mut [0; SECTOR_BYTES])
}

fn sync(file: &dyn StorageBackend) -> io::Result<()> {
    file.sync_data()
}

type Work = fn(&dyn StorageBackend) -> io::Result<()>;

#[test]
fn what_fails_fails_for_whom_it_is_said_and_as_long() {
    let cases: [(DiskTrouble, Work, io::ErrorKind); 4] = [
        (DiskTrouble::Full, write, io::ErrorKind::StorageFull),
        (DiskTrouble::ReadsFail, read, io::ErrorKind::Other),
        (DiskTrouble::WritesFail, write, io::ErrorKind::Other),
        (DiskTrouble::SyncsFail, sync, io::ErrorKind::Other),
    ];
    for tier in TIERS {
        for (trouble, work, kind) in cases {
            let mut two = Two::on(tier, of_a(100, trouble));
            two.work("a", work).0.unwrap();
            two.go_to(FROM + LONGEST);
            assert_eq!(two.work("a", work).0.unwrap_err().kind(), kind, "{tier}: {trouble}");
            two.work("b", work).0.unwrap();
            for other in [write, read, sync] as [Work; 3] {
                let failed = two.work("a", other).0.is_err();
                assert_eq!(failed, std::ptr::fn_addr_eq(other, work), "{tier}: {trouble}");
            }
            two.go_to(UNTIL);
            two.work("a", work).0.unwrap();
            assert_eq!(two.struck().len(), 1, "{tier}: {trouble}");
        }
    }
}

#[test]
fn a_full_disk_gives_space_back() {
    let mut two = Two::on(Tier::Memory, of_a(100, DiskTrouble::Full));
    two.go_to(FROM + LONGEST);
    two.work("a", |file| file.set_len(SECTOR_BYTES as u64)).0.unwrap();
    assert!(two.work("a", |file| file.set_len(2 * SECTOR_BYTES as u64)).0.is_err());
}

#[test]
fn a_slow_sync_takes_time_and_is_durable_behind_it() {
    for tier in TIERS {
        let mut two = Two::on(tier, of_a(100, DiskTrouble::SlowSync { longest: LONGEST }));
        let usual = Duration::from_millis(20);
        assert!(two.work("a", sync).1 < usual);
        two.go_to(FROM + usual);
        let took = two.work("a", sync).1;
        assert!(usual < took && took < LONGEST + usual, "{tier}: {took:?}");
        assert!(two.work("b", sync).1 < usual);
    }
}

#[test]
fn what_is_not_synced_at_a_crash_is_kept_lost_or_torn_as_the_plan_says() {
    for tier in TIERS {
        for (trouble, wrote) in [
            (None, SECTORS..=SECTORS),
            (Some(DiskTrouble::LostWrites), 0..=0),
            (Some(DiskTrouble::TornWrites), 5..=SECTORS - 5),
        ] {
            let plan = trouble.map_or(FaultPlan::new(5), |trouble| of_a(100, trouble));
            let mut two = Two::on(tier, plan);
            two.go_to(FROM + LONGEST);
            for node in ["a", "b"] {
                two.work(node, write).0.unwrap();
                two.crash(node);
            }
            let content = two.content("a");
            let whole = |sector: &[u8]| {
                assert!(sector.iter().all(|byte| *byte == sector[0]), "a sector is whole");
                sector[0] == 1
            };
            let kept = content.chunks(SECTOR_BYTES).filter(|sector| whole(sector)).count();
            assert!(wrote.contains(&kept), "{tier}: {trouble:?}: {kept} sectors");
            assert!(two.content("b").iter().all(|byte| *byte == 1), "b meets no fault");
            assert_eq!(two.struck().len(), usize::from(trouble.is_some()));
        }
    }
}

#[test]
fn what_is_synced_outlives_any_crash() {
    let mut two = Two::on(Tier::Memory, of_a(100, DiskTrouble::TornWrites));
    two.go_to(FROM + LONGEST);
    two.work("a", write).0.unwrap();
    two.work("a", sync).0.unwrap();
    two.crash("a");
    assert!(two.content("a").iter().all(|byte| *byte == 1));
}

#[test]
fn a_sync_that_fails_is_told_once_and_loses_what_only_its_node_still_sees() {
    let mut two = Two::on(Tier::Memory, of_a(100, DiskTrouble::SyncsFail));
    two.go_to(FROM + LONGEST);
    let writes = |file: &dyn StorageBackend| {
        (0..SECTORS).try_for_each(|at| file.write((at * SECTOR_BYTES) as u64, &[1; SECTOR_BYTES]))
    };
    two.work("a", writes).0.unwrap();
    two.work("a", sync).0.unwrap_err();
    two.go_to(UNTIL);
    two.work("a", sync).0.unwrap();
    assert!(two.content("a").iter().all(|byte| *byte == 1), "until a crash nothing shows");
    two.crash("a");
    let lost = two.content("a").chunks(SECTOR_BYTES).filter(|sector| sector[0] == 0).count();
    assert!((5..SECTORS - 5).contains(&lost), "{lost} sectors are lost");
}

#[test]
fn a_life_that_has_ended_writes_no_more() {
    let mut two = Two::on(Tier::Memory, FaultPlan::new(1));
    let former: Drive = two.world.handle(&NodeId::new("a").unwrap()).unwrap();
    two.crash("a");
    assert!(former.file("f").write(0, &[1]).is_err());
    assert_eq!(two.content("a")[0], 0);
}
