//! A node between two ends of a wire, and what it serves.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use updraft_runtime::{
    Env, message,
    node::{Node, Parts, Prepared},
    protocol,
    rpc::{Fault, Rpc, Service},
    spawn::Kinds,
};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, LinkError, NodeId, PeerIdentity, Transport,
    wire::Kind,
};
use uuid::Uuid;

/// Long enough for whatever a node does about a frame, and for a service to start anew.
pub(crate) const SETTLES: Duration = Duration::from_secs(1);

/// What the messages of these tests are of.
pub(crate) struct Probed;
protocol!(Probed = "probe");

/// May be carried out again.
#[derive(Serialize, Deserialize)]
pub(crate) struct Fenced;
message!(call Fenced = Probed / "fenced", Fenced, from ["control"], to ["control"], reply usize);

/// Is carried out once, and its answer remembered.
#[derive(Serialize, Deserialize)]
pub(crate) struct Remembered;
message!(call Remembered = Probed / "remembered", Deduplicated, from ["control"], to ["control"], reply usize);

/// Is sent once.
#[derive(Serialize, Deserialize)]
pub(crate) struct Once;
message!(call Once = Probed / "once", Never, from ["control"], to ["control"], reply usize);

/// Wants no reply.
#[derive(Serialize, Deserialize)]
pub(crate) struct Note;
message!(cast Note = Probed / "note", from ["control"], to ["control"]);

/// Is handled until nobody waits for it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Endless;
message!(call Endless = Probed / "endless", Fenced, from ["control"], to ["control"], reply ());

/// Is handled by a call to another node.
#[derive(Serialize, Deserialize)]
pub(crate) struct Onward;
message!(call Onward = Probed / "onward", Fenced, from ["control"], to ["control"], reply ());

/// Takes its service down, together with the message that has the next number.
#[derive(Serialize, Deserialize)]
pub(crate) struct Panic;
message!(call Panic = Probed / "panic", Fenced, from ["control"], to ["control"], reply ());

/// A transport that keeps what it is given.
struct Wire {
    local: PeerIdentity,
    sent: Arc<Mutex<Vec<Frame>>>,
}

impl Transport for Wire {
    fn local(&self) -> &PeerIdentity {
        &self.local
    }

    fn learn(&self, _: &NodeId, _: SocketAddr) {}

    fn send(&self, _: &NodeId, _: Class, frame: Frame) -> Result<(), LinkError> {
        self.sent.lock().push(frame);
        Ok(())
    }

    fn close(&self) {}
}

/// A node that serves the probe, and what it sends.
pub(crate) struct Probe {
    pub(crate) node: Node,
    events: mpsc::Sender<Event>,
    sent: Arc<Mutex<Vec<Frame>>>,
    handled: Arc<Mutex<usize>>,
}

pub(crate) fn peer() -> PeerIdentity {
    PeerIdentity::new(NodeId::new("peer").unwrap(), &["control"])
}

pub(crate) fn frame(kind: Kind, method: &str, id: u64) -> Frame {
    // Its source, and nobody's context.
    let context = postcard::to_stdvec(&("test", Bytes::new())).unwrap();
    let header = Header {
        kind,
        method: method.into(),
        id,
        incarnation: Incarnation(1),
        deadline_ms: 10_000,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
        context: context.into(),
    };
    Frame { header, body: Bytes::new() }
}

impl Probe {
    pub(crate) async fn start() -> Self {
        let (events, received) = mpsc::channel(16);
        let (sent, handled) = (Arc::default(), Arc::default());
        let local = PeerIdentity::new(NodeId::new("local").unwrap(), &["control"]);
        let transport = Arc::new(Wire { local, sent: Arc::clone(&sent) });
        let prepared = Prepared::new(Parts {
            env: Env::real(),
            address: SocketAddr::from(([127, 0, 0, 1], 1)),
            transport,
            events: received,
            incarnation: Incarnation(1),
            cell: "cell-1".to_owned(),
            seeds: Vec::new(),
        });
        let service = service(&handled, &events, prepared.rpc());
        let node =
            prepared.with_kinds(kinds(&handled, &events)).start(vec![service]).await.unwrap();
        Self { node, events, sent, handled }
    }

    pub(crate) async fn arrives(&self, kind: Kind, method: &str, id: u64) {
        self.hears(frame(kind, method, id)).await;
    }

    pub(crate) async fn hears(&self, frame: Frame) {
        self.events.send(Event::Frame { peer: peer(), frame }).await.unwrap();
        Env::real().sleep(SETTLES).await;
    }

    /// Both come before any of them is begun.
    pub(crate) async fn hear_at_once(&self, frames: [Frame; 2]) {
        for frame in frames {
            self.events.try_send(Event::Frame { peer: peer(), frame }).unwrap();
        }
        Env::real().sleep(SETTLES).await;
    }

    /// A probe comes to be beside the node's own, and is an actor of this id.
    pub(crate) async fn gains(&self, actor: Uuid, id: u64) {
        // Its kind, from nothing, for an owner that has heard the host begin its first life.
        let wanted = (actor, "probe", Bytes::new(), (1_u64, 0_u64));
        let body = postcard::to_stdvec(&wanted).unwrap().into();
        self.hears(Frame { body, ..frame(Kind::Call, "spawn/spawn", id) }).await;
        assert_eq!(self.sent().last().map(|answer| answer.body.to_vec()), Some(vec![0, 0]), "done");
    }

    pub(crate) fn handled(&self) -> usize {
        *self.handled.lock()
    }

    pub(crate) fn sent(&self) -> Vec<Frame> {
        self.sent.lock().clone()
    }
}

/// Others may have a probe run here.
fn kinds(handled: &Arc<Mutex<usize>>, events: &mpsc::Sender<Event>) -> Kinds {
    let (handled, events) = (Arc::clone(handled), events.clone());
    Kinds::new().with("probe", &["control"], move |(): (), place| {
        let service = service(&handled, &events, place.rpc);
        async move { Ok(service) }
    })
}

/// A probe; each answer says how often it was asked.
fn service(handled: &Arc<Mutex<usize>>, events: &mpsc::Sender<Event>, rpc: Rpc) -> Service {
    let (handled, events) = (Arc::clone(handled), events.clone());
    let count = move || {
        *handled.lock() += 1;
        let count = *handled.lock();
        async move { Ok(count) }
    };
    let (fenced, remembered, once) = (count.clone(), count.clone(), count.clone());
    let told = count.clone();
    Service::of::<Probed>()
        .call(move |_, Fenced| fenced())
        .call(move |_, Remembered| remembered())
        .call(move |_, Once| once())
        .cast(move |_, Note| {
            let count = count();
            async move { count.await.map(|_: usize| ()) }
        })
        .call(move |ctx, Endless| {
            let told = told.clone();
            async move {
                ctx.cancelled().await;
                told().await.map(|_: usize| ())
            }
        })
        .call(move |ctx, Onward| {
            let rpc = rpc.clone();
            async move {
                let silent = rpc.client::<Probed>().on(&NodeId::new("silent").unwrap());
                let asked = silent.call(&Endless, &ctx.onward()).await;
                asked.map_err(|error| Fault::internal(error.to_string()))
            }
        })
        .call(move |_, Panic| {
            let events = events.clone();
            async move {
                // In a task of its own.
                tokio::task::yield_now().await;
                // Taken in before the service learns of its end.
                let waits = frame(Kind::Call, "probe/remembered", 2);
                events.try_send(Event::Frame { peer: peer(), frame: waits }).unwrap();
                panic!("as it was told");
            }
        })
        .into()
}
