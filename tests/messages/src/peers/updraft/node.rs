//! Nodes as the `updraft` command makes them, but for their store.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use rand::RngCore;
use tracing_subscriber::EnvFilter;
use updraft_bench_load::Failure;
use updraft_runtime::{
    Env,
    directory::Directory,
    node::{Node, Parts, Prepared},
    rpc::{Message, Rpc, Service},
    trace::log::WithRequest,
    transport::{
        Event, Incarnation, NodeId, PeerIdentity, Transport,
        ca::{CloudCa, Validity},
        key::NodeKey,
        quic::{Quic, QuicConfig, udp},
        tls::Credentials,
        wire::WireVersions,
    },
};

use super::{
    bodies::Shelf,
    messages::{Bench, Body, Echo, Note, Notes, Prepare},
};

/// The node that answers.
pub(super) const SERVER: &str = "server";

/// The seed of the key of a CA that lives on the loopback interface for some minutes: both processes make it.
const CA_SEED: [u8; 32] = [1; 32];

/// How long certificates last: longer than a run.
const LASTS: Duration = Duration::from_secs(24 * 3600);

/// How long the other node may take to be known.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(5);

/// As the `updraft` command does, so that logging costs what it costs there.
pub(super) fn log_as_in_production() {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info"))
        .fmt_fields(WithRequest::default())
        .with_writer(std::io::stderr)
        .init();
}

fn credentials(env: &Env, name: &str, role: &str) -> Result<Credentials, Failure> {
    let validity = Validity::starting(env.wall().secs(), LASTS);
    let ca = CloudCa::create("bench", NodeKey::from_seed(&CA_SEED)?, validity)?;
    let mut seed = [0; 32];
    env.rng("node key").fill_bytes(&mut seed);
    let key = NodeKey::from_seed(&seed)?;
    let identity = PeerIdentity::new(NodeId::new(name)?, &[role]);
    let certificate = ca.issue(&identity, &key.public(), validity)?;
    Ok(Credentials::new(certificate, key, vec![ca.certificate().clone()])?)
}

type Link = (Arc<Quic>, tokio::sync::mpsc::Receiver<Event>);

fn link(env: &Env, credentials: Credentials) -> Result<Link, Failure> {
    let (socket, runtime) = udp::bind(SocketAddr::from(([127, 0, 0, 1], 0)))?;
    Ok(Quic::start(QuicConfig {
        credentials,
        incarnation: Incarnation(1),
        versions: WireVersions::SUPPORTED,
        socket,
        runtime,
        host: Arc::new(env.clone()),
        admission: None,
        mtu_discovery: true,
    })?)
}

fn prepared(
    env: &Env,
    (quic, events): Link,
    seeds: Vec<(NodeId, SocketAddr)>,
) -> Result<Prepared, Failure> {
    Ok(Prepared::new(Parts {
        env: env.clone(),
        address: quic.local_addr()?,
        transport: quic,
        events,
        incarnation: Incarnation(1),
        cell: "cell-1".to_owned(),
        seeds,
    }))
}

/// The node that answers, and where it listens.
pub(super) async fn server(env: &Env) -> Result<(Node, SocketAddr), Failure> {
    let link = link(env, credentials(env, SERVER, "control")?)?;
    let address = link.0.local_addr()?;
    let prepared = prepared(env, link, Vec::new())?;
    let directory: Directory = prepared.directory();
    let services = vec![service(&prepared.rpc()), directory.service()];
    let node = prepared.start(services).await?;
    Ok((node, address))
}

/// What a node that asks presents; each number is a node of its own.
pub(super) fn client_credentials(env: &Env, number: u32) -> Result<Credentials, Failure> {
    credentials(env, &format!("client-{}-{number}", std::process::id()), "compute")
}

/// A node that asks.
pub(super) async fn client(
    env: &Env,
    credentials: Credentials,
    server: SocketAddr,
) -> Result<Node, Failure> {
    let link = link(env, credentials)?;
    let seed = (NodeId::new(SERVER)?, server);
    link.0.learn(&seed.0, server);
    Ok(prepared(env, link, vec![seed])?.start(Vec::new()).await?)
}

/// A node of this process with services, and nobody else.
pub(super) async fn alone(env: &Env, services: Vec<Service>) -> Result<Node, Failure> {
    let link = link(env, credentials(env, "alone", "control")?)?;
    Ok(prepared(env, link, Vec::new())?.start(services).await?)
}

/// Waits until somebody is known to serve the message.
pub(super) async fn until_known<M: Message>(rpc: &Rpc) -> Result<(), Failure> {
    let env = rpc.env();
    let known = async {
        while rpc.directory().servers_of::<M>().is_empty() {
            env.sleep(LOOK).await;
        }
    };
    env.timeout(KNOWN_WITHIN, known).await.ok_or_else(|| "the server was not heard of".into())
}

fn service(rpc: &Rpc) -> Service {
    let notes = Arc::new(AtomicU64::new(0));
    let counted = notes.clone();
    let (env, shelf) = (rpc.env().clone(), Shelf::default());
    let kept = shelf.clone();
    Service::of::<Bench>()
        .call(|_, Echo(body): Echo| async { Ok(body) })
        .cast(move |_, Note(_): Note| {
            notes.fetch_add(1, Ordering::Relaxed);
            async { Ok(()) }
        })
        .call(move |_, Notes: Notes| {
            let seen = counted.load(Ordering::Relaxed);
            async move { Ok(seen) }
        })
        .call(move |_, Prepare(bytes): Prepare| {
            let (shelf, env) = (shelf.clone(), env.clone());
            async move { shelf.prepare(&env, bytes).await }
        })
        .body(rpc, move |_, Body: Body| {
            let body = kept.body();
            async move { body }
        })
        .into()
}
