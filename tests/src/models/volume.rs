//! A volume and a copy of it on one host: made, grown, copied and deleted, while calls are late, the driver fails or is
//! late, and the node starts anew.
//!
//! Real: the plan of volumes, the node's fence, ledger, plan and next step, and the simulated driver with its own fence.
//! An operation that the node no longer waits for is still under way, and happens when it happens.

mod judge;
mod moves;

use std::collections::BTreeMap;

use futures_util::FutureExt;
use serde::Serialize;
use updraft_harness::explore::Model;
use updraft_protocol::{
    compute::Seal,
    hypervisor::DiskFormat,
    volume::{Connect, Export, FileSource, FileWant, Realized, Release, Reserve, Room},
};
use updraft_runtime::{
    Env,
    rows::{Change, Kind},
    rpc::{CallError, Fault},
};
use updraft_volume::{
    decisions::{
        Effect, Facts, FileRow, Files, Learned, Next, NodeEffect, NodeLearned, Progress,
        SourceHost, VolumeRow, Volumes, answer, next, refusal,
    },
    driver::{DriverError, FileSpec, FoundFile, SimulatedVolumes, VolumeDriver},
};
use uuid::Uuid;

pub use self::{
    judge::MARKS,
    moves::{Message, Other, Verb},
};
use super::{
    EARLY, LATE, Law, SOON,
    bag::{Bag, Carriage, Step},
    settle,
};

/// The host.
const HOST: &str = "host-0";

/// The volume, and its copy.
const FILES: usize = 2;

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Messages, operations of the driver among them.
    pub carriage: Carriage,
    /// Deletions.
    pub deletes: u8,
    /// Times that the volume is to be larger.
    pub grows: u8,
    /// Copies of it.
    pub copies: u8,
    /// Servers that it is given to, one after another.
    pub attaches: u8,
    /// Times that a host asks how to reach it.
    pub connects: u8,
    /// Nodes that start anew.
    pub restarts: u8,
    /// Operations that the node takes for failed, whatever becomes of them.
    pub failures: u8,
    /// Times that a minute passes, which a message may be under way.
    pub minutes: u8,
    /// Times that a day passes, which no message is under way.
    pub days: u8,
}

/// The model.
pub struct Volume {
    /// The law that it breaks.
    pub broken: Option<Law>,
    /// Its bounds.
    pub budget: Budget,
}

/// The host's files; a copy of a state has its own.
struct Machine(SimulatedVolumes);

impl Clone for Machine {
    fn clone(&self) -> Self {
        Self(self.0.fork())
    }
}

impl Serialize for Machine {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.simulated_files(), self.0.newest()).serialize(serializer)
    }
}

/// What the node has of a file: its ledger on disk, and what it is at and for whom.
#[derive(Clone, Default, Serialize)]
struct Node {
    row: Option<FileRow>,
    at: Option<(u64, Progress)>,
    waiting: Option<u64>,
}

/// All there is.
#[derive(Clone, Serialize)]
pub struct State {
    volumes: [Option<VolumeRow>; FILES],
    node: [Node; FILES],
    machine: Machine,
    bag: Bag<Message>,
    budget: Budget,
    passed: Passed,
}

/// What has passed since the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Passed {
    Nothing,
    Minute,
    Day,
}

fn id(file: usize) -> Uuid {
    Uuid::from_u128(file as u128 + 1)
}

impl State {
    fn now(&self) -> updraft_runtime::env::UnixMicros {
        match self.passed {
            Passed::Nothing => EARLY,
            Passed::Minute => SOON,
            Passed::Day => LATE,
        }
    }

    fn facts(&self, file: usize) -> Facts {
        let copied = self.volumes[1].as_ref().is_some_and(VolumeRow::is_being_made);
        let source = match (file, &self.volumes[0]) {
            (0, _) => SourceHost::Any,
            (_, Some(volume)) => {
                volume.host().map_or(SourceHost::Gone, |host| SourceHost::Only(host.to_owned()))
            }
            (_, None) => SourceHost::Gone,
        };
        Facts { copies_under_way: file == 0 && copied, source, pending: BTreeMap::new() }
    }

