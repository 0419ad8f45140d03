//! How a host becomes a node of a cloud, and how it remembers that it is one.
//!
//! Owns `node.json`, which says who the host is and where its control node listens, and the key and
//! certificates below `nodes/NAME/`. The key is on the disk before a token is shown to anybody, so that an
//! answer that was lost can be asked for again; `node.json` comes last, so that half an exchange is none.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use updraft_runtime::Env;
use updraft_transport::{
    Incarnation, NodeId,
    certificate::Certificate,
    join::JoinToken,
    key::NodeKey,
    quic::{JoinError, JoinRequest, Joined, join, udp},
    tls::Credentials,
};

use super::{
    config::is_open,
    data_dir::{DataDir, DataDirError},
    link::{self, AddressError, Failure},
};

/// Where a host keeps who it is.
const FILE: &str = "node.json";

/// A node's place in its cloud.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// Its name.
    pub node: NodeId,
    /// The control node that it talks to first.
    pub control: NodeId,
    /// Where that one listens.
    pub control_address: SocketAddr,
    /// The other control nodes that it knows.
    #[serde(default)]
    pub others: Vec<KnownControl>,
}

/// A control node that a host can turn to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownControl {
    /// Its name.
    pub node: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Membership {
    /// Every control node that is known, and where it listens.
    pub(super) fn controls(&self) -> Vec<(NodeId, SocketAddr)> {
        let first = (self.control.clone(), self.control_address);
        let others = self.others.iter().map(|known| (known.node.clone(), known.address));
        std::iter::once(first).chain(others).collect()
    }
}

/// Why a host is no node.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// There is no token and no earlier exchange.
    #[error(
        "{0} holds no node yet: a join token is needed once; 'updraft invite' on the control host prints one, \
         and --join-file or UPDRAFT_JOIN_TOKEN takes it"
    )]
    NoToken(std::path::PathBuf),
    /// The token is for another cloud than the one that the folder belongs to.
    #[error(
        "{0} belongs to a node of another cloud than the token; give an empty folder with --data-dir"
    )]
    OtherCloud(std::path::PathBuf),
    /// The folder belongs to a node of another name.
    #[error(
        "{path} belongs to node {node}; leave --name away, or give an empty folder with --data-dir"
    )]
    OtherName {
        /// The folder.
        path: std::path::PathBuf,
        /// Whose it is.
        node: NodeId,
    },
    /// The exchange did not succeed.
    #[error("this host did not join: {0}")]
    Join(#[from] JoinError),
    /// The token is no token.
    #[error("this host did not join: {0}; 'updraft invite' on the control host prints another")]
    Token(#[from] updraft_transport::join::TokenError),
    /// The host was a node, and is none any more.
    #[error(
        "node {node} was removed from the cloud: {control} says that its certificate was revoked; to join again, give an \
         empty folder with --data-dir, and a token that 'updraft invite' prints on the control host"
    )]
    Removed {
        /// The node.
        node: NodeId,
        /// The control node that says so.
        control: NodeId,
    },
    /// The token makes a control node of a machine.
    #[error(
        "the join token is for a control node, and is not used up: give it to 'updraft control'; 'updraft invite' prints \
         one for a host"
    )]
    ForControl,
    /// The token makes a host of a machine.
    #[error(
        "the join token is for a host, and is not used up: give it to 'updraft node'; 'updraft invite --control' prints \
         one for a control node"
    )]
    ForHost,
    /// There is no token and no earlier exchange, for a control node.
    #[error(
        "{0} holds no control node yet: a join token is needed once; 'updraft invite --control' on a control host prints \
         one, and --join-file or UPDRAFT_JOIN_TOKEN takes it"
    )]
    NoControlToken(std::path::PathBuf),
    /// The control node was one, and is none any more.
    #[error(
        "control node {0} was removed from the cloud; to join again, give an empty folder with --data-dir, and a token \
         that 'updraft invite --control' prints on another control host"
    )]
    ControlRemoved(NodeId),
    /// A name that no node may have.
    #[error("{0}; choose another with --name")]
    Name(String),
}

