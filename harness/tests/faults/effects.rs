//! Each fault does what it says, on tier 1 with frames and on tier 2 with datagrams.

use std::{collections::BTreeSet, time::Duration};

use updraft_harness::{
    fault::{
        ClockTrouble, DatabaseTrouble, DriverTrouble, Fault, FaultKind, FaultPlan, LinkTrouble,
        NodeTrouble, Target, Topology,
    },
    world::{Tier, World},
};
use updraft_runtime::store::StoreError;

use super::{
    disks,
    talk::{self, OPERATION, Seen},
    versions,
};

/// When every fault begins and ends, and when the run does.
const FROM: Duration = Duration::from_secs(2);
const UNTIL: Duration = Duration::from_millis(3_600);
const LASTS: Duration = Duration::from_secs(9);
const DURING: (Duration, Duration) = (FROM, UNTIL);
/// While a fault lasts, without what was under way when it began.
const WELL_DURING: (Duration, Duration) = (Duration::from_millis(2_050), UNTIL);
const BEFORE: (Duration, Duration) = (Duration::from_secs(1), FROM);
/// Once everybody has found everybody again.
const AFTER: (Duration, Duration) = (Duration::from_secs(7), Duration::from_millis(8_500));
/// More than any message takes by itself: the latency of a link, and two steps.
const USUAL: Duration = Duration::from_millis(17);

const SOME: u8 = 40;
const MORE: Duration = Duration::from_millis(200);
const MTU_BYTES: u32 = 800;
const BYTES_PER_SECOND: u64 = 6_000;
const PERIOD: Duration = Duration::from_millis(800);
const WRONG_MS: i64 = 5_000;
const LATE: Duration = Duration::from_millis(700);

fn from_a_to_b(trouble: LinkTrouble) -> Fault {
    Fault::Link { from: Target::node("a"), to: Target::node("b"), both_ways: false, trouble }
}

fn of_database(trouble: DatabaseTrouble) -> Fault {
    Fault::Database { nodes: Target::node("a"), percent: 100, trouble }
}

fn of_driver(trouble: DriverTrouble) -> Fault {
    let operation = "disk/".to_owned();
    Fault::Driver { nodes: Target::node("a"), operation, percent: 100, trouble }
}

fn of_a(trouble: NodeTrouble) -> Fault {
    Fault::Node { nodes: Target::node("a"), trouble }
}

fn clock_of_a(trouble: ClockTrouble) -> Fault {
    Fault::Clock { nodes: Target::node("a"), trouble }
}

/// A fault of each kind.
fn fault(kind: FaultKind) -> Fault {
    let slow = DatabaseTrouble::Slow { longest: MORE };
    let (percent, more) = (SOME, MORE);
    match kind {
        FaultKind::Loss => from_a_to_b(LinkTrouble::Loss { percent }),
        FaultKind::Duplication => from_a_to_b(LinkTrouble::Duplication { percent }),
        FaultKind::Reordering => from_a_to_b(LinkTrouble::Reordering { percent, late_max: MORE }),
        FaultKind::Corruption => from_a_to_b(LinkTrouble::Corruption { percent }),
        FaultKind::Truncation => from_a_to_b(LinkTrouble::Truncation { percent }),
        FaultKind::MtuBlackHole => from_a_to_b(LinkTrouble::MtuBlackHole { bytes: MTU_BYTES }),
        FaultKind::LatencySpike => from_a_to_b(LinkTrouble::LatencySpike { more }),
        FaultKind::Bandwidth => {
            from_a_to_b(LinkTrouble::Bandwidth { bytes_per_second: BYTES_PER_SECOND })
        }
        FaultKind::Cut => Fault::Link {
            from: Target::node("a"),
            to: Target::node("b"),
            both_ways: true,
            trouble: LinkTrouble::Cut,
        },
        FaultKind::OneWayCut => from_a_to_b(LinkTrouble::Cut),
        FaultKind::Flapping => from_a_to_b(LinkTrouble::Flapping { period: PERIOD }),
        FaultKind::StaleCopy => from_a_to_b(LinkTrouble::StaleCopy { percent, after: LATE }),
        FaultKind::Partition => {
            Fault::Partition { groups: vec![Target::node("a"), Target::node("b")] }
        }
        FaultKind::Crash => of_a(NodeTrouble::Crash),
        FaultKind::Pause => of_a(NodeTrouble::Pause),
        FaultKind::Slow => of_a(NodeTrouble::Slow { every: 100 }),
        FaultKind::Skew => clock_of_a(ClockTrouble::Skew { ms: -WRONG_MS }),
        FaultKind::Drift => clock_of_a(ClockTrouble::Drift { ppm: 500_000 }),
        FaultKind::Jump => clock_of_a(ClockTrouble::Jump { ms: WRONG_MS }),
        FaultKind::DatabaseAway => of_database(DatabaseTrouble::Away),
        FaultKind::LostBeforeCommit => of_database(DatabaseTrouble::LostBeforeCommit),
        FaultKind::UnknownNotApplied => of_database(DatabaseTrouble::UnknownNotApplied),
        FaultKind::UnknownApplied => of_database(DatabaseTrouble::UnknownApplied),
        FaultKind::Conflict => of_database(DatabaseTrouble::Conflict),
        FaultKind::SlowCommit => of_database(slow),
        FaultKind::DriverFails => of_driver(DriverTrouble::Fails),
        FaultKind::DriverHangs => of_driver(DriverTrouble::Hangs),
        FaultKind::DriverLies => of_driver(DriverTrouble::Lies),
        FaultKind::DriverTwice => of_driver(DriverTrouble::Twice),
        FaultKind::DriverLate => of_driver(DriverTrouble::Late { by: LATE }),
        FaultKind::DriverLosesState => of_driver(DriverTrouble::LosesState),
        FaultKind::FormerWire
        | FaultKind::DiskFull
        | FaultKind::ReadsFail
        | FaultKind::WritesFail
        | FaultKind::SyncsFail
        | FaultKind::SlowSync
        | FaultKind::LostWrites
        | FaultKind::TornWrites => unreachable!("{kind} is shown elsewhere"),
    }
}

