//! The hosts: what their nodes keep of the server, and their machines.

use std::collections::BTreeSet;

use serde::{Serialize, Serializer};
use updraft_compute::{
    node::{
        self, BootFiles, Defined, Effect, GuestRow, Guests, Learned, Parked, guest, interface,
        is_removed, may_clear, saw, serial, spec_of, volume_disk,
    },
    simulated::SimulatedHost,
};
use updraft_protocol::{
    compute::{BuildFault, GuestWant, RootDisk},
    hypervisor::{Answer, DriverError, GuestRef, GuestReport, Op, PowerState},
};
use updraft_runtime::rpc::TraceContext;

use super::{Message, State, named, to_host};
use crate::models::{
    EARLY, Law,
    owner::{Plugs, SERVER},
    settle,
};

/// A machine; a copy of a state has its own.
struct Machine(SimulatedHost);

impl Clone for Machine {
    fn clone(&self) -> Self {
        Self(self.0.fork())
    }
}

impl Serialize for Machine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.0.guests(), self.0.served()).serialize(serializer)
    }
}

/// A host.
#[derive(Clone, Serialize)]
pub struct Host {
    /// What its node knows.
    pub(in crate::models) row: Option<GuestRow>,
    /// What of it is on the node's disk.
    disk: Option<GuestRow>,
    /// Whether a crash may take back that everything is as wanted.
    forgets_settled: bool,
    lives: u64,
    machine: Machine,
    turn: u64,
    /// Whether it has no power.
    pub(super) is_down: bool,
    /// Whether control nodes know that it lives: they hear of it later than it does.
    pub(super) is_heard: bool,
    /// Whether this life of its node has heard what is wanted of it.
    pub(super) has_heard: bool,
    /// Whether its power has ever failed: its guest is then off though nobody asked for that.
    pub(super) has_failed: bool,
    /// The server's root disk, if it is here: which of those that were made of the image.
    pub(super) root: Option<u8>,
    /// What its L2 agent keeps of the server's port, and whether there is a tap.
    pub(in crate::models) plugs: Plugs,
}

impl Host {
    pub(super) fn new(forgets_settled: bool) -> Self {
        let machine = Machine(SimulatedHost::new(1, 64, 1));
        Self {
            row: None,
            disk: None,
            forgets_settled,
            lives: 1,
            machine,
            turn: 0,
            is_down: false,
            is_heard: true,
            has_heard: true,
            has_failed: false,
            root: None,
            plugs: Plugs::default(),
        }
    }

    /// The guest, if there is one.
    pub(in crate::models) fn guest(&self) -> Option<GuestReport> {
        self.machine.0.guests().pop()
    }

    pub(in crate::models) fn runs(&self) -> bool {
        self.guest().is_some_and(|guest| guest.power == PowerState::Running)
    }

    /// The newest generation that the hypervisor has served.
    pub(super) fn served(&self) -> u64 {
        self.machine.0.served().get(&SERVER).copied().unwrap_or_default()
    }

    pub(super) fn perform(
        &mut self,
        op: &Op,
        broken: Option<Law>,
        refuse: bool,
    ) -> Result<Answer, DriverError> {
        if broken == Some(Law::Fence) {
            self.machine.0.forget_served();
        }
        if refuse {
            return Err(DriverError::Failed("refused".to_owned()));
        }
        self.machine.0.carry_out(op)
    }

    fn describe(&self) -> Result<Answer, DriverError> {
        self.machine.0.carry_out(&Op::Describe { guest: SERVER })
    }

    /// A commit: durable, with all before it, unless what is new can be learnt again.
    fn keep(&mut self, before: Option<&GuestRow>) {
        let lost = match (before, &self.row) {
            (Some(before), Some(now)) if self.forgets_settled => {
                let before = GuestRow { settled: now.settled, ..before.clone() };
                now.can_be_learnt_again(&before)
            }
            (Some(before), Some(now)) => now.can_be_learnt_again(before),
            // That something is wanted is heard again.
            (None, Some(_)) => true,
            (_, None) => before.is_none(),
        };
        if !lost {
            self.disk.clone_from(&self.row);
        }
    }
}

impl State {
    /// A host hears that something is wanted.
    pub(super) fn hear(&mut self, host: usize, generation: u64) {
        let counter = self.hosts[host].lives << 32;
        let _ = self.hosts[host].row.get_or_insert_with(|| {
            GuestRow::heard_of(SERVER, generation, counter, TraceContext::default(), EARLY)
        });
        self.teach(host, Learned::Wanted(generation));
    }

    /// Folds in what a host learnt, and plans anew.
    pub(in crate::models) fn teach(&mut self, host: usize, learned: Learned) {
        self.learn_only(host, learned);
        self.plan_guest(host);
    }

    /// A node starts anew with what is on its disk: nobody hears what its former life had asked for.
    pub(super) fn restart(&mut self, host: usize) {
        self.bag.forget(|message| match message {
            Message::Want { host: of, .. }
            | Message::Did { host: of, .. }
            | Message::Taken { host: of, .. } => *of == host,
            _ => false,
        });
        let node = &mut self.hosts[host];
        node.row.clone_from(&node.disk);
        node.lives += 1;
        self.bag.begin_anew();
        self.plan_guest(host);
        self.bag.end_timer();
    }

