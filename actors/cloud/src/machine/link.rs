//! Keys, certificates and the QUIC link of a node of this machine.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::mpsc;
use updraft_runtime::Env;
use updraft_transport::{
    Event, Incarnation, NodeId, PeerIdentity,
    ca::{CloudCa, Validity},
    certificate::Certificate,
    host::{Host, Task},
    key::NodeKey,
    quic::{Quic, QuicConfig, udp},
    tls::Credentials,
    wire::WireVersions,
};

use super::data_dir::DataDir;

/// How long the cloud's CA lasts.
const CA_LASTS: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How long a node's certificate lasts; it is issued anew at every start on the machine that has the CA.
const NODE_LASTS: Duration = Duration::from_secs(365 * 24 * 3600);

/// An error for whoever starts the program.
pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The machine, as the transport asks for it.
pub(super) struct MachineHost(pub(super) Env);

impl Host for MachineHost {
    fn spawn(&self, name: &'static str, task: Task) {
        self.0.spawn(name, task);
    }

    fn seed(&self, stream: &'static str) -> [u8; 32] {
        use rand::RngCore;
        let mut seed = [0; 32];
        self.0.rng(stream).fill_bytes(&mut seed);
        seed
    }

    fn unix_secs(&self) -> u64 {
        self.0.wall().secs()
    }
}

fn fresh_key(env: &Env) -> Result<NodeKey, Failure> {
    Ok(NodeKey::from_seed(&MachineHost(env.clone()).seed("node key"))?)
}

/// The cloud's CA, made now if there is none.
pub(super) fn ca(env: &Env, data: &DataDir) -> Result<CloudCa, Failure> {
    let stored = (data.read("ca/key.pem")?, data.read("ca/certificate.pem")?);
    if let (Some(key), Some(certificate)) = stored {
        return Ok(CloudCa::load(Certificate::from_pem(&certificate)?, NodeKey::from_pem(&key)?)?);
    }
    let validity = Validity::starting(env.wall().secs(), CA_LASTS);
    let ca = CloudCa::create("updraft", fresh_key(env)?, validity)?;
    data.write("ca/key.pem", &ca.key().to_pem())?;
    data.write("ca/certificate.pem", &ca.certificate().to_pem())?;
    Ok(ca)
}

/// The credentials of a node on the machine that has the CA: its key is kept, its certificate issued anew.
pub(super) fn credentials(
    env: &Env,
    data: &DataDir,
    node: &str,
    roles: &[&str],
) -> Result<Credentials, Failure> {
    let ca = ca(env, data)?;
    let name = format!("nodes/{node}/key.pem");
    let key = match data.read(&name)? {
        Some(pem) => NodeKey::from_pem(&pem)?,
        None => {
            let key = fresh_key(env)?;
            data.write(&name, &key.to_pem())?;
            key
        }
    };
    let identity = PeerIdentity::new(NodeId::new(node)?, roles);
    let validity = Validity::starting(env.wall().secs(), NODE_LASTS);
    let certificate = ca.issue(&identity, &key.public(), validity)?;
    Ok(Credentials::new(certificate, key, vec![ca.certificate().clone()])?)
}

/// Starts the link of a node.
pub(super) fn link(
    env: &Env,
    credentials: Credentials,
    incarnation: Incarnation,
    listen: SocketAddr,
) -> Result<(Arc<Quic>, mpsc::Receiver<Event>), Failure> {
    let (socket, runtime) = udp::bind(listen).map_err(|error| {
        format!(
            "cannot listen on UDP {listen}: {error}. Choose another address with --quic-listen, or stop \
             what uses it"
        )
    })?;
    Ok(Quic::start(QuicConfig {
        credentials,
        incarnation,
        versions: WireVersions::SUPPORTED,
        socket,
        runtime,
        host: Arc::new(MachineHost(env.clone())),
        admission: None,
        mtu_discovery: true,
    })?)
}
