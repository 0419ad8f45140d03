//! A node: one identity, one transport, one directory, and the services it runs.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use ractor::SpawnErr;
use serde::Serialize;
use tokio::sync::mpsc;
use updraft_transport::{Event, Incarnation, NodeId, PeerIdentity, Transport};

use crate::{
    Env,
    directory::{Directory, Member},
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
    /// The control nodes that it knows from the start.
    pub seeds: Vec<(NodeId, SocketAddr)>,
}

/// A node whose services are not yet running: what they need to be built is there.
pub struct Prepared {
    parts: Parts,
    dispatcher: Dispatcher,
    directory: Directory,
    tracer: Tracer,
    kinds: Option<Kinds>,
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
        Self { parts, dispatcher, directory, tracer, kinds: None }
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

    /// Starts the services under one supervisor, and tells the control nodes. The node runs on when what is returned is
    /// dropped, until [`Node::stop`] or the end of its runtime.
    ///
    /// # Errors
    ///
    /// [`SpawnErr::StartupFailed`] says in words which method this node's certificate does not let it serve: it would
    /// be sent nothing of it. Nothing runs then.
    pub async fn start(self, mut services: Vec<Service>) -> Result<Node, SpawnErr> {
        let Self { parts, dispatcher, directory, tracer, kinds } = self;
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
        parts.env.spawn("directory", directory.beat_forever(rpc.clone(), parts.seeds));
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
