//! Every order of events in the life of one server on two hosts, within bounds.
//!
//! The plans are the real ones, of the control side and of the compute node; what carries their messages and
//! what runs guests is as bad as it can be: anything may be late, doubled, lost or refused, a node may forget
//! what it had not yet written, and the user may delete at any moment.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that shows its counts")]

use std::collections::{BTreeMap, BTreeSet};

use updraft_compute::{
    conductor::want_of,
    node::{self, BootFiles, Defined, GuestRow},
    plan::{self, Effect, Facts, Learned},
    rows::{Action, ActionKind, ServerRow, VmState},
};
use updraft_harness::explore::{Model, Report, explore};
use updraft_protocol::{
    compute::{FlavorSpec, Goal, GuestWant, Observation, Power, Reboots, Stage},
    hypervisor::{GuestRef, GuestReport, PowerState},
};
use updraft_runtime::{env::UnixMicros, rows::Change, rpc::TraceContext};
use uuid::Uuid;

const HOSTS: usize = 2;
const EARLY: UnixMicros = UnixMicros(0);
const DEADLINE: UnixMicros = UnixMicros(1);

/// Which law the model breaks, to show that the explorer would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Nothing,
    /// The host does not keep the generation.
    Fence,
    /// Reports of any generation are folded in.
    ReportFilter,
    /// The next host is tried before the last has confirmed that it has nothing.
    ConfirmedGone,
}

struct Server {
    broken: Broken,
    budget: Budget,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
struct Budget {
    losses: u8,
    duplicates: u8,
    refusals: u8,
    amnesias: u8,
    deletes: u8,
    stops: u8,
    deadlines: u8,
    /// Times that other servers take the room of the alternates.
    crowds: u8,
    /// Messages sent again by a timer while others are still on their way.
    resends: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
enum Op {
    Define,
    Start,
    Stop,
    Remove,
}

#[derive(Clone, Debug, PartialEq, serde::Serialize)]
enum Message {
    Converge {
        host: usize,
        generation: u64,
    },
    Ask {
        host: usize,
        wanted: u64,
    },
    Want {
        host: usize,
        want: Option<Box<GuestWant>>,
    },
    Do {
        host: usize,
        op: Op,
        generation: u64,
    },
    Did {
        host: usize,
        op: Op,
        generation: u64,
        turn: u64,
        result: Result<Option<PowerState>, bool>,
    },
    Tell {
        host: usize,
        observation: Observation,
    },
    Taken {
        host: usize,
        generation: u64,
        counter: u64,
        wanted: Option<u64>,
    },
}

#[derive(Clone, Debug, serde::Serialize)]
struct Host {
    row: Option<GuestRow>,
    lives: u64,
    fence: u64,
    guest: Option<bool>,
    turn: u64,
}

#[derive(Clone, serde::Serialize)]
struct State {
    server: Option<ServerRow>,
    hosts: Vec<Host>,
    /// In flight, by their own text, so that order does not count.
    messages: BTreeMap<String, Message>,
    /// Everything ever sent: a plan repeats a message by its timer only.
    sent: BTreeSet<String>,
    by_timer: bool,
    budget: Budget,
    late: bool,
    /// Whether no alternate has room.
    crowded: bool,
    /// How often the scheduler has placed it.
    scheduled: u8,
}

fn server() -> ServerRow {
    let flavor = FlavorSpec {
        id: "1".into(),
        name: "m1.tiny".into(),
        vcpus: 1,
        ram_mib: 64,
        disk_gib: 1,
        ephemeral_gib: 0,
        swap_mib: 0,
        extra_specs: BTreeMap::new(),
    };
    ServerRow {
        id: Uuid::from_u128(1),
        name: "s".into(),
        hostname: "s".into(),
        description: None,
        project_id: "p".into(),
        user_id: "u".into(),
        created: EARLY,
        updated: EARLY,
        launched: None,
        reservation_id: "r".into(),
        launch_index: 0,
        flavor,
        image: None,
        key: None,
        user_data: None,
        metadata: BTreeMap::new(),
        tags: Vec::new(),
        config_drive: false,
        volume_host: None,
        availability_zone: None,
        group: None,
        scheduler_hints: BTreeMap::new(),
        security_groups: Vec::new(),
        security_group_names: Vec::new(),
        nics: Vec::new(),
        locked: None,
        details: updraft_compute::rows::Details::default(),
        goal: Goal::Present,
        power: Power::On,
        reboots: Reboots::default(),
        volumes: Vec::new(),
        resize: None,
        generation: 0,
        placement: None,
        alternates: Vec::new(),
        tried: Vec::new(),
        observed: None,
        ports: Vec::new(),
        network_released: true,
        build_deadline: DEADLINE,
        state: VmState::Building,
        action: Some(Action { kind: ActionKind::Create, request_id: "req-1".into() }),
        fault: None,
        trace: TraceContext::default(),
        auth: None,
        token_trace: [0; 16],
    }
}

fn is_tried(row: &ServerRow, host: &str) -> bool {
    row.tried.iter().any(|(name, _)| name == host)
}

fn name(host: usize) -> String {
    format!("host-{host}")
}

impl State {
    fn now(&self) -> UnixMicros {
        if self.late { DEADLINE } else { EARLY }
    }

