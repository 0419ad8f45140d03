//! A port on two hosts: bound to one, moved to the other, changed and deleted, while calls are late and agents start
//! anew.
//!
//! Real: the port's plan, the agent's fence, ledger and plan. A host's driver is a tap that is there or is not: the
//! real ones fence nothing, so that whatever keeps an old want from the host is the ledger.

mod judge;
mod moves;

use std::collections::BTreeSet;

use serde::Serialize;
use updraft_harness::explore::Model;
use updraft_network::{
    Ports,
    agent::{Applied, Effect as AgentEffect, Fence, Keeping, Learned as AgentLearned, Row, fence},
    plan::port::{self, Effect, Facts, Learned},
    rows::{Nic, PortRow, PortStatus, Standard},
};
use updraft_protocol::{compute::Goal, network::PortWant};
use updraft_runtime::{
    env::UnixMicros,
    rows::{Asked, Change, Kind, Plan},
    rpc::TraceContext,
};
use uuid::Uuid;

pub use self::{
    judge::MARKS,
    moves::{Message, Other},
};
use super::{
    EARLY, LATE, Law,
    bag::{Bag, Carriage, Step},
    settle,
};

type Agent = Keeping<PortWant>;

/// How many hosts there are.
const HOSTS: usize = 2;

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Messages.
    pub carriage: Carriage,
    /// Moves to the other host, or away from all.
    pub binds: u8,
    /// Changes of what is plugged.
    pub changes: u8,
    /// Deletions, by a user.
    pub deletes: u8,
    /// Agents that start anew.
    pub restarts: u8,
    /// Work of the driver that fails, done or not.
    pub failures: u8,
    /// Times that an agent forgets what is gone, whatever is still under way.
    pub forgets: u8,
}

/// The model.
pub struct Port {
    /// The law that it breaks.
    pub broken: Option<Law>,
    /// Its bounds.
    pub budget: Budget,
}

/// A host: what its agent keeps on disk, what it is at, and the tap.
#[derive(Clone, Debug, Default, Serialize)]
struct Host {
    row: Option<Row<PortWant>>,
    life: u128,
    at: Option<PortWant>,
    /// Generations whose callers wait for an answer.
    waiting: BTreeSet<u64>,
    tap: bool,
}

/// All there is.
#[derive(Clone, Serialize)]
pub struct State {
    port: Option<PortRow>,
    hosts: [Host; HOSTS],
    bag: Bag<Message>,
    budget: Budget,
}

fn name(host: usize) -> String {
    format!("host-{host}")
}

fn facts() -> Facts {
    Facts { mtu: Some(1450), ..Facts::default() }
}

/// A port that nobody has asked anything of yet.
#[must_use]
pub fn row() -> PortRow {
    PortRow {
        id: Uuid::from_u128(2),
        project_id: String::new(),
        name: String::new(),
        network: Uuid::from_u128(3),
        mac_address: "fa:16:3e:00:00:01".to_owned(),
        fixed_ips: Vec::new(),
        admin_state_up: true,
        device_id: Uuid::from_u128(1).to_string(),
        device_owner: "compute:nova".to_owned(),
        security_groups: BTreeSet::new(),
        port_security_enabled: false,
        allowed_address_pairs: Vec::new(),
        vnic_type: "normal".to_owned(),
        profile: serde_json::Map::new(),
        status: PortStatus::Down,
        standard: Standard::new(None, EARLY),
        goal: Goal::Present,
        host: None,
        nic: None::<Nic>,
        taken_from: Vec::new(),
        generation: 0,
        bindings: std::collections::BTreeMap::new(),
        told_generation: 0,
        floating_changes: 0,
        floating_told: 0,
        trace: TraceContext::default(),
    }
}

impl Host {
    fn life(&self) -> Uuid {
        Uuid::from_u128(self.life)
    }

    /// Takes a want in, as the agent's desk does; whether it waits for an answer.
    fn take(&mut self, want: &PortWant, broken: Option<Law>) {
        let (trace, broken) = (TraceContext::default(), broken == Some(Law::Fence));
        if broken && self.row.as_ref().is_some_and(|row| row.want != *want) {
            self.row = None;
        }
        match fence(self.row.as_ref().map(|row| &row.want), want) {
            Fence::Stale { .. } => return,
            Fence::New => {
                self.row = Some(match &self.row {
                    Some(known) => known.renewed(want.clone(), trace, EARLY),
                    None => Row::new(want.clone(), trace, EARLY),
                });
            }
            Fence::Same | Fence::Differs => {}
        }
        if let Some(row) = self.row.as_mut().filter(|_| broken) {
            row.asked = Asked::At(EARLY);
        }
        self.waiting.insert(want.generation);
    }