    /// Plans every volume, since one waits for the other.
    fn plan(&mut self, broken: Option<Law>) {
        for file in (0..FILES).rev() {
            let (facts, now) = (self.facts(file), self.now());
            if broken == Some(Law::ConfirmedGone) {
                let wanted = |row: &VolumeRow| row.is_present();
                self.volumes[file] = self.volumes[file].take().filter(wanted);
            }
            let effects = settle::<Volumes>(&mut self.volumes[file], |_| facts.clone(), now);
            let Some(row) = &self.volumes[file] else { continue };
            for effect in effects {
                self.bag.ask(match effect {
                    Effect::Survey => Message::Survey(file),
                    Effect::Realize(_) => Message::Realize(row.want()),
                });
            }
        }
    }

    fn learn(&mut self, file: usize, learned: Learned, broken: Option<Law>) {
        let now = self.now();
        if let Some(row) = &mut self.volumes[file] {
            Volumes::learn(row, learned, now);
        }
        self.plan(broken);
    }

    fn deliver(&mut self, message: &Message, broken: Option<Law>) {
        match message {
            Message::Survey(file) => {
                let room = Room { total_gib: 100, free_gib: 100 };
                let rooms = BTreeMap::from([(HOST.to_owned(), room)]);
                self.learn(*file, Learned::Rooms(rooms), broken);
            }
            Message::Realize(want) => self.take(want, broken),
            Message::Realized { file, asked, said } => self.hear(*file, *asked, said, broken),
            Message::Told { file, life, asked, want } => {
                // A former life's answer reaches nobody.
                if *life == self.budget.restarts {
                    self.told(*file, NodeLearned::told(*asked, want.clone()));
                }
            }
            Message::Work { file, verb, generation, size_gib } => {
                if broken == Some(Law::Fence) {
                    self.machine.0.forget_newest();
                }
                let done = self.work(*file, verb, *generation, *size_gib);
                self.worked(*file, verb, *generation, done);
            }
        }
    }

    fn hear(
        &mut self,
        file: usize,
        asked: u64,
        said: &Result<Realized, Fault>,
        broken: Option<Law>,
    ) {
        let learned = match said {
            Ok(realized) => {
                let current = self.volumes[file].as_ref().map(|row| row.want().generation);
                let relabelled = current.filter(|_| broken == Some(Law::ReportFilter));
                let generation = relabelled.unwrap_or(realized.generation);
                Some(Learned::Realized(Realized { generation, ..realized.clone() }))
            }
            Err(fault) => refusal(id(file), asked, &CallError::Rejected(fault.clone())),
        };
        if let Some(learned) = learned {
            self.learn(file, learned, broken);
        }
    }

    /// The node is told: its fence, its ledger, and an end to whatever is older.
    fn take(&mut self, want: &FileWant, broken: Option<Law>) {
        let Some(file) = (0..FILES).find(|file| id(*file) == want.id) else { return };
        let node = &mut self.node[file];
        let known = node.row.clone();
        let forgets = broken == Some(Law::Fence);
        let remembered = known.filter(|row| !forgets || row.wants().0 == want);
        let Ok(row) = FileRow::fold(remembered, want) else { return };
        node.row = Some(row);
        node.at = node.at.take().filter(|(generation, _)| *generation >= want.generation);
        node.waiting = Some(want.generation);
        self.answer(file);
    }

    /// The node asks what is wanted, and the answer is on its way.
    fn question(&mut self, file: usize) {
        let Some(row) = &self.node[file].row else { return };
        let here = self.volumes[file].as_ref().filter(|row| row.host() == Some(HOST));
        let (asked, want) = (row.wants().0.generation, here.map(VolumeRow::want));
        let life = self.budget.restarts;
        self.bag.answer(Message::Told { file, life, asked, want });
    }

    /// Whether the node has an answer to come.
    fn is_asking(&self, file: usize) -> bool {
        let answer = |message: &Message| matches!(message, Message::Told { file: of, life, .. } if *of == file && *life == self.budget.restarts);
        self.bag.messages().any(answer)
    }

