//! The exchange of a join token for a certificate, over QUIC.
//!
//! One connection, one stream: the applicant writes its application and finishes, the control node
//! writes its answer and finishes. Lengths are limited on both sides, and both give up in time.

use std::{io, sync::Arc, time::Duration};

use quinn::{
    AsyncUdpSocket, Connection, ConnectionError, Endpoint, ReadToEndError, RecvStream, Runtime,
    SendStream, crypto::rustls::HandshakeData,
};
use zeroize::Zeroizing;

use super::{clock::Clock, config, node::Node, words, words::Close};
use crate::{
    certificate::{Certificate, CertificateError},
    counts::Refused,
    host::Host,
    id::{Incarnation, NodeId},
    join::{
        Answer, Applicant, Application, BINDING_BYTES, Denial, Denied, Entrusted, JoinToken,
        TokenError,
    },
    key::NodeKey,
    tls::{Credentials, Crypto, TlsError, join::ALPN_JOIN},
};

/// Largest application: a secret, a name, a key and a signature are below 300 bytes.
const APPLICATION_MAX_BYTES: usize = 1024;
/// Largest answer: a few certificates, and what a control node is entrusted with.
const ANSWER_MAX_BYTES: usize = 64 * 1024;
/// How long a control node waits for an application.
const APPLICATION_WITHIN: Duration = Duration::from_secs(3);
/// How long the verdict may take: it is a commit to the store.
const VERDICT_WITHIN: Duration = Duration::from_secs(10);
/// How long an applicant waits for everything.
const JOIN_WITHIN: Duration = Duration::from_secs(20);
/// How long both sides wait for the last packets to arrive.
const FAREWELL_WITHIN: Duration = Duration::from_secs(1);
/// The label of the value that binds an application to its connection.
const BINDING_LABEL: &[u8] = b"EXPORTER-updraft-join";
/// What a dial is told to expect; the token says what counts.
const SERVER_NAME: &str = "updraft";

/// A machine's wish to join.
pub struct JoinRequest {
    /// What its operator was given.
    pub token: JoinToken,
    /// The id it wants to have.
    pub node: NodeId,
    /// Its key; it does not leave the machine.
    pub key: NodeKey,
    /// What carries its datagrams.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// Whose timers QUIC uses.
    pub runtime: Arc<dyn Runtime>,
    /// Entropy and the wall clock.
    pub host: Arc<dyn Host>,
}

/// Why a machine did not become a node.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The token is no good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The socket cannot be used.
    #[error("the UDP socket cannot be used")]
    Socket(#[source] io::Error),
    /// There is no connection with the control node.
    #[error("no connection with control node {control}: {why}")]
    Unreachable {
        /// The control node.
        control: NodeId,
        /// Why, in words.
        why: String,
    },
    /// The control node lets nobody join, or speaks of it in another way.
    #[error(
        "control node {0} does not let nodes join in the way of this program, and the token is not used up: use the version \
         of the program that the control node runs"
    )]
    OtherProtocol(NodeId),
    /// The control node says no.
    #[error("the control node refuses: {0}")]
    Refused(String),
    /// The control node's answer makes no sense.
    #[error("the control node's answer makes no sense: {0}")]
    Answer(String),
    /// The certificate that was given cannot be used.
    #[error("the certificate that was given cannot be used")]
    Credentials(#[from] TlsError),
    /// A certificate in the answer is malformed.
    #[error("a certificate in the control node's answer cannot be used")]
    Certificate(#[from] CertificateError),
}

/// What a machine is once it has joined.
#[derive(Clone, Debug)]
pub struct Joined {
    /// What it presents, and whom it believes.
    pub credentials: Credentials,
    /// Behind which incarnation it counts its starts; see [`crate::join::Admitted::former`].
    pub former: Incarnation,
    /// What it is entrusted with; see [`crate::join::Admitted::entrusted`].
    pub entrusted: Entrusted,
}

/// Exchanges a token for credentials.
pub async fn join(request: JoinRequest) -> Result<Joined, JoinError> {
    let JoinRequest { token, node, key, socket, runtime, host } = request;
    token.check(host.unix_secs())?;
    let clock = Clock::new(Arc::clone(&runtime));
    let client = config::joining(&host, &token, &Crypto::new(&host))?;
    let endpoint =
        Endpoint::new_with_abstract_socket(config::endpoint(&host, &key), None, socket, runtime)
            .map_err(JoinError::Socket)?;
    let unreachable = |why| JoinError::Unreachable { control: token.control.clone(), why };
    let exchange = async {
        let connecting = endpoint.connect_with(client, token.address, SERVER_NAME);
        let connecting = connecting.map_err(|error| unreachable(words::of_dial(&error)))?;
        let connection = connecting.await.map_err(|error| match words::of(&error) {
            why if why == words::OTHER_PROTOCOL => JoinError::OtherProtocol(token.control.clone()),
            why => unreachable(why),
        })?;
        let answer = apply(&connection, &token, &node, &key).await.map_err(unreachable);
        connection.close(Close::GoingAway.code(), b"thank you");
        answer
    };
    let answer = clock.within(JOIN_WITHIN, exchange).await;
    clock.within(FAREWELL_WITHIN, endpoint.wait_idle()).await;
    let answer = answer.unwrap_or_else(|| Err(unreachable("it took too long".to_owned())))?;
    let answer = Answer::decode(&answer).map_err(|error| JoinError::Answer(error.to_string()))?;
    accept(answer, &token, &node, key)
}

/// Sends the application; returns the answer's bytes.
async fn apply(
    connection: &Connection,
    token: &JoinToken,
    node: &NodeId,
    key: &NodeKey,
) -> Result<Zeroizing<Vec<u8>>, String> {
    let application = Application::new(token, node.clone(), key, &binding(connection)?);
    let application = application.encode().map_err(|error| error.to_string())?;
    let lost = |error: &ConnectionError| words::of(error);
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| lost(&error))?;
    send.write_all(&application).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    let read = recv.read_to_end(ANSWER_MAX_BYTES).await.map(Zeroizing::new);
    read.map_err(|error| match connection.close_reason() {
        Some(error) => lost(&error),
        None => error.to_string(),
    })
}

