//! Whom a node believes, over real QUIC.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use updraft_harness::world::{Boot, NodeContext, Tier, World};
use updraft_runtime::{
    directory, message,
    node::Prepared,
    rpc::{Address, CallError, Cx, Rpc, Service, TraceContext},
};
use updraft_transport::{Class, Frame, Header, Incarnation, Kind, NodeId, PeerIdentity, Transport};

/// "Who are you?", answered after so many milliseconds.
#[derive(Serialize, Deserialize)]
pub struct WhoAreYou(u64);
message!(call WhoAreYou = "probe" / "who", Fenced, from ["control"], reply String);

const LIMIT: Duration = Duration::from_secs(30);

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

fn cx(rpc: &Rpc) -> Cx {
    Cx::new("test", TraceContext::fresh(rpc.env()))
}

/// Answers with the node's name.
fn probe(context: &NodeContext) -> Service {
    let (name, env) = (context.node().to_string(), context.env.clone());
    Service::new("probe").call(move |_, WhoAreYou(millis)| {
        let (env, name) = (env.clone(), name.clone());
        async move {
            env.sleep(Duration::from_millis(millis)).await;
            Ok(name)
        }
    })
}

/// Whom everybody tells that they live; it asks.
fn caller() -> Boot {
    Arc::new(|context: NodeContext| {
        Box::pin(async move {
            let handles = context.handles();
            let prepared = Prepared::new(context.parts(&[], &[directory::TOPIC]));
            let service = prepared.directory().service();
            let node = Arc::new(prepared.start(vec![service]).await.unwrap());
            handles.keep(|| node.rpc().clone());
            handles.keep(|| node);
        })
    })
}

/// An honest server.
fn server() -> Boot {
    Arc::new(|context: NodeContext| {
        Box::pin(async move {
            let (handles, service) = (context.handles(), probe(&context));
            let prepared = Prepared::new(context.parts(&[id("caller")], &["probe"]));
            let node = Arc::new(prepared.start(vec![service]).await.unwrap());
            handles.keep(|| node);
        })
    })
}

type Link = Arc<dyn Transport>;

/// A member of the cloud that sends frames of its own making.
fn stranger() -> Boot {
    Arc::new(|mut context: NodeContext| {
        Box::pin(async move {
            context.transport.learn(&id("caller"), context.address_of(&id("caller")));
            context.handles().keep(|| context.transport.clone());
            let drained = async move { while context.events.recv().await.is_some() {} };
            context.env.spawn("drain", drained);
        })
    })
}

struct Trust {
    world: World,
}

impl Trust {
    fn start(seed: u64) -> Self {
        let mut world = World::on_tier(seed, Tier::Quic);
        world.add(PeerIdentity::new(id("caller"), &["control"]), caller());
        Self { world }
    }

    fn add(&mut self, name: &str, role: &str, boot: Boot) {
        self.world.add(PeerIdentity::new(id(name), &[role]), boot);
    }

    /// Gives everybody the time to be heard of.
    fn settle(&mut self) {
        self.world.run_for(Duration::from_secs(2));
    }

    fn rpc(&self) -> Rpc {
        self.world.handle(&id("caller")).unwrap()
    }

    /// Begins to ask the one server.
    fn asks(&mut self, to: Address, millis: u64) -> Answer {
        let rpc = self.rpc();
        let call = async move { rpc.call(&to, &WhoAreYou(millis), &cx(&rpc)).await };
        self.world.begin(&id("caller"), call).unwrap()
    }

    fn heard(&mut self, mut answer: Answer) -> Result<String, CallError> {
        let mut heard = None;
        self.world.run_until(LIMIT, |_| {
            heard = answer.try_recv().ok();
            heard.is_some()
        });
        heard.unwrap()
    }
}

type Answer = tokio::sync::oneshot::Receiver<Result<String, CallError>>;

/// The wire form of a handler's reply.
#[derive(Serialize)]
enum Outcome {
    Reply(bytes::Bytes),
}

/// "I am somebody else", as the answer to the call with this number.
fn forged(number: u64) -> Frame {
    let reply = postcard::to_stdvec("somebody else").unwrap();
    let header = Header {
        kind: Kind::Reply,
        method: String::new(),
        id: number,
        incarnation: Incarnation(1),
        deadline_ms: 0,
        trace_id: [0; 16],
        span_id: [0; 8],
        context: bytes::Bytes::new(),
    };
    let body = postcard::to_stdvec(&Outcome::Reply(reply.into())).unwrap();
    Frame { header, body: body.into() }
}

/// More than the caller has made by then.
const CALLS_GUESSED: u64 = 20;

#[test]
fn a_call_is_answered_by_the_node_asked_and_by_nobody_else() {
    let mut trust = Trust::start(1);
    trust.add("server", "compute", server());
    trust.add("stranger", "compute", stranger());
    trust.settle();
    let answer = trust.asks(Address::server(&id("server")), 900);
    trust.world.run_for(Duration::from_millis(200));
    let link: Link = trust.world.handle(&id("stranger")).unwrap();
    let forging = async move {
        for number in 1..=CALLS_GUESSED {
            link.send(&id("caller"), Class::Calls, forged(number)).unwrap();
        }
    };
    trust.world.on(&id("stranger"), LIMIT, forging).unwrap();
    assert_eq!(trust.heard(answer).unwrap(), "server");
}