    fn send(&mut self, message: Message) {
        let text = format!("{message:?}");
        if self.sent.insert(text.clone()) || self.by_timer {
            self.messages.insert(text, message);
        }
    }

    /// Renumbers the turns of each host, of which only the order counts: else no two states were equal.
    fn renumber_turns(&mut self) {
        for host in 0..HOSTS {
            let in_flight = |message: &Message| match message {
                Message::Did { host: of, turn, .. } if *of == host => Some(*turn),
                _ => None,
            };
            let mut turns: BTreeSet<u64> = self.messages.values().filter_map(in_flight).collect();
            turns.extend(self.hosts[host].row.as_ref().map(|row| row.turn));
            let rank = |turn: u64| turns.range(..turn).count() as u64;
            let machine = &mut self.hosts[host];
            machine.turn = turns.len() as u64;
            if let Some(row) = &mut machine.row {
                row.turn = rank(row.turn);
            }
            for message in self.messages.values_mut() {
                if let Message::Did { host: of, turn, .. } = message
                    && *of == host
                {
                    *turn = rank(*turn);
                }
            }
        }
        let messages = std::mem::take(&mut self.messages).into_values();
        self.messages = messages.map(|message| (format!("{message:?}"), message)).collect();
    }

    /// A timer comes round: whatever is still asked for is sent again.
    fn timer(&mut self, plan: impl FnOnce(&mut Self)) {
        if !self.messages.is_empty() {
            self.budget.resends -= 1;
        }
        self.by_timer = true;
        plan(self);
        self.by_timer = false;
    }

    /// Plans the server until it keeps still, and sends what the plan asks for.
    fn plan_server(&mut self, broken: Broken) {
        loop {
            let Some(row) = &self.server else { return };
            let planned = plan::plan(row, &self.facts(row), self.now());
            match planned.change {
                Change::Write(row) => self.server = Some(row),
                Change::Delete => self.server = None,
                Change::Keep => {
                    let gone = row.placement.as_ref().is_some_and(|p| p.goal == Goal::Absent);
                    if broken == Broken::ConfirmedGone && gone {
                        self.unplace();
                        continue;
                    }
                    let before = self.server.clone();
                    planned.effects.into_iter().for_each(|effect| self.act(effect));
                    if self.server == before {
                        return;
                    }
                }
            }
        }
    }

    fn unplace(&mut self) {
        if let Some(row) = &mut self.server {
            row.placement = None;
            row.observed = None;
        }
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::SelectHost => self.place(),
            Effect::Converge { host, generation } => {
                let host = (0..HOSTS).find(|index| name(*index) == host).unwrap();
                self.send(Message::Converge { host, generation });
            }
            Effect::AnnounceVolume { .. }
            | Effect::ReleaseVolume { .. }
            | Effect::ReleaseNetwork => {}
        }
    }

    /// The first alternate that has not failed, if there is room.
    fn facts(&self, row: &ServerRow) -> Facts {
        let able = |host: &&String| !self.crowded && !is_tried(row, host);
        Facts { alternate: row.alternates.iter().find(able).cloned() }
    }