    fn told(&mut self, file: usize, learned: NodeLearned) {
        let now = self.now();
        let node = &mut self.node[file];
        let Some(row) = &mut node.row else { return };
        Files::learn(row, learned, now);
        if matches!(Files::plan(row, &(), now).change, Change::Delete) {
            (node.row, node.waiting) = (None, None);
        }
        let newest = node.row.as_ref().map(|row| row.wants().0.generation);
        node.at = node.at.take().filter(|(generation, _)| Some(*generation) >= newest);
        self.answer(file);
    }

    /// Answers whoever waits, if there is an answer.
    fn answer(&mut self, file: usize) {
        let node = &mut self.node[file];
        let (Some(row), Some(asked)) = (&node.row, node.waiting) else { return };
        let want = FileWant { generation: asked, ..row.wants().0.clone() };
        if let Some(said) = answer(row, &want) {
            node.waiting = None;
            self.bag.answer(Message::Realized { file, asked, said });
        }
    }

    fn found(&self, file: usize) -> Option<FoundFile> {
        self.machine.0.find(id(file), DiskFormat::Qcow2).now_or_never()?.ok()?
    }

    /// Does what is next for the file that the node is at.
    fn go_on(&mut self, file: usize) {
        let (Some(row), Some((generation, done))) =
            (&self.node[file].row, self.node[file].at.clone())
        else {
            return;
        };
        let want = row.wants().0.clone();
        let mut work = |verb| {
            let size_gib = want.size_gib;
            self.bag.answer(Message::Work { file, verb, generation, size_gib });
        };
        if !want.present {
            return work(Verb::Delete);
        }
        let found = self.machine.0.find(id(file), DiskFormat::Qcow2).now_or_never();
        match next(row, found.and_then(Result::ok).flatten(), &done) {
            Next::Begin if matches!(want.source, FileSource::File(_)) => work(Verb::Copy),
            Next::Begin => work(Verb::Create),
            Next::Unexport => work(Verb::Unexport),
            Next::Grow => work(Verb::Grow),
            Next::Export(to) => work(Verb::Export(to)),
            Next::Here(path) => {
                self.end(file, Some(NodeLearned::here(generation, path, done.exported)));
            }
            Next::Lost => self.fail(file, &DriverError::Impossible("lost".to_owned())),
            Next::Missing => self.fail(file, &DriverError::Failed("missing".to_owned())),
        }
    }

    fn work(
        &self,
        file: usize,
        verb: &Verb,
        generation: u64,
        size_gib: u64,
    ) -> Result<Option<Export>, DriverError> {
        fn waits<T>() -> Result<T, DriverError> {
            Err(DriverError::Failed("a simulated operation waits".to_owned()))
        }
        let (driver, format) = (&self.machine.0, DiskFormat::Qcow2);
        let spec = FileSpec { id: id(file), generation, size_gib, format };
        let done = match verb {
            Verb::Create => driver.create(&spec).now_or_never(),
            Verb::Copy => driver.copy(&spec, id(0), format).now_or_never(),
            Verb::Grow => driver.grow(&spec).now_or_never(),
            Verb::Export(to) => {
                let served = driver.export(&spec, to).now_or_never();
                return served.map(|served| served.map(Some)).unwrap_or_else(waits);
            }
            Verb::Unexport => driver.unexport(id(file), generation).now_or_never(),
            Verb::Delete => driver.delete(id(file), generation).now_or_never(),
        };
        done.unwrap_or_else(waits).map(|()| None)
    }

    /// The node hears of an operation, if it still waits for it.
    fn worked(
        &mut self,
        file: usize,
        verb: &Verb,
        generation: u64,
        done: Result<Option<Export>, DriverError>,
    ) {
        let Some((_, progress)) = self.node[file].at.as_mut().filter(|(at, _)| *at == generation)
        else {
            return;
        };
        let present = self.node[file].row.as_ref().is_some_and(|row| row.wants().0.present);
        match done {
            Ok(export) if present => {
                match verb {
                    Verb::Export(_) => progress.exported = export,
                    Verb::Unexport => progress.unexported = true,
                    Verb::Create | Verb::Copy => progress.begun = true,
                    Verb::Grow | Verb::Delete => {}
                }
                self.go_on(file);
            }
            Ok(_) => self.end(file, Some(NodeLearned::gone(generation))),
            Err(error) => self.fail(file, &error),
        }
    }

