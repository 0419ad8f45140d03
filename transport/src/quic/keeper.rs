//! The one task that opens and ends connections with a peer.
//!
//! Both sides may dial at once; one connection has to stay, and no frame may be lost over the choice. So
//! a side that is dialled decides before it answers the hello, and frames flow only after the answer:
//! while both dial, the side with the higher id takes the other's connection at once, and the side with
//! the lower id holds the other's until its own dial has failed or takes too long. A connection that is offered beside one
//! that stands is held until that one ends, unless it shows that the peer has restarted or has itself
//! given the standing one up.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use tokio::sync::mpsc;

use super::{
    backoff::Backoff,
    meet::{self, Inbound, Opened},
    node::Node,
    peer::Peer,
    session::Session,
    standing::Standing,
    words::{Close, REVOKED},
};
use crate::{
    counts::Refused,
    id::Incarnation,
    link::Event,
    planted::{Bug, is_planted},
};

/// How long this side's own dial may take while a connection that the peer has opened is held. Well below
/// the time that the peer waits for an answer on that one.
const DIAL_WHILE_HELD: Duration = Duration::from_secs(2);
/// A connection that lasted so long counts as a success.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// Runs until the node closes and the peer's connection has drained.
pub(super) async fn run(
    node: Arc<Node>,
    peer: Arc<Peer>,
    events: mpsc::Sender<Event>,
    _alive: mpsc::Sender<Infallible>,
) {
    let backoff = Backoff::new(node.host.seed("quic backoff"));
    let mut keeper = Keeper { node, peer, events, backoff, latest: None, held: None };
    while let Some(opened) = keeper.connect().await {
        keeper.attend(opened).await;
    }
}

struct Keeper {
    node: Arc<Node>,
    peer: Arc<Peer>,
    events: mpsc::Sender<Event>,
    backoff: Backoff,
    /// The latest incarnation of the peer that was accepted.
    latest: Option<Incarnation>,
    /// A connection that the peer has opened and that may be needed later.
    held: Option<Inbound>,
}

impl Keeper {
    /// The next connection, from whichever side; `None` if the node closes and none is needed.
    async fn connect(&mut self) -> Option<Opened> {
        loop {
            if let Some(inbound) = self.next_inbound() {
                match self.adopt(inbound).await {
                    Ok(opened) => return Some(opened),
                    Err(why) => tracing::debug!(peer = %self.peer.id(), why, "not connected"),
                }
                continue;
            }
            if self.peer.has_moved() {
                self.backoff.reset();
            }
            let wanted = self.peer.has_frames();
            if self.node.is_closing() && (!wanted || self.backoff.has_failed()) {
                return None;
            }
            let Some(address) = self.peer.address().filter(|_| wanted) else {
                self.peer.word().await;
                continue;
            };
            let pause = self.backoff.remaining(self.node.clock.now());
            if pause.is_zero() {
                self.node.tally.dialled();
                match self.dial(address).await {
                    Ok(opened) => return Some(opened),
                    Err(why) => {
                        self.node.tally.dial_failed();
                        self.unreachable(&why).await;
                    }
                }
            } else {
                tokio::select! {
                    biased;
                    () = self.peer.word() => {}
                    () = self.node.clock.sleep(pause) => {}
                }
            }
        }
    }

    /// A connection that the peer has opened and that may be kept.
    fn next_inbound(&mut self) -> Option<Inbound> {
        let offer = self.peer.take_offer().and_then(|offer| self.admit(offer));
        if let Some(offer) = offer {
            self.hold(offer);
        }
        self.held.take().filter(Inbound::is_alive)
    }

    /// The offer, unless it comes from a former life of the peer.
    fn admit(&self, offer: Inbound) -> Option<Inbound> {
        let former = self.latest.is_some_and(|latest| offer.incarnation() < latest);
        if former && !is_planted(Bug::FormerIncarnationAdmitted) {
            let why = format!("a later start of node {} is known here", self.peer.id());
            offer.refuse(&why);
            let why = self.node.refused(Refused::FormerIncarnation, why);
            self.node.log_refusal(&self.who(), &why);
            return None;
        }
        Some(offer)
    }

    fn hold(&mut self, offer: Inbound) {
        if let Some(former) = self.held.replace(offer) {
            former.supersede();
        }
    }

    async fn adopt(&mut self, inbound: Inbound) -> Result<Opened, String> {
        self.peer.seen_at(inbound.address());
        inbound.adopt(&self.node).await
    }

