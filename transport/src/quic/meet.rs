//! How a connection opens: who the other side is, and whether both speak the same.
//!
//! The dialler opens a stream for each class, most urgent first, each starting with its class as one
//! byte, and says hello on the control stream. The other side answers the hello once it has decided to
//! keep the connection; from then on both send frames. An answer that does not come is how a dialler
//! learns that its connection is not the one that is kept.

use std::{net::SocketAddr, time::Duration};

use quinn::{Connection, ReadExactError, RecvStream, SendStream};
use rustls::pki_types::CertificateDer;

use super::{
    config::IDLE_TIMEOUT,
    node::Node,
    words::{self, Close},
};
use crate::{
    certificate::{self, CertificateError},
    counts::Refused,
    id::{Incarnation, NodeId, PeerIdentity},
    key::PublicKey,
    wire::{Class, Hello, LENGTH_BYTES, WireError, WireVersion},
};

/// What a dial is told to expect; certificates carry nodes, not host names.
const SERVER_NAME: &str = "updraft";
/// How long a side waits for what the other has to say at once.
pub(super) const PROMPT_MAX: Duration = IDLE_TIMEOUT;
/// How long a dialler waits for the answer to its hello: the other side may first have to see its own
/// dial fail.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The two halves of a stream.
pub(super) type Stream = (SendStream, RecvStream);

/// A connection that both sides keep.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) certified: Certified,
    pub(super) incarnation: Incarnation,
    /// The highest that both sides speak: each computes it from the other's hello.
    pub(super) version: WireVersion,
    /// Whether this side has dialled.
    pub(super) dialled: bool,
    /// A stream for each class, in the order of [`Class::ALL`].
    pub(super) streams: Vec<(Class, Stream)>,
}

/// What the other side's certificate says; TLS has verified it.
#[derive(Clone)]
pub(super) struct Certified {
    pub(super) peer: PeerIdentity,
    pub(super) key: PublicKey,
    /// When it ends, in seconds since 1970-01-01 UTC.
    pub(super) until_unix_secs: u64,
}

/// A connection that the peer has opened and this side has not yet decided about.
pub(super) struct Inbound {
    connection: Connection,
    certified: Certified,
    incarnation: Incarnation,
    version: WireVersion,
    control: Stream,
}

/// Dials a peer until it has answered the hello.
pub(super) async fn dial(
    node: &Node,
    peer: &NodeId,
    address: SocketAddr,
) -> Result<Opened, String> {
    let connecting = node
        .endpoint()
        .connect_with(node.dialling(), address, SERVER_NAME)
        .map_err(|error| words::of_dial(&error))?;
    let connection = connecting.await.map_err(|error| node.not_met(&error))?;
    let certified = certified(node, &connection)?;
    if certified.peer.node != *peer {
        let found = &certified.peer.node;
        let why = format!("node {peer} was dialled at {address}, and the one there is {found}");
        return refuse(node, &connection, Refused::WrongNode, why);
    }
    let mut streams = Vec::new();
    let mut hello = Some(node.hello().encode().map_err(|error| error.to_string())?);
    for class in Class::ALL {
        let (mut send, recv) = connection.open_bi().await.map_err(|error| words::of(&error))?;
        let mut opening = vec![class.tag()];
        opening.extend(hello.take().unwrap_or_default());
        prioritise(&send, class);
        send.write_all(&opening).await.map_err(|_| why_lost(&connection))?;
        streams.push((class, (send, recv)));
    }
    let Some((_, (_, control))) = streams.first_mut() else {
        return Err("there are no streams".to_owned());
    };
    let answer = read_hello(node, &connection, control);
    let answer = match node.clock.within(ANSWER_MAX, answer).await {
        Some(answer) => answer?,
        None => return Err(give_up(&connection, "it does not answer the hello")),
    };
    let (answer, version) = answer;
    let incarnation = check_hello(node, &connection, &certified.peer, &answer)?;
    Ok(Opened { connection, certified, incarnation, version, dialled: true, streams })
}

/// Hears a peer that dials, up to its hello.
pub(super) async fn greet(node: &Node, connection: Connection) -> Result<Inbound, String> {
    let certified = certified(node, &connection)?;
    if certified.peer.node == node.local().node {
        let why = format!("this node is {} itself", certified.peer.node);
        return refuse(node, &connection, Refused::WrongNode, why);
    }
    let opening = async {
        let mut control = accept_stream(node, &connection, Class::Control).await?;
        let hello = read_hello(node, &connection, &mut control.1).await?;
        Ok::<_, String>((control, hello))
    };
    let (control, (hello, version)) = match node.clock.within(PROMPT_MAX, opening).await {
        Some(opening) => opening?,
        None => {
            let why = "it does not say hello".to_owned();
            return refuse(node, &connection, Refused::BadOpening, why);
        }
    };
    let incarnation = check_hello(node, &connection, &certified.peer, &hello)?;
    Ok(Inbound { connection, certified, incarnation, version, control })
}

impl Inbound {
    pub(super) fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    pub(super) fn node(&self) -> &NodeId {
        &self.certified.peer.node
    }

