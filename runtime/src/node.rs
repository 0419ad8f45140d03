//! A node: one identity, one transport, one directory, and the services it runs.
//!
//! Two nodes in one process, over QUIC on this machine, with certificates of a CA of their own. Between machines, each
//! keeps its key and its certificate in files, and its count of starts on the disk; [`quic::join`] gives a machine its
//! certificate for a token.
//!
//! [`quic::join`]: crate::transport::quic::join()
//!
//! ```
//! use std::{error::Error, net::SocketAddr, sync::Arc, time::Duration};
//! use updraft_runtime::{
//!     Env,
//!     node::{Parts, Prepared},
//!     rpc::{Cx, Service, TraceContext},
//!     transport::{
//!         Incarnation, NodeId, PeerIdentity,
//!         ca::{CloudCa, Validity},
//!         host::Host,
//!         key::NodeKey,
//!         quic::{Quic, QuicConfig, udp},
//!         tls::Credentials,
//!         wire::WireVersions,
//!     },
//! };
//! # use serde::{Deserialize, Serialize};
//! # use updraft_runtime::{message, protocol};
//! # struct Calculator;
//! # protocol!(Calculator = "calculator");
//! # #[derive(Serialize, Deserialize)]
//! # struct Add(u32, u32);
//! # message!(call Add = Calculator / "add", Fenced, from ["user"], to ["server"], reply u32);
//!
//! const DAY: Duration = Duration::from_secs(24 * 3600);
//!
//! fn key(env: &Env) -> Result<NodeKey, Box<dyn Error>> {
//!     Ok(NodeKey::from_seed(&Host::seed(env, "key"))?)
//! }
//!
//! fn parts(
//!     env: &Env, ca: &CloudCa, name: &str, roles: &[&str], seeds: &[(NodeId, SocketAddr)],
//! ) -> Result<Parts, Box<dyn Error>> {
//!     let (key, identity) = (key(env)?, PeerIdentity::new(NodeId::new(name)?, roles));
//!     let validity = Validity::starting(env.wall().secs(), DAY);
//!     let certificate = ca.issue(&identity, &key.public(), validity)?;
//!     let (socket, runtime) = udp::bind("127.0.0.1:0".parse()?)?;
//!     let incarnation = Incarnation(1);
//!     let (quic, events) = Quic::start(QuicConfig {
//!         credentials: Credentials::new(certificate, key, vec![ca.certificate().clone()])?,
//!         incarnation,
//!         versions: WireVersions::SUPPORTED,
//!         socket,
//!         runtime,
//!         host: Arc::new(env.clone()),
//!         admission: None,
//!         mtu_discovery: true,
//!     })?;
//!     let (env, address) = (env.clone(), quic.local_addr()?);
//!     let (cell, seeds) = ("here".to_owned(), seeds.to_vec());
//!     Ok(Parts { env, transport: quic, events, incarnation, address, cell, seeds })
//! }
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//! let env = Env::real();
//! let ca = CloudCa::create("example", key(&env)?, Validity::starting(env.wall().secs(), DAY))?;
//!
//! // The control node is the one that the others know from the start; it keeps the directory.
//! let user = parts(&env, &ca, "user", &["control", "user"], &[])?;
//! let seeds = [(NodeId::new("user")?, user.address)];
//! let user = Prepared::new(user);
//! let directory = user.directory().service();
//! let user = user.start(vec![directory]).await?;
//!
//! let server = Prepared::new(parts(&env, &ca, "server", &["server"], &seeds)?);
//! let add = Service::of::<Calculator>().call(|_, Add(a, b)| async move { Ok(a + b) });
//! let server = server.start(vec![add.into()]).await?;
//!
//! let rpc = user.rpc();
//! rpc.directory().wait_for::<Add>(1).await;
//! let cx = Cx::new("example", TraceContext::fresh(&env));
//! assert_eq!(rpc.client::<Calculator>().call(&Add(2, 3), &cx).await?, 5);
//! server.stop().await;
//! user.stop().await;
//! # Ok::<(), Box<dyn Error>>(())
//! # }).unwrap();
//! ```

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use ractor::SpawnErr;
use serde::Serialize;
use tokio::sync::mpsc;
use updraft_transport::{Event, Incarnation, NodeId, PeerIdentity, Transport};

use crate::{
    Env,
    directory::{Directory, Interest, Member},
    names::Names,
    rpc::{Dispatcher, Reporter, Rpc, Service},
    spawn::{self, Host, Kinds, RemoteActor, SpawnError},
    supervise::{Settings, Supervisor},
    trace::Tracer,
    vitals::{self, Report},
};

/// What a node is made from.
pub struct Parts {
    /// The door to the world.
    pub env: Env,
    /// What carries its frames.
    pub transport: Arc<dyn Transport>,
    /// What the transport hands up.
    pub events: mpsc::Receiver<Event>,
    /// How often it has started, this time included.
    pub incarnation: Incarnation,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its cell.
    pub cell: String,
    /// The control nodes that it knows from the start: it hears of all others from them. A control node needs to know
    /// none, or other control nodes.
    pub seeds: Vec<(NodeId, SocketAddr)>,
}

