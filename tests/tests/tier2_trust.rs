//! Whom a node believes, over real QUIC: nobody is taken for what only others say of them.
#![allow(clippy::unwrap_used, missing_docs, reason = "tests")]

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use updraft_harness::world::{Boot, Disk, NodeContext, Tier, World};
use updraft_runtime::{
    Env, message,
    node::{Parts, Prepared},
    protocol,
    revocations::Revoked,
    rpc::{Address, CallError, Cx, Message, Refusal, Rpc, Service, TraceContext},
};
use updraft_transport::{
    Class, Event, Frame, Header, Incarnation, Kind, LinkError, NodeId, PeerIdentity, Role,
    Transport, key::PublicKey,
};

/// What is asked of many nodes.
pub struct Probe;
protocol!(Probe = "probe");

/// "Who are you?", answered after so many milliseconds.
#[derive(Serialize, Deserialize)]
pub struct WhoAreYou(u64);
message!(call WhoAreYou = Probe / "who", Fenced, from ["control"], to ["compute"], reply String);

/// What is asked of one that is to be believed.
pub struct Vault;
protocol!(Vault = "vault");

/// "What must no compute node hear?"
#[derive(Serialize, Deserialize)]
pub struct Secret;
message!(call Secret = Vault / "secret", Fenced, from ["control"], to ["control"], reply String);

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
    Service::of::<Probe>()
        .call(move |_, WhoAreYou(millis)| {
            let (env, name) = (env.clone(), name.clone());
            async move {
                env.sleep(Duration::from_millis(millis)).await;
                Ok(name)
            }
        })
        .into()
}

fn vault() -> Service {
    Service::of::<Vault>().call(|_, Secret| async { Ok("told".to_owned()) }).into()
}

/// Runs for as long as its node lives, and leaves its handle for the test.
async fn run(handles: Disk, prepared: Prepared, services: Vec<Service>) {
    let node = Arc::new(prepared.start(services).await.unwrap());
    handles.keep(|| node.rpc().clone());
    handles.keep(|| node);
}

/// Whom everybody tells that they live; it asks.
fn caller() -> Boot {
    Arc::new(|context: NodeContext| {
        Box::pin(async move {
            let handles = context.handles();
            let prepared = Prepared::new(context.parts(&[]));
            let service = prepared.directory().service();
            run(handles, prepared, vec![service]).await;
        })
    })
}

/// An honest server of a cell.
fn server_in(cell: &'static str) -> Boot {
    Arc::new(move |context: NodeContext| {
        Box::pin(async move {
            let (handles, service) = (context.handles(), probe(&context));
            let parts = context.parts(&[id("caller")]);
            run(handles, Prepared::new(Parts { cell: cell.to_owned(), ..parts }), vec![service])
                .await;
        })
    })
}

fn server() -> Boot {
    server_in(HERE)
}

/// An honest keeper of secrets.
fn keeper() -> Boot {
    Arc::new(|context: NodeContext| {
        Box::pin(async move {
            let handles = context.handles();
            let parts = context.parts(&[id("caller")]);
            run(handles, Prepared::new(parts), vec![vault()]).await;
        })
    })
}

/// A node that knows one other from the start, and nobody else.
fn joiner(seed: &'static str) -> Boot {
    Arc::new(move |context: NodeContext| {
        Box::pin(async move {
            let handles = context.handles();
            run(handles, Prepared::new(context.parts(&[id(seed)])), Vec::new()).await;
        })
    })
}

/// A link whose node says of itself that it is a control node; its certificate is what it was.
struct Liar {
    link: Link,
    claimed: PeerIdentity,
}

impl Transport for Liar {
    fn local(&self) -> &PeerIdentity {
        &self.claimed
    }

    fn learn(&self, peer: &NodeId, address: SocketAddr) {
        self.link.learn(peer, address);
    }

    fn send(&self, peer: &NodeId, class: Class, frame: Frame) -> Result<(), LinkError> {
        self.link.send(peer, class, frame)
    }

