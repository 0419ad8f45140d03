//! What must never be, when it rests, and which situations are worth having been in.

use updraft_network::rows::PortStatus;

use super::{HOSTS, Message, State, name};
use crate::models::so;

impl State {
    pub(super) fn check(&self) -> Result<(), String> {
        let taps: Vec<_> = (0..HOSTS).filter(|host| self.hosts[*host].tap).collect();
        if taps.len() > 1 {
            return Err("double-run: the port is plugged on two hosts".to_owned());
        }
        let bound = |host: &usize| {
            self.port.as_ref().is_some_and(|row| row.bindings.contains_key(&name(*host)))
        };
        if taps.iter().any(|host| !bound(host)) {
            return Err("leak: a host has a tap and no binding covers it".to_owned());
        }
        let active = self.port.as_ref().filter(|row| row.status == PortStatus::Active);
        let host = active.and_then(|row| row.host.clone());
        if host.is_some_and(|host| !taps.iter().any(|tap| name(*tap) == host)) {
            return Err("kill-live: the port is active and its host has no tap".to_owned());
        }
        Ok(())
    }

    pub(super) fn is_settled(&self) -> bool {
        let taps = self.hosts.iter().filter(|host| host.tap).count();
        match &self.port {
            None => taps == 0,
            Some(row) if row.host.is_some() => {
                row.status == PortStatus::Active && row.bindings.len() == 1 && taps == 1
            }
            Some(row) => row.bindings.is_empty() && taps == 0,
        }
    }

    pub(super) fn marks(&self) -> Vec<&'static str> {
        let stale = |message: &Message| {
            let Message::Plug { host, want } = message else { return false };
            let known = self.hosts[*host].row.as_ref().map(|row| row.want.generation);
            known.is_some_and(|known| want.generation < known)
        };
        let old = |message: &Message| {
            let Message::Plugged { host, generation, .. } = message else { return false };
            let binding = self.port.as_ref().and_then(|row| row.bindings.get(&name(*host)));
            binding.is_none_or(|binding| binding.want.generation != *generation)
        };
        let row = self.port.as_ref();
        let tap = self.hosts.iter().any(|host| host.tap);
        so([
            ("active", row.is_some_and(|row| row.status == PortStatus::Active)),
            (
                "active on the second host",
                row.is_some_and(|row| {
                    row.status == PortStatus::Active && row.host == Some(name(1))
                }),
            ),
            ("bound to two hosts", row.is_some_and(|row| row.bindings.len() > 1)),
            ("deleted while plugged", row.is_some_and(|row| !row.is_present()) && tap),
            ("gone", row.is_none()),
            ("a stale call is on its way", self.bag.messages().any(stale)),
            ("an old answer is on its way", self.bag.messages().any(old)),
            (
                "an agent that has forgotten is told what is over",
                self.bag
                    .messages()
                    .any(|message| matches!(message, Message::Told { want: None, .. })),
            ),
            (
                "an agent is at something old",
                self.hosts.iter().any(|host| {
                    let newest = host.row.as_ref().map(|row| row.want.generation);
                    host.at.as_ref().is_some_and(|at| Some(at.generation) < newest)
                }),
            ),
        ])
    }
}

/// Every situation that an exploration is to have met.
pub const MARKS: [&str; 9] = [
    "active",
    "active on the second host",
    "bound to two hosts",
    "deleted while plugged",
    "gone",
    "a stale call is on its way",
    "an old answer is on its way",
    "an agent that has forgotten is told what is over",
    "an agent is at something old",
];
