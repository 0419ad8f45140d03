//! What may happen besides messages: timers, restarts, users and deadlines.

use std::fmt;

use updraft_compute::{
    plan,
    rows::{Action, ActionKind, Evacuation, Resize, ResizePhase, ServerRow, VmState},
};
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
    /// The power of a host fails.
    CutPower(usize),
    /// Nobody hears a host, which runs.
    Silence(usize),
    /// A host comes back.
    ComeBack(usize),
    /// An operator says that a host is down, which it is.
    ForceDown(usize),
    /// Control nodes hear a host that has come back.
    Hear(usize),
    /// An operator says that a host is down no longer.
    Clear(usize),
    /// An administrator takes the server from its host.
    Evacuate,
    /// An administrator moves the server to another host.
    Migrate,
    /// The user confirms that.
    Confirm,
    /// The user wants it back.
    Revert,
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
            Self::CutPower(host) => write!(f, "the power of host {host} fails"),
            Self::Silence(host) => write!(f, "nobody hears host {host}"),
            Self::ComeBack(host) => write!(f, "host {host} comes back"),
            Self::ForceDown(host) => write!(f, "an operator says that host {host} is down"),
            Self::Hear(host) => write!(f, "host {host} is heard again"),
            Self::Clear(host) => {
                write!(f, "an operator says that host {host} is down no longer")
            }
            Self::Evacuate => write!(f, "an administrator takes the server from its host"),
            Self::Migrate => write!(f, "an administrator moves the server to another host"),
            Self::Confirm => write!(f, "the user confirms that it has moved"),
            Self::Revert => write!(f, "the user wants it back"),
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
        moves.extend(self.downs().into_iter().map(Step::Other));
        moves
    }

    fn timers(&self) -> Vec<Other> {
        let mut others = Vec::new();
        let may = self.bag.may_time_out();
        others.extend(may.then_some(Other::ServerTimer));
        for host in 0..HOSTS {
            let known =
                (self.hosts[host].row.is_some() || self.reports(host)) && !self.hosts[host].is_down;
            others.extend((may && known).then_some(Other::HostTimer(host)));
            others.extend((self.budget.restarts > 0 && known).then_some(Other::Restart(host)));
        }
        others
    }

    /// What befalls hosts, and what is done about it.
    fn downs(&self) -> Vec<Other> {
        let budget = &self.budget;
        let mut others = Vec::new();
        let row = self.server.as_ref();
        for host in 0..HOSTS {
            let placement = row.and_then(|row| row.placement.as_ref());
            let here = placement.is_some_and(|placement| placement.host == named(host));
            let (down, forced) = (self.hosts[host].is_down, self.forced_down[host]);
            let silent = !self.hosts[host].is_heard;
            // What never ran is built elsewhere only when its host has said that it has nothing.
            let runs = self.hosts[host].runs() && row.is_some_and(|row| row.launched.is_some());
            others.extend(
                (budget.power_cuts > 0 && here && runs && !down).then_some(Other::CutPower(host)),
            );
            let may = budget.silences > 0 && here && runs && !silent;
            others.extend(may.then_some(Other::Silence(host)));
            others.extend(down.then_some(Other::ComeBack(host)));
            let may = budget.forced_downs > 0 && down && !forced;
            others.extend(may.then_some(Other::ForceDown(host)));
            let stays = placement.is_some_and(|placement| placement.goal == Goal::Present);
            let able = row.is_some_and(|row| row.launched.is_some() && row.goal == Goal::Present);
            others.extend((!down && silent).then_some(Other::Hear(host)));
            others.extend((!silent && forced).then_some(Other::Clear(host)));
            let may = budget.evacuations > 0 && here && (silent || forced) && stays && able;
            others.extend(may.then_some(Other::Evacuate));
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
            (budget.migrations > 0 && active, Other::Migrate),
            (budget.confirms > 0 && is(has_moved), Other::Confirm),
            (budget.reverts > 0 && is(has_moved), Other::Revert),
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
                self.come_round(*host);
                self.bag.end_timer();
            }
            Other::Restart(host) => {
                self.budget.restarts -= 1;
                self.restart(*host);
            }
            Other::CutPower(host) => {
                self.budget.power_cuts -= 1;
                self.cut_power(*host);
            }
            Other::ComeBack(host) => {
                self.come_back(*host);
                self.bag.begin_anew();
                self.plan_server(model.broken);
                self.bag.end_timer();
            }
            user => {
                let before = self.server.clone();
                self.use_it(user);
                self.note_left(before.as_ref());
                self.plan_server(model.broken);
            }
        }
    }

    fn use_it(&mut self, user: &Other) {
        let Self { budget, server, forced_down, hosts, .. } = self;
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
            Other::ForceDown(host) => {
                budget.forced_downs -= 1;
                forced_down[*host] = true;
            }
            Other::Silence(host) => {
                budget.silences -= 1;
                hosts[*host].is_heard = false;
            }
            Other::Hear(host) => hosts[*host].is_heard = true,
            Other::Clear(host) => forced_down[*host] = false,
            Other::Evacuate => {
                budget.evacuations -= 1;
                row.into_iter().for_each(evacuate);
            }
            Other::Migrate => {
                budget.migrations -= 1;
                row.into_iter().for_each(migrate);
            }
            Other::Confirm => {
                budget.confirms -= 1;
                row.into_iter().for_each(|row| {
                    (row.migration, row.resize) = (None, None);
                    row.state = VmState::Active;
                });
            }
            Other::Revert => {
                budget.reverts -= 1;
                row.into_iter().for_each(|row| {
                    *row = plan::reverting(row);
                    act(row, ActionKind::RevertResize);
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

/// What the API writes.
fn evacuate(row: &mut ServerRow) {
    let Some(placement) = &mut row.placement else { return };
    placement.goal = Goal::Absent;
    let (from, launched) = (placement.host.clone(), row.launched.take());
    row.evacuation =
        Some(Evacuation { from, to: None, release: None, ports_left: false, launched });
    row.tried.clear();
    row.alternates.clear();
    row.generation += 1;
    row.fault = None;
    row.action = Some(Action { kind: ActionKind::Evacuate, request_id: "req-3".into() });
}

fn has_moved(row: &ServerRow) -> bool {
    row.state == VmState::Resized && row.action.is_none() && row.goal == Goal::Present
}

/// What the API writes.
fn migrate(row: &mut ServerRow) {
    let resize = Resize {
        old_flavor: row.flavor.clone(),
        old_state: row.state,
        phase: ResizePhase::Resizing,
    };
    let sized = ServerRow { resize: Some(resize), ..row.clone() };
    if let Some(leaving) = plan::leaving(&sized, None) {
        *row = leaving;
        act(row, ActionKind::Migrate);
    }
}

fn act(row: &mut ServerRow, kind: ActionKind) {
    row.generation += 1;
    row.action = Some(Action { kind, request_id: "req-4".into() });
}