    /// The scheduler, as far as one server needs it: the first host not tried, the others are alternates.
    fn place(&mut self) {
        let Some(row) = &mut self.server else { return };
        let mut able = (0..HOSTS).map(name).filter(|host| !is_tried(row, host));
        match able.next() {
            Some(host) => {
                let alternates = able.collect();
                *row = plan::placed(row, &host, alternates);
                self.scheduled += 1;
            }
            None => {
                row.state = VmState::Error;
                row.action = None;
                row.fault = Some(updraft_compute::rows::FaultRow {
                    code: 500,
                    message: "no valid host".into(),
                    details: String::new(),
                    created: EARLY,
                });
            }
        }
    }

    /// Plans a guest until it keeps still, and sends what the plan asks for.
    fn plan_guest(&mut self, host: usize) {
        loop {
            let Some(row) = &self.hosts[host].row else { return };
            let planned = node::plan(row, EARLY);
            match planned.change {
                Change::Write(row) => self.hosts[host].row = Some(row),
                Change::Delete => self.hosts[host].row = None,
                Change::Keep => {
                    let before = self.hosts[host].row.clone();
                    for effect in planned.effects {
                        self.act_on_host(host, effect);
                    }
                    if self.hosts[host].row == before {
                        return;
                    }
                }
            }
        }
    }

    fn act_on_host(&mut self, host: usize, effect: node::Effect) {
        let row = self.hosts[host].row.clone().unwrap();
        let generation = row.want.as_ref().map_or(row.wanted, |want| want.generation);
        let op = match effect {
            node::Effect::FetchWant => {
                return self.send(Message::Ask { host, wanted: row.wanted });
            }
            node::Effect::Report(observation) => {
                return self.send(Message::Tell { host, observation });
            }
            node::Effect::PrepareBoot => {
                let boot = BootFiles {
                    disk: None,
                    kernel: None,
                    ramdisk: None,
                    command_line: String::new(),
                };
                return self.learn(host, node::Learned::Boot(boot));
            }
            node::Effect::Describe => {
                let power = self.hosts[host].guest.map(power_of);
                let turn = self.turn(host);
                return self.learn_guest(host, generation, turn, power, None);
            }
            node::Effect::Define => Op::Define,
            node::Effect::Start => Op::Start,
            node::Effect::Stop => Op::Stop,
            node::Effect::Remove => Op::Remove,
            other => unreachable!("{other:?} is not in this model"),
        };
        self.send(Message::Do { host, op, generation });
    }

    fn turn(&mut self, host: usize) -> u64 {
        self.hosts[host].turn += 1;
        self.hosts[host].turn
    }

    fn learn(&mut self, host: usize, learned: node::Learned) {
        if let Some(row) = &mut self.hosts[host].row {
            node::learn(row, learned, EARLY);
        }
    }

    fn learn_guest(
        &mut self,
        host: usize,
        generation: u64,
        turn: u64,
        power: Option<PowerState>,
        op: Option<&Op>,
    ) {
        let report = GuestReport {
            guest: GuestRef { guest: Uuid::from_u128(1), generation },
            power: power.unwrap_or(PowerState::Absent),
            disks: Vec::new(),
            mac_addresses: Vec::new(),
        };
        let defined = (op == Some(&Op::Define))
            .then(|| Defined { flavor: server().flavor, ports: Vec::new() });
        self.learn(host, node::Learned::Guest { turn, report, defined, reboots: None });
    }

    fn deliver(&mut self, message: Message, broken: Broken, refuse: bool) {
        match message {
            Message::Converge { host, generation } => self.hear(host, generation),
            Message::Ask { host, .. } => {
                self.by_timer = true;
                self.answer(host);
                self.by_timer = false;
            }
            Message::Want { host, want } => {
                let learned = want.map_or(node::Learned::Unwanted, node::Learned::Want);
                self.learn(host, learned);
                self.plan_guest(host);
            }
            Message::Do { host, op, generation } => {
                let result = self.drive(host, &op, generation, broken, refuse);
                let turn = self.turn(host);
                let did = Message::Did { host, op, generation, turn, result };
                self.messages.insert(format!("{did:?}"), did);
            }
            Message::Did { host, op, generation, turn, result } => {
                self.hear_driver(host, &op, generation, turn, result);
                self.plan_guest(host);
            }
            Message::Tell { host, observation } => self.take(host, observation, broken),
            Message::Taken { host, generation, counter, wanted } => {
                self.learn(host, node::Learned::Taken { generation, counter, wanted });
                self.plan_guest(host);
            }
        }
    }

