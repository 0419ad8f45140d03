//! What a node does with frames, seen from the wire: duplicates, lost mailboxes, too many calls.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use updraft_runtime::{
    Env, message,
    node::{Node, Parts, Prepared},
    rpc::{Address, CALLS_MAX, CallError, Cx, Refusal, Service, Topic, TraceContext},
};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, LinkError, NodeId, PeerIdentity, Transport,
    wire::Kind,
};

/// Long enough for whatever a node does about a frame, and for a service to start anew.
const SETTLES: Duration = Duration::from_secs(1);

/// May be carried out again.
#[derive(Serialize, Deserialize)]
pub struct Fenced;
message!(call Fenced = "probe" / "fenced", Fenced, from ["control"], to ["control"], reply usize);

/// Is carried out once, and its answer remembered.
#[derive(Serialize, Deserialize)]
pub struct Remembered;
message!(call Remembered = "probe" / "remembered", Deduplicated, from ["control"], to ["control"], reply usize);

/// Is sent once.
#[derive(Serialize, Deserialize)]
pub struct Once;
message!(call Once = "probe" / "once", Never, from ["control"], to ["control"], reply usize);

/// Wants no reply.
#[derive(Serialize, Deserialize)]
pub struct Note;
message!(cast Note = "probe" / "note", from ["control"], to ["control"]);

/// Takes its service down, together with the message that has the next number.
#[derive(Serialize, Deserialize)]
pub struct Panic;
message!(call Panic = "probe" / "panic", Fenced, from ["control"], to ["control"], reply ());

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
struct Probe {
    node: Node,
    events: mpsc::Sender<Event>,
    sent: Arc<Mutex<Vec<Frame>>>,
    handled: Arc<Mutex<usize>>,
}

fn peer() -> PeerIdentity {
    PeerIdentity::new(NodeId::new("peer").unwrap(), &["control"])
}

fn frame(kind: Kind, method: &str, id: u64) -> Frame {
    // Its source, and nobody's context.
    let context = postcard::to_stdvec(&("test", Bytes::new())).unwrap();
    let header = Header {
        kind,
        method: method.to_owned(),
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
    async fn start() -> Self {
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
            topics: [Topic::new("probe")].into(),
        });
        let service = service(&handled, &events);
        let node = prepared.start(vec![service]).await.unwrap();
        Self { node, events, sent, handled }
    }

    async fn arrives(&self, kind: Kind, method: &str, id: u64) {
        let frame = frame(kind, method, id);
        self.events.send(Event::Frame { peer: peer(), frame }).await.unwrap();
        Env::real().sleep(SETTLES).await;
    }

    fn handled(&self) -> usize {
        *self.handled.lock()
    }

    fn sent(&self) -> Vec<Frame> {
        self.sent.lock().clone()
    }
}

/// A probe; each answer says how often it was asked.
fn service(handled: &Arc<Mutex<usize>>, events: &mpsc::Sender<Event>) -> Service {
    let (handled, events) = (Arc::clone(handled), events.clone());
    let count = move || {
        *handled.lock() += 1;
        let count = *handled.lock();
        async move { Ok(count) }
    };
    let (fenced, remembered, once) = (count.clone(), count.clone(), count.clone());
    Service::new("probe")
        .call(move |_, Fenced| fenced())
        .call(move |_, Remembered| remembered())
        .call(move |_, Once| once())
        .cast(move |_, Note| {
            let count = count();
            async move { count.await.map(|_: usize| ()) }
        })
        .call(move |_, Panic| {
            let events = events.clone();
            async move {
                // Taken in before the service learns of its end, and lost with its mailbox.
                let lost = frame(Kind::Call, "probe/remembered", 2);
                events.try_send(Event::Frame { peer: peer(), frame: lost }).unwrap();
                panic!("as it was told");
            }
        })
}

#[tokio::test(start_paused = true)]
async fn a_repeated_cast_is_carried_out_once_and_never_answered() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Cast, "probe/note", 1).await;
    probe.arrives(Kind::Cast, "probe/note", 1).await;
    assert_eq!(probe.handled(), 1);
    assert_eq!(probe.sent(), []);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_deduplicated_call_is_answered_as_before() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/remembered", 1).await;
    probe.arrives(Kind::Call, "probe/remembered", 1).await;
    assert_eq!(probe.handled(), 1);
    let answers: Vec<Bytes> = probe.sent().into_iter().map(|frame| frame.body).collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0], answers[1]);
}

#[tokio::test(start_paused = true)]
async fn a_repeated_fenced_call_is_carried_out_again_once_it_was_answered() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/fenced", 1).await;
    probe.arrives(Kind::Call, "probe/fenced", 1).await;
    assert_eq!((probe.handled(), probe.sent().len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_second_copy_of_a_call_that_is_sent_once_is_dropped() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/once", 1).await;
    probe.arrives(Kind::Call, "probe/once", 1).await;
    assert_eq!((probe.handled(), probe.sent().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_with_the_mailbox_of_a_service_is_carried_out_when_it_comes_again() {
    let probe = Probe::start().await;
    probe.arrives(Kind::Call, "probe/panic", 1).await;
    assert_eq!(probe.handled(), 0, "it was lost");
    probe.arrives(Kind::Call, "probe/remembered", 2).await;
    assert_eq!(probe.handled(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_call_too_many_is_refused_at_once_and_passes_when_others_have_ended() {
    let probe = Probe::start().await;
    let call = || {
        let rpc = probe.node.rpc().clone();
        async move {
            let cx = Cx::new("test", TraceContext::default());
            rpc.call(&Address::server(&NodeId::new("silent").unwrap()), &Once, &cx).await
        }
    };
    for _ in 0..CALLS_MAX {
        let call = call();
        Env::real().spawn("call", async move { drop(call.await) });
    }
    Env::real().sleep(SETTLES).await;
    let refused = Env::real().timeout(SETTLES, call()).await.unwrap();
    let busy = matches!(refused, Err(CallError::Refused { refusal: Refusal::Busy(_), .. }));
    assert!(busy, "{refused:?}");
    assert_eq!(probe.sent().len(), CALLS_MAX, "it was not sent");
    // Their deadline passes.
    Env::real().sleep(Duration::from_secs(10)).await;
    drop(call().await);
    assert_eq!(probe.sent().len(), CALLS_MAX + 1);
}
