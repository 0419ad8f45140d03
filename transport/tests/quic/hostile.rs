//! What a peer can do that has a good certificate and means ill, or none and means to look like a peer.

use std::sync::Arc;

use quinn::{
    ClientConfig, Connection, ConnectionError, Endpoint, RecvStream, SendStream,
    crypto::rustls::QuicClientConfig,
};
use rustls::{
    DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime},
};
use updraft_transport::{
    Class, Event, Incarnation,
    join::{Admission, Applicant, Denial, Denied, Verdict},
    wire::{Hello, WireVersion, WireVersions, encode},
};

use crate::cloud::{LOCALHOST, Node, PATIENCE, Plan, frame, id, key};

/// Believes anybody.
#[derive(Debug)]
struct Gullible;

impl ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

/// Dials as node `mallory` with a good certificate, or with none.
pub(crate) async fn connect(node: &Node, certified: bool) -> Connection {
    connect_speaking(node, certified, b"updraft/1").await.unwrap()
}

/// The same, speaking this inside TLS.
pub(crate) async fn connect_speaking(
    node: &Node,
    certified: bool,
    protocol: &[u8],
) -> Result<Connection, ConnectionError> {
    let endpoint = Endpoint::client(LOCALHOST).unwrap();
    endpoint.connect_with(dialler(certified, protocol), node.address, "updraft").unwrap().await
}

/// How node `mallory` dials, with a good certificate or with none, and speaking this inside TLS.
pub(crate) fn dialler(certified: bool, protocol: &[u8]) -> ClientConfig {
    let config = rustls::ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = if certified {
        let certificate = Plan::new("mallory").credentials.certificate().der().clone();
        let pem = key("mallory").to_pem();
        let key = PrivatePkcs8KeyDer::from(pem::parse(&*pem).unwrap().into_contents());
        config.with_client_auth_cert(vec![certificate], key.into()).unwrap()
    } else {
        config.with_no_client_auth()
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
}

/// What the node says when it throws us out.
pub(crate) async fn thrown_out(connection: &Connection) -> String {
    match tokio::time::timeout(PATIENCE, connection.closed()).await.expect("we were let stay") {
        ConnectionError::ApplicationClosed(close) => {
            String::from_utf8(close.reason.to_vec()).unwrap()
        }
        other => other.to_string(),
    }
}

pub(crate) fn hello(name: &str) -> Vec<u8> {
    let hello =
        Hello { versions: WireVersions::SUPPORTED, node: id(name), incarnation: Incarnation(1) };
    hello.encode().unwrap()
}

/// Opens the three streams as a good peer does, saying this on the control stream, until thrown out. Their other halves
/// are among what is returned, since dropping them would tell the node not to answer.
pub(crate) async fn open(connection: &Connection, control: &[u8]) -> Vec<(SendStream, RecvStream)> {
    let mut streams = Vec::new();
    for class in Class::ALL {
        let Ok((mut send, recv)) = connection.open_bi().await else { break };
        let mut opening = vec![class.tag()];
        if class == Class::Control {
            opening.extend_from_slice(control);
        }
        if send.write_all(&opening).await.is_err() {
            break;
        }
        streams.push((send, recv));
    }
    streams
}

fn victim() -> Node {
    Plan::new("victim").start()
}

/// Says something instead of the hello, and returns the answer.
fn said_instead_of_hello(control: &[u8]) -> String {
    let victim = victim();
    let answer = victim.run(async {
        let connection = connect(&victim, true).await;
        let _streams = open(&connection, control).await;
        thrown_out(&connection).await
    });
    assert!(victim.is_quiet(), "the node took it for a peer");
    answer
}

#[test]
fn who_says_nothing_is_thrown_out() {
    let victim = victim();
    let answer = victim.run(async { thrown_out(&connect(&victim, true).await).await });
    assert_eq!(answer, "it does not say hello");
    assert!(victim.is_quiet());
}

#[test]
fn who_says_something_else_than_hello_is_thrown_out() {
    let mut nonsense = 20_u32.to_be_bytes().to_vec();
    nonsense.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n  ");
    let answer = said_instead_of_hello(&nonsense);
    assert_eq!(answer, "the connection does not open with a hello");
}

#[test]
fn a_hello_of_any_length_is_not_waited_for() {
    let answer = said_instead_of_hello(&u32::MAX.to_be_bytes());
    assert_eq!(answer, "a hello of 4294967295 bytes is out of bounds");
}

#[test]
fn who_claims_to_be_another_node_is_thrown_out() {
    let answer = said_instead_of_hello(&hello("control"));
    assert_eq!(answer, "its certificate names mallory, and it says control");
}

#[test]
fn who_opens_its_streams_in_another_order_is_thrown_out() {
    let victim = victim();
    let answer = victim.run(async {
        let connection = connect(&victim, true).await;
        let (mut send, _recv) = connection.open_bi().await.unwrap();
        send.write_all(&[Class::Bulk.tag()]).await.unwrap();
        thrown_out(&connection).await
    });
    assert_eq!(answer, "it opened a stream of class 2 for Control");
}

/// Becomes a peer, sends these bytes as calls, and returns the answer and the events.
fn sent_as_calls(bytes: &[u8]) -> (String, Vec<Event>) {
    let mut victim = victim();
    let answer = victim.run(async {
        let connection = connect(&victim, true).await;
        let mut streams = open(&connection, &hello("mallory")).await;
        streams[1].0.write_all(bytes).await.unwrap();
        thrown_out(&connection).await
    });
    let mut events = Vec::new();
    while !matches!(events.last(), Some(Event::Down { .. })) {
        events.extend(victim.next());
    }
    (answer, events)
}

#[test]
fn a_frame_over_its_limit_ends_the_connection_before_it_comes() {
    let (answer, events) = sent_as_calls(&u32::MAX.to_be_bytes());
    assert_eq!(answer, "a frame of 4294967295 bytes is over the limit of 1048576 for Calls");
    assert_eq!(events.len(), 2, "{events:?}");
}

#[test]
fn what_came_whole_before_the_nonsense_is_handed_up() {
    let mut bytes = Vec::new();
    encode(&frame(5, 10), Class::Calls, WireVersion::NEWEST, &mut bytes).unwrap();
    bytes.extend_from_slice(&[0, 0, 0, 3, 0xff, 0xff, 0xff]);
    let (answer, events) = sent_as_calls(&bytes);
    assert_eq!(answer, "the header of a frame makes no sense");
    assert!(matches!(&events[1], Event::Frame { frame: f, .. } if *f == frame(5, 10)));
}

/// Admits nobody, for this reason.
pub(crate) struct Closed(pub(crate) Denied);

impl Admission for Closed {
    fn judge(&self, _applicant: Applicant) -> Verdict {
        let denial = Denial { why: self.0, words: "nobody joins".to_owned() };
        Box::pin(async { Err(denial) })
    }
}

#[test]
fn who_has_no_certificate_is_no_peer_even_where_machines_may_join() {
    let victim =
        Plan { admission: Some(Arc::new(Closed(Denied::Other))), ..Plan::new("victim") }.start();
    let answer = victim.run(async {
        let connection = connect(&victim, false).await;
        let _streams = open(&connection, &hello("mallory")).await;
        thrown_out(&connection).await
    });
    assert_eq!(answer, "it has no certificate");
    assert!(victim.is_quiet());
}