    fn hear(&mut self, host: usize, generation: u64) {
        let lives = self.hosts[host].lives;
        self.hosts[host].row.get_or_insert_with(|| {
            let trace = TraceContext::default();
            GuestRow::heard_of(Uuid::from_u128(1), generation, lives << 32, trace, EARLY)
        });
        self.learn(host, node::Learned::Wanted(generation));
        self.plan_guest(host);
    }

    fn answer(&mut self, host: usize) {
        let placed = |row: &&ServerRow| {
            row.placement.as_ref().is_some_and(|placement| placement.host == name(host))
        };
        let want = self.server.as_ref().filter(placed).map(|row| Box::new(want_of(row)));
        self.send(Message::Want { host, want });
    }

    /// The hypervisor: it keeps the newest generation served, and refuses older ones.
    fn drive(
        &mut self,
        host: usize,
        op: &Op,
        generation: u64,
        broken: Broken,
        refuse: bool,
    ) -> Result<Option<PowerState>, bool> {
        let machine = &mut self.hosts[host];
        if broken != Broken::Fence {
            if generation < machine.fence {
                return Err(true);
            }
            machine.fence = generation;
        }
        if refuse {
            return Err(false);
        }
        machine.guest = match (op, machine.guest) {
            (Op::Define, Some(true)) => return Err(false),
            (Op::Define | Op::Stop, Some(_)) | (Op::Define, None) => Some(false),
            (Op::Start, Some(_)) => Some(true),
            (Op::Start | Op::Stop, None) | (Op::Remove, _) => None,
        };
        Ok(machine.guest.map(power_of))
    }

    fn hear_driver(
        &mut self,
        host: usize,
        op: &Op,
        generation: u64,
        turn: u64,
        result: Result<Option<PowerState>, bool>,
    ) {
        match result {
            Ok(None) if *op == Op::Remove => self.learn(host, node::Learned::Gone { generation }),
            Ok(power) => self.learn_guest(host, generation, turn, power, Some(op)),
            Err(true) => self.learn(host, node::Learned::Wanted(self.hosts[host].fence)),
            Err(false) => {
                let message = "refused".to_owned();
                self.learn(host, node::Learned::Refused { generation, message });
            }
        }
    }

    fn take(&mut self, host: usize, mut observation: Observation, broken: Broken) {
        let (generation, counter) = (observation.generation, observation.counter);
        if let Some(row) = &mut self.server {
            if broken == Broken::ReportFilter {
                observation.generation = row.generation;
            }
            plan::learn(row, Learned::Observed { host: name(host), observation });
        }
        self.plan_server(broken);
        let here = self.server.as_ref().filter(|row| {
            row.placement.as_ref().is_some_and(|placement| placement.host == name(host))
        });
        let wanted = here.map(|row| row.generation);
        let taken = Message::Taken { host, generation, counter, wanted };
        self.messages.insert(format!("{taken:?}"), taken);
    }
}

fn power_of(running: bool) -> PowerState {
    if running { PowerState::Running } else { PowerState::Shutdown }
}

impl Server {
    /// What may happen to the messages under way.
    fn message_moves(&self, state: &State) -> Vec<(String, State)> {
        let mut moves = Vec::new();
        let mut add = |name: String, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            next.renumber_turns();
            moves.push((name, next));
        };
        for (text, message) in &state.messages {
            add(format!("deliver {text}"), &|next| {
                next.messages.remove(text);
                next.deliver(message.clone(), self.broken, false);
            });
            if state.budget.duplicates > 0 {
                add(format!("double {text}"), &|next| {
                    next.budget.duplicates -= 1;
                    next.deliver(message.clone(), self.broken, false);
                });
            }
            if state.budget.losses > 0 {
                add(format!("lose {text}"), &|next| {
                    next.budget.losses -= 1;
                    next.messages.remove(text);
                });
            }
            if state.budget.refusals > 0 && matches!(message, Message::Do { .. }) {
                add(format!("refuse {text}"), &|next| {
                    next.budget.refusals -= 1;
                    next.messages.remove(text);
                    next.deliver(message.clone(), self.broken, true);
                });
            }
        }
        moves
    }