    fn close(&self) {
        self.link.close();
    }
}

/// How many calls for secrets reached the impostor.
#[derive(Clone, Default)]
struct Leaked(Arc<AtomicUsize>);

/// Hands on what arrives, and counts the calls for secrets.
fn tapped(mut events: mpsc::Receiver<Event>, env: &Env, leaked: Leaked) -> mpsc::Receiver<Event> {
    let (sender, receiver) = mpsc::channel(64);
    env.spawn("tap", async move {
        while let Some(event) = events.recv().await {
            let secret = matches!(&event, Event::Frame { frame, .. }
                if frame.header.method == Secret::METHOD);
            leaked.0.fetch_add(usize::from(secret), Ordering::Relaxed);
            if sender.send(event).await.is_err() {
                break;
            }
        }
    });
    receiver
}

/// A node that announces a vault and a directory, and the role that may serve them.
fn impostor() -> Boot {
    Arc::new(|context: NodeContext| {
        Box::pin(async move {
            let (handles, leaked) = (context.handles(), Leaked::default());
            handles.keep(|| leaked.clone());
            let claimed = PeerIdentity::new(context.node(), &["control"]);
            let parts = context.parts(&[id("caller")]);
            let prepared = Prepared::new(Parts {
                events: tapped(parts.events, &parts.env, leaked),
                transport: Arc::new(Liar { link: parts.transport, claimed }),
                ..parts
            });
            let service = prepared.directory().service();
            run(handles, prepared, vec![vault(), service]).await;
        })
    })
}

/// The cell of the caller.
const HERE: &str = "cell-1";