/// The kinds that are shown here: the others need nodes with a disk, or that look at what is spoken.
fn kinds() -> impl Iterator<Item = FaultKind> {
    let elsewhere = |kind: &FaultKind| disks::KINDS.contains(kind) || *kind == versions::KIND;
    FaultKind::ALL.iter().copied().filter(move |kind| !elsewhere(kind))
}

/// What a run shows of a kind.
struct Shown {
    kind: FaultKind,
    tier: Tier,
    seen: Seen,
    world: World,
}

fn show(kind: FaultKind, tier: Tier, plan: FaultPlan) -> Shown {
    let (seen, world) = talk::run(tier, plan, Topology::new(), LASTS);
    Shown { kind, tier, seen, world }
}

impl Shown {
    /// The share of what a sends b that never arrives.
    fn lost(&self) -> f64 {
        let transits = self.seen.transits("a", "b", DURING);
        transits.iter().filter(|(_, took)| took.is_none()).count() as f64 / transits.len() as f64
    }

    fn longest(&self, from: &str, to: &str) -> Duration {
        let transits = self.seen.transits(from, to, WELL_DURING);
        transits.iter().filter_map(|(_, took)| *took).max().unwrap_or_default()
    }

    fn shortest(&self) -> Duration {
        let transits = self.seen.transits("a", "b", WELL_DURING);
        transits.iter().filter_map(|(_, took)| *took).min().unwrap_or_default()
    }

    /// Whether what one sends the other arrives while the fault lasts.
    fn passes(&self, from: &str, to: &str) -> bool {
        !self.seen.heard(from, to, WELL_DURING).is_empty()
    }

    /// Arrivals of what has arrived before, and how long after the first.
    fn again(&self) -> Vec<Duration> {
        let mut again = Vec::new();
        let heard = &self.seen.heard;
        for (number, item) in heard.iter().enumerate().filter(|(_, item)| item.to == "b") {
            let before = heard[..number].iter().find(|earlier| earlier.key == item.key);
            again.extend(before.map(|before| item.at - before.at));
        }
        again
    }

    /// Arrivals that nobody sent so, and their sizes.
    fn damaged(&self) -> Vec<usize> {
        let sent: BTreeSet<&str> = self.seen.sent.iter().map(|item| item.key.as_str()).collect();
        let heard = self.seen.heard.iter().filter(|item| !sent.contains(item.key.as_str()));
        heard.map(|item| item.bytes).collect()
    }

    fn wrong_micros(&self, node: &str, within: (Duration, Duration)) -> Vec<i64> {
        let looks = self.seen.looks.iter().filter(|(name, _)| name == node).map(|(_, look)| look);
        let looks = looks.filter(|look| within.0 <= look.at && look.at < within.1);
        looks.map(|look| look.wrong_micros).collect()
    }

    fn commits(&self, node: &str) -> Vec<&Result<(), StoreError>> {
        let commits = self.seen.commits.iter();
        let during = commits.filter(|(at, name, _)| name == node && FROM <= *at && *at < UNTIL);
        during.map(|(_, _, result)| result).collect()
    }

    /// Whether each fault of the database ends every commit of a, and none of b, so.
    fn all_commits(&self, expected: impl Fn(&StoreError) -> bool) -> bool {
        let of_a = self.commits("a");
        !of_a.is_empty()
            && of_a.iter().all(|result| result.as_ref().is_err_and(&expected))
            && self.commits("b").iter().all(|result| result.is_ok())
    }

