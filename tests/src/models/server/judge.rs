//! What must never be of a server, when it rests, and which situations are worth having been in.

use updraft_compute::rows::{MigrationPhase, ServerRow, VmState};
use updraft_protocol::{
    compute::{Goal, GuestWant, Power, RootDisk, Stage},
    hypervisor::PowerState,
};

use super::{HOSTS, Message, State, control::is_tried, named, says_gone};
use crate::models::so;

impl State {
    /// Remembers which disk was the server's when it first ran.
    pub(super) fn note_disk(&mut self, is_kept: bool) {
        let launched = self.server.as_ref().is_some_and(|row| row.launched.is_some());
        if is_kept && launched && self.disk.is_none() {
            self.disk = self.hosts.iter().find(|host| host.runs()).and_then(|host| host.root);
        }
    }

    /// A guest that has run has the disk that it had then, or a copy of it.
    fn check_disk(&self) -> Result<(), String> {
        let Some(disk) = self.disk else { return Ok(()) };
        if self.hosts.iter().any(|host| host.runs() && host.root != Some(disk)) {
            return Err("disk-lost: the guest runs with another disk than it had".into());
        }
        let wanted = self.server.as_ref().is_some_and(|row| row.goal == Goal::Present);
        if wanted && self.hosts.iter().all(|host| host.root != Some(disk)) {
            return Err("disk-lost: no host has the server's disk".into());
        }
        Ok(())
    }

    /// Disks where nobody needs them.
    fn leaked_disks(&self) -> usize {
        let needed = |host: &String| {
            self.server.as_ref().is_some_and(|row| {
                let placed = row.placement.as_ref().is_some_and(|placed| placed.host == *host);
                placed || row.is_parked_on(host)
            })
        };
        let with_disk = (0..HOSTS).filter(|host| self.hosts[*host].root.is_some());
        with_disk.filter(|host| !needed(&named(*host))).count()
    }

    pub(super) fn check(&self) -> Result<(), String> {
        self.check_disk()?;
        let guests: Vec<_> =
            (0..HOSTS).filter(|host| self.hosts[*host].guest().is_some()).collect();
        if (0..HOSTS).filter(|host| self.hosts[*host].runs()).count() > 1 {
            return Err("double-run: the guest of one server runs on two hosts".into());
        }
        // What is off and is to be cleared away does not count.
        let off = |host: &usize| self.left[*host].is_some() && !self.hosts[*host].runs();
        let guests: Vec<_> = guests.into_iter().filter(|host| !off(host)).collect();
        if guests.len() > 1 {
            return Err("double-run: two hosts have a guest of one server".into());
        }
        let row = self.server.as_ref();
        let placed = row.and_then(|row| row.placement.as_ref());
        if guests.iter().any(|host| placed.is_none_or(|placed| placed.host != named(*host))) {
            return Err("leak: a host has a guest and no claim covers it".into());
        }
        let failed = placed.is_some_and(|placed| {
            (0..HOSTS).any(|host| named(host) == placed.host && self.hosts[host].has_failed)
        });
        if !failed
            && row.is_some_and(is_said_to_run)
            && !guests.iter().any(|host| self.hosts[*host].runs())
        {
            return Err("kill-live: the server is said to run and its guest does not".into());
        }
        let stopped = |row: &ServerRow| {
            row.launched.is_some() && row.power == Power::Off && row.action.is_none()
        };
        if row.is_some_and(stopped) && self.hosts.iter().any(super::host::Host::runs) {
            return Err("false-report: the stop is said to be done and the guest runs".into());
        }
        Ok(())
    }

    pub(super) fn is_settled(&self) -> bool {
        let moved = self.server.as_ref().is_some_and(|row| row.state == VmState::Resized);
        let clears = |want: &GuestWant| want.disk != RootDisk::Parked || !moved;
        let has_left = self.left.iter().flatten().any(|want| clears(want));
        if has_left || self.leaked_disks() > 0 || self.hosts.iter().any(|host| host.is_down) {
            return false;
        }
        let guests = self.hosts.iter().filter(|host| host.guest().is_some()).count();
        match &self.server {
            None => guests == 0,
            Some(row)
                if matches!(row.state, VmState::Active | VmState::Stopped | VmState::Resized) =>
            {
                row.action.is_none() && row.goal == Goal::Present && guests == 1
            }
            Some(row) => row.state == VmState::Error && row.placement.is_none() && guests == 0,
        }
    }