/// Another one.
const THERE: &str = "cell-2";

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

    /// What a node's directory says of another: the roles, if it knows it.
    fn roles(&mut self, of: &str, at: &str) -> Option<BTreeSet<Role>> {
        let (rpc, of): (Rpc, _) = (self.world.handle(&id(at)).unwrap(), id(of));
        // A directory reads its clock, so it is asked on its own node.
        let members = async move { rpc.directory().members() };
        let members = self.world.on(&id(at), LIMIT, members).unwrap();
        members.into_iter().find(|heard| heard.member.node == of).map(|heard| heard.member.roles)
    }

    /// Lets a node know of revoked keys, as one that keeps the members does.
    fn knows(&mut self, node: &str, revoked: Revoked) {
        let rpc: Rpc = self.world.handle(&id(node)).unwrap();
        let taken = async move { rpc.directory().revocations().take(revoked) };
        assert!(self.world.on(&id(node), LIMIT, taken).unwrap());
    }

    /// The revoked keys that a node knows.
    fn revoked_at(&self, node: &str) -> Revoked {
        let rpc: Rpc = self.world.handle(&id(node)).unwrap();
        Revoked::clone(&rpc.directory().revocations().newest())
    }

    fn leaked(&self) -> usize {
        self.world.handle::<Leaked>(&id("impostor")).unwrap().0.load(Ordering::Relaxed)
    }

    fn asks_for_a_secret(&mut self, to: Address) -> Result<String, CallError> {
        let rpc = self.rpc();
        let call = async move { rpc.client::<Vault>().at(to).call(&Secret, &cx(&rpc)).await };
        self.world.on(&id("caller"), LIMIT, call).unwrap()
    }

    /// Who answers to this address.
    fn who(&mut self, to: Address) -> Result<String, CallError> {
        let answer = self.asks(to, 0);
        self.heard(answer)
    }

    /// Begins to ask who somebody is.
    fn asks(&mut self, to: Address, millis: u64) -> Answer {
        let rpc = self.rpc();
        let call =
            async move { rpc.client::<Probe>().at(to).call(&WhoAreYou(millis), &cx(&rpc)).await };
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

fn any_in(cell: &str) -> Address {
    Address { cell: Some(cell.into()), ..Address::default() }
}

fn has_no_route<T>(outcome: &Result<T, CallError>) -> bool {
    matches!(outcome, Err(CallError::Refused { refusal: Refusal::NoRoute(_), .. }))
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
        method: String::new().into(),
        id: number,
        incarnation: Incarnation(1),
        deadline_ms: 0,
        trace_id: [0; 16],
        span_id: [0; 8],
        trace_flags: 0,
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

/// Enough that each of two servers is asked first at times.
const QUESTIONS: usize = 10;

#[test]
fn a_node_that_announces_what_its_certificate_may_not_serve_gets_no_call() {
    let mut trust = Trust::start(2);
    trust.add("keeper", "control", keeper());
    trust.add("impostor", "compute", impostor());
    trust.settle();
    assert_eq!(trust.roles("impostor", "caller"), Some([Role::new("compute")].into()));
    for _ in 0..QUESTIONS {
        assert_eq!(trust.asks_for_a_secret(Address::any()).unwrap(), "told");
    }
    assert_eq!(trust.leaked(), 0);
}

#[test]
fn a_call_to_a_named_node_that_may_not_serve_it_is_not_sent() {
    let mut trust = Trust::start(3);
    trust.add("impostor", "compute", impostor());
    trust.settle();
    let outcome = trust.asks_for_a_secret(Address::server(&id("impostor")));
    assert!(has_no_route(&outcome), "{outcome:?}");
    assert_eq!(trust.leaked(), 0);
}

#[test]
fn a_node_that_is_no_control_node_is_not_believed_about_others() {
    let mut trust = Trust::start(4);
    trust.add("impostor", "compute", impostor());
    trust.add("joiner", "control", joiner("impostor"));
    trust.settle();
    assert_eq!(trust.roles("impostor", "joiner"), None);
    assert_eq!(trust.roles("caller", "joiner"), None);
}

#[test]
fn a_call_to_any_server_stays_in_its_cell_and_a_cell_can_be_named() {
    let mut trust = Trust::start(5);
    trust.add("near", "compute", server_in(HERE));
    trust.add("far", "compute", server_in(THERE));
    trust.settle();
    for _ in 0..QUESTIONS {
        assert_eq!(trust.who(Address::any()).unwrap(), "near");
        assert_eq!(trust.who(any_in(THERE)).unwrap(), "far");
    }
    assert_eq!(trust.who(Address::server(&id("far"))).unwrap(), "far");
    let outcome = trust.who(any_in("cell-3"));
    assert!(has_no_route(&outcome), "{outcome:?}");
}

/// As many revoked keys as their version says.
fn revoked(version: u8) -> Revoked {
    let keys = (1..=version).map(|byte| PublicKey([byte; 32])).collect();
    Revoked { version: version.into(), keys }
}

#[test]
fn revoked_keys_reach_every_node_within_a_second_and_stay_when_the_control_node_forgets() {
    let mut trust = Trust::start(6);
    trust.add("server", "compute", server());
    trust.settle();
    for version in [1, 2] {
        trust.knows("caller", revoked(version));
        trust.world.run_for(Duration::from_secs(1));
        assert_eq!(trust.revoked_at("server"), revoked(version));
    }
    trust.add("late", "compute", server());
    trust.settle();
    assert_eq!(trust.revoked_at("late"), revoked(2));
    trust.world.crash(&id("caller"));
    trust.world.start(&id("caller"));
    trust.settle();
    assert_eq!(trust.revoked_at("caller"), Revoked::default());
    assert_eq!(trust.revoked_at("server"), revoked(2));
}

#[test]
fn a_node_that_is_no_control_node_is_not_believed_about_revoked_keys() {
    let mut trust = Trust::start(7);
    trust.add("impostor", "compute", impostor());
    trust.add("joiner", "control", joiner("impostor"));
    trust.settle();
    trust.knows("impostor", revoked(1));
    trust.settle();
    assert_eq!(trust.revoked_at("joiner"), Revoked::default());
    assert_eq!(trust.revoked_at("caller"), Revoked::default());
}
