//! A node: one identity, one transport, one directory, and the services it runs.

use std::{collections::BTreeSet, net::SocketAddr, sync::Arc};

use ractor::SpawnErr;
use tokio::sync::mpsc;
use updraft_transport::{Event, Incarnation, NodeId, Transport};

use crate::{
    Env,
    directory::{Directory, Member},
    rpc::{Dispatcher, Rpc, Service, Topic},
    supervise::{Settings, Supervisor},
    trace::Tracer,
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
    /// The topics that it will serve.
    pub topics: BTreeSet<Topic>,
}

/// A node whose services are not yet running: what they need to be built is there.
pub struct Prepared {
    parts: Parts,
    dispatcher: Dispatcher,
    directory: Directory,
    tracer: Tracer,
}

/// A running node.
pub struct Node {
    rpc: Rpc,
    tracer: Tracer,
    dispatcher: Dispatcher,
    transport: Arc<dyn Transport>,
    supervisor: Supervisor,
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
            topics: parts.topics.clone(),
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
        Self { parts, dispatcher, directory, tracer }
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

    /// Starts the services under one supervisor, and tells the control nodes.
    pub async fn start(self, services: Vec<Service>) -> Result<Node, SpawnErr> {
        let Self { parts, dispatcher, directory, tracer } = self;
        debug_assert!(
            services.iter().all(|service| parts.topics.contains(service.topic())),
            "a node announces what it serves"
        );
        debug_assert!(
            services.iter().all(|service| service.may_run_with(&parts.transport.local().roles)),
            "a node serves what its roles may serve: it would be sent nothing else"
        );
        let children = dispatcher.serve(services);
        let rpc = dispatcher.rpc();
        parts.env.spawn("rpc", dispatcher.clone().run(parts.events));
        let supervisor =
            Supervisor::start(parts.env.clone(), Settings::default(), children).await?;
        parts.env.spawn("directory", directory.beat_forever(rpc.clone(), parts.seeds));
        Ok(Node { rpc, tracer, dispatcher, transport: parts.transport, supervisor })
    }
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
