//! Keys, certificates and the QUIC link of a node of this machine.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use updraft_runtime::Env;
use updraft_transport::{
    Event, Incarnation, PeerIdentity,
    ca::{CloudCa, Validity},
    certificate::Certificate,
    join::Admission,
    key::NodeKey,
    quic::{Quic, QuicConfig, udp},
    tls::Credentials,
    wire::WireVersions,
};

use super::data_dir::{DataDir, DataDirError};
use crate::membership::NODE_LASTS;

/// How long the cloud's CA lasts.
const CA_LASTS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// An error for whoever starts the program.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

fn fresh_key(env: &Env) -> Result<NodeKey, Failure> {
    use rand::RngCore;
    let mut seed = [0; 32];
    env.rng("node key").fill_bytes(&mut seed);
    Ok(NodeKey::from_seed(&seed)?)
}

/// Where the CA's key is.
const CA_KEY: &str = "ca/key.pem";

/// Where the CA's certificate is.
const CA_CERTIFICATE: &str = "ca/certificate.pem";

/// The CA that this folder has, if it has one.
pub(super) fn kept_ca(data: &DataDir) -> Result<Option<CloudCa>, Failure> {
    let (Some(key), Some(certificate)) = (data.read(CA_KEY)?, data.read(CA_CERTIFICATE)?) else {
        return Ok(None);
    };
    let certificate = Certificate::from_pem(&certificate)?;
    Ok(Some(CloudCa::load(certificate, NodeKey::from_pem(&key)?)?))
}

/// Keeps a CA in this folder. The key comes last: half a CA is none.
pub(super) fn keep_ca(
    data: &DataDir,
    certificate: &Certificate,
    key: &str,
) -> Result<(), DataDirError> {
    data.write(CA_CERTIFICATE, &certificate.to_pem())?;
    data.write(CA_KEY, key)
}

/// The cloud's CA, made now if there is none.
pub(super) fn ca(env: &Env, data: &DataDir) -> Result<CloudCa, Failure> {
    if let Some(ca) = kept_ca(data)? {
        return Ok(ca);
    }
    let validity = Validity::starting(env.wall().secs(), CA_LASTS);
    let ca = CloudCa::create("updraft", fresh_key(env)?, validity)?;
    keep_ca(data, ca.certificate(), &ca.key().to_pem())?;
    Ok(ca)
}

/// The key of a node of this machine, made now if there is none.
pub(super) fn key(env: &Env, data: &DataDir, node: &str) -> Result<NodeKey, Failure> {
    let name = key_file(node);
    if let Some(pem) = data.read(&name)? {
        return Ok(NodeKey::from_pem(&pem)?);
    }
    let key = fresh_key(env)?;
    data.write(&name, &key.to_pem())?;
    Ok(key)
}

/// Where a node's key is.
pub(super) fn key_file(node: &str) -> String {
    format!("nodes/{node}/key.pem")
}

/// The credentials of the node that has the CA: its key is kept, its certificate issued anew.
pub(super) fn credentials(
    env: &Env,
    ca: &CloudCa,
    key: NodeKey,
    identity: &PeerIdentity,
) -> Result<Credentials, Failure> {
    let validity = Validity::starting(env.wall().secs(), NODE_LASTS);
    let certificate = ca.issue(identity, &key.public(), validity)?;
    Ok(Credentials::new(certificate, key, vec![ca.certificate().clone()])?)
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {transport} {address}: {source}; choose another address with {option}, or stop what uses it"
)]
pub struct AddressError {
    transport: &'static str,
    option: &'static str,
    address: SocketAddr,
    source: io::Error,
}

impl AddressError {
    /// Of a UDP address for QUIC.
    pub(super) fn udp(address: SocketAddr, source: io::Error) -> Self {
        Self { transport: "UDP", option: "--quic-listen", address, source }
    }

    /// Of a compute node's UDP address.
    pub(super) fn node(address: SocketAddr, source: io::Error) -> Self {
        Self { option: "--node-listen", ..Self::udp(address, source) }
    }

    /// Of a TCP address for metrics.
    pub(super) fn metrics(address: SocketAddr, source: io::Error) -> Self {
        Self { option: "--metrics-listen", ..Self::tcp(address, source) }
    }

    /// Of a TCP address for REST.
    pub(super) fn tcp(address: SocketAddr, source: io::Error) -> Self {
        Self { transport: "TCP", option: "--listen", address, source }
    }
}

/// Which side of a link a node is on.
pub(super) enum Side {
    /// The control node, which lets others join.
    Control(Arc<dyn Admission>),
    /// Any other.
    Node,
}

/// Starts the link of a node.
pub(super) fn link(
    env: &Env,
    credentials: Credentials,
    incarnation: Incarnation,
    listen: SocketAddr,
    side: Side,
) -> Result<(Arc<Quic>, mpsc::Receiver<Event>), Failure> {
    let (error, admission): (fn(_, _) -> _, _) = match side {
        Side::Control(admission) => (AddressError::udp, Some(admission)),
        Side::Node => (AddressError::node, None),
    };
    let (socket, runtime) = udp::bind(listen).map_err(|source| error(listen, source))?;
    Ok(Quic::start(QuicConfig {
        credentials,
        incarnation,
        versions: WireVersions::SUPPORTED,
        socket,
        runtime,
        host: Arc::new(env.clone()),
        admission,
        mtu_discovery: true,
    })?)
}