    /// Whether a's driver is told so all the while, and nobody else's ever.
    fn is_told(&self, expected: DriverTrouble) -> bool {
        self.seen.troubles.iter().all(|(at, node, told)| {
            let surely = node == "a" && FROM + USUAL <= *at && *at + USUAL < UNTIL;
            let maybe = node == "a" && FROM <= *at + USUAL && *at < UNTIL + USUAL;
            *told == surely.then_some(expected) || maybe && !surely && *told == Some(expected)
        }) && self.world.faults().on("a", OPERATION).is_none()
    }

    fn arrivals_in_second_halves(&self) -> usize {
        let heard = self.seen.heard("a", "b", WELL_DURING);
        let late = |at: Duration| {
            let phase = (at - FROM).as_micros() % PERIOD.as_micros();
            phase > (PERIOD / 2 + USUAL).as_micros()
        };
        heard.iter().filter(|item| late(item.at)).count()
    }

    /// Whether the fault did what it says.
    fn is_so(&self) -> bool {
        let near = |micros: i64, ms: i64| (micros - ms * 1_000).abs() < 20_000;
        match self.kind {
            FaultKind::Loss
            | FaultKind::Duplication
            | FaultKind::Reordering
            | FaultKind::Corruption
            | FaultKind::Truncation
            | FaultKind::MtuBlackHole
            | FaultKind::LatencySpike
            | FaultKind::Bandwidth
            | FaultKind::Cut
            | FaultKind::OneWayCut
            | FaultKind::Flapping
            | FaultKind::StaleCopy
            | FaultKind::Partition => self.is_so_on_links(),
            FaultKind::Crash => {
                let lives = self.seen.starts.iter().filter(|(_, node, _)| node == "a");
                let lives: Vec<_> = lives.map(|(_, _, life)| *life).collect();
                !self.passes("a", "b") && lives == [1, 2]
            }
            FaultKind::Pause => self.stood_still(),
            FaultKind::Slow => {
                let slow = self.longest("b", "a") > USUAL * 3;
                slow && self.longest("b", "c") <= USUAL && self.passes("a", "b")
            }
            FaultKind::Skew => {
                let wrong = self.wrong_micros("a", WELL_DURING);
                wrong.iter().all(|micros| near(*micros, -WRONG_MS))
            }
            FaultKind::Drift => {
                let wrong = self.wrong_micros("a", WELL_DURING);
                let most = (UNTIL - FROM).as_millis() / 2;
                wrong.is_sorted() && near(*wrong.last().unwrap(), most.try_into().unwrap())
            }
            FaultKind::Jump => {
                let wrong = self.wrong_micros("a", WELL_DURING);
                let falls = wrong.iter().rev().is_sorted();
                falls && wrong[0] > 4_500_000 && *wrong.last().unwrap() < 200_000
            }
            FaultKind::DatabaseAway | FaultKind::LostBeforeCommit => {
                self.all_commits(|error| matches!(error, StoreError::Unavailable(_)))
            }
            FaultKind::UnknownNotApplied | FaultKind::UnknownApplied => {
                self.all_commits(|error| matches!(error, StoreError::Unknown))
            }
            FaultKind::Conflict => self.all_commits(|error| matches!(error, StoreError::Conflict)),
            FaultKind::SlowCommit => self.commits("a").len() * 2 < self.commits("b").len(),
            FaultKind::DriverFails => self.is_told(DriverTrouble::Fails),
            FaultKind::DriverHangs => self.is_told(DriverTrouble::Hangs),
            FaultKind::DriverLies => self.is_told(DriverTrouble::Lies),
            FaultKind::DriverTwice => self.is_told(DriverTrouble::Twice),
            FaultKind::DriverLate => self.is_told(DriverTrouble::Late { by: LATE }),
            FaultKind::DriverLosesState => self.is_told(DriverTrouble::LosesState),
            other => unreachable!("{other} is shown elsewhere"),
        }
    }

