//! The control side: the server's row, its scheduler and its conductor.

use updraft_compute::{
    conductor::want_of,
    plan::{self, Effect, Facts, Learned},
    rows::{FaultRow, LeftRow, Placement, ServerRow},
    servers::Servers,
};
use updraft_protocol::compute::{Goal, GuestWant, Observation, RootDisk, Stage};

use super::{HOSTS, Message, State, named};
use crate::{
    models::{
        EARLY, LATE, Law,
        owner::{Owns, SERVER},
        settle,
    },
    rows,
};

/// A server that was just asked for.
pub(super) fn server(owns: Owns) -> ServerRow {
    ServerRow {
        id: SERVER,
        volume_host: owns.volume.then(|| named(0)),
        nics: owns.nics(),
        volumes: owns.volumes(),
        ..rows::server(LATE)
    }
}

pub(super) fn is_tried(row: &ServerRow, host: &str) -> bool {
    row.tried.iter().any(|(name, _)| name == host)
}

impl State {
    /// Plans the server until it keeps still, and sends what the plan asks for.
    pub(in crate::models) fn plan_server(&mut self, broken: Option<Law>) {
        loop {
            let (now, known) = (self.now(), self.server.clone());
            let mut server = self.server.take();
            let effects = settle::<Servers>(&mut server, |row| self.facts(row), now);
            self.server = server;
            self.note_left(known.as_ref());
            if broken == Some(Law::ConfirmedGone) && self.unplace() {
                continue;
            }
            let before = self.server.clone();
            effects.into_iter().for_each(|effect| self.act(effect));
            if self.server == before {
                return;
            }
        }
    }

    /// Takes the placement as ended though its host has not confirmed; whether there was one to end.
    fn unplace(&mut self) -> bool {
        let Some(row) = &mut self.server else { return false };
        let ends = row.placement.as_ref().is_some_and(|placement| placement.goal == Goal::Absent);
        if ends {
            row.placement = None;
            row.observed = None;
        }
        ends
    }

    fn act(&mut self, effect: Effect) {
        match effect {
            Effect::SelectHost => self.place(),
            Effect::Converge { host, generation } => {
                if let Some(host) = (0..HOSTS).find(|index| named(*index) == host) {
                    self.bag.ask(Message::Converge { host, generation });
                }
            }
            owned => self.act_for_owned(&owned),
        }
    }

    /// The scheduler, as far as one server needs it: the first host not tried, the others are alternates.
    fn place(&mut self) {
        let Some(row) = self.server.clone() else { return };
        let mut able = (0..HOSTS).filter(|host| self.can_take(&row, *host)).map(named);
        if let Some(host) = able.next() {
            let alternates = able.collect();
            self.server = Some(plan::placed(&row, &host, alternates));
            self.scheduled += 1;
        } else {
            let fault = FaultRow {
                code: 500,
                message: "no valid host".into(),
                details: String::new(),
                created: EARLY,
            };
            self.server = Some(plan::without_host(&row, fault, self.is_kept(&row)));
        }
        self.note_left(Some(&row));
    }

    /// What the scheduler's filters say of a host.
    fn can_take(&self, row: &ServerRow, host: usize) -> bool {
        let name = named(host);
        let bound = row.volume_host.as_ref().is_none_or(|bound| *bound == name);
        let left = row.evacuation.as_ref().is_some_and(|evacuation| evacuation.from == name)
            || row.migration.as_ref().is_some_and(|migration| migration.from == name);
        let usable = self.hosts[host].is_heard && !self.forced_down[host];
        bound && usable && !left && self.left[host].is_none() && !is_tried(row, &name)
    }

    fn facts(&self, row: &ServerRow) -> Facts {
        let able = |host: &&String| {
            !self.crowded && index_of(host).is_some_and(|host| self.can_take(row, host))
        };
        let leaves =
            |placement: &&Placement| placement.goal == Goal::Absent || plan::is_moving(row);
        let leaving = row.placement.as_ref().filter(leaves);
        let leaving = leaving.and_then(|placement| index_of(&placement.host));
        Facts {
            alternate: row.alternates.iter().find(able).cloned(),
            fenced: leaving.is_some_and(|host| {
                !self.hosts[host].is_heard && (self.forced_down[host] || self.silent_is_down)
            }),
            kept: self.is_kept(row),
        }
    }