    /// What may happen besides: timers, restarts, users and deadlines.
    fn other_moves(&self, state: &State) -> Vec<(String, State)> {
        let mut moves = Vec::new();
        let mut add = |name: String, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            change(&mut next);
            next.renumber_turns();
            moves.push((name, next));
        };
        let timers = state.messages.is_empty() || state.budget.resends > 0;
        if timers {
            add("the server's timer".into(), &|next| {
                next.timer(|next| next.plan_server(self.broken));
            });
        }
        for host in 0..HOSTS {
            if timers && state.hosts[host].row.is_some() {
                add(format!("the timer of host {host}"), &|next| {
                    next.timer(|next| next.plan_guest(host));
                });
            }
            if state.budget.amnesias > 0 && state.hosts[host].row.is_some() {
                add(format!("host {host} restarts and has lost its row"), &|next| {
                    next.budget.amnesias -= 1;
                    next.hosts[host].row = None;
                    next.hosts[host].lives += 1;
                });
            }
        }
        if state.budget.deletes > 0 && state.server.is_some() {
            add("the user deletes it".into(), &|next| {
                next.budget.deletes -= 1;
                if let Some(row) = &mut next.server {
                    row.goal = Goal::Absent;
                }
                next.plan_server(self.broken);
            });
        }
        let active = |row: &ServerRow| row.state == VmState::Active && row.action.is_none();
        if state.budget.stops > 0 && state.server.as_ref().is_some_and(active) {
            add("the user stops it".into(), &|next| {
                next.budget.stops -= 1;
                if let Some(row) = &mut next.server {
                    row.power = Power::Off;
                    row.generation += 1;
                    row.action =
                        Some(Action { kind: ActionKind::Stop, request_id: "req-2".into() });
                }
                next.plan_server(self.broken);
            });
        }
        if state.budget.crowds > 0 && state.server.is_some() {
            add("the alternates fill up".into(), &|next| {
                next.budget.crowds -= 1;
                next.crowded = true;
            });
        }
        if state.budget.deadlines > 0 {
            add("the deadline passes".into(), &|next| {
                next.budget.deadlines -= 1;
                next.late = true;
                next.plan_server(self.broken);
            });
        }
        moves
    }
}

impl Model for Server {
    type State = State;

    fn start(&self) -> State {
        let host = Host { row: None, lives: 1, fence: 0, guest: None, turn: 0 };
        let mut state = State {
            server: Some(server()),
            hosts: vec![host; HOSTS],
            messages: BTreeMap::new(),
            sent: BTreeSet::new(),
            by_timer: false,
            budget: self.budget.clone(),
            late: false,
            crowded: false,
            scheduled: 0,
        };
        state.plan_server(self.broken);
        state
    }

    fn moves(&self, state: &State) -> Vec<(String, State)> {
        let mut moves = self.message_moves(state);
        moves.extend(self.other_moves(state));
        moves
    }

    fn identity(&self, state: &State) -> Vec<u8> {
        serde_json::to_vec(state).unwrap()
    }

    fn check(&self, state: &State) -> Result<(), String> {
        let with_guest: Vec<_> =
            (0..HOSTS).filter(|host| state.hosts[*host].guest.is_some()).collect();
        if with_guest.len() > 1 {
            return Err("two hosts have a guest of one server".into());
        }
        let placed = state.server.as_ref().and_then(|row| row.placement.as_ref());
        let claimed = |host: usize| placed.is_some_and(|placement| placement.host == name(host));
        let stopped = state.server.as_ref().is_some_and(|row| {
            row.launched.is_some() && row.power == Power::Off && row.action.is_none()
        });
        if stopped && state.hosts.iter().any(|host| host.guest == Some(true)) {
            return Err("the stop is said to be done and the guest runs".into());
        }
        match with_guest.first() {
            Some(host) if !claimed(*host) => {
                Err(format!("host {host} has a guest and no claim covers it"))
            }
            _ => Ok(()),
        }
    }

    fn is_settled(&self, state: &State) -> bool {
        let guests = state.hosts.iter().filter(|host| host.guest.is_some()).count();
        match &state.server {
            None => guests == 0,
            Some(row) if matches!(row.state, VmState::Active | VmState::Stopped) => {
                row.action.is_none() && row.goal == Goal::Present && guests == 1
            }
            Some(row) => row.state == VmState::Error && row.placement.is_none() && guests == 0,
        }
    }