    fn is_so_on_links(&self) -> bool {
        let memory = self.tier == Tier::Memory;
        match self.kind {
            FaultKind::Loss => (0.2..0.6).contains(&self.lost()),
            FaultKind::Duplication => self.again().len() > 10 && self.lost() == 0.0,
            FaultKind::Reordering => self.longest("a", "b") > USUAL * 2 && self.shortest() < USUAL,
            FaultKind::Corruption | FaultKind::Truncation if memory => {
                (0.2..0.6).contains(&self.lost())
            }
            FaultKind::Corruption => self.damaged().len() > 10,
            FaultKind::Truncation => {
                let shortest = self.damaged().into_iter().min();
                self.damaged().len() > 10 && shortest.is_some_and(|bytes| bytes < 20)
            }
            FaultKind::MtuBlackHole => {
                let transits = self.seen.transits("a", "b", WELL_DURING);
                let large = |bytes: usize| bytes > MTU_BYTES as usize;
                transits.iter().any(|(item, _)| large(item.bytes))
                    && transits.iter().all(|(item, took)| large(item.bytes) == took.is_none())
            }
            FaultKind::LatencySpike => self.shortest() >= MORE,
            FaultKind::Bandwidth => {
                let heard = self.seen.heard("a", "b", WELL_DURING);
                let bytes: usize = heard.iter().map(|item| item.bytes).sum();
                let most = BYTES_PER_SECOND as f64 * (UNTIL - FROM).as_secs_f64() + 3_500.0;
                bytes > 0 && (bytes as f64) < most && self.longest("a", "b") > MORE
            }
            FaultKind::Cut => {
                !self.passes("a", "b") && !self.passes("b", "a") && self.passes("a", "c")
            }
            FaultKind::OneWayCut => {
                !self.passes("a", "b") && self.passes("b", "a") && self.passes("a", "c")
            }
            FaultKind::Partition => {
                let apart = !self.passes("a", "b") && !self.passes("b", "a");
                apart && self.passes("a", "c") && self.passes("c", "b")
            }
            FaultKind::Flapping => self.passes("a", "b") && self.arrivals_in_second_halves() == 0,
            FaultKind::StaleCopy => {
                let again = self.again();
                again.len() > 10 && again.iter().all(|after| *after + USUAL > LATE)
            }
            other => unreachable!("{other} is of no link"),
        }
    }

    /// Nothing of a is heard and a hears nothing; it does nothing, and what was sent to it waits.
    fn stood_still(&self) -> bool {
        let silent = !self.passes("a", "b") && !self.passes("b", "a") && self.passes("b", "c");
        let looks = self.seen.looks.iter().filter(|(node, _)| node == "a").map(|(_, look)| look);
        let gone_on = looks.clone().all(|look| look.passed.abs_diff(look.at) < USUAL);
        let slept = looks.clone().all(|look| look.at < FROM + USUAL || look.at + USUAL > UNTIL);
        let waited = self.seen.transits("b", "a", WELL_DURING);
        let waited = !waited.is_empty() && waited.iter().all(|(_, took)| took.is_some());
        silent && slept && gone_on && waited
    }

    /// What is not well before and after.
    fn otherwise_unwell(&self) -> Vec<String> {
        let mut unwell = Vec::new();
        for within in [BEFORE, AFTER] {
            let transits = self.seen.transits("a", "b", within);
            let unusual = transits.iter().filter(|(_, took)| took.is_none_or(|took| took > USUAL));
            unwell.extend(unusual.map(|unusual| format!("{unusual:?}")));
            let wrong = self.wrong_micros("a", within).into_iter();
            unwell
                .extend(wrong.filter(|micros| micros.abs() > 6_000).map(|wrong| wrong.to_string()));
            if transits.is_empty() {
                unwell.push(format!("nothing was sent within {within:?}"));
            }
        }
        unwell
    }
}

fn each_fault_does_what_it_says(tier: Tier) {
    for kind in kinds() {
        assert_eq!(fault(kind).kind(), kind);
        let shown = show(kind, tier, FaultPlan::new(3).with(FROM, UNTIL, fault(kind)));
        let words = kind.on(tier).unwrap();
        assert!(shown.is_so(), "{tier:?}: {kind}: not so: {words}");
        let unwell = shown.otherwise_unwell();
        assert!(unwell.is_empty(), "{tier:?}: {kind} goes on or came before: {unwell:#?}");
        let struck: Vec<_> = shown.world.struck().into_iter().collect();
        assert!(matches!(struck[..], [(only, count)] if only == kind && count > 0), "{struck:?}");
        let events = shown.world.events();
        let said = |what: &str| events.iter().filter(|line| line.contains(what)).count();
        assert_eq!((said("fault begins: "), said("fault ends: ")), (1, 1), "{kind}");
    }
}

#[test]
fn without_a_fault_nothing_of_its_kind_is_seen() {
    for tier in [Tier::Memory, Tier::Quic] {
        let mut shown = show(FaultKind::Loss, tier, FaultPlan::new(3));
        assert!(shown.otherwise_unwell().is_empty() && shown.world.struck().is_empty());
        for kind in kinds() {
            shown.kind = kind;
            assert!(!shown.is_so(), "{tier:?}: {kind} is seen where there is none");
        }
    }
}

#[test]
fn each_fault_does_to_frames_what_it_says() {
    each_fault_does_what_it_says(Tier::Memory);
}

#[test]
fn each_fault_does_to_datagrams_what_it_says() {
    each_fault_does_what_it_says(Tier::Quic);
}