/// Makes credentials of an answer, if they are what was asked for.
fn accept(
    answer: Answer,
    token: &JoinToken,
    node: &NodeId,
    key: NodeKey,
) -> Result<Joined, JoinError> {
    let (certificate, authorities, former, entrusted) = match answer {
        Answer::Admitted { certificate, authorities, former, entrusted } => {
            (certificate, authorities, former, entrusted)
        }
        Answer::Refused(why) => return Err(JoinError::Refused(why)),
    };
    let certificate = Certificate::from_der(certificate.to_vec())?;
    let authorities = authorities
        .into_iter()
        .map(|der| Certificate::from_der(der.to_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    if !authorities.iter().any(|authority| authority.fingerprint() == token.authority) {
        return Err(JoinError::Answer("the token's CA is not among its CAs".to_owned()));
    }
    let credentials = Credentials::new(certificate, key, authorities)?;
    if credentials.identity().node != *node {
        let other = &credentials.identity().node;
        return Err(JoinError::Answer(format!("the certificate is for node {other}")));
    }
    Ok(Joined { credentials, former, entrusted })
}

/// Whether the other side wants to join rather than to be a peer.
pub(super) fn is_wanted(connection: &Connection) -> bool {
    let data = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    data.is_some_and(|data| data.protocol.as_deref() == Some(ALPN_JOIN))
}

/// Hears an applicant and answers it.
pub(super) async fn serve(node: &Node, connection: &Connection) {
    match answer(node, connection).await {
        Ok(()) => {}
        Err(why) => {
            connection.close(Close::Refused.code(), why.as_bytes());
            node.log_refusal(&connection.remote_address().to_string(), &why);
        }
    }
}

async fn answer(node: &Node, connection: &Connection) -> Result<(), String> {
    let Some(admission) = &node.admission else {
        return Err(node.refused(Refused::OtherProtocol, "this node gives no certificates"));
    };
    let (mut send, applicant) = applicant(node, connection).await?;
    let (name, address) = (applicant.node.clone(), applicant.address);
    let verdict = node.clock.within(VERDICT_WITHIN, admission.judge(applicant)).await;
    let verdict = verdict.unwrap_or_else(|| {
        let words = "the verdict took too long".to_owned();
        Err(Denial { why: Denied::Other, words })
    });
    match &verdict {
        Ok(_) => tracing::info!(node = %name, %address, "a node joins"),
        Err(Denial { why, words }) => {
            let words = node.refused((*why).into(), words);
            node.log_refusal(&format!("joining node {name} at {address}"), &words);
        }
    }
    let answer = Answer::from(verdict).encode().map_err(|error| error.to_string())?;
    send.write_all(&answer).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    // The applicant closes once it has the answer.
    node.clock.within(APPLICATION_WITHIN, connection.closed()).await;
    Ok(())
}

/// Who applies over this connection, and where the answer goes.
async fn applicant(
    node: &Node,
    connection: &Connection,
) -> Result<(SendStream, Applicant), String> {
    let bad = |why| node.refused(Refused::BadApplication, why);
    let hearing = async {
        let (send, recv) = connection.accept_bi().await.map_err(|error| words::of(&error))?;
        Ok::<_, String>((send, hear(node, recv).await?))
    };
    let heard = node.clock.within(APPLICATION_WITHIN, hearing).await;
    let (send, application) = heard.ok_or_else(|| bad("it does not apply"))??;
    let applicant = application.verify(&binding(connection)?, connection.remote_address());
    let applicant =
        applicant.ok_or_else(|| bad("it does not hold the key that it wants certified"))?;
    Ok((send, applicant))
}

async fn hear(node: &Node, mut recv: RecvStream) -> Result<Application, String> {
    let read = recv.read_to_end(APPLICATION_MAX_BYTES).await;
    let bytes = Zeroizing::new(read.map_err(|error| match error {
        ReadToEndError::TooLong => node.refused(Refused::OverLimit, error.to_string()),
        ReadToEndError::Read(_) => error.to_string(),
    })?);
    let nonsense = |_| node.refused(Refused::BadApplication, "its application makes no sense");
    Application::decode(&bytes).map_err(nonsense)
}

/// A value that both ends of this connection know, and nobody else.
fn binding(connection: &Connection) -> Result<[u8; BINDING_BYTES], String> {
    let mut binding = [0; BINDING_BYTES];
    connection
        .export_keying_material(&mut binding, BINDING_LABEL, b"")
        .map_err(|_| "TLS does not bind the connection".to_owned())?;
    Ok(binding)
}
