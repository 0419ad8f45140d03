//! What must never be of what a server owns, when it rests, and which situations are worth having been in.

use updraft_compute::node::serial;
use updraft_network::rows::PortStatus;
use updraft_protocol::compute::Goal;
use updraft_volume::decisions::VolumeRow;

use super::{Message, VOLUME};
use crate::models::{
    server::{HOSTS, Host, Message as Carried, State, named},
    so,
};

impl State {
    fn taps(&self) -> Vec<usize> {
        (0..HOSTS).filter(|host| self.hosts[*host].plugs.tap).collect()
    }

    fn sees_volume(&self) -> bool {
        let disk = serial(VOLUME);
        let guests = self.hosts.iter().filter_map(Host::guest);
        guests.into_iter().any(|guest| guest.disks.contains(&disk))
    }

    fn is_held(&self) -> bool {
        self.owned.volume.as_ref().and_then(VolumeRow::held_by).is_some()
    }

    pub(in crate::models) fn check_owned(&self) -> Result<(), String> {
        let taps = self.taps();
        if taps.len() > 1 {
            return Err("double-run: the server's port is plugged on two hosts".into());
        }
        let port = self.owned.port.as_ref();
        let bound =
            |host: &usize| port.is_some_and(|port| port.bindings.contains_key(&named(*host)));
        if taps.iter().any(|host| !bound(host)) {
            return Err("leak: a host has a tap and no binding covers it".into());
        }
        if self.server.is_none() && (port.is_some() || self.is_held()) {
            return Err("leak: the server is gone and something that it owned is not".into());
        }
        let runs_unplugged = |host: usize| self.hosts[host].runs() && !taps.contains(&host);
        if port.is_some() && (0..HOSTS).any(runs_unplugged) {
            return Err("kill-live: a guest runs and its port is not plugged".into());
        }
        if self.sees_volume() && !self.is_held() {
            return Err("kill-live: a guest sees a volume that is free for others".into());
        }
        Ok(())
    }

    pub(in crate::models) fn owned_is_settled(&self) -> bool {
        let Some(server) = &self.server else {
            return self.owned.port.is_none() && !self.is_held() && self.taps().is_empty();
        };
        let port = &self.owned.port;
        let plugged = match (&server.placement, server.nics.is_empty()) {
            (Some(_), false) => port.as_ref().is_some_and(|port| port.status == PortStatus::Active),
            _ => port.is_none() && self.taps().is_empty(),
        };
        let held = server.volumes.iter().all(|volume| volume.announced);
        let as_held = self.is_held() != server.volumes.is_empty();
        plugged && held && (as_held || self.owned.volume.is_none())
    }

    pub(in crate::models) fn owned_marks(&self) -> Vec<&'static str> {
        let port = self.owned.port.as_ref();
        let on = |host: usize| port.is_some_and(|port| port.host == Some(named(host)));
        let up = port.is_some_and(|port| port.status == PortStatus::Active);
        let going = port.is_some_and(|port| port.goal == Goal::Absent);
        let known = self.owned.device.as_ref().map(|device| device.generation);
        let old_port = |message: &Carried| match message {
            Carried::Owned(Message::Allocate(request)) => Some(request.generation) < known,
            _ => false,
        };
        let old_volume = |message: &Carried| match message {
            Carried::Owned(Message::Connect(_)) => !self.is_held(),
            _ => false,
        };
        let runs = self.hosts.iter().any(Host::runs);
        so([
            ("the port works", up),
            ("the port works on the second host", up && on(1)),
            ("the port moves", port.is_some_and(|port| port.bindings.len() > 1)),
            ("the port is let go of", going),
            ("an old request for the port is on its way", self.bag.messages().any(old_port)),
            ("the guest sees the volume", self.sees_volume()),
            ("the volume is free while the guest runs", {
                self.owned.volume.is_some() && !self.is_held() && runs
            }),
            ("an old request for the volume is on its way", self.bag.messages().any(old_volume)),
        ])
    }
}

/// Situations that an exploration of a server with a port is to have met.
pub const PORT_MARKS: [&str; 5] = [
    "the port works",
    "the port works on the second host",
    "the port moves",
    "the port is let go of",
    "an old request for the port is on its way",
];

/// Situations that an exploration of a server with a volume is to have met.
pub const VOLUME_MARKS: [&str; 3] = [
    "the guest sees the volume",
    "the volume is free while the guest runs",
    "an old request for the volume is on its way",
];
