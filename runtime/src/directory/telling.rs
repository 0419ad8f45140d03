//! How a node says that it lives, and takes in what it is answered.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use updraft_transport::NodeId;

use super::{
    BEAT, BEAT_AT_START, Beat, Beats, Directory, Interest, Pulse, TOPIC, Told, Who, round::Round,
    table::Word, told::heard_at,
};
use crate::rpc::{Cx, Rpc, TraceContext};

impl Directory {
    /// Tells control nodes, again and again, that this node lives.
    pub(crate) async fn beat_forever(
        self,
        rpc: Rpc,
        seeds: Vec<(NodeId, SocketAddr)>,
        interest: Interest,
    ) {
        let (mut round, mut live) = (Round::default(), Vec::new());
        for (node, address) in &seeds {
            self.transport.learn(node, *address);
        }
        loop {
            self.tell_who_lives(&mut live);
            let mut controls: BTreeSet<_> = seeds.iter().map(|(node, _)| node.clone()).collect();
            controls.extend(self.controls_to_tell());
            controls.remove(&self.transport.local().node);
            let told = match interest {
                Interest::Everybody => controls.clone(),
                Interest::ControlNodes => self.whose_turn(&mut round, &controls, &live),
            };
            round.begins(self.env.now());
            for control in told {
                self.spawn_beat(&rpc, control, interest);
            }
            let any_answered = self.has_answered(&controls, Duration::ZERO);
            let settled = any_answered || controls.is_empty() || self.has_listened();
            self.env.sleep(if settled { BEAT } else { BEAT_AT_START }).await;
        }
    }

    fn has_answered(&self, controls: &BTreeSet<NodeId>, since: Duration) -> bool {
        let table = self.table.lock();
        controls.iter().any(|node| table.has_answered(node, since))
    }

    /// The control node whose turn it is, and those that live and do not know this node as it is; all of them if nobody
    /// has answered the last time.
    fn whose_turn(
        &self,
        round: &mut Round,
        controls: &BTreeSet<NodeId>,
        live: &[NodeId],
    ) -> BTreeSet<NodeId> {
        let answered = round.began().is_some_and(|at| self.has_answered(controls, at));
        if !answered {
            return controls.clone();
        }
        let table = self.table.lock();
        let edition = self.local_in(&table).map(|local| local.edition);
        let in_turn = round.next(controls).cloned();
        let strange = live.iter().filter(|node| !table.is_known_to(node, edition));
        strange.filter(|node| controls.contains(*node)).cloned().chain(in_turn).collect()
    }

    /// Tells those who follow changes when a control node died or is heard again: others act for its rows now.
    fn tell_who_lives(&self, known: &mut Vec<NodeId>) {
        let live = self.servers_anywhere::<Beat>();
        if live != *known {
            *known = live;
            self.changed.tell();
        }
    }

    /// The control nodes that live; where none does, all that ever did: whichever comes back first is to be found, and
    /// it may be none of those that were known from the start.
    fn controls_to_tell(&self) -> Vec<NodeId> {
        let mut live = self.servers_anywhere::<Beat>();
        live.retain(|node| *node != self.transport.local().node);
        if live.is_empty() {
            self.controls().into_iter().map(|(node, _)| node).collect()
        } else {
            live
        }
    }

    fn spawn_beat(&self, rpc: &Rpc, control: NodeId, interest: Interest) {
        let (directory, rpc) = (self.clone(), rpc.clone());
        self.env.spawn("beat", async move {
            while let Some((beat, edition)) = directory.next_beat(&control, interest) {
                let cx = Cx::new(TOPIC, TraceContext::default()).within(&directory.env, BEAT);
                match rpc.client::<Beats>().on(&control).call(&beat, &cx).await {
                    Ok(told) => {
                        if !directory.hear(&control, told, edition) {
                            return;
                        }
                    }
                    Err(error) => {
                        return tracing::debug!(%control, %error, "a beat was not answered");
                    }
                }
            }
        });
    }

    /// What a control node is told, and as of which edition of what this node says of itself.
    fn next_beat(&self, control: &NodeId, interest: Interest) -> Option<(Beat, u64)> {
        let (load, revoked) = (self.load(), self.revocations.newest().version);
        let table = self.table.lock();
        let member = self.local_in(&table)?;
        let who = Who::of(member, table.is_known_to(control, Some(member.edition)));
        let since = table.told_by(control);
        Some((Beat { who, load, revoked, interest, since }, member.edition))
    }

    /// Takes in what a control node knows; whether there is more to be asked for, or told.
    fn hear(&self, control: &NodeId, told: Told, edition: u64) -> bool {
        let Told { knows_you, controls, changes, until, more, revoked } = told;
        if let Some(revoked) = revoked {
            self.revocations.take(revoked);
        }
        let of_controls: BTreeSet<_> =
            controls.iter().map(|pulse| pulse.who.node().clone()).collect();
        for pulse in controls {
            self.hear_of(pulse);
        }
        {
            let mut table = self.table.lock();
            if !table.answered(control, until, self.env.now()) {
                return false;
            }
            table.note_known(control, knows_you.then_some(edition));
        }
        for heard in changes {
            let (node, lives) = (heard.member.node.clone(), heard.lives());
            self.hear_of(heard.into());
            self.table.lock().vouch(control, &node, lives && !of_controls.contains(&node));
        }
        more || !knows_you
    }

    /// By somebody else's word. Nobody knows better than this node what it runs itself.
    fn hear_of(&self, Pulse { who, age_ms, load }: Pulse) {
        if *who.node() == self.transport.local().node {
            return;
        }
        let heard = heard_at(self.env.now(), age_ms);
        let word = Word { heard, load, is_its_own: false };
        match who {
            Who::InFull(member) => self.merge(member, word),
            Who::Known(named) => drop(self.table.lock().hear_again(&named, word)),
        }
    }
}