    pub(super) fn is_alive(&self) -> bool {
        self.connection.close_reason().is_none()
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Gives the connection up in favour of another one.
    pub(super) fn supersede(self) {
        self.connection.close(Close::Superseded.code(), b"the other connection is kept");
    }

    pub(super) fn refuse(self, why: &str) {
        self.connection.close(Close::Refused.code(), why.as_bytes());
    }

    /// Keeps the connection: answers the hello and takes the other streams.
    pub(super) async fn adopt(self, node: &Node) -> Result<Opened, String> {
        let Self { connection, certified, incarnation, version, control } = self;
        let answer = node.hello().encode().map_err(|error| error.to_string())?;
        let taking = async {
            let mut streams = vec![(Class::Control, control)];
            for (class, (send, _)) in &mut streams {
                prioritise(send, *class);
                send.write_all(&answer).await.map_err(|_| why_lost(&connection))?;
            }
            for class in [Class::Calls, Class::Bulk] {
                let stream = accept_stream(node, &connection, class).await?;
                prioritise(&stream.0, class);
                streams.push((class, stream));
            }
            Ok::<_, String>(streams)
        };
        let streams = match node.clock.within(PROMPT_MAX, taking).await {
            Some(streams) => streams?,
            None => {
                let why = "it does not open its streams".to_owned();
                return refuse(node, &connection, Refused::BadOpening, why);
            }
        };
        Ok(Opened { connection, certified, incarnation, version, dialled: false, streams })
    }
}

/// Takes the next stream, which has to be of this class.
async fn accept_stream(
    node: &Node,
    connection: &Connection,
    class: Class,
) -> Result<Stream, String> {
    let (send, mut recv) = connection.accept_bi().await.map_err(|error| words::of(&error))?;
    let mut found = [0];
    recv.read_exact(&mut found).await.map_err(|_| why_lost(connection))?;
    if found != [class.tag()] {
        let why = format!("it opened a stream of class {} for {class:?}", found[0]);
        return refuse(node, connection, Refused::BadOpening, why);
    }
    Ok((send, recv))
}

/// The other side's hello, and the version that both speak.
async fn read_hello(
    node: &Node,
    connection: &Connection,
    control: &mut RecvStream,
) -> Result<(Hello, WireVersion), String> {
    let lost = |_: ReadExactError| why_lost(connection);
    let mut prefix = [0; LENGTH_BYTES];
    control.read_exact(&mut prefix).await.map_err(lost)?;
    let decoded = match Hello::length(prefix) {
        Ok(length) => {
            let mut payload = vec![0; length];
            control.read_exact(&mut payload).await.map_err(lost)?;
            Hello::decode(&payload)
        }
        Err(error) => Err(error),
    };
    let agreed = decoded.and_then(|hello| {
        let version = node.versions().agree(hello.versions)?;
        Ok((hello, version))
    });
    agreed.or_else(|error| {
        let reason = match error {
            WireError::NoCommonVersion { .. } => Refused::NoCommonVersion,
            _ => Refused::BadOpening,
        };
        refuse(node, connection, reason, error.to_string())
    })
}

/// The incarnation that a peer claims, if the rest of its hello is what its certificate says.
fn check_hello(
    node: &Node,
    connection: &Connection,
    identity: &PeerIdentity,
    hello: &Hello,
) -> Result<Incarnation, String> {
    if hello.node != identity.node {
        let (named, says) = (&identity.node, &hello.node);
        let why = format!("its certificate names {named}, and it says {says}");
        return refuse(node, connection, Refused::WrongNode, why);
    }
    node.forget_refusal(&connection.remote_address().to_string());
    Ok(hello.incarnation)
}

fn certified(node: &Node, connection: &Connection) -> Result<Certified, String> {
    let chain = connection.peer_identity();
    let chain = chain.and_then(|chain| chain.downcast::<Vec<CertificateDer<'static>>>().ok());
    let Some(leaf) = chain.as_ref().and_then(|chain| chain.first()) else {
        let why = "it has no certificate".to_owned();
        return refuse(node, connection, Refused::BadCertificate, why);
    };
    read(leaf).or_else(|error| refuse(node, connection, Refused::BadCertificate, error.to_string()))
}

fn read(leaf: &[u8]) -> Result<Certified, CertificateError> {
    Ok(Certified {
        peer: certificate::identity_of(leaf)?,
        key: certificate::public_key_of(leaf)?,
        until_unix_secs: certificate::valid_until_of(leaf)?,
    })
}

/// Ends a dial that takes too long; nearly always the peer keeps another connection.
fn give_up(connection: &Connection, why: &str) -> String {
    connection.close(Close::Refused.code(), why.as_bytes());
    why.to_owned()
}

/// Ends a connection with a peer that is not accepted.
fn refuse<T>(
    node: &Node,
    connection: &Connection,
    reason: Refused,
    why: String,
) -> Result<T, String> {
    connection.close(Close::Refused.code(), why.as_bytes());
    Err(node.refused(reason, why))
}

/// Why a stream broke off: nearly always because its connection did.
fn why_lost(connection: &Connection) -> String {
    match connection.close_reason() {
        Some(error) => words::of(&error),
        None => "it broke a stream off".to_owned(),
    }
}

/// Lets urgent classes overtake the others at this end.
fn prioritise(stream: &SendStream, class: Class) {
    let priority = match class {
        Class::Control => 2,
        Class::Calls => 1,
        Class::Bulk => 0,
    };
    // It fails only on a stream that is closed already, and then does not matter.
    let _ = stream.set_priority(priority);
}