    fn marks(&self, state: &State) -> Vec<&'static str> {
        let mut marks = BTreeSet::new();
        let row = state.server.as_ref();
        let stale = |message: &Message| match message {
            Message::Do { host, generation, .. } => *generation < state.hosts[*host].fence,
            _ => false,
        };
        let on_second = |row: &ServerRow| {
            let host = row.placement.as_ref().map(|placement| &placement.host);
            !row.tried.is_empty() && host.is_some_and(|host| !is_tried(row, host))
        };
        let situations = [
            ("deleted", row.is_none()),
            ("active", row.is_some_and(|row| row.state == VmState::Active)),
            ("stopped", row.is_some_and(|row| row.state == VmState::Stopped)),
            ("in error", row.is_some_and(|row| row.state == VmState::Error)),
            ("an alternate is tried", row.is_some_and(on_second) && state.scheduled == 1),
            ("the scheduler chooses a second host", row.is_some_and(on_second) && state.scheduled == 2),
            ("deleted while it runs", row.is_some_and(|row| row.goal == Goal::Absent) && state.hosts.iter().any(|h| h.guest == Some(true))),
            ("a stale command is on its way", state.messages.values().any(stale)),
            ("a host says gone", state.messages.values().any(|m| matches!(m, Message::Tell { observation, .. } if observation.stage == Stage::Gone))),
        ];
        marks.extend(situations.into_iter().filter(|(_, is)| *is).map(|(name, _)| name));
        marks.into_iter().collect()
    }
}

const STATES_MAX: usize = 400_000;

fn run(broken: Broken, budget: Budget) -> Report {
    let report = explore(&Server { broken, budget }, STATES_MAX);
    println!(
        "{broken:?}: {} states, {} moves, {} settled, {} stuck, {:?}",
        report.states, report.moves, report.settled, report.stuck, report.marks
    );
    if let Some(violation) = &report.violation {
        println!("  {} after\n    {}", violation.reason, violation.moves.join("\n    "));
    }
    if report.stuck > 0 {
        println!("  stuck after\n    {}", report.stuck_after.join("\n    "));
    }
    assert!(!report.truncated, "the bounds are too wide to be explored");
    report
}

const NONE: Budget = Budget {
    losses: 0,
    duplicates: 0,
    refusals: 0,
    amnesias: 0,
    deletes: 0,
    stops: 0,
    deadlines: 0,
    crowds: 0,
    resends: 0,
};

#[test]
fn a_server_ends_well_in_every_order_of_events() {
    let budgets = [
        Budget { deletes: 1, losses: 1, resends: 1, ..NONE },
        Budget { refusals: 3, duplicates: 1, ..NONE },
        Budget { refusals: 3, deletes: 1, losses: 1, ..NONE },
        Budget { refusals: 3, crowds: 1, duplicates: 1, ..NONE },
        Budget { deadlines: 1, deletes: 1, duplicates: 1, ..NONE },
        Budget { stops: 1, deletes: 1, duplicates: 1, ..NONE },
        Budget { amnesias: 1, deletes: 1, losses: 1, resends: 1, ..NONE },
    ];
    let mut reached = BTreeSet::new();
    for budget in budgets {
        let report = run(Broken::Nothing, budget);
        assert!(report.violation.is_none() && report.stuck == 0);
        reached.extend(report.marks.into_keys());
    }
    assert_eq!(reached.len(), 9, "not every situation was reached: {reached:?}");
}

/// Explores until the broken law shows.
fn is_found(broken: Broken, budget: Budget) -> bool {
    let report = run(broken, budget);
    report.violation.is_some() || report.stuck > 0
}

#[test]
fn a_host_that_forgets_the_generation_is_found() {
    assert!(is_found(Broken::Fence, Budget { deletes: 1, duplicates: 1, resends: 1, ..NONE }));
}

#[test]
fn reports_of_another_generation_that_count_are_found() {
    assert!(is_found(Broken::ReportFilter, Budget { stops: 1, duplicates: 1, ..NONE }));
}

#[test]
fn a_second_host_before_the_first_is_gone_is_found() {
    assert!(is_found(Broken::ConfirmedGone, Budget { refusals: 3, ..NONE }));
}