    fn fail(&mut self, file: usize, error: &DriverError) {
        let generation = self.node[file].at.as_ref().map_or(0, |(generation, _)| *generation);
        self.end(file, NodeLearned::failed(generation, id(file), error));
    }

    fn end(&mut self, file: usize, learned: Option<NodeLearned>) {
        let now = self.now();
        let node = &mut self.node[file];
        node.at = None;
        if let (Some(row), Some(learned)) = (&mut node.row, learned) {
            Files::learn(row, learned, now);
        }
        self.answer(file);
    }

    fn happen(&mut self, other: Other, broken: Option<Law>) {
        let budget = &mut self.budget;
        match other {
            Other::Timer => self.bag.begin_timer(),
            Other::Delete(file) => {
                budget.deletes -= 1;
                self.volumes[file].iter_mut().for_each(VolumeRow::unwant);
            }
            Other::Grow => {
                budget.grows -= 1;
                self.volumes[0].iter_mut().for_each(|row| row.grow(2));
            }
            Other::Copy => {
                budget.copies -= 1;
                self.volumes[1] = Some(VolumeRow::copied(id(1), id(0), 2, EARLY));
            }
            Other::Attach => {
                budget.attaches -= 1;
                self.reserve();
            }
            Other::Connect(host) => {
                budget.connects -= 1;
                self.connect(host);
            }
            Other::Release => {
                let attachment = self.attachment();
                let release = Release { volume: id(0), attachment };
                self.volumes[0].iter_mut().for_each(|row| *row = row.released(&release, EARLY));
            }
            Other::Day => {
                budget.days -= 1;
                self.passed = Passed::Day;
            }
            Other::Minute => {
                budget.minutes -= 1;
                self.passed = Passed::Minute;
            }
            Other::Forget(file) => {
                self.node[file].row = None;
                return;
            }
            Other::Ask(file) => return self.question(file),
            Other::Begin(file) => {
                let generation = self.node[file].row.as_ref().map(|row| row.wants().0.generation);
                self.node[file].at = generation.map(|generation| (generation, Progress::default()));
                return self.go_on(file);
            }
            Other::Fail(file) => {
                budget.failures = budget.failures.saturating_sub(1);
                return self.fail(file, &DriverError::Failed("too slow".to_owned()));
            }
            Other::Restart => {
                budget.restarts -= 1;
                self.node.iter_mut().for_each(|node| (node.at, node.waiting) = (None, None));
                return;
            }
        }
        self.plan(broken);
        self.bag.end_timer();
    }

    /// The attachment that comes next, or the last one: each has the number of those still to come.
    fn attachment(&self) -> Uuid {
        Uuid::from_u128(100 + u128::from(self.budget.attaches))
    }

    fn reserve(&mut self) {
        let (server, attachment) = (Uuid::from_u128(50), self.attachment());
        let message = Reserve { volume: id(0), server, attachment };
        let Some(row) = &mut self.volumes[0] else { return };
        *row = row.reserved(&message).unwrap_or_else(|| row.clone());
    }

    /// Asks for the server, whose generations are as many as hosts have asked.
    fn connect(&mut self, host: usize) {
        let message = Connect {
            volume: id(0),
            attachment: self.attachment(),
            server: Uuid::from_u128(50),
            host: format!("host-{host}"),
            generation: u64::from(u8::MAX - self.budget.connects),
            seal: Seal::default(),
        };
        let Some(row) = &mut self.volumes[0] else { return };
        if let Ok((next, _)) = row.connected(&message) {
            *row = next;
        }
    }

    /// Whether what the node waits for will never come: it is not under way any more.
    fn hangs(&self, file: usize) -> bool {
        let awaited = |message: &Message| match message {
            Message::Work { file: of, generation, .. } => {
                *of == file && self.node[file].at.as_ref().map(|(at, _)| at) == Some(generation)
            }
            _ => false,
        };
        !self.bag.messages().any(awaited)
    }