/// Who this folder's node is, if it is one.
pub fn membership(data: &DataDir) -> Result<Option<Membership>, Failure> {
    let Some(text) = data.read(FILE)? else { return Ok(None) };
    let read = serde_json::from_str(&text).map_err(|error| data.damaged(FILE, error));
    Ok(Some(read?))
}

/// Makes this host a node, unless it is one. A token that is not needed is left alone.
pub(super) async fn enrol(
    env: &Env,
    data: &DataDir,
    token: Option<&JoinToken>,
    name: Option<NodeId>,
) -> Result<Membership, Failure> {
    let root = || data.root().to_owned();
    if let Some(known) = membership(data)? {
        if name.is_some_and(|name| name != known.node) {
            return Err(EnrolError::OtherName { path: root(), node: known.node }.into());
        }
        let Some(token) = token else { return Ok(known) };
        if !believes(data, &known.node, token)? {
            return Err(EnrolError::OtherCloud(root()).into());
        }
        if !has_ended(env, data, &known.node)? {
            tracing::info!(node = %known.node, "this host has joined before; the token was not needed");
            return Ok(known);
        }
        return exchange(env, data, token, known.node).await;
    }
    let Some(token) = token else { return Err(EnrolError::NoToken(root()).into()) };
    let node = match name {
        Some(name) => name,
        None => own_name()?,
    };
    exchange(env, data, token, node).await
}

async fn exchange(
    env: &Env,
    data: &DataDir,
    token: &JoinToken,
    node: NodeId,
) -> Result<Membership, Failure> {
    if token.for_control {
        return Err(EnrolError::ForControl.into());
    }
    let Joined { credentials, former, .. } = show(env, data, token, &node).await?;
    keep(data, &credentials)?;
    if former > Incarnation::default() {
        data.count_from(env, node.as_str(), former)?;
    }
    let (control, control_address) = (token.control.clone(), token.address);
    let membership = Membership { node, control, control_address, others: Vec::new() };
    remember(data, &membership)?;
    Ok(membership)
}

/// Shows a token to its control node; what that gives for it. The key that this folder then has for the name is used
/// again by a later attempt.
pub(super) async fn show(
    env: &Env,
    data: &DataDir,
    token: &JoinToken,
    node: &NodeId,
) -> Result<Joined, Failure> {
    // Looked at first: a token that is no good must not leave anything behind.
    token.check(env.wall().secs()).map_err(EnrolError::from)?;
    let key = link::key(env, data, node.as_str())?;
    let listen = SocketAddr::new(address_toward(token.address)?, 0);
    let (socket, runtime) =
        udp::bind(listen).map_err(|source| AddressError::udp(listen, source))?;
    let (token, node, host) = (token.clone(), node.clone(), Arc::new(env.clone()));
    let request = JoinRequest { token, node, key, socket, runtime, host };
    Ok(join(request).await.map_err(EnrolError::from)?)
}

/// Notes where this folder's node belongs.
pub(super) fn remember(data: &DataDir, membership: &Membership) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(membership)?;
    Ok(data.write(FILE, &format!("{text}\n"))?)
}

/// Keeps a certificate and whom to believe.
pub(super) fn keep(data: &DataDir, credentials: &Credentials) -> Result<(), DataDirError> {
    let node = &credentials.identity().node;
    let authorities: String = credentials.authorities().iter().map(Certificate::to_pem).collect();
    data.write(&authorities_file(node), &authorities)?;
    data.write(&certificate_file(node), &credentials.certificate().to_pem())
}