/// A node whose services are not yet running: what they need to be built is there.
pub struct Prepared {
    parts: Parts,
    dispatcher: Dispatcher,
    directory: Directory,
    tracer: Tracer,
    kinds: Option<Kinds>,
    interest: Interest,
}

/// A running node.
pub struct Node {
    rpc: Rpc,
    tracer: Tracer,
    dispatcher: Dispatcher,
    transport: Arc<dyn Transport>,
    supervisor: Supervisor,
    names: Names,
    reporter: Reporter,
}

impl Prepared {
    /// Joins the parts.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let local = parts.transport.local();
        let member = Member {
            node: local.node.clone(),
            address: parts.address,
            incarnation: parts.incarnation,
            edition: 0,
            cell: parts.cell.clone(),
            roles: BTreeSet::clone(&local.roles),
            topics: BTreeSet::new(),
        };
        let directory = Directory::new(&parts.env, parts.transport.clone(), member);
        let tracer = Tracer::default();
        let dispatcher = Dispatcher::new(
            &parts.env,
            parts.transport.clone(),
            directory.clone(),
            parts.incarnation,
            tracer.clone(),
        );
        let interest = Interest::default();
        Self { parts, dispatcher, directory, tracer, kinds: None, interest }
    }

    /// For sending, and for building services that send.
    #[must_use]
    pub fn rpc(&self) -> Rpc {
        self.dispatcher.rpc()
    }

    /// Who runs what.
    #[must_use]
    pub fn directory(&self) -> Directory {
        self.directory.clone()
    }

    /// Where steps are recorded.
    #[must_use]
    pub fn tracer(&self) -> Tracer {
        self.tracer.clone()
    }

    /// The same, and other nodes may have actors of these kinds run here.
    #[must_use]
    pub fn with_kinds(mut self, kinds: Kinds) -> Self {
        self.kinds = Some(kinds);
        self
    }

    /// The same, told of these members alone. A node that asks control nodes only needs to know no others, and there may
    /// be thousands.
    #[must_use]
    pub fn told_of(mut self, interest: Interest) -> Self {
        self.interest = interest;
        self
    }

    /// Starts the services under one supervisor, and tells the control nodes. The node runs on when what is returned is
    /// dropped, until [`Node::stop`] or the end of its runtime.
    ///
    /// # Errors
    ///
    /// [`SpawnErr::StartupFailed`] says in words which method this node's certificate does not let it serve: it would
    /// be sent nothing of it. Nothing runs then.
    pub async fn start(self, mut services: Vec<Service>) -> Result<Node, SpawnErr> {
        let Self { parts, dispatcher, directory, tracer, kinds, interest } = self;
        let host = kinds.map(|kinds| Host::new(dispatcher.rpc(), dispatcher.opener(), kinds));
        services.extend(host.as_ref().map(Host::service));
        let reporter = dispatcher.reporter();
        services.push(vitals::service({
            let reporter = reporter.clone();
            move || reporter.report()
        }));
        may_serve(&services, parts.transport.local())?;
        directory.announce(services.iter().map(|service| service.topic().clone()).collect());
        let children = dispatcher.serve(services);
        let rpc = dispatcher.rpc();
        parts.env.spawn("rpc", dispatcher.clone().run(parts.events));
        let supervisor =
            Supervisor::start(parts.env.clone(), Settings::default(), children).await?;
        if let Some(host) = host {
            host.run_under(supervisor.clone());
        }
        let beats = directory.beat_forever(rpc.clone(), parts.seeds, interest);
        parts.env.spawn("directory", beats);
        let (transport, names) = (parts.transport, Names::default());
        Ok(Node { rpc, tracer, dispatcher, transport, supervisor, names, reporter })
    }
}

/// Refuses services that the node's certificate does not let it serve.
fn may_serve(services: &[Service], local: &PeerIdentity) -> Result<(), SpawnErr> {
    let denied = services.iter().find_map(|service| service.out_of_reach(&local.roles));
    let Some((method, servers)) = denied else { return Ok(()) };
    let has: Vec<_> = local.roles.iter().map(|role| &*role.0).collect();
    let why = format!(
        "node {} may not serve {method}: its certificate has the roles {has:?}, and one of {servers:?} is needed",
        local.node
    );
    Err(SpawnErr::StartupFailed(why.into()))
}

impl Node {
    /// For sending.
    #[must_use]
    pub fn rpc(&self) -> &Rpc {
        &self.rpc
    }

    /// What happened here.
    #[must_use]
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// How it does.
    #[must_use]
    pub fn report(&self) -> Report {
        self.reporter.report()
    }

    /// Names of what runs here.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Starts an actor of this kind on a node that knows it; see [`crate::spawn`].
    pub async fn spawn(
        &self,
        on: &NodeId,
        kind: &str,
        args: &impl Serialize,
    ) -> Result<RemoteActor, SpawnError> {
        spawn::spawn(&self.rpc, on, kind, args).await
    }

    /// Waits until supervision has given up, and says why.
    pub async fn failed(&self) -> String {
        self.supervisor.escalated().await
    }

    /// Refuses new work, stops the services and closes the connections.
    pub async fn stop(&self) {
        self.dispatcher.drain();
        self.supervisor.stop().await;
        self.transport.close();
    }
}
