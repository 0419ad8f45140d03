//! Makes a report of how a node does.

use std::sync::Weak;

use super::{Rpc, opener::Services};
use crate::{
    directory::DEAD_AFTER,
    vitals::{Links, Mailbox, Report},
};

/// Knows where a node's numbers are, and does not keep the node's services.
#[derive(Clone)]
pub(crate) struct Reporter {
    pub(super) rpc: Rpc,
    pub(super) services: Weak<Services>,
}

impl Reporter {
    pub(crate) fn report(&self) -> Report {
        let shared = &self.rpc.shared;
        let lives = |age_ms: u64| u128::from(age_ms) < DEAD_AFTER.as_millis();
        let members = shared.directory.members();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Report {
            node: shared.transport.local().node.clone(),
            incarnation: shared.incarnation.0,
            runs_ms: u64::try_from(shared.env.now().as_millis()).unwrap_or(u64::MAX),
            calls_in_flight: count(shared.pending.len()),
            duplicates: shared.vitals.duplicates(),
            members: count(members.iter().filter(|heard| lives(heard.age_ms)).count()),
            mailboxes: self.mailboxes(),
            handlers: shared.vitals.handlers(),
            questions: shared.vitals.questions(),
            links: self.links(),
            alarms: shared.vitals.alarms().report(),
        }
    }

    fn mailboxes(&self) -> Vec<Mailbox> {
        let Some(services) = self.services.upgrade() else { return Vec::new() };
        let services = services.read();
        let mailbox =
            |(topic, running): (&super::Topic, &std::sync::Arc<super::Running>)| Mailbox {
                topic: topic.to_string(),
                depth: u64::try_from(running.depth()).unwrap_or(u64::MAX),
            };
        services.iter().map(mailbox).collect()
    }

    fn links(&self) -> Links {
        let counts = self.rpc.shared.transport.counts();
        let refused = counts.refused.iter().filter(|(_, count)| **count > 0);
        Links {
            up: counts.up,
            opened: counts.opened,
            dials_failed: counts.dials_failed,
            refused: refused.map(|(why, count)| (why.label().to_owned(), *count)).collect(),
            classes: counts
                .classes
                .iter()
                .map(|(class, of)| {
                    let name = format!("{class:?}").to_lowercase();
                    let frames = [
                        of.sent_frames,
                        of.sent_bytes,
                        of.received_frames,
                        of.received_bytes,
                        of.dropped_frames,
                        of.waiting_frames,
                    ];
                    (name, frames)
                })
                .collect(),
        }
    }
}
