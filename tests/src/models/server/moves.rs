//! What may happen besides messages: timers, restarts, users and deadlines.

use std::fmt;

use updraft_compute::rows::{Action, ActionKind, ServerRow, VmState};
use updraft_protocol::compute::{Goal, Power};

use super::{HOSTS, Message, Server, State};
use crate::models::bag::{Parcel, Step};

/// A host's name.
#[must_use]
pub fn named(host: usize) -> String {
    format!("host-{host}")
}

/// What may happen.
#[derive(Clone)]
pub enum Other {
    /// A hypervisor refuses to do this.
    Refuse(Parcel<Message>),
    /// The server's timer.
    ServerTimer,
    /// The timer of what a host has of it.
    HostTimer(usize),
    /// A node starts anew, with what is on its disk.
    Restart(usize),
    /// The user deletes the server.
    Delete,
    /// The user stops it.
    Stop,
    /// The user takes its volume from it.
    Detach,
    /// Others take the room of the alternates.
    Crowd,
    /// The time for building is over.
    Deadline,
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse(parcel) => write!(f, "is refused: {}", parcel.message),
            Self::ServerTimer => write!(f, "the server's timer comes round"),
            Self::HostTimer(host) => write!(f, "the timer of host {host} comes round"),
            Self::Restart(host) => write!(f, "the node of host {host} starts anew"),
            Self::Delete => write!(f, "the user deletes the server"),
            Self::Stop => write!(f, "the user stops the server"),
            Self::Detach => write!(f, "the user detaches the volume"),
            Self::Crowd => write!(f, "the alternates fill up"),
            Self::Deadline => write!(f, "the time for building is over"),
        }
    }
}

impl State {
    pub(super) fn every_move(&self) -> Vec<Step<Message, Other>> {
        let mut moves = self.bag.steps();
        if self.budget.refusals > 0 {
            let asked = |parcel: &Parcel<_>| matches!(*parcel.message, Message::Do { .. });
            moves.extend(self.bag.parcels().filter(asked).map(Other::Refuse).map(Step::Other));
        }
        moves.extend(self.timers().into_iter().map(Step::Other));
        moves.extend(self.users().into_iter().map(Step::Other));
        moves
    }

    fn timers(&self) -> Vec<Other> {
        let mut others = Vec::new();
        let may = self.bag.may_time_out();
        others.extend(may.then_some(Other::ServerTimer));
        for host in 0..HOSTS {
            let known = self.hosts[host].row.is_some();
            others.extend((may && known).then_some(Other::HostTimer(host)));
            others.extend((self.budget.restarts > 0 && known).then_some(Other::Restart(host)));
        }
        others
    }

    fn users(&self) -> Vec<Other> {
        let budget = &self.budget;
        let row = self.server.as_ref();
        let is = |state: fn(&ServerRow) -> bool| row.is_some_and(state);
        let active = is(|row| row.state == VmState::Active && row.action.is_none());
        let may = [
            (budget.deletes > 0 && is(|row| row.goal == Goal::Present), Other::Delete),
            (budget.stops > 0 && active, Other::Stop),
            (budget.detaches > 0 && active && is(|row| !row.volumes.is_empty()), Other::Detach),
            (budget.crowds > 0 && row.is_some(), Other::Crowd),
            (budget.deadlines > 0, Other::Deadline),
        ];
        may.into_iter().filter(|(may, _)| *may).map(|(_, other)| other).collect()
    }

    pub(super) fn happen(&mut self, other: &Other, model: &Server) {
        match other {
            Other::Refuse(parcel) => {
                self.budget.refusals -= 1;
                if let Some(message) = self.bag.take(parcel) {
                    self.deliver(&message, model, true);
                }
            }
            Other::ServerTimer => {
                self.bag.begin_timer();
                self.plan_server(model.broken);
                self.plan_owned();
                self.bag.end_timer();
            }
            Other::HostTimer(host) => {
                self.bag.begin_timer();
                self.plan_guest(*host);
                self.bag.end_timer();
            }
            Other::Restart(host) => {
                self.budget.restarts -= 1;
                self.restart(*host);
            }
            user => {
                self.use_it(user);
                self.plan_server(model.broken);
            }
        }
    }

    fn use_it(&mut self, user: &Other) {
        let Self { budget, server, .. } = self;
        let row = server.as_mut();
        match user {
            Other::Delete => {
                budget.deletes -= 1;
                row.into_iter().for_each(|row| row.goal = Goal::Absent);
            }
            Other::Stop => {
                budget.stops -= 1;
                row.into_iter().for_each(|row| {
                    row.power = Power::Off;
                    row.generation += 1;
                    row.action =
                        Some(Action { kind: ActionKind::Stop, request_id: "req-2".into() });
                });
            }
            Other::Detach => {
                budget.detaches -= 1;
                row.into_iter().for_each(|row| {
                    row.volumes.iter_mut().for_each(|volume| volume.goal = Goal::Absent);
                    row.generation += 1;
                });
            }
            Other::Crowd => {
                budget.crowds -= 1;
                self.crowded = true;
            }
            _ => {
                budget.deadlines -= 1;
                self.late = true;
            }
        }
    }
}
