//! The control side: the server's row, its scheduler and its conductor.

use updraft_compute::{
    conductor::want_of,
    plan::{self, Effect, Facts, Learned},
    rows::{FaultRow, ServerRow, VmState},
    servers::Servers,
};
use updraft_protocol::compute::{Goal, Observation};

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
            let (crowded, now) = (self.crowded, self.now());
            let facts = |row: &ServerRow| facts(row, crowded);
            let effects = settle::<Servers>(&mut self.server, facts, now);
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
        let Some(row) = &mut self.server else { return };
        let bound = |host: &String| row.volume_host.as_ref().is_none_or(|bound| bound == host);
        let mut able = (0..HOSTS).map(named).filter(|host| !is_tried(row, host) && bound(host));
        if let Some(host) = able.next() {
            let alternates = able.collect();
            *row = plan::placed(row, &host, alternates);
            self.scheduled += 1;
        } else {
            row.state = VmState::Error;
            row.action = None;
            row.fault = Some(FaultRow {
                code: 500,
                message: "no valid host".into(),
                details: String::new(),
                created: EARLY,
            });
        }
    }

    fn here(&self, host: usize) -> Option<&ServerRow> {
        self.server.as_ref().filter(|row| {
            row.placement.as_ref().is_some_and(|placement| placement.host == named(host))
        })
    }

    /// The conductor is asked what a host is to have.
    pub(super) fn answer(&mut self, host: usize) {
        let want = self.here(host).map(|row| Box::new(want_of(row)));
        self.bag.answer(Message::Want { host, want });
    }

    /// The conductor takes a report.
    pub(super) fn take(&mut self, host: usize, told: &Observation, broken: Option<Law>) {
        let (generation, counter) = (told.generation, told.counter);
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

/// The first alternate that has not failed, if there is room.
fn facts(row: &ServerRow, crowded: bool) -> Facts {
    let able = |host: &&String| !crowded && !is_tried(row, host);
    Facts { alternate: row.alternates.iter().find(able).cloned() }
}