    /// The power of a host fails: what its node, its hypervisor and their messages were at is gone, and guests are off.
    pub(super) fn cut_power(&mut self, host: usize) {
        self.bag.forget(|message| {
            let answers = !matches!(message, Message::Converge { .. });
            to_host(message) == Some(host) && answers
        });
        let node = &mut self.hosts[host];
        node.machine.0.power_fails();
        (node.is_down, node.has_failed) = (true, true);
        (node.is_heard, node.has_heard) = (false, false);
    }

    /// A host comes back with what is on its disk, looks at its guest, and asks what it is to have.
    pub(super) fn come_back(&mut self, host: usize) {
        let node = &mut self.hosts[host];
        node.row.clone_from(&node.disk);
        node.lives += 1;
        (node.is_down, node.has_heard) = (false, false);
        self.bag.begin_anew();
        self.bag.ask(Message::Report { host });
        self.look(host);
        self.plan_guest(host);
        self.bag.end_timer();
    }

    /// A node asks its hypervisor about a guest that it knows.
    fn look(&mut self, host: usize) {
        let known = self.hosts[host].row.as_ref().filter(|row| row.guest.is_some());
        let Some(want) = known.and_then(|row| row.want.clone()) else { return };
        let turn = self.turn(host);
        let answer = self.hosts[host].describe();
        let learned = saw(&want, (turn, answer), None, false);
        learned.into_iter().for_each(|learned| self.learn_only(host, learned));
    }

    /// A host that has come back hears what it is to have: its guests may run from now on.
    pub(super) fn hear_slice(&mut self, host: usize, generation: Option<u64>) {
        if let Some(generation) = generation {
            self.hear(host, generation);
        }
        self.hosts[host].has_heard = true;
        self.bag.begin_anew();
        self.plan_guest(host);
        self.bag.end_timer();
    }

    /// Whether a host's report, which comes now and then, can bring anything.
    pub(super) fn reports(&self, host: usize) -> bool {
        let heard = self.hosts[host].row.as_ref().map_or(0, |row| row.wanted);
        let news = |want: &GuestWant| want.disk != RootDisk::Parked || want.generation > heard;
        !self.hosts[host].has_heard || self.left[host].as_deref().is_some_and(news)
    }

    /// The timer of a host: what it asks for, it asks for again.
    pub(super) fn come_round(&mut self, host: usize) {
        if self.reports(host) {
            self.bag.ask(Message::Report { host });
        }
        self.plan_guest(host);
    }

    /// Plans a guest until it keeps still, and sends what the plan asks for.
    pub(super) fn plan_guest(&mut self, host: usize) {
        loop {
            let written = self.hosts[host].row.clone();
            let effects = settle::<Guests>(&mut self.hosts[host].row, |_| (), EARLY);
            self.hosts[host].keep(written.as_ref());
            let before = self.hosts[host].row.clone();
            for effect in effects {
                self.act_on_host(host, effect);
            }
            if self.hosts[host].row == before {
                return;
            }
        }
    }

    fn act_on_host(&mut self, host: usize, effect: Effect) {
        let Some(row) = self.hosts[host].row.clone() else { return };
        if effect.gives_life() && !self.hosts[host].has_heard {
            return;
        }
        match (effect, &row.want) {
            (Effect::FetchWant, _) => self.bag.ask(Message::Ask { host, wanted: row.wanted }),
            (Effect::Report(observation), _) => {
                self.bag.ask(Message::Tell { host, observation });
            }
            (Effect::Remove, _) => {
                let generation = row.leaving_at();
                let op = Op::Remove(GuestRef { guest: SERVER, generation });
                self.bag.ask(Message::Do { host, op: Box::new(op), generation });
            }
            (effect, Some(want)) => self.advance(host, &row, want, effect),
            (_, None) => {}
        }
    }

    fn advance(&mut self, host: usize, row: &GuestRow, want: &GuestWant, effect: Effect) {
        let op = match effect {
            Effect::Digest => {
                let generation = want.generation;
                let learned = match self.hosts[host].root {
                    Some(_) => Learned::Parked { generation, parked: Parked { digest: None } },
                    None => {
                        let message = "its disk is not there".to_owned();
                        Learned::Fault(generation, BuildFault { message, elsewhere: false })
                    }
                };
                return self.learn_only(host, learned);
            }
            Effect::PrepareBoot => {
                if !self.make_root(host, &want.disk) {
                    return;
                }
                let command_line = String::new();
                let boot = BootFiles { disk: None, kernel: None, ramdisk: None, command_line };
                return self.learn_only(host, Learned::Boot(boot));
            }
            Effect::Describe => {
                let turn = self.turn(host);
                let answer = self.hosts[host].describe();
                let learned = saw(want, (turn, answer), None, false);
                return learned.into_iter().for_each(|learned| self.learn_only(host, learned));
            }
            Effect::Define => {
                spec_of(row, want, &named(host), "log".into()).map(Box::new).map(Op::Define)
            }
            Effect::Start => Ok(Op::Start(guest(want))),
            Effect::Stop => Ok(Op::Stop { guest: guest(want), grace_ms: 0 }),
            Effect::AttachDisk(volume) => volume_disk(row, &volume, &named(host))
                .map(|disk| Op::AttachDisk { guest: guest(want), disk }),
            Effect::DetachDisk(volume) => {
                Ok(Op::DetachDisk { guest: guest(want), serial: serial(volume.volume) })
            }
            Effect::AttachInterface(port) => interface(&port)
                .map(|interface| Op::AttachInterface { guest: guest(want), interface }),
            Effect::DetachInterface(mac_address) => {
                Ok(Op::DetachInterface { guest: guest(want), mac_address })
            }
            owned => return self.advance_owned(host, want, &owned),
        };
        if let Ok(op) = op {
            let generation = want.generation;
            self.bag.ask(Message::Do { host, op: Box::new(op), generation });
        }
    }