    /// Dials, and meanwhile decides about what the peer offers.
    async fn dial(&mut self, address: SocketAddr) -> Result<Opened, String> {
        let (node, peer) = (Arc::clone(&self.node), Arc::clone(&self.peer));
        let mut dialling = pin!(meet::dial(&node, peer.id(), address));
        let mut patience = pin!(None);
        let dialled = loop {
            tokio::select! {
                biased;
                dialled = &mut dialling => break dialled,
                () = peer.word() => {}
                () = elapsed(patience.as_mut()) => break Err("it takes too long".to_owned()),
            }
            let Some(offer) = peer.take_offer().and_then(|offer| self.admit(offer)) else {
                continue;
            };
            if *peer.id() > node.local().node {
                self.hold(offer);
                patience.set(Some(node.clock.sleep(DIAL_WHILE_HELD)));
            } else if let Ok(opened) = self.adopt(offer).await {
                return Ok(opened);
            }
        };
        match (dialled, self.next_inbound()) {
            (Ok(opened), None) => Ok(opened),
            (Ok(opened), Some(inbound)) => {
                self.hold(inbound);
                Ok(opened)
            }
            (Err(_), Some(inbound)) => self.adopt(inbound).await,
            (Err(why), None) => Err(why),
        }
    }

    /// Drops what cannot be sent, and says so.
    async fn unreachable(&mut self, why: &str) {
        self.backoff.fail(self.node.clock.now());
        self.node.log_refusal(&self.who(), why);
        self.peer.drop_frames();
        self.say_down(why).await;
    }

    /// Serves a connection until it ends.
    async fn attend(&mut self, opened: Opened) {
        let former = self.latest.is_some_and(|latest| opened.incarnation < latest);
        if former && !is_planted(Bug::FormerIncarnationAdmitted) {
            let why = "a former start of it answers there";
            opened.connection.close(Close::Refused.code(), why.as_bytes());
            return self.unreachable(&self.node.refused(Refused::FormerIncarnation, why)).await;
        }
        self.latest = Some(opened.incarnation);
        let Some(standing) = self.stand(&opened).await else { return };
        let since = self.node.clock.now();
        self.node.tally.opened();
        self.node.forget_refusal(&self.who());
        let (peer, incarnation) = (opened.certified.peer.clone(), opened.incarnation);
        self.say(Event::Up { peer, incarnation }).await;
        let mut session = Session::start(&self.node, &self.peer, &self.events, standing, opened);
        let why = loop {
            let ended = tokio::select! {
                biased;
                why = session.over() => Some(why),
                () = self.peer.word() => self.judge(&session),
            };
            if let Some(why) = ended {
                break why;
            }
        };
        session.wind_up().await;
        self.peer.stand(None);
        self.peer.drop_frames();
        let now = self.node.clock.now();
        if now.saturating_duration_since(since) < SETTLED_AFTER {
            self.backoff.fail(now);
        } else {
            self.backoff.reset();
        }
        self.say_down(&why).await;
    }

    /// Makes it known that the connection stands, unless its certificate was revoked since the handshake.
    async fn stand(&mut self, opened: &Opened) -> Option<Arc<Standing>> {
        let standing = Arc::new(Standing::of(opened));
        self.peer.stand(Some(Arc::clone(&standing)));
        // In this order, because a revocation first changes the set and then looks for what stands.
        if self.node.has_revoked(standing.key()) {
            if standing.strike() {
                self.node.tally.refused(Refused::Revoked);
            }
            self.peer.stand(None);
            self.unreachable(REVOKED).await;
            return None;
        }
        Some(standing)
    }

    /// Decides about a connection that is offered beside the one that stands; says why if that one ends.
    fn judge(&mut self, session: &Session) -> Option<String> {
        let offer = self.peer.take_offer().and_then(|offer| self.admit(offer))?;
        let restarted = offer.incarnation() > session.incarnation();
        // Who has dialled dials again only after it has given its connection up.
        let given_up = !session.dialled();
        self.hold(offer);
        if restarted || given_up {
            session.supersede();
        }
        match (restarted, given_up) {
            (true, _) => Some("it has restarted".to_owned()),
            (false, true) => Some("it has opened another connection".to_owned()),
            (false, false) => None,
        }
    }

    async fn say_down(&self, why: &str) {
        let peer = self.peer.id().clone();
        let reason = format!("{}: {why}", self.who());
        self.say(Event::Down { peer, reason }).await;
    }

    async fn say(&self, event: Event) {
        if self.events.send(event).await.is_err() {
            // Nobody listens, so nobody can be served.
            self.node.close();
        }
    }

    fn who(&self) -> String {
        format!("node {}", self.peer.id())
    }
}

/// Waits for a timer; for ever if there is none.
async fn elapsed(timer: Pin<&mut Option<impl Future<Output = ()>>>) {
    match timer.as_pin_mut() {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}
