//! What a control node answers to those who say that they live.

use std::collections::BTreeSet;

use updraft_transport::PeerIdentity;

use super::{Beat, Beats, Directory, Interest, Member, Since, Told, Who, table::Word};
use crate::rpc::{Fault, FaultKind, Service};

impl Directory {
    /// The service that a control node offers.
    #[must_use]
    pub fn service(&self) -> Service {
        let directory = self.clone();
        let handlers = Service::of::<Beats>().call(move |ctx, beat: Beat| {
            let answer = directory.beat(&ctx.peer, beat);
            async move { answer }
        });
        handlers.into()
    }

    fn beat(&self, peer: &PeerIdentity, beat: Beat) -> Result<Told, Fault> {
        let Beat { who, load, revoked, interest, since } = beat;
        if *who.node() != peer.node {
            return Err(Fault::new(
                FaultKind::Forbidden,
                "NotYourself",
                format!("node {} may not speak for node {}", peer.node, who.node()),
            ));
        }
        let knows_you = self.hear_itself(peer, who, Word::its_own(&self.env, load));
        let revoked = self.revocations.newer_than(revoked);
        Ok(Told { knows_you, revoked, ..self.told(interest, since) })
    }

    /// A member says that it lives; whether it is known as it is now. Its roles are the certificate's word, not its own.
    fn hear_itself(&self, peer: &PeerIdentity, who: Who, word: Word) -> bool {
        match who {
            Who::InFull(member) => {
                let roles = BTreeSet::clone(&peer.roles);
                self.merge(Member { roles, ..member }, word);
                true
            }
            Who::Known(named) => {
                let mut table = self.table.lock();
                let known = table.get(&named.node);
                let has_these_roles = known.is_some_and(|known| known.member.roles == *peer.roles);
                has_these_roles && table.hear_again(&named, word)
            }
        }
    }

    fn told(&self, interest: Interest, since: Since) -> Told {
        let (now, mut table) = (self.env.now(), self.table.lock());
        table.note_silence(&self.transport.local().node, now);
        let own = &self.transport.local().node;
        let from = since.version_of(self.incarnation);
        // Nobody vouches for them: whose word it was in the end would be lost on the way around.
        let controls = self.controls_in(&table).map(|entry| {
            let heard = if entry.member.node == *own { Some(now) } else { entry.heard };
            entry.pulse(heard, now, from)
        });
        let controls = controls.collect();
        let (changes, until) = match interest {
            Interest::Everybody => table.changes(from, now),
            Interest::ControlNodes => (Vec::new(), table.version()),
        };
        let more = until < table.version();
        let until = Since::new(self.incarnation, until);
        Told { knows_you: false, controls, changes, until, more, revoked: None }
    }
}