/// What a node that has joined presents.
pub(super) fn credentials(data: &DataDir, node: &NodeId) -> Result<Credentials, Failure> {
    let missing = |name: &str| {
        let what = "is missing".to_owned();
        DataDirError::Damaged { path: data.path(name), what }
    };
    let read = |name: String| -> Result<_, Failure> {
        let content = data.read(&name)?;
        Ok(content.ok_or_else(|| missing(&name))?)
    };
    let key = NodeKey::from_pem(&read(link::key_file(node.as_str()))?)?;
    let certificate = Certificate::from_pem(&read(certificate_file(node))?)?;
    let authorities = Certificate::all_from_pem(&read(authorities_file(node))?)?;
    Ok(Credentials::new(certificate, key, authorities)?)
}

fn believes(data: &DataDir, node: &NodeId, token: &JoinToken) -> Result<bool, Failure> {
    let credentials = credentials(data, node)?;
    let mut authorities = credentials.authorities().iter();
    Ok(authorities.any(|authority| authority.fingerprint() == token.authority))
}

/// Whether a node's certificate is no longer valid, as after a year in a cupboard.
fn has_ended(env: &Env, data: &DataDir, node: &NodeId) -> Result<bool, Failure> {
    let until = credentials(data, node)?.certificate().valid_until_unix_secs()?;
    Ok(env.wall().secs() >= until)
}

fn certificate_file(node: &NodeId) -> String {
    format!("nodes/{node}/certificate.pem")
}

fn authorities_file(node: &NodeId) -> String {
    format!("nodes/{node}/authorities.pem")
}

/// The machine's name, as far as a node may have it.
pub(super) fn own_name() -> Result<NodeId, EnrolError> {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy().to_ascii_lowercase();
    NodeId::new(&name).map_err(|error| EnrolError::Name(error.to_string()))
}

/// The address of this machine from which it reaches another. Nothing is sent.
pub(super) fn address_toward(peer: SocketAddr) -> Result<IpAddr, Failure> {
    let any: SocketAddr = match peer {
        SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
        SocketAddr::V6(_) => ([0; 16], 0).into(),
    };
    let way = UdpSocket::bind(any).and_then(|socket| {
        socket.connect(peer)?;
        socket.local_addr()
    });
    let way = way.map_err(|error| {
        format!("no way leads to the control node at {peer}: {error}; check this host's network")
    })?;
    Ok(way.ip())
}

/// Where a compute node listens: as set, and where that leaves something open, toward the control node.
pub(super) fn listen_address(set: SocketAddr, control: SocketAddr) -> Result<SocketAddr, Failure> {
    if is_open(&set) { Ok(SocketAddr::new(address_toward(control)?, set.port())) } else { Ok(set) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_this_machine_itself_is_loopback() {
        let control: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let open = "0.0.0.0:77".parse().unwrap();
        assert_eq!(listen_address(open, control).unwrap(), "127.0.0.1:77".parse().unwrap());
        let set = "127.0.0.5:77".parse().unwrap();
        assert_eq!(listen_address(set, control).unwrap(), set);
    }

    #[tokio::test]
    async fn without_a_token_a_fresh_folder_is_told_where_to_get_one() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let error = enrol(&Env::real(), &data, None, None).await.unwrap_err().to_string();
        assert!(error.contains("updraft invite"), "{error}");
    }

    #[test]
    fn a_folder_remembers_its_node() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDir::open(folder.path()).unwrap();
        let membership_of = Membership {
            node: NodeId::new("rack-7").unwrap(),
            control: NodeId::new("control-1").unwrap(),
            control_address: "192.0.2.1:8775".parse().unwrap(),
            others: vec![KnownControl {
                node: NodeId::new("control-2").unwrap(),
                address: "192.0.2.2:8775".parse().unwrap(),
            }],
        };
        remember(&data, &membership_of).unwrap();
        assert_eq!(membership(&data).unwrap(), Some(membership_of));
        let of_one =
            r#"{"node": "rack-7", "control": "control-1", "control_address": "192.0.2.1:8775"}"#;
        data.write(FILE, of_one).unwrap();
        assert_eq!(membership(&data).unwrap().unwrap().controls().len(), 1);
    }
}
