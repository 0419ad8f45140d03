//! A server on two hosts: built, stopped, deleted, refused and tried elsewhere, while messages are late and hosts forget
//! what they had not yet written.
//!
//! Real: the plans of the control side and of the compute node, what the node makes of the hypervisor's answers, and
//! the simulated host with its fence. What a server owns is [`owner`](super::owner)'s; here it may own nothing.

mod control;
mod host;
mod judge;
mod moves;

use std::fmt;

use serde::Serialize;
use updraft_compute::{node::Learned, rows::ServerRow};
use updraft_harness::explore::Model;
use updraft_protocol::{
    compute::{GuestWant, Observation, Stage},
    hypervisor::{Answer, DriverError, Op},
};
use updraft_runtime::env::UnixMicros;

pub use self::{
    host::Host,
    judge::{DOWN_MARKS, MARKS, MOVE_MARKS},
    moves::{Other, named},
};

use super::{
    EARLY, LATE, Law,
    bag::{Bag, Carriage, Step},
    owner::{Owned, Owns},
};

/// How many hosts there are.
pub const HOSTS: usize = 2;

/// What may happen, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Messages, operations of the hypervisor among them.
    pub carriage: Carriage,
    /// Operations that the hypervisor refuses.
    pub refusals: u8,
    /// Nodes that start anew without what they had not yet written.
    pub restarts: u8,
    /// Deletions, by the user.
    pub deletes: u8,
    /// Stops, by the user.
    pub stops: u8,
    /// Times that the time for building is over.
    pub deadlines: u8,
    /// Times that other servers take the room of the alternates.
    pub crowds: u8,
    /// Volumes that the user takes from the server.
    pub detaches: u8,
    /// Hosts whose power fails; each comes back at any time after.
    pub power_cuts: u8,
    /// Times that nobody hears a host though it runs.
    pub silences: u8,
    /// Times that an operator says that a host is down.
    pub forced_downs: u8,
    /// Times that the server is taken from a host that is down.
    pub evacuations: u8,
    /// Moves to another host, asked for by an administrator.
    pub migrations: u8,
    /// Moves that the user wants back.
    pub reverts: u8,
    /// Moves that the user confirms.
    pub confirms: u8,
}

/// The model.
pub struct Server {
    /// The law that it breaks.
    pub broken: Option<Law>,
    /// Whether a crash of a node may take back that everything is as wanted, though it was told of.
    pub forgets_settled: bool,
    /// Whether a host that nobody hears is taken for one on which nothing runs.
    pub silent_is_down: bool,
    /// What the server owns.
    pub owns: Owns,
    /// Its bounds.
    pub budget: Budget,
}

/// What control nodes, hosts and their hypervisors tell each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Message {
    /// To a host: something is wanted.
    Converge {
        /// The host.
        host: usize,
        /// Of this generation.
        generation: u64,
    },
    /// From a host: what is wanted?
    Ask {
        /// The host.
        host: usize,
        /// The newest generation that it has heard of.
        wanted: u64,
    },
    /// To a host: this, or nothing.
    Want {
        /// The host.
        host: usize,
        /// What is wanted.
        want: Option<Box<GuestWant>>,
    },
    /// To a hypervisor.
    Do {
        /// The host.
        host: usize,
        /// What to do.
        op: Box<Op>,
        /// For this generation.
        generation: u64,
    },
    /// From a hypervisor.
    Did {
        /// The host.
        host: usize,
        /// What it was asked to do.
        op: Box<Op>,
        /// The generation that it was asked for.
        generation: u64,
        /// When it did, among the operations on the guest.
        turn: u64,
        /// What came of it.
        answer: Result<Answer, DriverError>,
    },
    /// From a host: this is how it is.
    Tell {
        /// The host.
        host: usize,
        /// What it sees.
        observation: Observation,
    },
    /// To a host: its report was taken.
    Taken {
        /// The host.
        host: usize,
        /// Of this generation.
        generation: u64,
        /// With this counter.
        counter: u64,
        /// What is wanted by now.
        wanted: Option<u64>,
    },
    /// From a host that has come back: what is wanted of it?
    Report {
        /// The host.
        host: usize,
    },
    /// To a host that has come back: this is.
    Slice {
        /// The host.
        host: usize,
        /// The generation wanted of the server, if the host is to have it or to clear it away.
        generation: Option<u64>,
    },
    /// About what the server owns.
    Owned(super::owner::Message),
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Converge { host, generation } => {
                write!(f, "host {host} is to converge, generation {generation}")
            }
            Self::Ask { host, .. } => write!(f, "host {host} asks what is wanted"),
            Self::Want { host, want: None } => write!(f, "host {host} is to have nothing"),
            Self::Want { host, want: Some(want) } => {
                let GuestWant { generation, goal, power, .. } = &**want;
                write!(f, "host {host} is told generation {generation}: {goal:?}, {power:?}")
            }
            Self::Do { host, op, generation } => {
                write!(
                    f,
                    "the hypervisor of host {host} is to {}, generation {generation}",
                    verb(op)
                )
            }
            Self::Did { host, op, generation, answer, .. } => {
                let word = if answer.is_ok() { "done" } else { "not done" };
                write!(f, "host {host} hears: {}, generation {generation}, {word}", verb(op))
            }
            Self::Tell { host, observation } => {
                let Observation { generation, stage, .. } = observation;
                write!(f, "host {host} reports generation {generation}: {stage:?}")
            }
            Self::Taken { host, generation, .. } => {
                write!(f, "host {host} hears that its report of generation {generation} was taken")
            }
            Self::Report { host } => write!(f, "host {host} is back and asks what it is to have"),
            Self::Slice { host, generation: None } => {
                write!(f, "host {host} is told that it is to have nothing")
            }
            Self::Slice { host, generation: Some(generation) } => {
                write!(f, "host {host} is told of generation {generation}, now that it is back")
            }
            Self::Owned(message) => message.fmt(f),
        }
    }
}