    fn plan(&self, now: UnixMicros) -> Option<Plan<Agent>> {
        let row = self.row.as_ref()?;
        Some(Agent::plan(row, &self.life(), now))
    }

    fn does(&self, is: impl Fn(&AgentEffect) -> bool) -> bool {
        self.plan(EARLY).is_some_and(|plan| plan.effects.iter().any(is))
    }

    /// The want to begin with, if there is something to do and nothing is being done: each network has its turn.
    fn next(&self) -> Option<PortWant> {
        let applies = |effect: &AgentEffect| matches!(effect, AgentEffect::Apply { .. });
        let begins = self.at.is_none() && self.does(applies);
        self.row.as_ref().filter(|_| begins).map(|row| row.want.clone())
    }

    /// The generation about which it would ask the network service.
    fn question(&self) -> Option<u64> {
        let asks = self.does(|effect| matches!(effect, AgentEffect::Ask { .. }));
        self.row.as_ref().filter(|_| asks).map(|row| row.want.generation)
    }

    /// Whether the plan would forget the row at this time.
    fn forgets(&self, now: UnixMicros) -> bool {
        self.plan(now).is_some_and(|plan| matches!(plan.change, Change::Delete))
    }

    fn learn(&mut self, learned: AgentLearned<PortWant>) {
        if let Some(row) = &mut self.row {
            Agent::learn(row, learned, EARLY);
            // How often it was tried counts for no plan.
            row.attempts = 0;
        }
        if self.forgets(EARLY) {
            self.row = None;
        }
    }

    fn end(&mut self) {
        if let Some(want) = self.at.take() {
            self.tap = want.present;
            let applied = Applied { generation: want.generation, life: self.life() };
            self.learn(AgentLearned::Done(applied));
        }
    }

    fn fail(&mut self, done: bool) {
        if let Some(want) = self.at.take() {
            if done {
                self.tap = want.present;
            }
            let reason = "it failed".to_owned();
            self.learn(AgentLearned::Failed { generation: want.generation, reason });
        }
    }

    fn restart(&mut self, done: bool) {
        if let Some(want) = self.at.take().filter(|_| done) {
            self.tap = want.present;
        }
        self.life += 1;
        self.waiting.clear();
    }
}

impl State {
    fn plan(&mut self, broken: Option<Law>) {
        let mut row = self.port.take();
        let effects = settle::<Ports>(&mut row, |_| facts(), EARLY);
        self.port = row;
        if let (Some(Law::ConfirmedGone), Some(row)) = (broken, &mut self.port) {
            let before = row.bindings.len();
            row.bindings.retain(|_, binding| binding.want.present);
            if row.bindings.len() != before {
                return self.plan(broken);
            }
        }
        let Some(row) = &mut self.port else { return };
        // How often it changed counts for no plan.
        row.standard.revision = 0;
        for effect in effects {
            if let Effect::Plug { host, .. } = effect
                && let Some(binding) = row.bindings.get(&host)
                && let Some(host) = (0..HOSTS).find(|index| name(*index) == host)
            {
                self.bag.ask(Message::Plug { host, want: binding.want.clone() });
            }
        }
    }

    fn deliver(&mut self, message: &Message, broken: Option<Law>) {
        match message {
            Message::Plug { host, want } => {
                self.hosts[*host].take(want, broken);
                self.answer(*host);
            }
            Message::Told { host, life, asked, want } => {
                let learned = match want {
                    Some(want) => AgentLearned::Wanted(Box::new(want.clone())),
                    None => AgentLearned::Unwanted { generation: *asked },
                };
                // A former life's answer reaches nobody.
                if *life == self.hosts[*host].life {
                    self.hosts[*host].learn(learned);
                    self.answer(*host);
                }
            }
            Message::Plugged { host, generation, plugged } => {
                let host = name(*host);
                let Some(row) = &mut self.port else { return };
                let generation = match row.bindings.get(&host) {
                    Some(binding) if broken == Some(Law::ReportFilter) => binding.want.generation,
                    _ => *generation,
                };
                let device = plugged.then(|| "tap".to_owned());
                port::learn(row, Learned::Plugged { host, generation, device });
                self.plan(broken);
            }
        }
    }