    /// Makes the root disk, or copies it; whether it is there.
    fn make_root(&mut self, host: usize, wanted: &RootDisk) -> bool {
        if self.hosts[host].root.is_some() {
            return true;
        }
        self.hosts[host].root = match wanted {
            RootDisk::Here | RootDisk::Parked => {
                self.disks_made += 1;
                Some(self.disks_made)
            }
            RootDisk::Kept => None,
            RootDisk::CopyOf { host: keeper, generation } => self.copied(keeper, *generation),
        };
        self.hosts[host].root.is_some()
    }

    /// What a host gives that keeps the disk at this generation.
    fn copied(&self, keeper: &str, generation: u64) -> Option<u8> {
        let keeper = self.hosts.iter().enumerate().find(|(index, _)| named(*index) == keeper)?.1;
        let row = keeper.row.as_ref().filter(|row| !keeper.is_down && row.parked.is_some())?;
        let parked = row.want.as_ref().filter(|want| want.disk == RootDisk::Parked)?;
        keeper.root.filter(|_| parked.generation == generation)
    }

    fn learn_only(&mut self, host: usize, learned: Learned) {
        let node = &mut self.hosts[host];
        let Some(before) = node.row.clone() else { return };
        if let Some(row) = &mut node.row {
            node::learn(row, learned, EARLY);
        }
        node.keep(Some(&before));
    }

    fn turn(&mut self, host: usize) -> u64 {
        self.hosts[host].turn += 1;
        self.hosts[host].turn
    }

    /// A hypervisor has done something: its node will hear of it.
    pub(super) fn did(
        &mut self,
        host: usize,
        op: &Op,
        generation: u64,
        answer: Result<Answer, DriverError>,
    ) {
        let turn = self.turn(host);
        let op = Box::new(op.clone());
        self.bag.answer(Message::Did { host, op, generation, turn, answer });
    }

    /// A node hears what its hypervisor did.
    pub(super) fn hear_driver(
        &mut self,
        host: usize,
        op: &Op,
        generation: u64,
        (turn, answer): (u64, Result<Answer, DriverError>),
    ) {
        if let Op::Remove(_) = op {
            let absent = || self.hosts[host].guest().is_none();
            if is_removed(&answer).unwrap_or_else(absent) {
                if may_clear(self.hosts[host].row.as_ref()) {
                    self.hosts[host].root = None;
                }
                self.teach(host, Learned::Gone { generation });
            }
            return;
        }
        // The want for which it was asked; of it, only the generation counts here.
        let known = self.hosts[host].row.as_ref().and_then(|row| row.want.clone());
        let Some(want) = known.map(|want| GuestWant { generation, ..want }) else { return };
        let defined = matches!(op, Op::Define(_))
            .then(|| Defined { flavor: want.flavor.clone(), ports: Vec::new() });
        let learned = saw(&want, (turn, answer), defined, false);
        learned.into_iter().for_each(|learned| self.teach(host, learned));
    }

    /// Renumbers the turns of each host, of which only the order counts: else no two states were equal.
    pub(super) fn renumber_turns(&mut self) {
        for host in 0..self.hosts.len() {
            let in_flight = |message: &Message| match message {
                Message::Did { host: of, turn, .. } if *of == host => Some(*turn),
                _ => None,
            };
            let mut turns: BTreeSet<u64> = self.bag.messages().filter_map(in_flight).collect();
            let known = &self.hosts[host];
            turns.extend(known.row.iter().chain(&known.disk).map(|row| row.turn));
            let rank = |turn: u64| turns.range(..turn).count() as u64;
            let machine = &mut self.hosts[host];
            machine.turn = turns.len() as u64;
            for row in machine.row.iter_mut().chain(&mut machine.disk) {
                row.turn = rank(row.turn);
            }
            self.bag.rewrite(|message| match message {
                Message::Did { host: of, op, generation, turn, answer }
                    if *of == host && rank(*turn) != *turn =>
                {
                    let (op, answer, turn) = (op.clone(), answer.clone(), rank(*turn));
                    Some(Message::Did { host, op, generation: *generation, turn, answer })
                }
                _ => None,
            });
        }
    }
}