fn verb(op: &Op) -> &'static str {
    match op {
        Op::Describe { .. } => "describe",
        Op::Define(_) => "define",
        Op::Start(_) => "start",
        Op::Stop { .. } => "stop",
        Op::Remove(_) => "remove",
        Op::AttachDisk { .. } => "attach a disk",
        Op::DetachDisk { .. } => "detach a disk",
        _ => "do something else",
    }
}

/// All there is.
#[derive(Clone, Serialize)]
pub struct State {
    pub(super) server: Option<ServerRow>,
    pub(super) hosts: [Host; HOSTS],
    pub(super) bag: Bag<Message>,
    pub(super) owned: Owned,
    /// What each host is to clear away of a server that is another's.
    left: [Option<Box<GuestWant>>; HOSTS],
    /// The hosts that an operator said are down.
    forced_down: [bool; HOSTS],
    silent_is_down: bool,
    budget: Budget,
    late: bool,
    /// Whether no alternate has room.
    crowded: bool,
    /// How often the scheduler has placed it.
    scheduled: u8,
    /// How many root disks were made of the image.
    disks_made: u8,
    /// Which of them was the server's when it first ran.
    disk: Option<u8>,
}

impl State {
    pub(super) fn now(&self) -> UnixMicros {
        if self.late { LATE } else { EARLY }
    }

    fn deliver(&mut self, message: &Message, model: &Server, refuse: bool) {
        if to_host(message).is_some_and(|host| self.hosts[host].is_down) {
            // It is lost.
            return;
        }
        match message {
            Message::Converge { host, generation } => self.hear(*host, *generation),
            Message::Ask { host, .. } => self.answer(*host),
            Message::Want { host, want } => {
                let learned = want.clone().map_or(Learned::Unwanted, Learned::Want);
                self.teach(*host, learned);
            }
            Message::Do { host, op, generation } => {
                let answer = self.hosts[*host].perform(op, model.broken, refuse);
                self.did(*host, op, *generation, answer);
            }
            Message::Did { host, op, generation, turn, answer } => {
                self.hear_driver(*host, op, *generation, (*turn, answer.clone()));
            }
            Message::Tell { host, observation } => self.take(*host, observation, model.broken),
            Message::Taken { host, generation, counter, wanted } => {
                let (generation, counter, wanted) = (*generation, *counter, *wanted);
                self.teach(*host, Learned::Taken { generation, counter, wanted });
            }
            Message::Report { host } => self.answer_report(*host),
            Message::Slice { host, generation } => self.hear_slice(*host, *generation),
            Message::Owned(message) => self.deliver_owned(message, model.broken),
        }
    }
}

impl Model for Server {
    type State = State;
    type Move = Step<Message, Other>;

    fn start(&self) -> State {
        let mut state = State {
            server: Some(control::server(self.owns)),
            hosts: std::array::from_fn(|_| Host::new(self.forgets_settled)),
            bag: Bag::new(self.budget.carriage),
            owned: Owned::new(self.owns),
            left: [const { None }; HOSTS],
            forced_down: [false; HOSTS],
            silent_is_down: self.silent_is_down,
            budget: self.budget,
            late: false,
            crowded: false,
            scheduled: 0,
            disks_made: 0,
            disk: None,
        };
        state.plan_server(self.broken);
        state
    }

    fn moves(&self, state: &State) -> Vec<Self::Move> {
        state.every_move()
    }

    fn after(&self, state: &State, by: &Self::Move) -> State {
        let mut next = state.clone();
        match by {
            Step::Other(other) => next.happen(other, self),
            step => {
                if let Some(message) = next.bag.carry(step) {
                    next.deliver(&message, self, false);
                }
            }
        }
        next.renumber_turns();
        next.note_disk(self.budget.migrations > 0);
        next
    }

    fn check(&self, state: &State) -> Result<(), String> {
        state.check()?;
        state.check_owned()
    }

    fn is_settled(&self, state: &State) -> bool {
        state.is_settled() && state.owned_is_settled()
    }

    fn marks(&self, state: &State) -> Vec<&'static str> {
        let mut marks = state.marks();
        marks.extend(state.owned_marks());
        marks
    }
}

/// The host that a message is for, its hypervisor included.
fn to_host(message: &Message) -> Option<usize> {
    match message {
        Message::Converge { host, .. }
        | Message::Want { host, .. }
        | Message::Do { host, .. }
        | Message::Did { host, .. }
        | Message::Taken { host, .. }
        | Message::Slice { host, .. } => Some(*host),
        Message::Ask { .. } | Message::Tell { .. } | Message::Report { .. } | Message::Owned(_) => {
            None
        }
    }
}

fn says_gone(message: &Message) -> bool {
    matches!(message, Message::Tell { observation, .. } if observation.stage == Stage::Gone)
}