    /// Whether a node forgets a file by its plan. Messages about it may still be under way, but no answer to a question.
    fn may_forget(&self, file: usize) -> bool {
        let node = &self.node[file];
        let row = node.row.as_ref().filter(|_| node.at.is_none() && !self.is_asking(file));
        row.is_some_and(|row| matches!(Files::plan(row, &(), self.now()).change, Change::Delete))
    }

    /// What the node would do for a file now.
    fn effects(&self, file: usize) -> Vec<NodeEffect> {
        let row = self.node[file].row.as_ref();
        row.map(|row| Files::plan(row, &(), self.now()).effects).unwrap_or_default()
    }

    /// Whether the node would work on a file.
    fn makes(&self, file: usize) -> bool {
        self.effects(file).iter().any(|effect| matches!(effect, NodeEffect::Make(_)))
    }

    fn is_held(&self) -> bool {
        self.volumes[0].as_ref().is_some_and(|row| row.held_by().is_some())
    }

    fn others(&self) -> Vec<Other> {
        let budget = &self.budget;
        let present = |file: usize| self.volumes[file].as_ref().is_some_and(VolumeRow::is_present);
        let ready = self.volumes[0].as_ref().is_some_and(VolumeRow::is_ready);
        let held = self.is_held();
        let copied = self.volumes[1].as_ref().is_some_and(VolumeRow::is_being_made);
        let mut others = Vec::new();
        for (file, node) in self.node.iter().enumerate() {
            let effects = self.effects(file);
            let asks = effects.iter().any(|effect| matches!(effect, NodeEffect::Ask(_)));
            let may = [
                (budget.deletes > 0 && present(file) && !(file == 0 && held), Other::Delete(file)),
                (asks && !self.is_asking(file), Other::Ask(file)),
                (self.makes(file) && node.at.is_none(), Other::Begin(file)),
                (self.may_forget(file), Other::Forget(file)),
                (node.at.is_some() && (budget.failures > 0 || self.hangs(file)), Other::Fail(file)),
            ];
            others.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, other)| other));
        }
        let may = [
            (self.bag.may_time_out() && self.volumes.iter().any(Option::is_some), Other::Timer),
            (budget.grows > 0 && ready && !held, Other::Grow),
            (budget.copies > 0 && ready && !held, Other::Copy),
            (budget.attaches > 0 && ready && !held && !copied, Other::Attach),
            (budget.connects > 0 && held, Other::Connect(0)),
            (budget.connects > 0 && held, Other::Connect(1)),
            (budget.connects > 0 && held, Other::Connect(2)),
            (held, Other::Release),
            (budget.minutes > 0 && self.passed == Passed::Nothing, Other::Minute),
            (budget.days > 0, Other::Day),
            (
                budget.restarts > 0 && self.node.iter().any(|node| node.row.is_some()),
                Other::Restart,
            ),
        ];
        others.extend(may.into_iter().filter(|(may, _)| *may).map(|(_, other)| other));
        others
    }
}

impl Model for Volume {
    type State = State;
    type Move = Step<Message, Other>;

    fn start(&self) -> State {
        let mut state = State {
            volumes: [Some(VolumeRow::wanted(id(0), 1, EARLY)), None],
            node: Default::default(),
            machine: Machine(SimulatedVolumes::new(&Env::real(), 100)),
            bag: Bag::new(self.budget.carriage),
            budget: self.budget,
            passed: Passed::Nothing,
        };
        state.plan(self.broken);
        state
    }

    fn moves(&self, state: &State) -> Vec<Self::Move> {
        let mut moves = state.bag.steps();
        moves.extend(state.others().into_iter().map(Step::Other));
        moves
    }

    fn after(&self, state: &State, by: &Self::Move) -> State {
        let mut next = state.clone();
        if let Step::Other(other) = by {
            next.happen(*other, self.broken);
        } else if let Some(message) = next.bag.carry(by) {
            next.deliver(&message, self.broken);
        }
        next
    }

    fn check(&self, state: &State) -> Result<(), String> {
        state.check()
    }

    fn is_settled(&self, state: &State) -> bool {
        state.is_settled()
    }

    fn marks(&self, state: &State) -> Vec<&'static str> {
        state.marks()
    }
}