    /// Answers whoever waits, if the host is as its row wants it.
    fn answer(&mut self, host: usize) {
        let machine = &mut self.hosts[host];
        let Some(row) = &machine.row else { return };
        let (want, waiting) = (&row.want, std::mem::take(&mut machine.waiting));
        let current = waiting.into_iter().filter(|generation| *generation == want.generation);
        if row.is_applied(machine.life()) {
            let plugged = want.present;
            let answers = current.map(|generation| Message::Plugged { host, generation, plugged });
            answers.for_each(|answer| self.bag.answer(answer));
        } else {
            machine.waiting = current.collect();
        }
    }

    /// A host asks what is wanted of it, and the answer is on its way.
    fn question(&mut self, host: usize) {
        let Some(asked) = self.hosts[host].question() else { return };
        let bindings = self.port.as_ref().map(|row| &row.bindings);
        let binding = bindings.and_then(|bindings| bindings.get(&name(host)));
        let want = binding.map(|binding| binding.want.clone());
        let life = self.hosts[host].life;
        self.bag.answer(Message::Told { host, life, asked, want });
    }

    /// Whether the host has an answer to come.
    fn is_asking(&self, host: usize) -> bool {
        let answer = |message: &Message| matches!(message, Message::Told { host: of, life, .. } if *of == host && *life == self.hosts[host].life);
        self.bag.messages().any(answer)
    }

    fn user(&mut self, change: impl FnOnce(&mut PortRow), broken: Option<Law>) {
        if let Some(row) = &mut self.port {
            change(row);
        }
        self.plan(broken);
    }

    fn happen(&mut self, other: Other, broken: Option<Law>) {
        match other {
            Other::Timer => {
                self.bag.begin_timer();
                self.plan(broken);
                self.bag.end_timer();
            }
            Other::Bind(host) => {
                self.budget.binds -= 1;
                self.user(|row| row.host = host.map(name), broken);
            }
            Other::Change => {
                self.budget.changes -= 1;
                self.user(|row| row.mac_address = "fa:16:3e:00:00:02".to_owned(), broken);
            }
            Other::Delete => {
                self.budget.deletes -= 1;
                self.user(|row| row.goal = Goal::Absent, broken);
            }
            Other::Ask(host) => self.question(host),
            Other::Forget(host) => {
                self.budget.forgets -= 1;
                self.hosts[host].row = None;
            }
            Other::Begin(host) => self.hosts[host].at = self.hosts[host].next(),
            Other::End(host) => {
                self.hosts[host].end();
                self.answer(host);
            }
            Other::Fail(host, done) => {
                self.budget.failures -= 1;
                self.hosts[host].fail(done);
            }
            Other::Restart(host, done) => {
                self.budget.restarts -= 1;
                self.hosts[host].restart(done);
            }
        }
    }

    fn users(&self, row: &PortRow) -> Vec<Other> {
        let mut moves = Vec::new();
        if self.budget.binds > 0 && row.is_present() {
            let hosts = (0..HOSTS).map(Some).chain([None]);
            moves.extend(hosts.filter(|host| host.map(name) != row.host).map(Other::Bind));
        }
        let once = [
            (self.budget.changes > 0 && row.is_present(), Other::Change),
            (self.budget.deletes > 0 && row.is_present(), Other::Delete),
            (self.bag.may_time_out(), Other::Timer),
        ];
        moves.extend(once.into_iter().filter(|(may, _)| *may).map(|(_, other)| other));
        moves
    }

    fn agents(&self) -> Vec<Other> {
        let mut moves = Vec::new();
        for (index, host) in self.hosts.iter().enumerate() {
            if host.next().is_some() {
                moves.push(Other::Begin(index));
            }
            if !self.is_asking(index) {
                moves.extend(host.question().map(|_| Other::Ask(index)));
                if self.budget.forgets > 0 && host.at.is_none() && host.forgets(LATE) {
                    moves.push(Other::Forget(index));
                }
            }
            let at = host.at.is_some();
            if at {
                moves.push(Other::End(index));
            }
            if at && self.budget.failures > 0 {
                moves.extend([false, true].map(|done| Other::Fail(index, done)));
            }
            if self.budget.restarts > 0 && host.row.is_some() {
                moves.push(Other::Restart(index, false));
                moves.extend(at.then_some(Other::Restart(index, true)));
            }
        }
        moves
    }
}

impl Model for Port {
    type State = State;
    type Move = Step<Message, Other>;

    fn start(&self) -> State {
        let bag = Bag::new(self.budget.carriage);
        State { port: Some(row()), hosts: Default::default(), bag, budget: self.budget }
    }

    fn moves(&self, state: &State) -> Vec<Self::Move> {
        let mut moves = state.bag.steps();
        moves.extend(state.port.iter().flat_map(|row| state.users(row)).map(Step::Other));
        moves.extend(state.agents().into_iter().map(Step::Other));
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