    pub(super) fn marks(&self) -> Vec<&'static str> {
        let is = |what: &dyn Fn(&ServerRow) -> bool| self.server.as_ref().is_some_and(what);
        let state = |state: VmState| is(&|row| row.state == state);
        let stale = |message: &Message| match message {
            Message::Do { host, generation, .. } => *generation < self.hosts[*host].served(),
            _ => false,
        };
        let on_second = is(&|row| {
            let host = row.placement.as_ref().map(|placement| &placement.host);
            !row.tried.is_empty() && host.is_some_and(|host| !is_tried(row, host))
        });
        let runs = self.hosts.iter().any(super::host::Host::runs);
        let down = (0..HOSTS).any(|host| self.hosts[host].is_down);
        let waits = is(&|row| {
            row.evacuation.as_ref().is_some_and(|evacuation| evacuation.release.is_none())
        });
        let anew = is(&|row| {
            row.evacuation.as_ref().is_some_and(|evacuation| evacuation.release.is_some())
                && row.placement.is_some()
        });
        let left = |host: usize| self.left[host].is_some();
        let moved = state(VmState::Active) && (0..HOSTS).any(left);
        let phase = |phase| is(&|row| row.migration.as_ref().is_some_and(|m| m.phase == phase));
        let placed = is(&|row| row.placement.is_some());
        let back = (0..HOSTS).any(|host| left(host) && !self.hosts[host].is_down);
        so([
            ("a server is to leave its host with its disk", phase(MigrationPhase::Leaving)),
            ("a server is made of a copy of its disk", phase(MigrationPhase::Moving) && placed),
            ("a server has moved", phase(MigrationPhase::Moved)),
            ("a server comes back to its disk", phase(MigrationPhase::Returning)),
            ("a server waits for a host that is down", waits && down),
            ("a server is made anew while the host it had is down", anew && down),
            ("a server runs elsewhere", moved && down && runs),
            ("a host is back and has what is another's", back),
            ("deleted", self.server.is_none()),
            ("active", state(VmState::Active)),
            ("stopped", state(VmState::Stopped)),
            ("in error", state(VmState::Error)),
            ("an alternate is tried", on_second && self.scheduled == 1),
            ("the scheduler chooses a second host", on_second && self.scheduled == 2),
            ("deleted while it runs", is(&|row| row.goal == Goal::Absent) && runs),
            ("a stale command is on its way", self.bag.messages().any(stale)),
            ("a host says gone", self.bag.messages().any(says_gone)),
        ])
    }
}

/// Whether what its host last said, of what is wanted now, is that it runs.
fn is_said_to_run(row: &ServerRow) -> bool {
    let wanted = row.goal == Goal::Present
        && row.placement.as_ref().is_some_and(|placement| placement.goal == Goal::Present);
    let seen = row.current();
    wanted
        && seen
            .is_some_and(|seen| seen.stage == Stage::Settled && seen.power == PowerState::Running)
}

/// Every situation that an exploration of moves is to have met.
pub const MOVE_MARKS: [&str; 4] = [
    "a server is to leave its host with its disk",
    "a server is made of a copy of its disk",
    "a server has moved",
    "a server comes back to its disk",
];

/// Every situation that an exploration of hosts that go down is to have met.
pub const DOWN_MARKS: [&str; 4] = [
    "a server waits for a host that is down",
    "a server is made anew while the host it had is down",
    "a server runs elsewhere",
    "a host is back and has what is another's",
];

/// Every situation that an exploration of a server that owns nothing is to have met.
pub const MARKS: [&str; 9] = [
    "deleted",
    "active",
    "stopped",
    "in error",
    "an alternate is tried",
    "the scheduler chooses a second host",
    "deleted while it runs",
    "a stale command is on its way",
    "a host says gone",
];