    /// Whether the host that the server was taken from is still down, with what it had.
    fn is_kept(&self, row: &ServerRow) -> bool {
        let from = row.evacuation.as_ref().and_then(|evacuation| index_of(&evacuation.from));
        row.placement.is_none()
            && from.is_some_and(|host| self.left[host].is_some() && self.forced_down[host])
    }

    /// Notes what goes with a change of the placement, as the transaction that changes it does.
    pub(super) fn note_left(&mut self, before: Option<&ServerRow>) {
        let host_of = |row: &ServerRow| {
            row.placement.as_ref().and_then(|placement| index_of(&placement.host))
        };
        let (from, to) = (before.and_then(host_of), self.server.as_ref().and_then(host_of));
        self.note_kept(before);
        if from == to {
            return;
        }
        let confirmed =
            |row: &ServerRow| row.current().is_some_and(|seen| seen.stage == Stage::Gone);
        if let (Some(host), Some(row)) = (from, before.filter(|row| !confirmed(row))) {
            // By the time that it is left, the row has asked for nothing to be there.
            let generation = self.server.as_ref().map_or(row.generation + 1, |row| row.generation);
            let want = GuestWant { generation, ..want_of(row) };
            if self.forced_down[host] || self.silent_is_down {
                self.left[host] = Some(Box::new(LeftRow::new(&named(host), want, EARLY).want));
            }
        }
        if let Some(host) = to {
            self.left[host] = None;
        }
    }

    /// Notes the same of the host that keeps the disk of a server that moves.
    fn note_kept(&mut self, before: Option<&ServerRow>) {
        let migration = before.and_then(|row| row.migration.as_ref());
        let from = migration.and_then(|migration| index_of(&migration.from));
        let (Some(from), Some(before)) = (from, before) else { return };
        let known = self.left[from].as_deref().cloned();
        let known = known.map(|want| LeftRow { host: named(from), since: EARLY, want });
        if let Some(kept) = LeftRow::kept(known.as_ref(), before, self.server.as_ref(), EARLY) {
            self.left[from] = Some(Box::new(kept.want));
        }
    }

    /// The conductor is asked what a host is to have that has come back.
    pub(super) fn answer_report(&mut self, host: usize) {
        if self.forced_down[host] {
            return;
        }
        let placed = self.here(host).map(|row| row.generation);
        let generation = placed.or(self.left[host].as_ref().map(|want| want.generation));
        self.bag.answer(Message::Slice { host, generation });
    }

    fn here(&self, host: usize) -> Option<&ServerRow> {
        self.server.as_ref().filter(|row| {
            row.placement.as_ref().is_some_and(|placement| placement.host == named(host))
        })
    }

    /// The conductor is asked what a host is to have.
    pub(super) fn answer(&mut self, host: usize) {
        let placed = || self.here(host).map(|row| Box::new(want_of(row)));
        let want = self.left[host].clone().or_else(placed);
        self.bag.answer(Message::Want { host, want });
    }

    /// The conductor takes a report.
    pub(super) fn take(&mut self, host: usize, told: &Observation, broken: Option<Law>) {
        let (generation, counter) = (told.generation, told.counter);
        let cleared = |want: &GuestWant| {
            let over = want.disk != RootDisk::Parked && want.generation <= generation;
            told.stage == Stage::Gone && over
        };
        if self.left[host].as_ref().is_some_and(|want| cleared(want)) {
            self.left[host] = None;
        }
        if let Some(row) = &mut self.server {
            let mut observation = told.clone();
            if broken == Some(Law::ReportFilter) {
                observation.generation = row.generation;
            }
            plan::learn(row, Learned::Observed { host: named(host), observation });
        }
        self.plan_server(broken);
        let wanted = self.here(host).map(|row| row.generation);
        self.bag.answer(Message::Taken { host, generation, counter, wanted });
    }
}

fn index_of(name: &str) -> Option<usize> {
    (0..HOSTS).find(|host| named(*host) == name)
}
